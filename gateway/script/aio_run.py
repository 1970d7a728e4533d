"""One run of a CGI program in an event loop: its three pipes, and the end of its process group.

As :mod:`gateway.script.run`, which a thread waits for.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time

from gateway.errors import ProtocolError
from gateway.exchange import BLOCK
from gateway.script.ending import EXIT_WITHIN, KILL_AFTER, Clock, Group, open_exit
from gateway.script.faults import log
from gateway.visitor import News

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.errors import ScriptError
    from gateway.events import Response
    from gateway.limits import Limits
    from gateway.script.aio import Upload
    from gateway.script.answer import Answer
    from gateway.script.execution import Pipe, Process

_NOT_YET = -2
_NONE = -1


class AioRun:
    """One run of a program: its response, block by block.

    ``timeout`` is as in :class:`gateway.script.host.CGIHost`; ``ended(self)`` is called once nothing is left of it.
    Any exception out of here means that the program is gone, or is being ended.
    """

    def __init__(
        self, process: Process, answer: Answer, upload: Upload, *, timeout: float, limits: Limits,
        ended: Callable[[AioRun], object],
    ) -> None:  # fmt: skip
        self.loop = loop = asyncio.get_running_loop()
        self._process = process
        self._answer = answer
        self._upload = upload
        self._timeout = timeout
        self._ended: Callable[[AioRun], object] | None = ended
        self._group = Group(process)
        self.terminate = self._group.terminate
        self._clock = Clock(timeout=timeout, limits=limits)
        self._complete = False
        self._hung_up = False  # is stdout closed?
        self._visitors_turn = False  # does nothing move because the visitor sends nothing?
        self._unwritable = False  # does stdin take no more?
        self._output = News(loop)  # on stdout, or that nobody wants it any more
        self._room = News(loop)  # in stdin
        self._over = News(loop)  # the process
        self._exit = _NOT_YET  # a descriptor that tells of it
        self._watched: set[int] = set()  # what the loop reads for us
        self._ending: asyncio.Task[None] | None = None
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        if process.stderr is not None:
            self._watch(process.stderr.fileno(), self._on_error_output)
        self._uploading = loop.create_task(self._feed())

    def __repr__(self) -> str:
        return f"<AioRun {self._answer.path!r} pid={self._process.pid}{' ending' if self._ending else ''}>"

    # The response.

    async def head(self) -> Response:
        """The response's head.  Raises ScriptError, RequestAborted."""
        try:
            while self._answer.head is None:
                await self._step()
            return self._answer.head
        except ProtocolError as error:
            exited = self._hung_up and await self._wait(EXIT_WITHIN)
            message = self._answer.explain_head(error, self._process.returncode if exited else None)
            raise await self._fault(message) from error
        except BaseException:
            await self.end()
            raise

    async def read(self) -> bytes:
        """The next block of the body, b"" at its end.  Raises ScriptError, RequestAborted."""
        answer = self._answer
        try:
            if not answer.blocks and not self._complete:
                if answer.wanted:
                    self._clock.moved()  # the visitor may have been slow
                while not answer.blocks and not answer.ended:
                    await self._step()
                if not answer.blocks:
                    await self._end()
        except BaseException:
            await self.end()
            raise
        return answer.blocks.pop(0) if answer.blocks else b""

    async def _end(self) -> None:
        """stdout is closed, and all of it was passed on."""
        exited = await self._wait(EXIT_WITHIN)
        self._answer.check_end(self._process.returncode)
        self._complete = True
        if exited:
            self._begin_end()

    async def exhaust(self) -> None:
        """Let the program finish, and drop what it says."""
        self._answer.wanted = False
        while await self.read():
            pass
        await self.close()
        await self.wait_until_gone()

    # The process.

    async def _step(self) -> None:
        """Wait for what the program says next, but not for ever.  Raises ScriptError, ProtocolError, RequestAborted."""
        if self._visitors_turn:
            self._clock.moved()
        overdue = self._clock.overdue(wanted=self._answer.wanted)
        if overdue:
            raise await self._fault(overdue, "504 Gateway Timeout")
        assert self._process.stdout is not None  # it has not ended
        descriptor = self._process.stdout.fileno()
        self._watch(descriptor, self._output.set)
        try:
            if not await self._output.wait(self._seconds(self._clock.left())):
                return
        finally:
            self._ignore(descriptor)
            self._output.clear()
        try:
            data = os.read(descriptor, BLOCK)
        except BlockingIOError:
            return
        if self._answer.wanted:  # a program must not go on for ever with a body that nobody reads
            self._clock.moved()
        if not data:
            self._hung_up = True
            self._close(self._process.stdout)
        self._answer.receive(data)

    @staticmethod
    def _seconds(left: float) -> float | None:
        return None if left == math.inf else max(left, 0.0)

    def _on_error_output(self) -> None:
        assert self._process.stderr is not None  # it is open
        try:
            data = os.read(self._process.stderr.fileno(), BLOCK)
        except BlockingIOError:
            return
        if data:
            self._answer.stderr.write(data)
        else:
            self._close(self._process.stderr)

    async def _feed(self) -> None:
        """Pass the visitor's body on, and then wait until the visitor is gone."""
        try:
            while self._process.stdin is not None and self._upload.left:
                self._visitors_turn = True
                block = await self._upload.read()
                self._visitors_turn = False
                if self._hung_up:
                    break  # but leave stdin open: an upload that breaks off must not look whole
                if not await self._write(self._process.stdin, memoryview(block)) or not self._upload.left:
                    self._close(self._process.stdin)
                    break
            await self._upload.leave()
        except Exception as error:
            self._output.fail(error)

    async def _write(self, stdin: Pipe, data: memoryview) -> bool:
        """Write a block; False if the program does not read (RFC 3875 §4.2: it need not)."""
        descriptor = stdin.fileno()
        while data:
            try:
                data = data[os.write(descriptor, data) :]
                self._clock.moved()
            except BrokenPipeError:
                return False
            except BlockingIOError:
                self._unwritable = True
                self.loop.add_writer(descriptor, self._on_room)
                await self._room.wait()
        return True

    def _on_room(self) -> None:
        if self._unwritable and self._process.stdin is not None:
            self._unwritable = False
            self.loop.remove_writer(self._process.stdin.fileno())
            self._room.set()

    async def _wait(self, seconds: float) -> bool:
        """Whether the program ends by itself within some seconds."""
        deadline = time.monotonic() + seconds
        pause = 0.0005
        while self._process.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._sees_exit():
                await self._over.wait(self._seconds(left))
            else:
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 2, 0.05)
        if _descriptor(self._process.stderr) in self._watched:
            self._on_error_output()  # once: a child of it may go on for ever
        return True

    def _sees_exit(self) -> bool:
        """Whether the loop will tell when the process ends."""
        if self._exit == _NOT_YET:
            self._exit = open_exit(self._process)
        if self._exit == _NONE:
            return False
        self._watch(self._exit, self._on_exit)
        return True

    def _on_exit(self) -> None:
        self._ignore(self._exit)
        self._over.set()

    # The end.

    async def close(self) -> None:
        """What is not complete is ended; what is may end by itself, and nobody waits for it."""
        if self._complete and self._ending is None and self._process.poll() is None:
            self._stop()
            self._ending = self.loop.create_task(self._let_end())
        elif not self._complete:
            await self.end()
        elif self._ending is None:
            self._begin_end()

    async def _let_end(self) -> None:
        try:
            if await self._wait(self._timeout or math.inf):
                self._finish()
                return
        except asyncio.CancelledError:
            self._kill_now()
            raise
        log().warning("%s: ended %s s after its response, because it still ran", self._answer.path, self._timeout)
        await self._kill()

    async def end(self) -> None:
        """End the process group of a program that still runs, let go of everything, and wait until it is gone.

        Whoever is cancelled meanwhile need not wait, as long as the loop goes on.
        """
        self._begin_end()
        await self.wait_until_gone()

    async def stop(self) -> None:
        """End it because the server stops."""
        status = "503 Service Unavailable"
        self._output.fail(self._answer.fault("it was ended because the server stops", status_hint=status))
        await self.end()

    async def wait_until_gone(self) -> None:
        """Wait for the end that has begun."""
        if self._ending is not None:
            await asyncio.wait([self._ending])

    def _begin_end(self) -> None:
        if self._ending is not None:
            self._group.signal(signal.SIGTERM)  # it may have been allowed to end by itself
        elif self._ended is not None:
            self._stop()
            if self._process.returncode is not None:
                self._finish()
            else:
                self._ending = self.loop.create_task(self._kill())

    async def _kill(self) -> None:
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                self._group.signal(number)
                # Not before: an upload that broke off must not look like one that came to its end.
                self._close(self._process.stdin)
                self._close(self._process.stdout)
                if await self._wait(KILL_AFTER):
                    break
            else:
                self._group.complain(self._answer.path)
        except asyncio.CancelledError:  # the loop itself ends
            self._kill_now()
            raise
        self._finish()

    def _kill_now(self) -> None:
        """There is no time left, and no loop to wait in."""
        self._group.signal(signal.SIGKILL)
        deadline = time.monotonic() + KILL_AFTER
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        self._finish()

    def _stop(self) -> None:
        """Nothing moves any more but stderr."""
        self._uploading.cancel()
        self._on_room()  # of which nobody makes use any more

    def _finish(self) -> None:
        """Nothing is left of it."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._answer.stderr.end()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            self._close(pipe)
        if self._exit >= 0:
            self._ignore(self._exit)
            os.close(self._exit)
        self._upload.close()
        ended(self)

    def _watch(self, descriptor: int, told: Callable[[], object]) -> None:
        if descriptor not in self._watched:
            self._watched.add(descriptor)
            self.loop.add_reader(descriptor, told)

    def _ignore(self, descriptor: int) -> None:
        if descriptor in self._watched:
            self._watched.remove(descriptor)
            self.loop.remove_reader(descriptor)

    def _close(self, pipe: Pipe | None) -> None:
        if pipe is not None and _descriptor(pipe) != _NONE:
            self._ignore(pipe.fileno())
            pipe.close()

    async def _fault(self, message: str, status_hint: str = "502 Bad Gateway") -> ScriptError:
        """The error to raise, once the program is gone and its last words are known."""
        await self.end()
        return self._answer.fault(message, returncode=self._process.returncode, status_hint=status_hint)


def _descriptor(pipe: Pipe | None) -> int:
    """That of a pipe, -1 if there is none or it is closed; a file object says that in a way of its own."""
    try:
        return -1 if pipe is None else pipe.fileno()
    except ValueError:
        return -1
