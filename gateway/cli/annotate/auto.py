"""Which wire some bytes are of, and who says them, as the first of them show; a PROXY header may come before."""

from __future__ import annotations

from gateway.cli.annotate import NAME, TYPE, VALUE, Annotation, Lines, Stream, annotator
from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, WEB_SERVER, Side
from gateway.head import TOKEN
from gateway.protocols import ajp
from gateway.protocols.detect import V1, V2, WIRE_OF, decode_proxy
from gateway.protocols.fastcgi_records import END_REQUEST, GET_VALUES_RESULT, STDERR, STDOUT, UNKNOWN_TYPE

ENOUGH = 16 + 65535
"""Bytes that are enough to tell: a PROXY header of version 2 is not longer."""
_ANSWERS = (STDOUT, STDERR, END_REQUEST, GET_VALUES_RESULT, UNKNOWN_TYPE)


def recognise(data: bytes) -> tuple[str, Side]:
    r"""The wire that begins so, and the side that speaks.  Raises RemoteProtocolError.

    >>> recognise(b"GET / HTTP/1.1\r\n"), recognise(b"Status: 200 OK\n"), recognise(b"AB\0\2\5\1")
    (('http', WEB_SERVER), ('scgi', APPLICATION), ('ajp', APPLICATION))
    """
    header = decode_proxy(data)
    if header is not None:
        data = data[header[1] :]
    if data.startswith(ajp.FROM_APPLICATION) and data[2:3] < b" ":  # a length, and no letter of a method
        return "ajp", APPLICATION
    if data.startswith(b"HTTP/"):
        return "http", APPLICATION
    name, colon, _ = data.partition(b"\n")[0].partition(b":")
    if colon and name and TOKEN.issuperset(name.decode("latin-1")) and not name.isdigit():
        return "scgi", APPLICATION
    wire = WIRE_OF.get(data[0]) if data else None
    if wire is None:
        begins = f"begins with the byte 0x{data[0]:02x}" if data else "begins with nothing"
        raise RemoteProtocolError(f"no wire {begins}; if you know better, say --protocol and --from")
    answers = wire == "fastcgi" and data[1:2] and data[1] in _ANSWERS
    return wire, APPLICATION if answers else WEB_SERVER


def explain(wire: str, side: Side) -> Annotation:
    """The annotator of what a side says on a wire, after a PROXY header if there is one."""
    annotate = annotator(wire, side)

    def after_header(stream: Stream) -> Lines[None]:
        yield from _proxy_header(stream)
        yield from annotate(stream)

    return Annotation(after_header)


def _proxy_header(stream: Stream) -> Lines[None]:
    start = yield from stream.peek(len(V2))
    if not start.startswith((V1, V2)):
        return
    header = decode_proxy((yield from stream.peek(ENOUGH)))
    if header is None:
        raise RemoteProtocolError("the bytes end within a PROXY header (§2)")
    params, size = header
    yield from stream.take(size)
    stream.mark(TYPE, f"PROXY protocol  version {1 if start.startswith(V1) else 2}")
    yield stream.line()
    for name, value in params.items():  # they have no bytes of their own: the header is text, or packed
        stream.mark(NAME, f"{name} =")
        stream.mark(VALUE, value)
        yield stream.line(1)


