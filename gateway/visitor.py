"""One request at an ASGI server, for those who have it answered elsewhere: ``.asgi`` of the client and the CGI hosts.

The application's side of the ASGI specification 3.0; the server's is :mod:`gateway.apps.asgi`.
"""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod

from gateway.errors import LimitExceeded, RemoteProtocolError, RequestAborted
from gateway.exchange import Spool
from gateway.scope import environ_from_scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.environ import Environ
    from gateway.events import Headers
    from gateway.limits import Limits
    from gateway.scope import Message, Receive, Scope, Send

_NO_WEBSOCKET = "a WebSocket cannot be passed on to CGI, nor over any of our wires: let it go to an ASGI application"
_HTTP_DENIAL = "websocket.http.response"
"""The extension by which a WebSocket may be answered as any request is."""


class Visitor:
    """Who made one request: what it asks, the body that it sends, and the response that it gets.

    Everything here raises RequestAborted once it is gone.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        errors = scope.get("gateway.environ", {}).get("wsgi.errors", sys.stderr)
        self.environ: Environ = environ_from_scope(scope) | {"wsgi.errors": errors}
        self._heard_all = False

    def __repr__(self) -> str:
        return f"<Visitor {self.environ['REQUEST_METHOD']} {self.scope['path']!r}>"

    async def read(self) -> bytes:
        """Some more of the body, b"" at its end."""
        while not self._heard_all:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted("the visitor is gone")
            self._heard_all = not message.get("more_body")
            if body := message.get("body"):
                return bytes(body)
        return b""

    async def keep(self, limits: Limits, ahead: bytes = b"") -> Spool:
        """All of the body, some of which was read ahead.  Raises LimitExceeded."""
        spool = Spool(limits.body_memory)
        try:
            while block := ahead or await self.read():
                ahead = b""
                spool.append(block)
                if limits.body_size and spool.size > limits.body_size:
                    raise LimitExceeded("body_size", limits.body_size)
        except BaseException:
            spool.close()
            raise
        return spool

    async def leave(self) -> None:
        """Wait until it is gone; of the body nothing is wanted any more."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        raise RequestAborted("the visitor is gone")

    async def start(self, status: str, headers: Headers) -> None:
        """Send the head of the response."""
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._say({"type": "http.response.start", "status": int(status[:3]), "headers": pairs})

    async def write(self, data: bytes) -> None:
        """Send some of the body, as soon as it is wanted."""
        await self._say({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last of the body."""
        await self._say({"type": "http.response.body", "body": data})

    async def give(self, status: str, headers: Headers, page: bytes) -> None:
        """Send a whole response, its content only if it is wanted."""
        await self.start(status, headers)
        await self.end(b"" if self.environ["REQUEST_METHOD"] == "HEAD" else page)

    async def _say(self, message: Message) -> None:
        try:
            await self.send(message)
        except OSError as error:  # since version 2.4 of the HTTP specification
            raise RequestAborted("the visitor is gone") from error


class Door(ABC):
    """An ASGI 3 application for requests over HTTP, which :meth:`answer` has to answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan of the server."""
        kind = scope["type"]
        if kind == "http":
            await self._open(scope, receive, send)
        elif kind == "lifespan":
            await self._live(receive, send)
        elif kind == "websocket":
            await self._refuse_websocket(scope, receive, send)
        else:
            raise RuntimeError(f"{self!r} answers requests over HTTP, and no scope of type {kind!r}")

    @abstractmethod
    async def answer(self, visitor: Visitor) -> None:
        """Answer one request."""

    @abstractmethod
    async def shut(self) -> None:
        """No request follows in this event loop."""

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            visitor = Visitor(scope, receive, send)
        except RemoteProtocolError as error:
            head = {"type": "http.response.start", "status": int(error.status_hint[:3]), "headers": []}
            await send(head)
            await send({"type": "http.response.body", "body": f"{error}\n".encode("latin-1", "replace")})
            return
        try:
            await self.answer(visitor)
        except RequestAborted:
            return  # nobody is there to be told

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await self.shut()
        await send({"type": "lifespan.shutdown.complete"})

    async def _refuse_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        import logging  # only a refusal pays for this import

        logging.getLogger("gateway").warning("%s: refused: %s", scope.get("path"), _NO_WEBSOCKET)
        await receive()  # its first word, websocket.connect
        if _HTTP_DENIAL in scope.get("extensions", {}):
            headers = [(b"content-type", b"text/plain")]
            await send({"type": f"{_HTTP_DENIAL}.start", "status": 501, "headers": headers})
            await send({"type": f"{_HTTP_DENIAL}.body", "body": f"{_NO_WEBSOCKET}\n".encode()})
        else:
            await send({"type": "websocket.close", "code": 1003, "reason": _NO_WEBSOCKET})


class News:
    """What one coroutine waits for, and others bring, also the bad ones."""

    __slots__ = ("_arrived", "_error", "_loop", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Something happened."""
        self._arrived = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Nothing more will happen: once what did is known, waiting raises this."""
        if self._error is None:
            self._error = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        """What happened so far is known."""
        self._arrived = False

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until something happens, but not longer than some seconds: did it?"""
        if not self._arrived and self._error is None:
            self._waiter = self._loop.create_future()
            timer = None if seconds is None else self._loop.call_later(seconds, self._expire)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        arrived, self._arrived = self._arrived, False
        if self._error is not None and not arrived:
            raise self._error
        return arrived

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
