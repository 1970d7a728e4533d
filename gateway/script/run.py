"""One run of a CGI program: its three pipes, moved at once in one selector loop, and the end of its process group.

No thread is needed, no stream can stall another, and no more than a block of each is held.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from http import HTTPStatus

from gateway.errors import LimitExceeded, ProtocolError, RemoteProtocolError, ScriptError
from gateway.events import WEB_SERVER, EndOfRequest, Request, RequestBody, Response, ResponseBody
from gateway.exchange import BLOCK
from gateway.head import HOP_BY_HOP, inspect_headers
from gateway.protocols import connection_class
from gateway.script.faults import describe_exit, explain_line_ends, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from typing import IO

    from gateway.events import Event
    from gateway.limits import Limits
    from gateway.script.body import Body

KILL_AFTER = 1.0
"""Seconds from SIGTERM to SIGKILL.  Apache: 3."""

EXIT_WITHIN = 0.5
"""Seconds for which the end of a response waits to learn how the program ended."""

STDERR_TAIL = 4096
"""Bytes of stderr kept for ScriptError; a longer line is reported in pieces."""

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Run:
    """One run of a program: its response as an iterable of blocks.

    ``timeout`` is as in :class:`gateway.script.CGIScript`.  Any exception out of here means that the program is gone.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], *, path: str, params: dict[str, str], body: Body, errors: IO[str],
        timeout: float, limits: Limits,
    ) -> None:  # fmt: skip
        self._process = process
        self._path = path
        self._body = body
        self._stderr = _Stderr(errors, os.path.basename(path))
        self._timeout = timeout
        self._moved_at = time.monotonic()
        self._connection = connection_class("cgi")(WEB_SERVER, limits=limits)
        self._connection.send(Request(params))
        self._events: list[Event] = []
        self._unwritten = memoryview(b"")
        self._left: int | None = None  # bytes of the response that Content-Length still promises
        self._no_content = params["REQUEST_METHOD"] == "HEAD"
        self._complete = False
        self._selector = selectors.PollSelector()
        self._pipes: dict[str, IO[bytes]] = {}
        for name, pipe in (("stdin", process.stdin), ("stdout", process.stdout), ("stderr", process.stderr)):
            if pipe is not None:
                self._pipes[name] = pipe
                self._selector.register(pipe, selectors.EVENT_WRITE if name == "stdin" else selectors.EVENT_READ, name)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)

    def __repr__(self) -> str:
        return f"<Run {self._path!r} pid={self._process.pid} open={' '.join(self._pipes)!r}>"

    # The response.

    def head(self) -> Response:
        """The response's head, fit for a WSGI server.  Raises ScriptError, RequestAborted."""
        try:
            response = self._next_event()
            assert isinstance(response, Response)
            self._check(response)
            return response
        except ProtocolError as error:
            raise self._no_head(error) from error
        except BaseException:
            self.abort()
            raise

    def _check(self, response: Response) -> None:
        self._left, hop_by_hop = inspect_headers(response.headers)
        if hop_by_hop:
            # A non-parsed-header script (RFC 3875 §5) talks to the visitor's connection, which is the server's now.
            if any(name.lower() == "transfer-encoding" for name, _ in response.headers):
                raise RemoteProtocolError("its head has a Transfer-Encoding: let it write the body as it is instead")
            response.headers = [pair for pair in response.headers if pair[0].lower() not in HOP_BY_HOP]
        code, _, reason = response.status.partition(" ")
        if code < "200":
            raise RemoteProtocolError(f"its status {response.status!r} is no final answer: let it begin with that")
        if not reason.strip():  # legal in RFC 3875 §6.3.3, not in PEP 3333
            response.status = f"{code} {_REASONS.get(int(code), 'Unknown')}"
        self._no_content = self._no_content or code in ("204", "304")

    def _no_head(self, error: ProtocolError) -> ScriptError:
        """Why there is no usable head."""
        message = f"{error}"
        if isinstance(error, LimitExceeded):
            message += " by its head: let it write a blank line after the headers, or pass limits=Limits(head_size=…)"
        elif "stdout" not in self._pipes and self._wait(EXIT_WITHIN) and self._process.returncode:
            message = f"{describe_exit(self._process.returncode)} before its head was whole"
            explained = explain_line_ends(self._path)
            message += f"; {explained}" if explained else ""
        return self._fault(message)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """The next block of the body.  Raises ScriptError, RequestAborted."""
        try:
            while not self._complete:
                event = self._next_event()
                if not isinstance(event, ResponseBody):
                    self._end()
                elif not self._no_content and (data := self._promised(event.data)):
                    return data
        except BaseException:
            self.abort()
            raise
        raise StopIteration

    def _promised(self, data: bytes) -> bytes:
        """What of some bytes Content-Length allows."""
        if self._left is not None:
            if len(data) > self._left:
                log().warning("%s: wrote more than its Content-Length; the rest was cut off", self._path)
                data = data[: self._left]
                self._no_content = True
            self._left -= len(data)
        return data

    def _end(self) -> None:
        """stdout is closed: is that the end of the response, or of a program that failed?"""
        exited = self._wait(EXIT_WITHIN)
        code = self._process.returncode or 0
        if not (self._no_content or self._left == 0):
            if code < 0:
                raise self._fault(f"{describe_exit(code)} in the middle of its response")
            if self._left:
                raise self._fault(f"its response ended {self._left} bytes short of its Content-Length")
        if code:
            log().warning("%s: %s after its response%s", self._path, describe_exit(code), self._stderr.last_words())
        self._complete = True
        if exited:
            self.abort()

    def exhaust(self) -> None:
        """Let the program finish, and drop what it says."""
        self._no_content = True
        for _ in self:
            pass
        self.close()

    # The process.

    def _next_event(self) -> Event:
        """What the program says next."""
        self._note_output()
        while not self._events:
            seconds = self._moved_at + self._timeout - time.monotonic() if self._timeout else None
            if seconds is not None and seconds <= 0:
                done = "wrote what nobody reads" if self._no_content else "neither took input nor gave output"
                raise self._fault(
                    f"{done} for {self._timeout} s: find out what it waits for, or pass a longer timeout=",
                    status_hint="504 Gateway Timeout",
                )
            self._move(seconds)
            self._events = self._connection.events()
        return self._events.pop(0)

    def _note_output(self) -> None:
        """The timeout counts from here; but a program must not go on for ever with a body that nobody reads."""
        if not self._no_content:
            self._moved_at = time.monotonic()

    def _move(self, seconds: float | None) -> None:
        """Wait up to some seconds, then move what can be moved."""
        ready = {key.data for key, _ in self._selector.select(seconds)}
        if "stderr" in ready:
            data = os.read(self._pipes["stderr"].fileno(), BLOCK)
            if data:
                self._stderr.write(data)
            else:
                self._drop("stderr")
        if "stdout" in ready:
            data = os.read(self._pipes["stdout"].fileno(), BLOCK)
            self._note_output()
            if data:
                self._connection.receive_data(data)
            else:
                self._drop("stdout")
                self._ignore("stdin")  # the visitor may wait for the answer before sending more
                self._connection.receive_eof()
        elif "stdin" in ready:
            # Last, because wsgi.input may block: what the program has said already must not wait for the visitor.
            self._feed()
            self._moved_at = time.monotonic()

    def _feed(self) -> None:
        if not self._unwritten:
            self._connection.send(RequestBody(self._body.read()))
            if not self._body.left:
                self._connection.send(EndOfRequest())
            self._unwritten = memoryview(b"".join(self._connection.data_to_send()))
        try:
            written = os.write(self._pipes["stdin"].fileno(), self._unwritten)
        except BrokenPipeError:
            self._drop("stdin")  # RFC 3875 §4.2: a program need not read its input
            return
        self._unwritten = self._unwritten[written:]
        if not self._unwritten and not self._body.left:
            self._drop("stdin")

    def _wait(self, seconds: float | None) -> bool:
        """Whether the program ends by itself within some seconds (None: in the end); its stderr is moved meanwhile."""
        deadline = None if seconds is None else time.monotonic() + seconds
        pause = 0.001
        while self._process.poll() is None:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            self._move(pause)
            pause = min(pause * 2, 0.05)
        # Once: a pipe holds no more than a block of the program's own, but a child of it may go on for ever.
        self._move(0)
        return True

    def close(self) -> None:
        """Called by the WSGI server, always (PEP 3333): what is not complete is ended, what is may end by itself."""
        if self._complete and self._process.returncode is None and not self._wait(self._timeout or None):
            log().warning("%s: ended %s s after its response, because it still ran", self._path, self._timeout)
        self.abort()

    def abort(self) -> None:
        """End the process group of a program that still runs; let go of everything."""
        try:
            if self._process.returncode is None:
                self._kill()
            self._stderr.end()
        finally:
            for name in ("stdin", "stdout", "stderr"):
                self._drop(name)
            self._selector.close()
            self._body.close()

    def _kill(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)  # nobody else gets this number while the group has members
            except (ProcessLookupError, PermissionError):
                pass  # there is nobody left, or the program has become another user's
            # Not before: an upload that broke off must not look like one that came to its end.
            self._drop("stdin")
            self._drop("stdout")
            self._wait(KILL_AFTER)
        if self._process.returncode is None:
            log().error(
                "%s: process %d cannot be ended: it runs as another user, or hangs in the system; look at it with ps",
                self._path, self._process.pid,
            )  # fmt: skip

    def _ignore(self, name: str) -> None:
        """Leave a pipe open, and move nothing through it any more."""
        if name in self._pipes:
            self._selector.unregister(self._pipes.pop(name))

    def _drop(self, name: str) -> None:
        self._ignore(name)
        pipe: IO[bytes] | None = getattr(self._process, name)
        if pipe is not None:
            pipe.close()

    def _fault(self, message: str, *, status_hint: str = "502 Bad Gateway") -> ScriptError:
        """The error to raise, once the program is gone and its last words are known."""
        self.abort()
        return ScriptError(
            f"{self._path}: {message}{self._stderr.last_words()}",
            stderr=self._stderr.tail, returncode=self._process.returncode, status_hint=status_hint,
        )  # fmt: skip


class _Stderr:
    """What a program writes to stderr: line by line to ``wsgi.errors``, under the program's name."""

    def __init__(self, errors: IO[str], name: str) -> None:
        self._errors = errors
        self._name = name
        self._line = b""
        self.tail = b""

    def write(self, data: bytes) -> None:
        """Report the lines that are complete."""
        self.tail = (self.tail + data)[-STDERR_TAIL:]
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > STDERR_TAIL:
            lines.append(self._line)
            self._line = b""
        for line in lines:
            self._errors.write(f"{self._name}: {line.rstrip().decode('utf-8', 'backslashreplace')}\n")

    def end(self) -> None:
        """Report a last line that nothing ends."""
        if self._line:
            self.write(b"\n")

    def last_words(self) -> str:
        """The last line, for a message."""
        line = self.tail.rstrip().rpartition(b"\n")[2][-200:].decode("utf-8", "backslashreplace")
        return f"; its last words were {line!r}" if line else ""
