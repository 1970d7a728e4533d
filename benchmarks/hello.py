"""The application every Python contender runs: the smallest honest response by WSGI (PEP 3333), and by ASGI 3."""

from __future__ import annotations

TYPE_CHECKING = False  # the import of typing would weigh more than all of this
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Any

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY = b"Hello, world!\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]
RAW_HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer every request with the same fourteen bytes."""
    start_response("200 OK", HEADERS[:])
    return [BODY]


async def asgi_application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer every request with the same fourteen bytes; a lifespan it does not know."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": RAW_HEADERS[:]})
    await send({"type": "http.response.body", "body": BODY})
