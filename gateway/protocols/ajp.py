"""AJP13 as a wire, both sides: the Apache JServ Protocol 1.3 of mod_proxy_ajp, mod_jk, lighttpd and Tomcat.

https://tomcat.apache.org/connectors-doc/ajp/ajpv13a.html (without numbered sections: its headings stand in quotes)

APPLICATION is what the reference calls the container: it answers requests, and asks for their bodies chunk by chunk.
WEB_SERVER makes requests, one at a time, and holds back what was not asked for yet.
"""

from __future__ import annotations

from struct import Struct

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    Event,
    Ping,
    Pong,
    Repair,
    Request,
    RequestBody,
    Response,
    ResponseBody,
    Side,
)
from gateway.limits import LENGTH_DIGITS, Limits
from gateway.protocols.ajp_codes import (
    CPING,
    CPONG,
    END_RESPONSE,
    FORWARD_REQUEST,
    GET_BODY_CHUNK,
    SEND_BODY_CHUNK,
    SEND_HEADERS,
    SHUTDOWN,
    Payload,
    decode_head,
    decode_request,
    encode_head,
    encode_request,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.events import Pairs, Params

# "Packet Headers"
FROM_WEB_SERVER, FROM_APPLICATION = b"\x12\x34", b"AB"
_HEADER = Struct(">2sH")
_read_header, _make_header = _HEADER.unpack_from, _HEADER.pack

PACKET_SIZE, PACKET_SIZE_MAX = 8192, 65536
"""Bytes of the largest packet, header included, unless both ends are told otherwise ("Packet Size")."""
_TOO_LARGE = "431 Request Header Fields Too Large"

# What a connection is about.
IDLE = "idle"
BEGUN = "begun"  # a Forward Request is being read
BODY = "body"  # more of the request may follow
COMPLETE = "complete"  # of the request nothing follows


def encode_packet(magic: bytes, payload: bytes) -> bytes:
    """One packet; the payload is at most 65535 bytes."""
    return _make_header(magic, len(payload)) + payload


def _encode_body_chunk(chunk: bytes) -> bytes:
    size = len(chunk)
    # "Send Body Chunk" does not mention the closing NUL, but nobody does without it.
    payload = b"%b%b\0" % (bytes((SEND_BODY_CHUNK, size >> 8, size & 0xFF)), chunk)
    return encode_packet(FROM_APPLICATION, payload)


def body_length(params: Params, repeated: Pairs = ()) -> int | None:
    """Bytes of the body that a request announces, None if only its end will tell.  Raises RemoteProtocolError.

    >>> body_length({}), body_length({"CONTENT_LENGTH": "3"}), body_length({"HTTP_TRANSFER_ENCODING": "chunked"})
    (0, 3, None)
    """
    lengths = {value for name, value in repeated or params.items() if name == "CONTENT_LENGTH"}
    chunked = "HTTP_TRANSFER_ENCODING" in params
    if not lengths:
        return None if chunked else 0
    length = lengths.pop()
    if not (length.isdecimal() and len(length) <= LENGTH_DIGITS):
        raise RemoteProtocolError(f'content-length is {length[:40]!r}, not a number of bytes ("Headers")')
    if lengths or chunked:
        raise RemoteProtocolError('content-length has a rival: another one, or transfer-encoding ("Headers")')
    return int(length)


class Connection:
    """One AJP connection; see DESIGN.md §3 for the verbs.

    ``secret``: what the web server proves to know; an application that has none asks for none.
    ``packet_size``: bytes of the largest packet; the peer must know it (Apache: ProxyIOBufferSize, Tomcat: packetSize).
    """

    error_channel, meta_variables, marks_end = False, True, True
    needs_length = False

    def __init__(
        self, side: Side, *, limits: Limits | None = None, secret: str = "", packet_size: int = PACKET_SIZE
    ) -> None:
        if not PACKET_SIZE <= packet_size <= PACKET_SIZE_MAX:
            raise ValueError(f"packet_size is {packet_size}; AJP knows {PACKET_SIZE} to {PACKET_SIZE_MAX} bytes")
        self.side = side
        self.reusable = True
        self._limits = limits or _DEFAULT_LIMITS
        self._secret = secret.encode().decode("latin-1")  # as text on a wire is
        self._packet_size = packet_size
        self._chunk_max = packet_size - 6  # of a request body ("Get Body Chunk")
        self._theirs, self._ours = FROM_APPLICATION, FROM_WEB_SERVER
        if side is APPLICATION:
            self._theirs, self._ours = self._ours, self._theirs
        self._state = IDLE
        self._head_done = False  # was the head of the response sent, or received?
        self._asked = False  # is a body packet on its way, one that was asked for or the first?
        self._credit = 0  # bytes of the body that were asked for and did not come yet
        self._left: int | None = None  # bytes of the body that content-length still promises (APPLICATION)
        self._unflushed = False  # was any of the response's body sent since it was last flushed? (APPLICATION)
        self._bare = False  # do body packets lack their inner length? (APPLICATION)
        self._held = b""  # of the body, and not asked for yet (WEB_SERVER)
        self._broken = False  # the peer broke a rule: nothing more is received, and nothing sent
        self._inbox, self._received = b"", 0  # what is not decoded yet, and the number of bytes before it
        self._events: list[Event] = []
        self._outbox: list[bytes] = []

    def __repr__(self) -> str:
        words = (str(self.side), self._state, "asked" if self._asked else "", "broken" if self._broken else "")
        return f"<ajp.Connection {' '.join(filter(None, words))} reusable={self.reusable}>"

    @property
    def idle(self) -> bool:
        """Is nothing begun that is not finished?"""
        return self._state == IDLE and not (self._inbox or self._broken)

    @property
    def body_held(self) -> int:
        """Bytes of the request body that wait here until the application asks for them."""
        return len(self._held)

    # -- receiving

    def receive_data(self, data: bytes) -> None:
        """Feed bytes; nothing is decoded before :meth:`events`."""
        if not self._broken:
            self._inbox = self._inbox + data if self._inbox else data

    def receive_eof(self) -> None:
        """The peer sends nothing more.  A body cut short is an abort; RemoteProtocolError for any other cut."""
        self._events = self.events()
        self.reusable = False
        if self.side is not APPLICATION and self._state != IDLE:
            raise self._refuse(RemoteProtocolError("the peer closed the connection before End Response"))
        if self._state == BODY:
            self._state, self._asked = COMPLETE, False
            self._events.append(AbortRequest())
        elif self._inbox:
            raise self._refuse(RemoteProtocolError("the peer closed the connection within a packet"))

    def events(self) -> list[Event]:
        """What was fed.  After a RemoteProtocolError once more: what came before the fault, and an abort."""
        inbox, at = self._inbox, 0
        handle = self._on_request if self.side is APPLICATION else self._on_answer
        try:
            while len(inbox) - at >= 4:
                magic, length = _read_header(inbox, at)
                if magic != self._theirs:
                    shown, right = magic.hex(" "), self._theirs.hex(" ")
                    raise RemoteProtocolError(f'a packet begins with {shown}, not with {right} ("Packet Headers")')
                end = at + 4 + length
                if end - at > self._packet_size:
                    self._on_oversize(end - at)
                if end > len(inbox):
                    break
                handle(inbox[at + 4 : end])
                at = end
        except RemoteProtocolError as error:
            self._received += at
            self._refuse(error)
            raise
        self._inbox = inbox[at:]
        self._received += at
        events, self._events = self._events, []
        return events

    def _on_oversize(self, size: int) -> None:
        hint = "400 Bad Request"
        if self._state == IDLE:
            self._state, hint = BEGUN, _TOO_LARGE  # nothing but the headers of a request can be so long
        raise RemoteProtocolError(
            f"a packet of {size} bytes is longer than packet_size={self._packet_size}: give both ends the same "
            '("Packet Size"; Apache: ProxyIOBufferSize, Tomcat: packetSize)',
            status_hint=hint,
        )

    def _refuse(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """The connection ends here: say where, and give a web server that waits for a head one."""
        error.args = (f"AJP: {error} (packet at byte {self._received})",)
        self.reusable = False
        if self.side is APPLICATION and self._state != IDLE:
            if self._state != BEGUN:
                self._events.append(AbortRequest())
            if not self._head_done:
                self._send_answer(Response(error.status_hint, [("Content-Type", "text/plain")]))
                self._send_answer(ResponseBody(f"{error.status_hint}\n".encode("latin-1")))
                self._send_answer(EndOfResponse())
        self._state, self._asked, self._broken, self._inbox = IDLE, False, True, b""
        return error

    # -- receiving, as the application

    def _on_request(self, payload: bytes) -> None:
        if self._state == BODY:
            self._on_body(payload)
        elif not payload:
            return  # says that the body has ended, to a Get Body Chunk that crossed its last chunk
        elif payload[0] == FORWARD_REQUEST and self._state == IDLE:
            self._on_forward_request(payload)
        elif payload[0] == CPING:
            self._outbox.append(encode_packet(self._ours, bytes((CPONG,))))
        elif payload[0] != SHUTDOWN:  # which is ignored: who can connect may not stop the server
            raise RemoteProtocolError(f"prefix code {payload[0]} has no meaning for {self!r}")

    def _on_forward_request(self, payload: bytes) -> None:
        self._state, self._head_done = BEGUN, False
        if len(payload) > self._limits.params_size:
            raise LimitExceeded("params_size", self._limits.params_size, status_hint=_TOO_LARGE)
        pairs, secret = decode_request(payload)
        if self._secret:
            self._check_secret(secret)
        if len(pairs) > self._limits.params_count:
            raise LimitExceeded("params_count", self._limits.params_count, status_hint=_TOO_LARGE)
        params = dict(pairs)
        repeated = () if len(params) == len(pairs) else pairs
        length = body_length(params, repeated)
        self._events.append(Request(params, repeated=repeated))
        self._state, self._left = BODY, length
        if length == 0:
            self._end_request()
        else:
            # "Headers": after a content-length the first chunk comes unasked; lighttpd's may be longer by 2 bytes.
            self._asked = length is not None
            self._credit = self._chunk_max + 2 if self._asked else 0

    def _check_secret(self, secret: str) -> None:
        from hmac import compare_digest  # only who has a secret pays for this import

        if not compare_digest(secret.encode("latin-1"), self._secret.encode("latin-1")):
            raise RemoteProtocolError(
                f"the web server sends {'the wrong' if secret else 'no'} secret: tell it ours (Apache: ProxyPass … "
                "secret=…)",
                status_hint="403 Forbidden",
            )

    def _on_body(self, payload: bytes) -> None:
        data = payload[2:]
        if payload and (self._bare or int.from_bytes(payload[:2], "big") != len(payload) - 2):
            data = payload
            if not self._bare:
                self._bare = True
                self._events.append(Repair("body-length"))
        if not data:  # "Get Body Chunk": there is no more
            self._end_request()
            return
        due = self._credit if self._left is None else min(self._credit, self._left)
        if len(data) > due:
            raise RemoteProtocolError(f'a chunk of {len(data)} bytes came where {due} were due ("Get Body Chunk")')
        self._events.append(RequestBody(data))
        self._asked = False
        self._credit -= len(data)
        if self._left is not None:
            self._left -= len(data)
            if not self._left:
                self._end_request()

    def _end_request(self) -> None:
        self._state, self._asked = COMPLETE, False
        self._events.append(EndOfRequest())

    # -- receiving, as the web server

    def _on_answer(self, data: bytes) -> None:
        payload = Payload(data)
        code = payload.byte()
        if code == CPONG:
            self._events.append(Pong({}))
        elif self._state == IDLE or code not in (SEND_HEADERS, SEND_BODY_CHUNK, GET_BODY_CHUNK, END_RESPONSE):
            raise RemoteProtocolError(f"prefix code {code} has no meaning for {self!r}")
        elif code == GET_BODY_CHUNK:
            self._on_get_body_chunk(payload.integer())
        elif self._head_done == (code == SEND_HEADERS):
            raise RemoteProtocolError("a response has one Send Headers, and before anything else")
        elif code == SEND_HEADERS:
            self._head_done = True
            self._events.append(decode_head(payload))
        elif code == SEND_BODY_CHUNK:
            chunk = payload.take(payload.integer())
            if chunk:  # an empty one asks to flush
                self._events.append(ResponseBody(chunk))
        else:
            # A chunk that was asked for and not sent must not be taken for the next request, nor that for it.
            self.reusable = self.reusable and payload.byte() == 1 and not self._asked
            self._state, self._asked, self._held = IDLE, False, b""
            self._events.append(EndOfResponse())

    def _on_get_body_chunk(self, size: int) -> None:
        if self._asked or not size:
            raise RemoteProtocolError(f'{size} bytes were asked for, {self!r} ("Get Body Chunk")')
        self._asked, self._credit = True, size
        self._events.append(BodyWanted(size))
        self._send_chunk()

    # -- sending

    def send(self, event: Event) -> None:
        """Say something; LocalProtocolError if it is not this side's turn, or does not fit into a packet."""
        if self.side is not APPLICATION:
            self._send_request(event)
        elif not self._broken:  # else whoever still speaks has not heard of the abort yet
            self._send_answer(event)

    def _send_answer(self, event: Event) -> None:
        if isinstance(event, ResponseBody) and self._head_done and self._state != IDLE:
            self._send_body(event.data)
        elif isinstance(event, Response) and not self._head_done and self._state != IDLE:
            self._send_head(encode_head(event.status, event.headers), status_hint="500 Internal Server Error")
            self._head_done = True
        elif isinstance(event, EndOfResponse) and self._state != IDLE:
            cut = event.app_status and self._head_done
            if cut or self._state != COMPLETE:
                self.reusable = False  # a body that was not wanted: its chunks must not be read as the next request
            self._state, self._asked, self._unflushed = IDLE, False, False
            if not cut:  # a response cut short shows by the lack of this
                self._outbox.append(encode_packet(self._ours, bytes((END_RESPONSE, self.reusable))))
        elif isinstance(event, BodyWanted) and self._state != IDLE:
            if self._state == BODY and not self._asked:
                self._ask(min(event.size, self._chunk_max, self._left or self._chunk_max))
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _ask(self, size: int) -> None:
        self._asked = True
        self._credit += size
        self._outbox.append(encode_packet(self._ours, bytes((GET_BODY_CHUNK, size >> 8, size & 0xFF))))

    def _send_body(self, data: bytes) -> None:
        most = self._packet_size - 8
        for at in range(0, len(data), most):
            self._outbox.append(_encode_body_chunk(data[at : at + most]))
            self._unflushed = True

    def _send_request(self, event: Event) -> None:
        if isinstance(event, Ping) and self._state == IDLE:
            self._outbox.append(encode_packet(self._ours, bytes((CPING,))))
        elif isinstance(event, Request) and self._state == IDLE:
            pairs = event.repeated or event.params.items()
            self._send_head(encode_request(event.params, pairs, secret=self._secret), status_hint=_TOO_LARGE)
            self._state, self._head_done = BODY, False
            # "Headers": a content-length other than 0 invites the first chunk.
            self._asked, self._credit = bool(event.params.get("CONTENT_LENGTH", "").strip("0")), self._chunk_max
        elif isinstance(event, RequestBody) and self._state == BODY:
            self._held += event.data
            self._send_chunk()
        elif isinstance(event, EndOfRequest) and self._state == BODY:
            self._state = COMPLETE
            self._send_chunk()
        elif isinstance(event, AbortRequest) and self._state != IDLE:
            self.reusable = False  # there is no word for it: hanging up says it
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _send_chunk(self) -> None:
        """Answer a Get Body Chunk, once there is something to say: at the end of the body, an empty packet."""
        if self._asked and (self._held or self._state == COMPLETE):
            self._asked = False
            size = min(len(self._held), self._credit, self._chunk_max)
            chunk, self._held = self._held[:size], self._held[size:]
            self._outbox.append(encode_packet(self._ours, b"%b%b" % (size.to_bytes(2, "big"), chunk) if size else b""))

    def _send_head(self, payload: bytes, *, status_hint: str) -> None:
        if len(payload) + 4 > self._packet_size:
            raise LocalProtocolError(
                f"a head of {len(payload)} bytes does not fit into a packet of packet_size={self._packet_size}: give "
                'both ends a larger one ("Packet Size"; Apache: ProxyIOBufferSize, Tomcat: packetSize)',
                status_hint=status_hint,
            )
        self._outbox.append(encode_packet(self._ours, payload))

    def data_to_send(self) -> list[bytes]:
        """What to write now, in order."""
        if self._unflushed:
            # The response goes on after a pause: Apache, like Tomcat's other peers, takes an empty chunk for a flush.
            self._outbox.append(_encode_body_chunk(b""))
            self._unflushed = False
        outbox, self._outbox = self._outbox, []
        return outbox


_DEFAULT_LIMITS = Limits()
