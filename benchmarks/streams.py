"""The application of the memory section: swallows an upload, or produces a download, one block at a time (PEP 3333)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

BLOCK = bytes(64 * 1024)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """POST: read the body and answer its length.  GET: send as many zero bytes as the query string says."""
    if environ["REQUEST_METHOD"] == "POST":
        body = str(swallow(environ["wsgi.input"])).encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
    size = int(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))])
    return zeros(size)


def swallow(stream: InputStream) -> int:
    """Read `stream` to its end; return how many bytes there were."""
    length = 0
    while block := stream.read(len(BLOCK)):
        length += len(block)
    return length


def zeros(size: int) -> Iterator[bytes]:
    """Yield `size` zero bytes in blocks."""
    while size > 0:
        yield BLOCK[:size]
        size -= len(BLOCK)
