"""The lifespan of an ASGI application: its startup before the first request, its shutdown after the last.

Implements the server's side of the ASGI lifespan specification 2.0.  An application that does not know it is served
without.
"""

from __future__ import annotations

import asyncio

from gateway.errors import ApplicationError, StartupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.exchange import Log
    from gateway.scope import ASGIApplication, Message

_ANSWERS = {
    "lifespan.startup.complete": "startup", "lifespan.startup.failed": "startup",
    "lifespan.shutdown.complete": "shutdown", "lifespan.shutdown.failed": "shutdown",
}  # fmt: skip


class Lifespan:
    """One start and one end of an application, each within ``timeout`` seconds; both run in the same task.

    ``state`` is what the application put there; every request gets a shallow copy of it.
    """

    def __init__(self, app: ASGIApplication, *, log: Log, timeout: float) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._log = log
        self._timeout = timeout
        self._asked: asyncio.Queue[str] = asyncio.Queue()  # what the application hears next
        self._answers: dict[str, asyncio.Future[Message]] = {}
        self._task: asyncio.Task[None] | None = None
        self._heard = False

    async def startup(self) -> None:
        """Tell the application to get ready.  Raises StartupError."""
        self._task = asyncio.create_task(self._run(), name="lifespan")
        try:
            answer = await self._ask("startup")
        except asyncio.CancelledError:
            await self._end(patience=0.0)
            raise
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            await self._end()
            raise StartupError(f"the application failed to start: {answer.get('message') or 'it does not say why'}")
        if answer is None and not self._task.done():
            await self._end(patience=0.0)
            raise StartupError(
                f"the application did not start within lifespan_timeout={self._timeout:g} seconds: "
                "it neither sent lifespan.startup.complete nor returned"
            )

    async def shutdown(self) -> None:
        """Tell the application that it is over."""
        if self._task is None or self._task.done():
            return
        answer = await self._ask("shutdown")
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            self._log.error("the application failed to shut down: %s", answer.get("message") or "it does not say why")
        elif answer is None and not self._task.done():
            self._log.error("the application did not shut down within lifespan_timeout=%g seconds", self._timeout)
        await self._end()

    async def _ask(self, what: str) -> Message | None:
        """The application's answer; None if it ended instead, or the time is over."""
        assert self._task is not None  # startup() made it
        answer = self._answers[what] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait(f"lifespan.{what}")
        await asyncio.wait({self._task, answer}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None

    async def _end(self, *, patience: float = 1.0) -> None:
        """An application that has answered returns by itself, if it is given a moment."""
        assert self._task is not None  # startup() made it
        await asyncio.wait({self._task}, timeout=patience)
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=1.0)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._receive, self._send)
        except SystemExit as error:
            startup = self._answers["startup"]
            if not startup.done():
                startup.set_result({"type": "lifespan.startup.failed", "message": f"it called sys.exit({error})"})
        except Exception as error:
            said = [answer.result()["type"] for answer in self._answers.values() if answer.done()]
            if not said:
                # "If an exception is raised … the server must continue but not send any lifespan events."
                tell = self._log.warning if self._heard else self._log.info
                tell("served without lifespan: the application answered it with %s: %s", type(error).__name__, error)
            elif not said[-1].endswith("failed"):
                self._log.error("the lifespan of the application ended with %s: %s", type(error).__name__, error)

    async def _receive(self) -> Message:
        self._heard = True
        return {"type": await self._asked.get()}

    async def _send(self, message: Message) -> None:
        kind = str(message.get("type"))
        answer = self._answers.get(_ANSWERS.get(kind, ""))
        if answer is None or answer.done():
            raise ApplicationError(f"the application sent {kind!r}, which is no answer to what it was told (lifespan)")
        answer.set_result(message)
