"""One request of an ASGI application in a process of its own: a loop made for it, and the lifespan around it.

The peer of the exchange is one that waits (CGI, and the children of the fork worker).  Writing holds up the loop, where
nobody else waits; reading does not.
"""

from __future__ import annotations

import asyncio

from gateway.apps.asgi import ASGIRunner, Call
from gateway.apps.lifespan import Lifespan
from gateway.errors import RequestAborted, StartupError
from gateway.events import AbortRequest, BodyWanted
from gateway.exchange import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.exchange import Exchange


class SoloRunner(ASGIRunner):
    """Answers one exchange; a worker calls it as it calls a WSGI application's."""

    def __call__(self, exchange: Exchange) -> None:
        """Answer the request."""
        asyncio.run(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        lifespan = Lifespan(self.app, log=self._log, timeout=exchange.limits.lifespan_timeout)
        try:
            await lifespan.startup()
        except StartupError as error:
            self._log.error("%s", error)
            self.end(exchange, "500 Internal Server Error")
            return
        self.state = lifespan.state
        exchange.stream()
        try:
            await Call(self, exchange, _Line(exchange)).run()
        finally:
            await lifespan.shutdown()


class _Line:
    """The line of a call whose peer waits when it writes."""

    congested = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._limit: asyncio.TimerHandle | None = None  # while we wait for more

    async def drain(self) -> None:
        """It was taken, or push() would not have returned."""

    def want(self, call: Call) -> None:
        """Look when something more can be read."""
        exchange = self._exchange
        if self._limit is not None or exchange.complete:
            return
        exchange.connection.send(BodyWanted(BLOCK, exchange.request.request_id))
        try:
            exchange.peer.push()
        except RequestAborted:
            self._give_up(call)
        if exchange.complete or exchange.held:
            return  # who pushes may listen, too
        self._limit = self._loop.call_later(exchange.limits.receive_timeout, self._give_up, call)
        try:
            self._loop.add_reader(exchange.peer.fileno(), self._hear, call)
        except PermissionError:  # epoll does not wait for files, which can always be read
            self._loop.call_soon(self._hear, call)

    def _hear(self, call: Call) -> None:
        self._stop()
        if not self._exchange.complete:
            try:
                self._exchange.peer.pull()
            except RequestAborted:
                self._give_up(call)
        call.notify()

    def _give_up(self, call: Call) -> None:
        self._stop()
        self._exchange.receive(AbortRequest(self._exchange.request.request_id))
        call.notify()

    def _stop(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
            self._loop.remove_reader(self._exchange.peer.fileno())

    def answered(self, call: Call) -> None:
        """Nothing more is wanted."""
        self._stop()

    def done(self, call: Call) -> None:
        """And that was all."""
