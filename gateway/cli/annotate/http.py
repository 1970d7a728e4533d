"""HTTP/1.1, line by line and chunk by chunk (RFC 9112); a head is judged by the wire itself."""

from __future__ import annotations

from gateway.cli.annotate import BODY, FRAME, NAME, NUMBER, TYPE, VALUE, Lines, Stream
from gateway.cli.annotate.cgi import body, readable
from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, WEB_SERVER, EndOfRequest, Request, Side
from gateway.exchange import BLOCK
from gateway.head import TOKEN
from gateway.limits import LENGTH_DIGITS, Limits
from gateway.protocols.http import Connection

_LIMITS = Limits(params_size=1 << 20, head_size=1 << 20, params_count=10000)
_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")


def annotate(stream: Stream, side: Side) -> Lines[None]:
    """What ``side`` says: one message after the other."""
    while (yield from stream.more()):
        yield from _message(stream, side)


def _message(stream: Stream, side: Side) -> Lines[None]:
    """A start line, headers, and the body that they announce (§6.3)."""
    lines = [(yield from _start_line(stream))]
    framing: dict[str, str] = {}
    while True:
        line = yield from stream.until(b"\n")
        if not line.rstrip(b"\r\n"):
            break
        lines.append(line)
        name, value = _header(stream, line)
        if name in ("content-length", "transfer-encoding"):
            framing[name] = value.lower()
        yield stream.line(1)
    judge(b"".join(lines) + line, side)
    stream.mark(FRAME, "end of the head")
    yield stream.line(1)
    if "transfer-encoding" in framing:
        yield from _chunks(stream)
    elif side is APPLICATION:
        yield from _response_body(stream, lines[0].split()[1], framing.get("content-length"))
    else:
        yield from _whole_body(stream, int(framing.get("content-length", "0")))


def _start_line(stream: Stream) -> Lines[bytes]:
    line = yield from stream.until(b"\n")
    text = line.rstrip(b"\r\n")
    if len(text.split()) < 2:
        raise RemoteProtocolError(f"{readable(text)[:80]!r} is neither a request line nor a status line (§3, §4)")
    stream.mark(TYPE, readable(text), size=len(text))
    stream.mark(FRAME)
    yield stream.line()
    return line


def _header(stream: Stream, line: bytes) -> tuple[str, str]:
    """Mark a header line (§5): its name in lower case, and its value."""
    text = line.rstrip(b"\r\n")
    name, colon, value = text.partition(b":")
    if not colon or not name or not TOKEN.issuperset(name.decode("latin-1")):
        raise RemoteProtocolError(f"{readable(text)[:80]!r} is no header line: a name, a colon and a value (§5)")
    value = value.lstrip(b" \t")
    stream.mark(NAME, f"{readable(name)}:", size=len(name))
    stream.mark(FRAME, size=len(text) - len(name) - len(value))
    stream.mark(VALUE, readable(value), size=len(value))
    stream.mark(FRAME)
    return name.decode("ascii").lower(), value.decode("latin-1").strip()


def judge(head: bytes, side: Side) -> None:
    """What the wire says of a head.  Raises RemoteProtocolError."""
    if side is APPLICATION:
        connection = Connection(WEB_SERVER, limits=_LIMITS)
        connection.send(Request({"REQUEST_METHOD": "GET", "HTTP_HOST": "localhost"}))
        connection.send(EndOfRequest())
    else:
        connection = Connection(APPLICATION, limits=_LIMITS)
    connection.receive_data(head)
    try:
        connection.events()
    except RemoteProtocolError as error:
        message = str(error).removeprefix("HTTP: ").rpartition(" (message at byte")[0]
        raise RemoteProtocolError(message) from None


def _response_body(stream: Stream, status: bytes, length: str | None) -> Lines[None]:
    if status[:1] == b"1" or status in (b"204", b"304"):
        return
    if length is None:
        yield from body(stream)
    elif (yield from stream.more()):  # else it is an answer to HEAD
        yield from _whole_body(stream, int(length))


def _whole_body(stream: Stream, size: int) -> Lines[None]:
    missing = size - (yield from body(stream, size))
    if missing:
        raise RemoteProtocolError(f"the body ends {missing} bytes before its Content-Length (§6.3)")


def _chunks(stream: Stream) -> Lines[None]:
    """A body in chunks (§7.1)."""
    size = 1
    while size:
        digits = (yield from stream.until(b"\r\n")).partition(b";")[0].rstrip()
        if not digits or not _HEXADECIMAL.issuperset(digits) or len(digits) > LENGTH_DIGITS:
            raise RemoteProtocolError(f"{readable(digits)[:40]!r} is not the size of a chunk (§7.1)")
        size = int(digits, 16)
        stream.mark(NUMBER, f"chunk  {size} bytes" if size else "last chunk", size=len(digits))
        stream.mark(FRAME)
        yield stream.line()
        if size:
            yield from _chunk(stream, size)
    while (line := (yield from stream.until(b"\n"))).strip(b"\r\n"):
        _header(stream, line)  # of the trailer section (§7.1.2)
        yield stream.line(1)
    stream.mark(FRAME, "end of the body")
    yield stream.line()


def _chunk(stream: Stream, size: int) -> Lines[None]:
    """The data of a chunk, and the line end after it."""
    while size:
        data = yield from stream.some(min(size, BLOCK))
        if not data:
            raise RemoteProtocolError(f"the bytes end {size} before the chunk does (§7.1)")
        size -= len(data)
        stream.mark(BODY, f"{len(data)} bytes of the body")
        yield stream.line(1)
    if (yield from stream.peek(2)) not in (b"\r\n", b""):
        raise RemoteProtocolError("a chunk does not end with its size (§7.1)")
    yield from stream.take(2)
    stream.mark(FRAME, "end of the chunk")
    yield stream.line(1)
