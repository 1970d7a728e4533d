"""FastCGI 1.0, record by record (https://fastcgi-archives.github.io/FastCGI_Specification.html)."""

from __future__ import annotations

from gateway.cli.annotate import BODY, FRAME, NAME, NUMBER, TYPE, VALUE, Annotation, Lines, Stream
from gateway.cli.annotate.cgi import body, readable, response
from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, Side
from gateway.protocols.fastcgi import NEXT_STREAM
from gateway.protocols.fastcgi_records import (
    ABORT_REQUEST,
    BEGIN_REQUEST,
    DATA,
    END_REQUEST,
    GET_VALUES,
    GET_VALUES_RESULT,
    KEEP_CONN,
    PARAMS,
    PROTOCOL_STATUS,
    STDIN,
    STDOUT,
    TYPE_NAMES,
    UNKNOWN_TYPE,
    VERSION_1,
)

FROM_WEB_SERVER = (BEGIN_REQUEST, ABORT_REQUEST, PARAMS, STDIN, DATA, GET_VALUES)
ROLES = ("", "Responder", "Authorizer", "Filter")
_FIXED = {BEGIN_REQUEST: "§5.1", END_REQUEST: "§5.5", UNKNOWN_TYPE: "§4.2"}
"""Records whose content has always eight bytes."""


def annotate(stream: Stream, side: Side) -> Lines[None]:
    """What ``side`` says."""
    records = _Records(stream, side)
    while (yield from stream.more()):
        yield from records.next()


class _Records:
    """One direction of a connection."""

    def __init__(self, stream: Stream, side: Side) -> None:
        self._stream = stream
        self._side = side
        self._roles: dict[int, int] = {}  # of the requests that have begun
        self._expects: dict[int, int] = {}  # the stream of each request that comes now
        self._contents: dict[tuple[int, int], Annotation] = {}  # of the streams, by request and type

    def next(self) -> Lines[None]:
        """A record: its header, its content, its padding."""
        stream = self._stream
        kind, request_id, length, padding = yield from self._header()
        if kind in _FIXED:
            if length != 8:
                raise RemoteProtocolError(f"{TYPE_NAMES[kind]} has {length} bytes, not 8 ({_FIXED[kind]})")
            yield from self._fixed(kind, request_id)
        else:
            stream.mark(NUMBER, f"{length} bytes" if length else "end", size=2)
            stream.mark(FRAME)
            yield stream.line()
            if kind <= UNKNOWN_TYPE:
                yield from self._content(kind, request_id, length)
            else:
                yield from stream.take(length)
                stream.mark(BODY)
                yield stream.line(1)
        if padding:
            yield from stream.take(padding)
            stream.mark(FRAME, "padding")
            yield stream.line(1)

    def _header(self) -> Lines[tuple[int, int, int, int]]:
        """A record's header, marked as far as its content length."""
        stream = self._stream
        version = yield from stream.number(1)
        if version != VERSION_1:
            raise RemoteProtocolError(f"record version is {version}, not 1 (§3.3)")
        stream.mark(FRAME)
        kind, request_id = (yield from stream.number(1)), (yield from stream.number(2))
        name = TYPE_NAMES[kind] if 0 < kind <= UNKNOWN_TYPE else f"type {kind}"
        is_ours = (kind in FROM_WEB_SERVER) is (self._side is not APPLICATION)
        if not is_ours and (kind <= UNKNOWN_TYPE or request_id):
            raise RemoteProtocolError(f"{name} for request {request_id} is not for the {self._side} to say (§8)")
        self._check_order(kind, request_id, name)
        stream.mark(TYPE, name, size=1)
        stream.mark(NUMBER, f"request {request_id}" if request_id else "")
        length, padding = (yield from stream.number(2)), (yield from stream.number(1))
        yield from stream.take(1)
        return kind, request_id, length, padding

    def _check_order(self, kind: int, request_id: int, name: str) -> None:
        """Of a request that is seen from its beginning, the streams come one after the other (§6)."""
        expects = self._expects.get(request_id)
        if kind == BEGIN_REQUEST and (not request_id or expects):
            raise RemoteProtocolError(f"{name} for request id {request_id}, which is in use or reserved (§3.3)")
        if kind in (PARAMS, STDIN, DATA) and expects not in (None, kind) and (kind != STDIN or expects == PARAMS):
            expected = TYPE_NAMES[expects or 0]
            raise RemoteProtocolError(f"{name} for request {request_id}, which expects {expected} (§6)")

    def _fixed(self, kind: int, request_id: int) -> Lines[None]:
        """A content of eight bytes, in the line of its header."""
        stream = self._stream
        stream.mark(FRAME)
        content = yield from stream.take(8)
        if kind == BEGIN_REQUEST:
            role, flags = int.from_bytes(content[:2], "big"), content[2]
            stream.mark(VALUE, ROLES[role] if 0 < role < 4 else f"role {role}", size=2)
            stream.mark(VALUE, "keep the connection" if flags & KEEP_CONN else "close at the end", size=1)
            self._roles[request_id], self._expects[request_id] = role, PARAMS
        elif kind == END_REQUEST:
            status = content[4]
            if status >= len(PROTOCOL_STATUS):
                raise RemoteProtocolError(f"protocolStatus {status} is unknown (§5.5)")
            stream.mark(VALUE, f"appStatus {int.from_bytes(content[:4], 'big')}", size=4)
            stream.mark(VALUE, PROTOCOL_STATUS[status] or "REQUEST_COMPLETE", size=1)
            self._contents.pop((request_id, STDOUT), None)
        else:
            stream.mark(VALUE, f"of type {content[0]}", size=1)
        stream.mark(FRAME)
        yield stream.line()

    def _content(self, kind: int, request_id: int, length: int) -> Lines[None]:
        stream, key = self._stream, (request_id, kind)
        content = self._contents.get(key)
        if content is None:
            by_type = {PARAMS: pairs, GET_VALUES: pairs, GET_VALUES_RESULT: pairs, STDOUT: response}
            content = self._contents[key] = Annotation(by_type.get(kind, _any))
        yield from stream.within(content, length)
        if length and kind not in (GET_VALUES, GET_VALUES_RESULT):
            yield from stream.pause_within(content)
            return
        del self._contents[key]
        yield from stream.end_within(content)
        expects = self._expects.get(request_id)
        if kind == expects:
            self._expects[request_id] = NEXT_STREAM.get(self._roles[request_id], {}).get(kind, 0)


def _any(stream: Stream) -> Lines[None]:
    """STDIN, DATA, STDERR: bytes of the application's own."""
    yield from body(stream)


def pairs(stream: Stream) -> Lines[None]:
    """Name-value pairs (§3.4)."""
    while (yield from stream.more()):
        sizes = []
        for _ in range(2):
            first = (yield from stream.peek(1))[:1]
            size = yield from stream.number(4 if first >= b"\x80" else 1)
            sizes.append(size & 0x7FFFFFFF)
        stream.mark(FRAME)
        name = yield from stream.take(sizes[0])
        stream.mark(NAME, f"{readable(name)} =")
        value = yield from stream.take(sizes[1])
        stream.mark(VALUE, readable(value))
        yield stream.line()


