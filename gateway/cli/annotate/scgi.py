"""SCGI, header by header (https://python.ca/scgi/protocol.txt)."""

from __future__ import annotations

from gateway.cli.annotate import FRAME, NAME, NUMBER, VALUE, Annotation, Lines, Stream
from gateway.cli.annotate.cgi import body, readable, response
from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, Side
from gateway.limits import LENGTH_DIGITS
from gateway.protocols.scgi import is_length


def annotate(stream: Stream, side: Side) -> Lines[None]:
    """What ``side`` says."""
    if side is APPLICATION:
        yield from response(stream)
        return
    size = yield from _length(stream)
    headers = Headers()
    inner = Annotation(headers.annotate)
    yield from stream.within(inner, size)
    yield from stream.end_within(inner)
    comma = yield from stream.take(1)
    if comma != b",":
        raise RemoteProtocolError(f"a netstring of {size} bytes ends in {readable(comma)!r}, not in a comma")
    stream.mark(FRAME, "end of the netstring")
    yield stream.line()
    yield from headers.body(stream)


def _length(stream: Stream) -> Lines[int]:
    """The beginning of a netstring."""
    start = yield from stream.peek(LENGTH_DIGITS + 1)
    digits, colon, _ = start.partition(b":")
    if not digits.isdigit() or (digits[:1] == b"0" and digits != b"0") or (not colon and len(start) > LENGTH_DIGITS):
        raise RemoteProtocolError(f"{readable(start)!r} is not the beginning of a netstring: its length, then a colon")
    yield from stream.take(len(digits) + 1)
    stream.mark(NUMBER, f"netstring  {int(digits)} bytes", size=len(digits))
    stream.mark(FRAME)
    yield stream.line()
    return int(digits)


class Headers:
    """The params of a request as they come, and what they say of its body."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}

    def annotate(self, stream: Stream) -> Lines[None]:
        """Names and values, NUL after each (§3)."""
        while (yield from stream.more()):
            name = (yield from stream.until(b"\0"))[:-1]
            first = not self.seen
            if first and name != b"CONTENT_LENGTH":
                raise RemoteProtocolError("the first header is not CONTENT_LENGTH (§3)")
            if not name:
                raise RemoteProtocolError("a header has no name (§3)")
            stream.mark(NAME, f"{readable(name)} =", size=len(name))
            stream.mark(FRAME)
            value = (yield from stream.until(b"\0"))[:-1]
            if first and not value:
                raise RemoteProtocolError("CONTENT_LENGTH has no value (§3)")
            self.add(name, value)
            stream.mark(VALUE, readable(value), size=len(value))
            stream.mark(FRAME)
            yield stream.line()
        if self.seen.get("SCGI") != "1":
            raise RemoteProtocolError("there is no header SCGI with the value 1 (§3); nginx needs: scgi_param SCGI 1;")

    def add(self, name: bytes, value: bytes) -> None:
        """Remember a param.  Raises RemoteProtocolError."""
        text = value.decode("latin-1")
        if name == b"CONTENT_LENGTH":
            if not is_length(text):
                raise RemoteProtocolError(f"CONTENT_LENGTH is {text[:40]!r}, not a number of bytes")
            if text and self.seen.get("CONTENT_LENGTH", text) not in ("", text):
                raise RemoteProtocolError("there are two different CONTENT_LENGTH")
        if text or name.decode("latin-1") not in self.seen:
            self.seen[name.decode("latin-1")] = text

    def body(self, stream: Stream) -> Lines[None]:
        """As many bytes as CONTENT_LENGTH says, and none after them."""
        size = int(self.seen.get("CONTENT_LENGTH") or 0)
        # With scgi_request_buffering off, nginx counts only what it has of the body (nginx/nginx#1118).
        whole = self.seen.get("HTTP_CONTENT_LENGTH", "")
        if is_length(whole) and self.seen.get("SERVER_SOFTWARE", "nginx").startswith("nginx"):
            size = max(size, int(whole or 0))
        missing = size - (yield from body(stream, size))
        if missing:
            raise RemoteProtocolError(f"the body ends {missing} bytes before its CONTENT_LENGTH")
        if (yield from stream.more()):
            raise RemoteProtocolError("bytes follow a body that CONTENT_LENGTH says is over")
