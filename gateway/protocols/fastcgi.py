"""FastCGI 1.0 as a wire, both sides (https://fastcgi-archives.github.io/FastCGI_Specification.html).

APPLICATION answers requests that a web server multiplexes over a connection; WEB_SERVER makes them.
"""

from __future__ import annotations

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
from gateway.limits import LENGTH_DIGITS, Limits
from gateway.protocols.fastcgi_records import (
    ABORT_REQUEST,
    BEGIN_BODY,
    BEGIN_REQUEST,
    CANT_MPX_CONN,
    CONTENT_MAX,
    DATA,
    END_BODY,
    END_OF_STDOUT_1,
    END_REQUEST,
    GET_VALUES,
    GET_VALUES_RESULT,
    KEEP_CONN,
    MAX_CONNS,
    MAX_REQS,
    MPXS_CONNS,
    NULL_REQUEST_ID,
    OVERLOADED,
    PARAMS,
    PROTOCOL_STATUS,
    REQUEST_COMPLETE,
    STDERR,
    STDIN,
    STDOUT,
    TYPE_NAMES,
    UNKNOWN_ROLE,
    UNKNOWN_TYPE,
    VERSION_1,
    cut_request,
    decode_pairs,
    encode_end,
    encode_pairs,
    encode_record,
    read_header,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gateway.events import Params

NEXT_STREAM = {
    RESPONDER: {PARAMS: STDIN, STDIN: 0},
    AUTHORIZER: {PARAMS: 0},
    FILTER: {PARAMS: STDIN, STDIN: DATA, DATA: 0},
}
"""The streams that each role reads, one after the other (§6.2 to §6.4); an empty record ends each (§3.3)."""

ERRORS_MAX = 8191
"""Bytes of a record of STDERR."""

_TOO_LARGE = "431 Request Header Fields Too Large"


class _Stream:
    """What is known of one active request (§2.5)."""

    __slots__ = ("role", "expects", "blocks", "size", "left", "head_sent", "stderr_used", "reader")
    reader: ResponseReader  # of a WEB_SERVER only

    def __init__(self, role: int) -> None:
        self.role = role
        self.expects = PARAMS  # which of its streams comes now; 0: the request is complete
        self.blocks: list[bytes] = []  # PARAMS so far
        self.size = 0  # bytes in them
        self.left: float = 0  # bytes of STDIN that are still to come, by what its PARAMS say
        self.head_sent = self.stderr_used = False


class Connection:
    """One FastCGI transport connection; see DESIGN.md §3 for the verbs.

    ``multiplex`` (APPLICATION): take several requests at once, or refuse the second with CANT_MPX_CONN.
    ``keep_conn`` (WEB_SERVER): ask the application to keep the connection open (§5.1).
    """

    error_channel, meta_variables, marks_end, body_held, needs_length = True, True, True, 0, False

    def __init__(
        self, side: Side, *, limits: Limits | None = None, multiplex: bool = False, keep_conn: bool = True
    ) -> None:
        self.side = side
        self.reusable = True
        self._limits = limits or _DEFAULT_LIMITS
        self._flags = KEEP_CONN if keep_conn else 0
        self._most = self._limits.requests_per_connection if multiplex else 1
        self._handlers = _FROM_WEB_SERVER if side is APPLICATION else _FROM_APPLICATION
        self._streams: dict[int, _Stream] = {}
        self._broken = False  # the peer broke a rule: nothing more is received, and nothing sent
        self._inbox, self._received = b"", 0  # what is not decoded yet, and the number of bytes before it
        self._events: list[Event] = []
        self._outbox: list[bytes] = []
        self._pending: list[bytes] = []  # STDOUT content of one request: small writes wait here to share a record
        self._pending_id = 0

    def __repr__(self) -> str:
        requests = " ".join(f"{request_id}:{TYPE_NAMES[s.expects]}" for request_id, s in self._streams.items())
        broken = " broken" if self._broken else ""
        return f"<fastcgi.Connection {self.side}{broken} expects=[{requests}] reusable={self.reusable}>"

    @property
    def idle(self) -> bool:
        """Is nothing begun that is not finished?"""
        return not (self._streams or self._inbox or self._broken)

    def receive_data(self, data: bytes) -> None:
        """Feed bytes; nothing is decoded before :meth:`events`."""
        if not self._broken:
            self._inbox = self._inbox + data if self._inbox else data

    def receive_eof(self) -> None:
        """The peer sends nothing more.  A body cut short is an abort; RemoteProtocolError for any other cut."""
        self._events = self.events()
        self.reusable = False
        unwanted = self._inbox[1:2] == _STDIN and not self._streams  # of a request that is over
        cut = "the end of a record (§3.3)" if self._inbox and not (self._streams or unwanted) else ""
        for request_id, stream in self._streams.items():
            if self.side is not APPLICATION:
                cut = "END_REQUEST (§5.5)"
            elif stream.expects == PARAMS:
                cut = "the end of PARAMS (§5.2)"
            elif stream.expects:
                self._on_abort(stream, ABORT_REQUEST, request_id, b"")
        if cut:
            raise self._refuse(RemoteProtocolError(f"the peer closed the connection before {cut}"))

    def events(self) -> list[Event]:
        """What was fed.  After a RemoteProtocolError once more: what came before the fault, and aborts."""
        inbox, at = self._inbox, 0
        if self.side is APPLICATION and not self._streams and (block := cut_request(inbox)) and self._take(block):
            self.reusable = inbox[10] == KEEP_CONN
            at = len(inbox)
        size, handlers, streams, most = len(inbox), self._handlers, self._streams, self._most
        try:
            while size - at >= 8:
                version, kind, request_id, length, padding = read_header(inbox, at)
                if version != VERSION_1:
                    raise RemoteProtocolError(f"record version is {version}, not 1 (§3.3)")
                start, end = at + 8, at + 8 + length + padding
                if end > size:
                    break
                handler, stream = handlers.get(kind), streams.get(request_id)
                if handler is None:
                    self._on_other(kind, request_id)
                elif kind == BEGIN_REQUEST and streams and most == 1 and any(not s.expects for s in streams.values()):
                    break  # to be answered next: HAProxy awaits no END_REQUEST once it has what Content-Length promised
                elif stream is not None or not BEGIN_REQUEST < kind < GET_VALUES:
                    handler(self, stream, kind, request_id, inbox[start : start + length])
                # else it is of an inactive request, one that was refused or is over: ignored (§3.3)
                at = end
            else:
                if at < size and inbox[at] != VERSION_1:
                    raise RemoteProtocolError(f"record version is {inbox[at]}, not 1 (§3.3)")
        except RemoteProtocolError as error:
            self._received += at
            self._refuse(error)
            raise
        self._inbox = inbox[at:] if at < size else b""
        self._received += at
        events, self._events = self._events, []
        return events

    def _take(self, block: bytes) -> bool:
        """A whole request at once.  False, and nothing is done, if it breaks a rule: its records will show where."""
        try:
            params, repeated = decode_pairs(block)
        except RemoteProtocolError:
            return False
        limits = self._limits
        if len(block) > limits.params_size or len(repeated or params) > limits.params_count:
            return False
        stream = self._streams[1] = _Stream(RESPONDER)
        stream.expects = 0
        self._events += (Request(params, 1, RESPONDER, repeated), EndOfRequest(1))
        return True

    def _refuse(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """The connection ends here: say where, and give a web server that waits for a head one (silence is a 502)."""
        error.args = (f"FastCGI: {error} (record at byte {self._received})",)
        if self.side is APPLICATION:
            for request_id, stream in list(self._streams.items()):
                if stream.expects != PARAMS:
                    self._events.append(AbortRequest(request_id))
                if not stream.head_sent:
                    stream.expects = 0
                    self.send(Response(error.status_hint, [("Content-Type", "text/plain")], request_id))
                    self.send(ResponseBody(f"{error.status_hint}\n".encode("latin-1"), request_id))
                    self.send(EndOfResponse(request_id))
            self._streams.clear()
        self.reusable, self._broken, self._inbox = False, True, b""
        return error

    def _on_other(self, kind: int, request_id: int) -> None:
        # §4.2: a management record of unknown type is answered with UNKNOWN_TYPE.
        if request_id == NULL_REQUEST_ID and kind > UNKNOWN_TYPE:
            self._outbox.append(encode_record(UNKNOWN_TYPE, NULL_REQUEST_ID, bytes((kind, 0, 0, 0, 0, 0, 0, 0))))
            return
        name = TYPE_NAMES[kind] if 0 < kind <= UNKNOWN_TYPE else str(kind)
        raise RemoteProtocolError(f"record type {name} for request {request_id} is not for the {self.side} side (§8)")

    def _on_begin(self, stream: _Stream | None, kind: int, request_id: int, content: bytes) -> None:
        if len(content) != 8:
            raise RemoteProtocolError(f"BEGIN_REQUEST has {len(content)} bytes, not 8 (§5.1)")
        if request_id == NULL_REQUEST_ID or stream is not None:
            raise RemoteProtocolError(f"BEGIN_REQUEST for request id {request_id}, which is in use or reserved (§3.3)")
        role, flags = BEGIN_BODY.unpack(content)
        if len(self._streams) >= self._most:
            # §5.5: CANT_MPX_CONN when the application processes one request at a time per connection.
            refusal = CANT_MPX_CONN if self._most == 1 else OVERLOADED
        else:
            self.reusable = bool(flags & KEEP_CONN)
            if role in NEXT_STREAM:
                self._streams[request_id] = _Stream(role)
                return
            refusal = UNKNOWN_ROLE
        self._outbox.append(encode_end(request_id, 0, refusal))

    def _on_stream(self, stream: _Stream, kind: int, request_id: int, content: bytes) -> None:
        if kind != stream.expects:
            if kind == STDIN and not content and stream.expects != PARAMS:
                return  # an end too many, or the end of what an Authorizer has not (§6.3), says nothing wrong
            expected = TYPE_NAMES[stream.expects]
            raise RemoteProtocolError(f"{TYPE_NAMES[kind]} for request {request_id}, which expects {expected} (§6)")
        if kind == PARAMS:
            if content:
                stream.size += len(content)
                if stream.size > self._limits.params_size:
                    raise LimitExceeded("params_size", self._limits.params_size, status_hint=_TOO_LARGE)
                stream.blocks.append(content)
                return
            params, repeated = decode_pairs(b"".join(stream.blocks))
            if len(repeated or params) > self._limits.params_count:
                raise LimitExceeded("params_count", self._limits.params_count, status_hint=_TOO_LARGE)
            stream.left = _announced(params)
            self._events.append(Request(params, request_id, stream.role, repeated))
        elif content:
            stream.left -= len(content)
            self._events.append((RequestBody if kind == STDIN else FilterData)(content, request_id))
            return
        stream.expects = NEXT_STREAM[stream.role][kind]
        if not stream.expects:
            self._events.append(EndOfRequest(request_id))

    def _on_abort(self, stream: _Stream, kind: int, request_id: int, content: bytes) -> None:
        if stream.expects == PARAMS:
            # Nobody was told of this request yet, so nobody else will end it (§5.4).
            del self._streams[request_id]
            self._outbox.append(encode_end(request_id))
        else:
            stream.expects = 0
            self._events.append(AbortRequest(request_id))

    def _on_get_values(self, stream: None, kind: int, request_id: int, content: bytes) -> None:
        known = {MAX_CONNS: self._limits.connections, MAX_REQS: self._most, MPXS_CONNS: int(self._most > 1)}
        # §4.1: variables we do not know are left out of the answer.
        result = encode_pairs((name, str(known[name])) for name in decode_pairs(content)[0] if name in known)
        self._outbox.append(encode_record(GET_VALUES_RESULT, NULL_REQUEST_ID, result))

    def _on_output(self, stream: _Stream, kind: int, request_id: int, content: bytes) -> None:
        if content:
            self._events += stream.reader.feed(content) if kind == STDOUT else [ErrorOutput(content, request_id)]

    def _on_end(self, stream: _Stream, kind: int, request_id: int, content: bytes) -> None:
        if len(content) != 8:
            raise RemoteProtocolError(f"END_REQUEST has {len(content)} bytes, not 8 (§5.5)")
        app_status, protocol_status = END_BODY.unpack(content)
        if protocol_status > UNKNOWN_ROLE:
            raise RemoteProtocolError(f"protocolStatus {protocol_status} is unknown (§5.5)")
        del self._streams[request_id]
        if protocol_status == REQUEST_COMPLETE:
            stream.reader.feed_eof()
        if stream.expects:
            self.reusable = False  # the rest of our request must not be read as the next one
        self._events.append(EndOfResponse(request_id, app_status, PROTOCOL_STATUS[protocol_status]))

    def _on_pong(self, stream: None, kind: int, request_id: int, content: bytes) -> None:
        # Who answers UNKNOWN_TYPE does not know GET_VALUES, but it lives (§4.2).
        self._events.append(Pong(decode_pairs(content)[0] if kind == GET_VALUES_RESULT else {}))

    def send(self, event: Event) -> None:
        """Say something; LocalProtocolError if the request it belongs to is not in a state for it."""
        request_id = event.request_id
        stream = self._streams.get(request_id)
        if self.side is not APPLICATION:
            self._send_request(stream, event)
            return
        if stream is None or stream.expects == PARAMS:
            if self._broken:
                return  # whoever still speaks has not heard of the abort yet
            raise LocalProtocolError(f"{type(event).__name__} for request {request_id}, which is not active")
        if self._pending_id != request_id:
            self._flush()
            self._pending_id = request_id
        if isinstance(event, ResponseBody) and stream.head_sent:
            self._pending.append(event.data)
        elif isinstance(event, Response) and not stream.head_sent:
            self._pending.append(serialize_head(event.status, event.headers))
            stream.head_sent = True
        elif isinstance(event, EndOfResponse):
            self._send_end(stream, event)
        elif isinstance(event, ErrorOutput):
            self._flush()
            stream.stderr_used = True
            self._write_errors(request_id, event.data)
        elif not isinstance(event, BodyWanted):  # STDIN is pushed
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _send_end(self, stream: _Stream, event: EndOfResponse) -> None:
        request_id = event.request_id
        # A response cut short.  END_REQUEST is success to most servers whatever appStatus says, and to some a close is;
        # what an application may never send breaks the response everywhere (docs/decisions/0006-visible-abort.md).
        del self._streams[request_id]
        cut = event.app_status and stream.head_sent and not self._streams
        # A body that nobody wanted is heard and ignored, but a long one: hanging up saves both of us the rest of it.
        # Not the end of one alone, which many send apart: who keeps the connection may be using it again by now.
        if cut or (stream.expects == STDIN and stream.left > self._limits.body_buffer and not self._streams):
            self.reusable = False
        self._flush()
        if stream.stderr_used:
            self._outbox.append(encode_record(STDERR, request_id))
        if cut:
            self._outbox.append(encode_record(ABORT_REQUEST, request_id))
        elif request_id == 1 and event.app_status == 0:
            self._outbox.append(END_OF_STDOUT_1)
        else:
            self._outbox.append(encode_record(STDOUT, request_id) + encode_end(request_id, event.app_status))

    def _send_request(self, stream: _Stream | None, event: Event) -> None:
        request_id = event.request_id
        if isinstance(event, Ping):
            asked = encode_pairs((name, "") for name in (MAX_CONNS, MAX_REQS, MPXS_CONNS))  # §4.1
            self._outbox.append(encode_record(GET_VALUES, NULL_REQUEST_ID, asked))
        elif isinstance(event, Request):
            self._send_begin(event)
        elif stream is None:
            raise LocalProtocolError(f"{type(event).__name__} for request {request_id}, which is not active")
        elif isinstance(event, AbortRequest):
            self._outbox.append(encode_record(ABORT_REQUEST, request_id))
        elif isinstance(event, RequestBody) and stream.expects == STDIN:
            self._write_stream(STDIN, request_id, event.data)
        elif isinstance(event, FilterData) and stream.role == FILTER and stream.expects:
            if stream.expects == STDIN:
                self._end_stream(stream, request_id)
            self._write_stream(DATA, request_id, event.data)
        elif isinstance(event, EndOfRequest) and (stream.expects or stream.role == AUTHORIZER):
            while stream.expects:
                self._end_stream(stream, request_id)
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _send_begin(self, event: Request) -> None:
        request_id = event.request_id
        if not 1 <= request_id <= 65535 or request_id in self._streams:
            raise LocalProtocolError(f"request id {request_id} is in use or not within 1–65535 (§3.3)")
        if event.role not in NEXT_STREAM:
            raise LocalProtocolError(f"role {event.role} is none of 1, 2, 3 (§6)")
        stream = _Stream(event.role)
        stream.reader = ResponseReader(self._limits.head_size, request_id)
        block = encode_pairs(event.repeated or event.params.items())
        self._outbox.append(encode_record(BEGIN_REQUEST, request_id, BEGIN_BODY.pack(event.role, self._flags)))
        self._write_stream(PARAMS, request_id, block)
        self._end_stream(stream, request_id)
        self._streams[request_id] = stream
        self.reusable = bool(self._flags)

    def _end_stream(self, stream: _Stream, request_id: int) -> None:
        self._outbox.append(encode_record(stream.expects, request_id))
        stream.expects = NEXT_STREAM[stream.role][stream.expects]

    def _flush(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, []
            self._write_stream(STDOUT, self._pending_id, b"".join(pending))

    def _write_stream(self, kind: int, request_id: int, data: bytes) -> None:
        if 0 < len(data) <= CONTENT_MAX:  # never an empty record: it would end the stream (§3.3)
            self._outbox.append(encode_record(kind, request_id, data))
            return
        for at in range(0, len(data), CONTENT_MAX):
            self._outbox.append(encode_record(kind, request_id, data[at : at + CONTENT_MAX]))

    def _write_errors(self, request_id: int, data: bytes) -> None:
        # HAProxy 2.6 dies (SIGSEGV) of a STDERR record that needs no padding, or is longer than its buffer of 16 KiB.
        for at in range(0, len(data), ERRORS_MAX):
            block = data[at : at + ERRORS_MAX]
            if len(block) % 8 == 0:
                self._write_stream(STDERR, request_id, block[:1])
                block = block[1:]
            self._write_stream(STDERR, request_id, block)

    def data_to_send(self) -> list[bytes]:
        """What to write now, in order."""
        if self._pending:
            self._flush()
        outbox, self._outbox = self._outbox, []
        return outbox


def _announced(params: Params) -> float:
    """Bytes of the body that a request announces; infinite if only its end will tell."""
    length = params.get("CONTENT_LENGTH", "")
    if length.isdecimal() and len(length) <= LENGTH_DIGITS:
        return int(length)
    return float("inf") if length or "HTTP_TRANSFER_ENCODING" in params else 0


_DEFAULT_LIMITS = Limits()
_STDIN = bytes((STDIN,))
_FROM_WEB_SERVER: dict[int, Callable[[Connection, Any, int, int, bytes], None]] = {
    BEGIN_REQUEST: Connection._on_begin, ABORT_REQUEST: Connection._on_abort, PARAMS: Connection._on_stream,
    STDIN: Connection._on_stream, DATA: Connection._on_stream, GET_VALUES: Connection._on_get_values,
}  # fmt: skip
_FROM_APPLICATION: dict[int, Callable[[Connection, Any, int, int, bytes], None]] = {
    STDOUT: Connection._on_output, STDERR: Connection._on_output, END_REQUEST: Connection._on_end,
    GET_VALUES_RESULT: Connection._on_pong, UNKNOWN_TYPE: Connection._on_pong,
}  # fmt: skip
