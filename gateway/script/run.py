"""One run of a CGI program: its three pipes, moved at once in one poll(2) loop, and the end of its process group.

No thread is needed, no stream can stall another, and no more than a block of each is held.
"""

from __future__ import annotations

import math
import os
import select
import signal
import time

from gateway.errors import ProtocolError, ScriptError
from gateway.exchange import BLOCK
from gateway.script.ending import EXIT_WITHIN, KILL_AFTER, Clock, Group, open_exit
from gateway.script.faults import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.events import Response
    from gateway.limits import Limits
    from gateway.script.answer import Answer
    from gateway.script.body import Body
    from gateway.script.execution import Pipe, Process

_NONE = -1
_STDIN, _STDOUT, _STDERR, _EXIT = "stdin", "stdout", "stderr", "exit"


class Run:
    """One run of a program: its response as an iterable of blocks.

    ``timeout`` is as in :class:`gateway.script.host.CGIHost`; ``ended(self)`` is called once nothing is left of it.
    Any exception out of here means that the program is gone.
    """

    def __init__(
        self, process: Process, answer: Answer, body: Body, *, timeout: float, limits: Limits,
        ended: Callable[[Run], object],
    ) -> None:  # fmt: skip
        self._process = process
        self._answer = answer
        self._body = body
        self._timeout = timeout
        self._ended: Callable[[Run], object] | None = ended
        self._group = Group(process)
        self.terminate = self._group.terminate
        self._clock = Clock(timeout=timeout, limits=limits)
        self._unwritten = memoryview(b"")
        self._complete = False
        self._poll = select.poll()
        self._open: dict[int, str] = {}
        self._exit: int | None = None  # a descriptor that tells of the end of the process
        for name, pipe in ((_STDIN, process.stdin), (_STDOUT, process.stdout), (_STDERR, process.stderr)):
            if pipe is not None:
                self._watch(name, pipe.fileno(), select.POLLOUT if name is _STDIN else select.POLLIN)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)

    def __repr__(self) -> str:
        return f"<Run {self._answer.path!r} pid={self._process.pid} open={' '.join(self._open.values())!r}>"

    # The response.

    def head(self) -> Response:
        """The response's head, fit for a WSGI server.  Raises ScriptError, RequestAborted."""
        try:
            while self._answer.head is None:
                self._step()
            return self._answer.head
        except ProtocolError as error:
            exited = _STDOUT not in self._open.values() and self._wait(EXIT_WITHIN)
            message = self._answer.explain_head(error, self._process.returncode if exited else None)
            raise self._fault(message) from error
        except BaseException:
            self.abort()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """The next block of the body.  Raises ScriptError, RequestAborted."""
        answer = self._answer
        try:
            if not answer.blocks and not self._complete:
                if answer.wanted:
                    self._clock.moved()  # the visitor may have been slow
                while not answer.blocks and not answer.ended:
                    self._step()
                if not answer.blocks:
                    self._end()
        except BaseException:
            self.abort()
            raise
        if answer.blocks:
            return answer.blocks.pop(0)
        raise StopIteration

    def _end(self) -> None:
        """stdout is closed, and all of it was passed on."""
        exited = self._wait(EXIT_WITHIN)
        self._answer.check_end(self._process.returncode)
        self._complete = True
        if exited:
            self.abort()

    def exhaust(self) -> None:
        """Let the program finish, and drop what it says."""
        self._answer.wanted = False
        for _ in self:
            pass
        self.close()

    # The process.

    def _step(self) -> None:
        """Wait for what the program does next, but not for ever.  Raises ScriptError, ProtocolError."""
        overdue = self._clock.overdue(wanted=self._answer.wanted)
        if overdue:
            raise self._fault(overdue, "504 Gateway Timeout")
        self._move(self._clock.left())

    def _move(self, seconds: float) -> None:
        """Wait up to some seconds, then move what can be moved."""
        ready = self._poll.poll(None if seconds == math.inf else max(seconds, 0) * 1000)
        names = {self._open[descriptor]: mask for descriptor, mask in ready}
        if _STDERR in names:
            data = self._read(self._process.stderr, names[_STDERR])
            if data:
                self._answer.stderr.write(data)
            else:
                self._drop(_STDERR)
        if _STDOUT in names:
            data = self._read(self._process.stdout, names[_STDOUT])
            if self._answer.wanted:  # a program must not go on for ever with a body that nobody reads
                self._clock.moved()
            if not data:
                self._drop(_STDOUT)
                self._ignore(_STDIN)  # the visitor may wait for the answer before sending more
            self._answer.receive(data)
        elif _STDIN in names:
            # Last, because wsgi.input may block: what the program has said already must not wait for the visitor.
            self._feed()
            self._clock.moved()
        if _EXIT in names:
            self._drop(_EXIT)

    @staticmethod
    def _read(pipe: Pipe | None, mask: int) -> bytes:
        assert pipe is not None  # it was ready
        return os.read(pipe.fileno(), BLOCK) if mask & select.POLLIN else b""

    def _feed(self) -> None:
        assert self._process.stdin is not None  # it was ready
        if not self._unwritten:
            self._unwritten = memoryview(self._body.read())
        try:
            written = os.write(self._process.stdin.fileno(), self._unwritten)
        except BrokenPipeError:
            self._drop(_STDIN)  # RFC 3875 §4.2: a program need not read its input
            return
        self._unwritten = self._unwritten[written:]
        if not self._unwritten and not self._body.left:
            self._drop(_STDIN)

    def _wait(self, seconds: float) -> bool:
        """Whether the program ends by itself within some seconds; its stderr is moved meanwhile."""
        deadline = time.monotonic() + seconds
        pause = 0.0005
        while self._process.poll() is None:  # mostly it has: who closed its pipes was about to end
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._sees_exit():
                self._move(left)
            else:
                self._move(min(pause, left))
                pause = min(pause * 2, 0.05)
        if _STDERR in self._open.values():
            # Once: a pipe holds no more than a block of the program's own, but a child of it may go on for ever.
            self._move(0)
        return True

    def _sees_exit(self) -> bool:
        """Whether poll(2) will tell when the process ends (Linux), and it has not."""
        if self._exit is None:
            self._exit = _NONE
            if self._process.returncode is None:
                self._exit = open_exit(self._process)
                if self._exit != _NONE:
                    self._watch(_EXIT, self._exit, select.POLLIN)
        return self._exit != _NONE

    def close(self) -> None:
        """Called by the WSGI server, always (PEP 3333): what is not complete is ended, what is may end by itself."""
        if self._complete and self._process.returncode is None and not self._wait(self._timeout or math.inf):
            log().warning("%s: ended %s s after its response, because it still ran", self._answer.path, self._timeout)
        self.abort()

    def abort(self) -> None:
        """End the process group of a program that still runs; let go of everything."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        try:
            if self._process.returncode is None:
                self._kill()
            self._answer.stderr.end()
        finally:
            self._complete = True
            for name in (_STDIN, _STDOUT, _STDERR, _EXIT):
                self._drop(name)
            self._body.close()
            ended(self)

    def _kill(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._group.signal(number)
            # Not before: an upload that broke off must not look like one that came to its end.
            self._drop(_STDIN)
            self._drop(_STDOUT)
            self._wait(KILL_AFTER)
        if self._process.returncode is None:
            self._group.complain(self._answer.path)

    def _watch(self, name: str, descriptor: int, mask: int) -> None:
        self._open[descriptor] = name
        self._poll.register(descriptor, mask)

    def _ignore(self, name: str) -> None:
        """Leave a pipe open, and move nothing through it any more."""
        for descriptor, opened in self._open.items():
            if opened == name:
                self._poll.unregister(descriptor)
                del self._open[descriptor]
                return

    def _drop(self, name: str) -> None:
        self._ignore(name)
        if name != _EXIT:
            pipe: Pipe | None = getattr(self._process, name)
            if pipe is not None:
                pipe.close()
        elif self._exit is not None and self._exit != _NONE:
            os.close(self._exit)
            self._exit = _NONE

    def _fault(self, message: str, status_hint: str = "502 Bad Gateway") -> ScriptError:
        """The error to raise, once the program is gone and its last words are known."""
        self.abort()
        return self._answer.fault(message, returncode=self._process.returncode, status_hint=status_hint)
