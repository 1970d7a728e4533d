"""``CGIScript.asgi`` and ``CGIDirectory.asgi``: requests of an ASGI server, answered by programs, in its event loop.

The decisions are those of the WSGI side; no thread waits for a program.  Threads of the loop's default executor start
them, at most STARTERS at a time: that blocks for a millisecond, or some hundred where an interpreter has to get warm.
"""

from __future__ import annotations

import asyncio
from functools import partial
from weakref import WeakKeyDictionary

from gateway.errors import ProtocolError, RequestAborted, ScriptError
from gateway.exchange import BLOCK
from gateway.scope import build_scope
from gateway.script.aio_run import AioRun
from gateway.script.answer import Answer
from gateway.script.body import parse_length
from gateway.script.host import CGIHost
from gateway.script.resolve import Script
from gateway.script.static import answer_plainly
from gateway.visitor import Door, Visitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from gateway.environ import Environ
    from gateway.exchange import Spool
    from gateway.limits import Limits
    from gateway.scope import ASGIApplication, Message
    from gateway.script.execution import Process
    from gateway.script.resolve import Folder, StaticFile

STARTERS = 4
"""Programs that are being started at the same time: two processors start no more in a second with eight."""

_OF_THE_SERVER = ("extensions", "state")
"""What a scope has beside the request, and a redirected request keeps."""


class ScriptDoor(Door):
    """A CGI host as an ASGI application."""

    def __init__(self, host: CGIHost) -> None:
        self._host = host
        self._runs: set[AioRun] = set()
        self._starters: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<{self._host!r}.asgi running={len(self._runs)}>"

    def check_model(self, model: str) -> None:
        """As :meth:`CGIHost.check_model`."""
        self._host.check_model(model)

    async def answer(self, visitor: Visitor) -> None:
        """Answer one request, as ``CGIHost.__call__`` does."""
        host, environ = self._host, visitor.environ
        if "gateway.redirect" in visitor.scope:
            environ["gateway.redirect"] = visitor.scope["gateway.redirect"]
        try:
            while True:
                found = host.find(environ)
                if not isinstance(found, Script):
                    await _give_plainly(found, environ, visitor)
                    return
                run = await self._start(environ, found, visitor)
                response = await run.head()
                onward = host.onward(environ, response.local_redirect, mount=found.mount)
                if onward is None:
                    break
                await run.exhaust()
                app, environ = onward
                if app is not host:
                    await _hand_over(app, environ, visitor)  # type: ignore[arg-type]
                    return
        except (ScriptError, ProtocolError) as error:
            await visitor.give(*host.refuse(error))
            return
        try:
            await visitor.start(response.status, response.headers)
            while data := await run.read():
                await visitor.write(data)
            await visitor.end()
        finally:
            await run.close()

    async def _start(self, environ: Environ, script: Script, visitor: Visitor) -> AioRun:
        host = self._host
        params = host.params(environ, script)
        upload = Upload(visitor)
        try:
            await upload.open(environ, host.limits)
            if upload.announced:
                params["CONTENT_LENGTH"] = str(upload.left)
            program = host.surroundings.program(script, params)
            await self._enter(script.path)
        except BaseException:
            upload.close()
            raise
        try:
            start = host.executions.choose(script.path).start
            process, cancelled = await self._launch(partial(start, program, stdin=upload.left > 0))
        except BaseException:
            host.children.leave()
            upload.close()
            raise
        answer = Answer(program, params, errors=environ["wsgi.errors"], limits=host.limits)
        run = AioRun(process, answer, upload, timeout=host.timeout, limits=host.limits, ended=self._ended)
        self._runs.add(run)
        host.runs.add(run)
        if cancelled is not None:
            await run.end()
            raise cancelled
        return run

    async def _launch(self, start: Callable[[], Process]) -> tuple[Process, asyncio.CancelledError | None]:
        """Start a program in a thread.  That cannot be broken off, and so we are cancelled only after it."""
        loop, cancelled = asyncio.get_running_loop(), None
        if loop not in self._starters:
            self._starters[loop] = asyncio.Semaphore(STARTERS)
        async with self._starters[loop]:
            starting = loop.run_in_executor(None, start)
            while not starting.done():
                try:
                    await asyncio.wait([starting])
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None and starting.exception() is not None:
            raise cancelled
        return starting.result(), cancelled

    def _ended(self, run: AioRun) -> None:
        self._runs.discard(run)
        self._host.ended(run)

    async def _enter(self, path: str) -> None:
        """One more is to run, now or as soon as another has ended.  Raises ScriptError."""
        loop, children = asyncio.get_running_loop(), self._host.children
        turn = loop.create_future()

        def wake() -> None:
            loop.call_soon_threadsafe(turn.set_result, None)

        if children.queue(wake):
            return
        try:
            await asyncio.wait([turn], timeout=self._host.limits.queue_timeout)
        except asyncio.CancelledError:
            if not children.give_up(wake):
                children.leave()
            raise
        if not turn.done() and children.give_up(wake):
            raise children.refuse(path)

    async def shut(self) -> None:
        """End what still runs, and let go of what the strategies keep."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(run.stop() for run in self._runs if run.loop is loop))
        self._host.close()


class Upload:
    """The body of one request, on its way from an ASGI server; ``left`` bytes of it are still to come.

    As :class:`gateway.script.body.Body`, which comes from a WSGI server.
    """

    def __init__(self, visitor: Visitor) -> None:
        self.left = 0
        self.announced = False
        self._visitor = visitor
        self._spool: Spool | None = None
        self._file: IO[bytes] | None = None

    async def open(self, environ: Environ, limits: Limits) -> None:
        """How long is it?  One that does not say so is taken whole first.

        Raises RemoteProtocolError, LimitExceeded, RequestAborted.
        """
        length = environ.get("CONTENT_LENGTH", "")
        if length:
            self.left = parse_length(length, limits)
        elif environ.get("wsgi.input_terminated"):
            self._spool = spool = await self._visitor.keep(limits)
            self._file, self.left = spool.open(), spool.size
        self.announced = bool(length or environ.get("HTTP_TRANSFER_ENCODING")) or self.left > 0

    async def read(self) -> bytes:
        """The next block.  Raises RequestAborted if the visitor sends less than announced."""
        data = await self._visitor.read() if self._file is None else self._file.read(BLOCK)
        if not data:
            raise RequestAborted(f"the visitor gave up when {self.left} bytes of the body were still to come")
        data = data[: self.left]
        self.left -= len(data)
        return data

    async def leave(self) -> None:
        """Wait until the visitor is gone.  Raises RequestAborted then."""
        await self._visitor.leave()

    def close(self) -> None:
        """Forget what was kept."""
        if self._spool is not None:
            self._spool.close()


async def _give_plainly(found: StaticFile | Folder, environ: Environ, visitor: Visitor) -> None:
    status, headers, file = answer_plainly(found, environ)
    if file is None:
        await visitor.give(status, headers, b"")
        return
    with file:
        await visitor.start(status, headers)
        while data := file.read(BLOCK):
            await visitor.write(data)
        await visitor.end()


async def _hand_over(app: ASGIApplication, environ: Environ, visitor: Visitor) -> None:
    """Let the whole site answer a local redirect: a request without a body."""
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        try:
            await visitor.leave()
        except RequestAborted:
            pass  # which is what it waits for
        return {"type": "http.disconnect"}

    kept = {name: visitor.scope[name] for name in _OF_THE_SERVER if name in visitor.scope}
    await app(kept | build_scope(environ), receive, visitor.send)
