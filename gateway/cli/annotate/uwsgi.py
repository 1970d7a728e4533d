"""uwsgi, var by var (https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html)."""

from __future__ import annotations

from gateway.cli.annotate import FRAME, NAME, NUMBER, TYPE, VALUE, Annotation, Lines, Stream
from gateway.cli.annotate.cgi import readable, response
from gateway.cli.annotate.scgi import Headers
from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, Side
from gateway.protocols.uwsgi import REQUEST


def annotate(stream: Stream, side: Side) -> Lines[None]:
    """What ``side`` says."""
    if side is APPLICATION:
        yield from response(stream)
        return
    modifier = yield from stream.number(1)
    if modifier != REQUEST:
        raise RemoteProtocolError(f"modifier1 is {modifier}, and only requests, modifier1 0, are served")
    stream.mark(TYPE, "request")
    size = int.from_bytes((yield from stream.take(2)), "little")
    stream.mark(NUMBER, f"{size} bytes")
    yield from stream.take(1)
    stream.mark(FRAME)
    yield stream.line()
    headers = _Vars()
    inner = Annotation(headers.annotate)
    yield from stream.within(inner, size)
    yield from stream.end_within(inner)
    yield from headers.body(stream)


class _Vars(Headers):
    """The params of a request in a packet."""

    def annotate(self, stream: Stream) -> Lines[None]:
        """Names and values, each after its length, 16 bits little-endian."""
        while (yield from stream.more()):
            name = yield from self._text(stream)
            stream.mark(NAME, f"{readable(name)} =")
            value = yield from self._text(stream)
            self.add(name, value)
            stream.mark(VALUE, readable(value))
            yield stream.line()
        if "HTTP_TRANSFER_ENCODING" in self.seen and not self.seen.get("CONTENT_LENGTH"):
            raise RemoteProtocolError("a chunked body, and no CONTENT_LENGTH")

    def _text(self, stream: Stream) -> Lines[bytes]:
        size = int.from_bytes((yield from stream.take(2)), "little")
        stream.mark(FRAME)
        return (yield from stream.take(size))
