"""The application every Python contender runs: the smallest honest WSGI response (PEP 3333)."""

from __future__ import annotations

TYPE_CHECKING = False  # the import of typing would weigh more than all of this
if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY = b"Hello, world!\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer every request with the same fourteen bytes."""
    start_response("200 OK", HEADERS[:])
    return [BODY]
