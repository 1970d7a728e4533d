"""The applications of the conformance suite as ASGI applications: the same cases, told by ASGI's messages alone."""

from __future__ import annotations

import io
import sys

from gateway.scope import environ_from_scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gateway.apps.wsgi import WSGIApplication
    from gateway.events import Headers
    from gateway.scope import ASGIApplication, Receive, Scope, Send


class _Gone(Exception):
    """Nobody waits for the answer any more."""


def as_asgi(app: WSGIApplication) -> ASGIApplication:
    """A WSGI application as one of ASGI: what it gives is sent block by block.  For tests: it holds up the loop.

    It knows nothing but the scope, so what it answers tells whether that is right.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not asked of this application")
        environ = environ_from_scope(scope)
        environ["wsgi.input"], environ["wsgi.errors"] = io.BytesIO(await _body(receive)), sys.stderr
        response = _Response(send)
        result: Any = app(environ, response.start_response)
        try:
            for block in result:
                await response.send(block)
            await response.send(b"", more_body=False)
        finally:
            if hasattr(result, "close"):
                result.close()

    return application


async def _body(receive: Receive) -> bytes:
    blocks = []
    while (message := await receive())["type"] == "http.request":
        blocks.append(message["body"])
        if not message["more_body"]:
            return b"".join(blocks)
    raise _Gone


class _Response:
    """What a WSGI application says, as messages; its head is sent with the first block."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._written: list[bytes] = []
        self._head: dict[str, Any] = {}
        self._sent = False

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """PEP 3333."""
        if exc_info and self._sent:
            raise exc_info[1]
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._head = {"type": "http.response.start", "status": int(status[:3]), "headers": pairs}
        return self._written.append

    async def send(self, block: bytes, *, more_body: bool = True) -> None:
        """Send a block, behind what was written."""
        block = b"".join([*self._written, block])
        self._written.clear()
        if not (block or not more_body):
            return
        if not self._sent:
            self._sent = True
            await self._send(self._head)
        await self._send({"type": "http.response.body", "body": block, "more_body": more_body})
