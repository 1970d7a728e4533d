"""AJP13, packet by packet (https://tomcat.apache.org/connectors-doc/ajp/ajpv13a.html; its headings stand in quotes)."""

from __future__ import annotations

from gateway.cli.annotate import BODY, FRAME, NAME, NUMBER, TYPE, VALUE, Annotate, Annotation, Lines, Stream
from gateway.cli.annotate.cgi import readable
from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, Side
from gateway.protocols.ajp import FROM_APPLICATION, FROM_WEB_SERVER, body_length
from gateway.protocols.ajp_codes import (
    ARE_DONE,
    ATTRIBUTES,
    CPING,
    CPONG,
    END_RESPONSE,
    FORWARD_REQUEST,
    GET_BODY_CHUNK,
    METHODS,
    REQ_ATTRIBUTE,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    SEND_BODY_CHUNK,
    SEND_HEADERS,
    SHUTDOWN,
    SSL_KEY_SIZE,
    STORED,
)

NAMES = {
    FORWARD_REQUEST: "Forward Request", SHUTDOWN: "Shutdown", CPING: "CPing", SEND_BODY_CHUNK: "Send Body Chunk",
    SEND_HEADERS: "Send Headers", END_RESPONSE: "End Response", GET_BODY_CHUNK: "Get Body Chunk", CPONG: "CPong",
}  # fmt: skip
QUESTIONS = (FORWARD_REQUEST, SHUTDOWN, CPING)
ANSWERS = (SEND_BODY_CHUNK, SEND_HEADERS, END_RESPONSE, GET_BODY_CHUNK, CPONG)
_NULL = 0xFFFF


def annotate(stream: Stream, side: Side) -> Lines[None]:
    """What ``side`` says."""
    packets = _Packets(stream, side)
    while (yield from stream.more()):
        yield from packets.next()


class _Packets:
    """One direction of a connection."""

    def __init__(self, stream: Stream, side: Side) -> None:
        self._stream = stream
        self._magic = FROM_APPLICATION if side is APPLICATION else FROM_WEB_SERVER
        self._codes = ANSWERS if side is APPLICATION else QUESTIONS
        self._left: int | None = 0  # bytes of the request body that are to come, None for up to an empty packet

    def next(self) -> Lines[None]:
        """A packet: its header, and what its prefix code says."""
        stream = self._stream
        magic = yield from stream.take(2)
        if magic != self._magic:
            right = self._magic.hex(" ")
            raise RemoteProtocolError(f'a packet begins with {magic.hex(" ")}, not with {right} ("Packet Headers")')
        stream.mark(FRAME)
        size = yield from stream.number(2)
        if self._left != 0 or not size:
            stream.mark(TYPE, f"body  {size} bytes" if size else "body  end")
            yield stream.line()
            yield from self._inside(self._body, size)
            return
        stream.mark(FRAME)
        code = yield from stream.number(1)
        if code not in self._codes:
            raise RemoteProtocolError(f"prefix code {code} has no meaning here")
        stream.mark(TYPE, NAMES[code])
        if code in (GET_BODY_CHUNK, END_RESPONSE):  # these are so short that they are no lines of their own
            yield from self._short(code, size - 1)
            return
        if size > 1:
            stream.mark(NUMBER, f"{size} bytes")
        yield stream.line()
        inside = {FORWARD_REQUEST: self._request, SEND_HEADERS: _head, SEND_BODY_CHUNK: _chunk}.get(code, _unused)
        yield from self._inside(inside, size - 1)

    def _inside(self, annotate: Annotate, size: int) -> Lines[None]:
        inner = Annotation(annotate)
        yield from self._stream.within(inner, size)
        yield from self._stream.end_within(inner)

    def _short(self, code: int, size: int) -> Lines[None]:
        stream = self._stream
        right = 2 if code == GET_BODY_CHUNK else 1
        if size < right:
            raise RemoteProtocolError(f"what it says needs {right - size} bytes more")
        number = yield from stream.number(right)
        if code == GET_BODY_CHUNK:
            stream.mark(VALUE, f"up to {number} bytes are wanted")
        else:
            stream.mark(VALUE, "keep the connection" if number == 1 else "close the connection")
        yield from stream.take(size - right)
        stream.mark(FRAME)
        yield stream.line()

    def _body(self, stream: Stream) -> Lines[None]:
        """Some of the request's body ("Get Body Chunk"); lighttpd leaves its inner length out."""
        if not (yield from stream.more()):
            self._left = 0
            return
        payload, remark = (yield from stream.peek(_NULL)), "  (without their inner length)"
        if int.from_bytes(payload[:2], "big") == len(payload) - 2:
            yield from stream.take(2)
            stream.mark(FRAME)
            payload, remark = payload[2:], ""
        if self._left is not None and len(payload) > self._left:
            raise RemoteProtocolError(f'{len(payload)} bytes came where {self._left} were due ("Get Body Chunk")')
        yield from stream.take(len(payload))
        stream.mark(BODY, f"{len(payload)} bytes of the body{remark}" if payload else "end of the body")
        yield stream.line()
        if not payload:
            self._left = 0
        elif self._left is not None:
            self._left -= len(payload)

    def _request(self, stream: Stream) -> Lines[None]:
        """Forward Request."""
        code = yield from stream.number(1)
        if code != STORED and not 0 < code < len(METHODS):
            raise RemoteProtocolError(f'method code {code} is unknown ("method")')
        stream.mark(NAME, "method =", size=0)
        stream.mark(VALUE, "see stored_method" if code == STORED else METHODS[code])
        yield stream.line()
        for name in ("protocol", "req_uri", "remote_addr", "remote_host", "server_name"):
            stream.mark(NAME, f"{name} =", size=0)
            yield from _string(stream)
            yield stream.line()
        stream.mark(NAME, "server_port =", size=0)
        stream.mark(VALUE, str((yield from stream.number(2))))
        yield stream.line()
        stream.mark(NAME, "is_ssl =", size=0)
        stream.mark(VALUE, str((yield from stream.number(1))))
        yield stream.line()
        headers = yield from _headers(stream, REQUEST_HEADERS)
        self._left = body_length(headers)
        yield from _attributes(stream)
        yield from _unused(stream)


def _attributes(stream: Stream) -> Lines[None]:
    """Attributes: coded, or spelled."""
    while (code := (yield from stream.number(1))) != ARE_DONE:
        if code == REQ_ATTRIBUTE:
            stream.mark(FRAME)
            name = yield from _string(stream, NAME)
        else:
            name = _ATTRIBUTE_NAMES.get(code, "")
            if not name:
                raise RemoteProtocolError(f'attribute code {code} is unknown ("Attributes")')
            stream.mark(NAME, f"{name} =")
        if code == SSL_KEY_SIZE:
            stream.mark(VALUE, str((yield from stream.number(2))))
        else:
            yield from _string(stream)
        yield stream.line()
    stream.mark(FRAME, "end of the attributes")
    yield stream.line()


_ATTRIBUTE_NAMES = dict(
    zip(
        sorted(set(ATTRIBUTES) - {REQ_ATTRIBUTE}),
        "context servlet_path remote_user auth_type query_string route ssl_cert ssl_cipher ssl_session ssl_key_size "
        "secret stored_method".split(),
        strict=True,
    )
)
"""What the document calls each, by its code."""


def _headers(stream: Stream, names: tuple[str, ...]) -> Lines[dict[str, str]]:
    """Headers, whose names are coded or spelled; those that frame a body, as params."""
    framing: dict[str, str] = {}
    count = yield from stream.number(2)
    stream.mark(FRAME, f"{count} headers")
    yield stream.line()
    for _ in range(count):
        if (yield from stream.peek(1)) == b"\xa0":
            code = yield from stream.number(2)
            if not 0 < code & 0xFF < len(names):
                raise RemoteProtocolError(f'header code {code:04X} is unknown ("Headers")')
            name = names[code & 0xFF]
            stream.mark(NAME, f"{name}:")
        else:
            name = yield from _string(stream, NAME, after=":")
        value = yield from _string(stream)
        if name.lower() == "content-length":
            if framing.setdefault("CONTENT_LENGTH", value) != value:
                raise RemoteProtocolError('there are two different content-length ("Headers")')
        elif name.lower() == "transfer-encoding":
            framing["HTTP_TRANSFER_ENCODING"] = value
        yield stream.line()
    return framing


def _string(stream: Stream, kind: str = VALUE, *, after: str = " =") -> Lines[str]:
    """A string ("String"), marked as a value, or as a name."""
    size = yield from stream.number(2)
    stream.mark(FRAME)
    if size == _NULL:
        stream.mark(kind, "(null)")
        return ""
    data = yield from stream.take(size + 1)
    if data[-1]:
        raise RemoteProtocolError(f'a string of {size} bytes does not end in NUL ("String")')
    stream.mark(kind, readable(data[:-1]) + (after if kind is NAME else ""), size=size)
    stream.mark(FRAME)
    return data[:-1].decode("latin-1")


def _head(stream: Stream) -> Lines[None]:
    """Send Headers, after its prefix code."""
    status = yield from stream.number(2)
    if not 100 <= status <= 999:
        raise RemoteProtocolError(f'status {status} has not three digits ("Send Headers")')
    stream.mark(NAME, str(status))
    yield from _string(stream)
    yield stream.line()
    yield from _headers(stream, RESPONSE_HEADERS)
    yield from _unused(stream)


def _chunk(stream: Stream) -> Lines[None]:
    """Send Body Chunk, after its prefix code."""
    size = yield from stream.number(2)
    stream.mark(FRAME)
    yield from stream.take(size)
    stream.mark(BODY, f"{size} bytes of the body" if size else "flush")
    while (yield from stream.some(_NULL)):  # "Send Body Chunk" does not mention the NUL that everybody sends
        stream.mark(FRAME)
    yield stream.line()


def _unused(stream: Stream) -> Lines[None]:
    """What follows all that a packet says."""
    while (yield from stream.some(_NULL)):
        stream.mark(FRAME, "unused")
        yield stream.line()
