"""FastCGI 1.0 as a wire, both sides: the specification of 29 April 1996, whole.

https://fastcgi-archives.github.io/FastCGI_Specification.html

APPLICATION answers requests that a web server multiplexes over a connection; WEB_SERVER makes them.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    AUTHORIZER,
    FILTER,
    RESPONDER,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Event,
    FilterData,
    Ping,
    Pong,
    Request,
    RequestBody,
    Response,
    ResponseBody,
    Side,
)
from gateway.head import ResponseReader, serialize_head
from gateway.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.events import Pairs, Params

# §8 gives these names with the prefix FCGI_.
VERSION_1 = 1
NULL_REQUEST_ID = 0
BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR, DATA = range(1, 9)
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
KEEP_CONN = 1
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)
PROTOCOL_STATUS = ("", "CANT_MPX_CONN", "OVERLOADED", "UNKNOWN_ROLE")
MAX_CONNS, MAX_REQS, MPXS_CONNS = "FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"

TYPE_NAMES = (
    "0", "BEGIN_REQUEST", "ABORT_REQUEST", "END_REQUEST", "PARAMS", "STDIN", "STDOUT", "STDERR", "DATA",
    "GET_VALUES", "GET_VALUES_RESULT", "UNKNOWN_TYPE",
)  # fmt: skip

# §3.3: version, type, requestId, contentLength, paddingLength, reserved.
_HEADER = Struct(">BBHHBx")
_read_header = _HEADER.unpack_from
_make_header = _HEADER.pack
# §5.1 role, flags, reserved[5]; §5.5 appStatus, protocolStatus, reserved[3].
_BEGIN_BODY = Struct(">HB5x")
_END_BODY = Struct(">IB3x")
_LONG = Struct(">I")
_read_long = _LONG.unpack_from

_CONTENT_MAX = 65528
"""The longest content we put in one record: a multiple of 8, so that it needs no padding (§3.3)."""
_PADDING = [b"\0" * n for n in range(8)]


def encode_record(kind: int, request_id: int, content: bytes) -> bytes:
    """One record, padded to a multiple of eight bytes as §3.3 recommends; ``content`` is at most 65535 bytes."""
    padding = -len(content) % 8
    return _make_header(VERSION_1, kind, request_id, len(content), padding) + content + _PADDING[padding]


def _encode_end(request_id: int, app_status: int, protocol_status: int) -> bytes:
    return encode_record(END_REQUEST, request_id, _END_BODY.pack(app_status, protocol_status))


_END_OF_STDOUT_1 = encode_record(STDOUT, 1, b"") + _encode_end(1, 0, REQUEST_COMPLETE)
"""What ends nearly every response there is: request 1, all well."""


def encode_pairs(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Name-value pairs (§3.4); raises UnicodeEncodeError for what is not latin-1."""
    chunks = []
    for name, value in pairs:
        for text in (name, value):
            size = len(text)
            chunks.append(bytes((size,)) if size < 128 else _LONG.pack(size | 0x80000000))
        chunks.append(name.encode("latin-1"))
        chunks.append(value.encode("latin-1"))
    return b"".join(chunks)


def decode_pairs(block: bytes) -> tuple[Params, Pairs]:
    """Name-value pairs (§3.4) as latin-1 text; the pairs in order as well if a name came twice.

    RemoteProtocolError if a length points past the block.

    >>> decode_pairs(bytes([1, 2]) + b"ABC")
    ({'A': 'BC'}, ())
    >>> decode_pairs(bytes([1, 1]) + b"AB" + bytes([1, 1]) + b"AC")
    ({'A': 'C'}, [('A', 'B'), ('A', 'C')])
    """
    text = block.decode("latin-1")
    if not text.isascii():
        pairs = _decode_long_pairs(block, text)
        params = dict(pairs)
        return params, () if len(params) == len(pairs) else pairs
    # No byte is above 127, so every length is one byte: the common case, and a loop worth keeping short.
    params = {}
    at = count = 0
    size = len(block)
    try:
        while at < size:
            middle = at + 2 + block[at]
            name = text[at + 2 : middle]
            at = middle + block[at + 1]
            params[name] = text[middle:at]
            count += 1
    except IndexError:
        at = -1
    if at != size:
        raise _bad_pairs(size)
    return params, () if count == len(params) else _decode_long_pairs(block, text)


def _decode_long_pairs(block: bytes, text: str) -> list[tuple[str, str]]:
    """The pairs of a block in order, lengths of one byte or four."""
    pairs = []
    at, size = 0, len(block)
    try:
        while at < size:
            lengths = []
            for _ in range(2):
                length = block[at]
                at += 1
                if length > 127:
                    length = _read_long(block, at - 1)[0] & 0x7FFFFFFF
                    at += 3
                lengths.append(length)
            middle = at + lengths[0]
            end = middle + lengths[1]
            pairs.append((text[at:middle], text[middle:end]))
            at = end
    except (IndexError, StructError):
        at = -1
    if at != size:
        raise _bad_pairs(size)
    return pairs


def _bad_pairs(size: int) -> RemoteProtocolError:
    return RemoteProtocolError(f"a name or value claims more than its block of {size} bytes has (§3.4)")


class _Stream:
    """What is known of one active request (§2.5)."""

    __slots__ = ("role", "blocks", "size", "body_ended", "complete", "head_sent", "stderr_used", "reader")

    def __init__(self, role: int, reader: ResponseReader | None = None) -> None:
        self.role = role
        self.blocks: list[bytes] | None = []  # PARAMS so far; None: their stream has ended
        self.size = 0
        self.body_ended = False  # the end of STDIN was seen (or sent)
        self.complete = False  # nothing of the request follows
        self.head_sent = False
        self.stderr_used = False
        self.reader = reader


class Connection:
    """One FastCGI transport connection; see DESIGN.md §3 for the verbs.

    ``multiplex`` (APPLICATION): take several requests at once, or refuse the second with CANT_MPX_CONN.
    ``keep_conn`` (WEB_SERVER): ask the application to keep the connection open (§5.1).
    ``values``: what GET_VALUES is answered with, e.g. ``{"FCGI_MAX_CONNS": "100"}`` (§4.1).
    """

    error_channel = True

    def __init__(
        self, side: Side, *, limits: Limits | None = None, multiplex: bool = False, keep_conn: bool = True,
        values: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.side = side
        self.reusable = True
        self._limits = limits or _DEFAULT_LIMITS
        self._keep_conn = keep_conn
        self._most = self._limits.requests_per_connection if multiplex else 1
        self._values = values
        self._streams: dict[int, _Stream] = {}
        self._inbox = b""
        self._received = 0  # bytes before self._inbox, for messages
        self._outbox: list[bytes] = []
        self._pending: list[bytes] = []  # STDOUT content of one request that waits to be put in records
        self._pending_id = 0
        self._handlers = _FROM_WEB_SERVER if side is APPLICATION else _FROM_APPLICATION
        self._events: list[Event] = []

    def __repr__(self) -> str:
        requests = " ".join(
            f"{request_id}:{'params' if s.blocks is not None else 'complete' if s.complete else 'body'}"
            for request_id, s in self._streams.items()
        )
        return f"<fastcgi.Connection {self.side} requests=[{requests}] reusable={self.reusable}>"

    @property
    def idle(self) -> bool:
        """Is nothing begun that is not finished?"""
        return not self._streams and not self._inbox

    def receive_data(self, data: bytes) -> None:
        """Feed bytes; nothing is decoded before :meth:`events`."""
        self._inbox = self._inbox + data if self._inbox else data

    def receive_eof(self) -> None:
        """The peer will send nothing more: requests not yet whole are aborted, responses not yet whole are an error."""
        self.reusable = False
        if self.side is not APPLICATION:
            if self._streams:
                raise RemoteProtocolError(
                    "the application closed the connection before END_REQUEST", status_hint="502 Bad Gateway"
                )
            return
        for request_id, stream in list(self._streams.items()):
            if not stream.complete:
                self._abort(stream, request_id)

    def events(self) -> list[Event]:
        """Decode what was fed.  Raises RemoteProtocolError; the connection is then of no more use.

        What came before the fault is not lost: the next call returns it.
        """
        inbox, at = self._inbox, 0
        size, handlers = len(inbox), self._handlers
        try:
            while size - at >= 8:
                version, kind, request_id, length, padding = _read_header(inbox, at)
                if version != VERSION_1:
                    raise RemoteProtocolError(f"record version is {version}, not 1 (§3.3)")
                end = at + 8 + length + padding
                if end > size:
                    break
                handler = handlers.get(kind)
                if handler is None:
                    self._on_other(kind, request_id)
                else:
                    handler(self, request_id, inbox[at + 8 : at + 8 + length])
                at = end
            else:
                if at < size and inbox[at] != VERSION_1:
                    raise RemoteProtocolError(f"record version is {inbox[at]}, not 1 (§3.3)")
        except RemoteProtocolError as error:
            self.reusable = False
            self._inbox = b""
            error.args = (f"FastCGI: {error} (record at byte {self._received + at})",)
            raise
        self._inbox = inbox[at:] if at < size else b""
        self._received += at
        events, self._events = self._events, []
        return events

    def _on_other(self, kind: int, request_id: int) -> None:
        # §4.2: a management record of unknown type is answered with UNKNOWN_TYPE.
        if request_id == NULL_REQUEST_ID and kind > UNKNOWN_TYPE:
            self._outbox.append(encode_record(UNKNOWN_TYPE, 0, bytes((kind, 0, 0, 0, 0, 0, 0, 0))))
            return
        name = TYPE_NAMES[kind] if kind < len(TYPE_NAMES) else str(kind)
        raise RemoteProtocolError(f"record type {name} for request {request_id} is not for the {self.side!r} side")

    def _on_begin(self, request_id: int, content: bytes) -> None:
        if len(content) != 8:
            raise RemoteProtocolError(f"BEGIN_REQUEST has {len(content)} bytes, not 8 (§5.1)")
        if request_id == NULL_REQUEST_ID or request_id in self._streams:
            raise RemoteProtocolError(f"BEGIN_REQUEST for request id {request_id}, which is in use or reserved (§3.3)")
        role, flags = _BEGIN_BODY.unpack(content)
        refusal = REQUEST_COMPLETE
        if len(self._streams) >= self._most:
            # §5.5: CANT_MPX_CONN when the application processes one request at a time per connection.
            refusal = CANT_MPX_CONN if self._most == 1 else OVERLOADED
        else:
            self.reusable = bool(flags & KEEP_CONN)
            if role not in (RESPONDER, AUTHORIZER, FILTER):
                refusal = UNKNOWN_ROLE
        if refusal:
            self._outbox.append(_encode_end(request_id, 0, refusal))
        else:
            self._streams[request_id] = _Stream(role)

    def _on_params(self, request_id: int, content: bytes) -> None:
        stream = self._streams.get(request_id)
        if stream is None:
            return  # §3.3: an inactive id; the request was refused or is over
        blocks = stream.blocks
        if blocks is None:
            raise RemoteProtocolError(f"PARAMS after their end, request {request_id} (§5.2)")
        if content:
            stream.size += len(content)
            if stream.size > self._limits.params_size:
                raise LimitExceeded(
                    "params_size", self._limits.params_size, status_hint="431 Request Header Fields Too Large"
                )
            blocks.append(content)
            return
        stream.blocks = None
        block = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        params, repeated = decode_pairs(block)
        if len(repeated or params) > self._limits.params_count:
            raise LimitExceeded(
                "params_count", self._limits.params_count, status_hint="431 Request Header Fields Too Large"
            )
        self._events.append(Request(params, request_id, stream.role, repeated))
        if stream.role == AUTHORIZER:
            # §6.3: an Authorizer gets no STDIN.
            stream.complete = True
            self._events.append(EndOfRequest(request_id))

    def _on_stdin(self, request_id: int, content: bytes) -> None:
        stream = self._streams.get(request_id)
        if stream is None or stream.role == AUTHORIZER:
            return
        if stream.blocks is not None:
            raise RemoteProtocolError(f"STDIN before the end of PARAMS, request {request_id} (§6.2)")
        if content:
            if stream.body_ended:
                raise RemoteProtocolError(f"STDIN after its end, request {request_id} (§3.3)")
            self._events.append(RequestBody(content, request_id))
            return
        stream.body_ended = True
        if stream.role == RESPONDER:
            stream.complete = True
            self._events.append(EndOfRequest(request_id))

    def _on_data(self, request_id: int, content: bytes) -> None:
        stream = self._streams.get(request_id)
        if stream is None:
            return
        if stream.role != FILTER or not stream.body_ended or stream.complete:
            raise RemoteProtocolError(f"DATA out of its place, request {request_id} (§6.4: Filters only, after STDIN)")
        if content:
            self._events.append(FilterData(content, request_id))
        else:
            stream.complete = True
            self._events.append(EndOfRequest(request_id))

    def _on_abort(self, request_id: int, content: bytes) -> None:
        stream = self._streams.get(request_id)
        if stream is not None:
            self._abort(stream, request_id)

    def _abort(self, stream: _Stream, request_id: int) -> None:
        if stream.blocks is not None:
            # Nobody was told of this request yet, so nobody else will end it (§5.4).
            del self._streams[request_id]
            self._outbox.append(_encode_end(request_id, 0, REQUEST_COMPLETE))
        else:
            stream.complete = True
            self._events.append(AbortRequest(request_id))

    def _on_get_values(self, request_id: int, content: bytes) -> None:
        # §4.1: variables we do not know are left out of the answer.
        known = {MAX_CONNS: "1", MAX_REQS: str(self._most), MPXS_CONNS: "1" if self._most > 1 else "0"}
        known.update(self._values or ())
        asked, _ = decode_pairs(content)
        result = encode_pairs((name, value) for name, value in known.items() if name in asked)
        self._outbox.append(encode_record(GET_VALUES_RESULT, 0, result))

    # -- receiving, as the web server

    def _on_stdout(self, request_id: int, content: bytes) -> None:
        stream = self._streams.get(request_id)
        if stream is not None and content and stream.reader is not None:
            self._events += stream.reader.feed(content)

    def _on_stderr(self, request_id: int, content: bytes) -> None:
        if content:
            self._events.append(ErrorOutput(content, request_id))

    def _on_end(self, request_id: int, content: bytes) -> None:
        if len(content) != 8:
            raise RemoteProtocolError(f"END_REQUEST has {len(content)} bytes, not 8 (§5.5)")
        stream = self._streams.pop(request_id, None)
        if stream is None:
            return
        app_status, protocol_status = _END_BODY.unpack(content)
        if protocol_status > UNKNOWN_ROLE:
            raise RemoteProtocolError(f"protocolStatus {protocol_status} is unknown (§5.5)")
        if protocol_status == REQUEST_COMPLETE and stream.reader is not None:
            stream.reader.feed_eof()
        if not stream.complete:
            self.reusable = False  # the rest of our request must not be read as the next one
        self._events.append(EndOfResponse(request_id, app_status, PROTOCOL_STATUS[protocol_status]))

    def _on_pong(self, request_id: int, content: bytes) -> None:
        self._events.append(Pong(decode_pairs(content)[0]))

    def _on_unknown_type(self, request_id: int, content: bytes) -> None:
        self._events.append(Pong({}))  # it does not know GET_VALUES, but it lives

    # -- sending

    def send(self, event: Event) -> None:
        """Say something; LocalProtocolError if the request it belongs to is not in a state for it."""
        if self.side is not APPLICATION:
            self._send_request(event)
            return
        request_id = event.request_id
        stream = self._streams.get(request_id)
        if stream is None or stream.blocks is not None:
            raise LocalProtocolError(f"{type(event).__name__} for request {request_id}, which is not active")
        if isinstance(event, ResponseBody) and stream.head_sent:
            data = event.data
        elif isinstance(event, Response) and not stream.head_sent:
            data = serialize_head(event.status, event.headers)
            stream.head_sent = True
        elif isinstance(event, EndOfResponse):
            self._send_end(stream, event)
            return
        elif isinstance(event, ErrorOutput):
            self._flush()
            stream.stderr_used = True
            self._write_stream(STDERR, request_id, event.data)
            return
        elif isinstance(event, BodyWanted):
            return  # STDIN is pushed
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")
        # Small writes of one response gather here and share a record.
        if self._pending_id != request_id:
            self._flush()
            self._pending_id = request_id
        self._pending.append(data)

    def _send_end(self, stream: _Stream, event: EndOfResponse) -> None:
        request_id = event.request_id
        if not stream.complete and not stream.body_ended:
            # The body was not wanted; what is on its way must not be read as the next request.
            self.reusable = self.reusable and self._most > 1
        del self._streams[request_id]
        self._flush()
        if event.app_status and stream.head_sent and self._most == 1:
            # A response cut short.  nginx and Apache take END_REQUEST for success whatever appStatus says, so the
            # only visible end is a connection closed without one (docs/decisions/0006-visible-abort.md).
            self.reusable = False
            return
        if stream.stderr_used:
            self._outbox.append(encode_record(STDERR, request_id, b""))
        if request_id == 1 and event.app_status == 0:
            self._outbox.append(_END_OF_STDOUT_1)
        else:
            self._outbox.append(encode_record(STDOUT, request_id, b""))
            self._outbox.append(_encode_end(request_id, event.app_status & 0xFFFFFFFF, REQUEST_COMPLETE))

    def _send_request(self, event: Event) -> None:
        request_id = event.request_id
        if isinstance(event, Ping):
            # §4.1: GET_VALUES names the variables, values empty.
            asked = encode_pairs([(MAX_CONNS, ""), (MAX_REQS, ""), (MPXS_CONNS, "")])
            self._outbox.append(encode_record(GET_VALUES, NULL_REQUEST_ID, asked))
        elif isinstance(event, Request):
            self._send_begin(event)
        else:
            stream = self._streams.get(request_id)
            if stream is None:
                raise LocalProtocolError(f"{type(event).__name__} for request {request_id}, which is not active")
            if isinstance(event, AbortRequest):
                self._outbox.append(encode_record(ABORT_REQUEST, request_id, b""))
            elif stream.complete:
                raise LocalProtocolError(f"{type(event).__name__} after EndOfRequest")
            elif isinstance(event, RequestBody) and not stream.body_ended:
                self._write_stream(STDIN, request_id, event.data)
            elif isinstance(event, FilterData) and stream.role == FILTER:
                self._end_stdin(stream, request_id)
                self._write_stream(DATA, request_id, event.data)
            elif isinstance(event, EndOfRequest):
                self._end_stdin(stream, request_id)
                stream.complete = True
                if stream.role == FILTER:
                    self._outbox.append(encode_record(DATA, request_id, b""))
            else:
                raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _send_begin(self, event: Request) -> None:
        request_id = event.request_id
        if not 1 <= request_id <= 65535 or request_id in self._streams:
            raise LocalProtocolError(f"request id {request_id} is in use or not within 1–65535 (§3.3)")
        try:
            block = encode_pairs(event.repeated or event.params.items())
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"a param is not latin-1: {error.object[:80]!r}") from None
        self.reusable = self._keep_conn
        begin = _BEGIN_BODY.pack(event.role, KEEP_CONN if self._keep_conn else 0)
        self._outbox.append(encode_record(BEGIN_REQUEST, request_id, begin))
        self._write_stream(PARAMS, request_id, block)
        self._outbox.append(encode_record(PARAMS, request_id, b""))
        stream = _Stream(event.role, ResponseReader(self._limits.head_size, request_id))
        stream.blocks = None
        self._streams[request_id] = stream

    def _end_stdin(self, stream: _Stream, request_id: int) -> None:
        if not stream.body_ended and stream.role != AUTHORIZER:
            self._outbox.append(encode_record(STDIN, request_id, b""))
        stream.body_ended = True

    def _flush(self) -> None:
        if self._pending:
            pending = self._pending
            self._pending = []
            self._write_stream(STDOUT, self._pending_id, pending[0] if len(pending) == 1 else b"".join(pending))

    def _write_stream(self, kind: int, request_id: int, data: bytes) -> None:
        size = len(data)
        if size <= _CONTENT_MAX:
            if size:  # §3.3: an empty record would end the stream
                self._outbox.append(encode_record(kind, request_id, data))
            return
        for at in range(0, size, _CONTENT_MAX):
            self._outbox.append(encode_record(kind, request_id, data[at : at + _CONTENT_MAX]))

    def data_to_send(self) -> list[bytes]:
        """What to write now, in order."""
        if self._pending:
            self._flush()
        outbox, self._outbox = self._outbox, []
        return outbox


_DEFAULT_LIMITS = Limits()
_FROM_WEB_SERVER = {
    BEGIN_REQUEST: Connection._on_begin, ABORT_REQUEST: Connection._on_abort, PARAMS: Connection._on_params,
    STDIN: Connection._on_stdin, DATA: Connection._on_data, GET_VALUES: Connection._on_get_values,
}  # fmt: skip
_FROM_APPLICATION = {
    STDOUT: Connection._on_stdout, STDERR: Connection._on_stderr, END_REQUEST: Connection._on_end,
    GET_VALUES_RESULT: Connection._on_pong, UNKNOWN_TYPE: Connection._on_unknown_type,
}  # fmt: skip
