"""A wire that nobody speaks, both sides: what a new wire must bring, and all that it must bring.

A message is netstrings (https://cr.yp.to/proto/netstrings.txt): its head, its body in chunks, and an empty one at its
end.  The head of a request is a JSON object of its params, that of a response a CGI head (RFC 3875 §6).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    Event,
    Request,
    RequestBody,
    Response,
    ResponseBody,
    Side,
)
from gateway.head import parse_head, serialize_head
from gateway.limits import Limits

if TYPE_CHECKING:
    from gateway.events import Params

HEAD, BODY, OVER = "head", "body", "over"
CHUNK = 65536
"""Bytes of the longest chunk."""
REQUEST: tuple[Any, Any, Any] = (Request, RequestBody, EndOfRequest)
RESPONSE: tuple[Any, Any, Any] = (Response, ResponseBody, EndOfResponse)


def netstring(block: bytes) -> bytes:
    """A block as a netstring.

    >>> netstring(b"hello"), netstring(b"")
    (b'5:hello,', b'0:,')
    """
    return b"%d:%b," % (len(block), block)


def encode_params(params: Params) -> bytes:
    """The head of a request."""
    return json.dumps(params).encode("ascii")


def decode_params(block: bytes) -> Params:
    """The params of a request.  Raises RemoteProtocolError."""
    try:
        params: Params = dict(json.loads(block).items())
        "".join(params.values()).encode("latin-1")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RemoteProtocolError(f"the head is no JSON object of latin-1 strings: {error}") from None
    return params


class Connection:
    """One connection of this wire."""

    error_channel, meta_variables, marks_end = False, True, True
    body_held, needs_length = 0, False

    def __init__(self, side: Side, *, limits: Limits | None = None) -> None:
        self.side = side
        self.reusable = True
        self._limits = limits or Limits()
        self._hears, self._says = (REQUEST, RESPONSE) if side is APPLICATION else (RESPONSE, REQUEST)
        self._heard = self._said = HEAD  # what comes next in each direction; both over: nothing will come
        self._inbox, self._received = b"", 0  # what is not decoded yet, and the number of bytes before it
        self._broken = False
        self._events: list[Event] = []
        self._outbox: list[bytes] = []

    def __repr__(self) -> str:
        state = "broken" if self._broken else f"hears={self._heard} says={self._said}"
        return f"<toy.Connection {self.side} {state} reusable={self.reusable}>"

    @property
    def idle(self) -> bool:
        """Is nothing begun that is not finished?"""
        return self._heard == self._said == HEAD and not (self._inbox or self._broken)

    # Receiving.

    def receive_data(self, data: bytes) -> None:
        """Feed bytes."""
        if not self._broken:
            self._inbox += data

    def receive_eof(self) -> None:
        """The peer sends nothing more.  A body cut short is an abort; RemoteProtocolError for any other cut."""
        self._events = self.events()
        self.reusable = False
        waits = self.side is not APPLICATION and self._said != HEAD and self._heard != OVER
        if self.side is APPLICATION and self._heard == BODY:
            self._heard = OVER
            self._events.append(AbortRequest())
        elif (self._inbox and self._heard != OVER) or waits:
            raise self._refuse(RemoteProtocolError("the peer closed the connection within a message"))

    def events(self) -> list[Event]:
        """What was fed.  After a RemoteProtocolError once more: what came before the fault, and an abort."""
        try:
            while (block := self._next_block()) is not None:
                self._hear(block)
        except RemoteProtocolError as error:
            self._refuse(error)
            raise
        events, self._events = self._events, []
        return events

    def _next_block(self) -> bytes | None:
        """What the next netstring holds, None while it is not whole, or belongs to the next message."""
        if self._heard == OVER or not self._inbox:
            return None
        digits, colon, _ = self._inbox[:10].partition(b":")
        if not digits.isdigit() or (not colon and len(digits) == 10) or (digits[:1] == b"0" and digits != b"0"):
            raise RemoteProtocolError(f"{digits!r} is not the length of a netstring")
        start = len(digits) + 1
        end = start + int(digits)
        self._check_size(end - start)
        if not colon or len(self._inbox) <= end:
            return None
        if self._inbox[end : end + 1] != b",":
            raise RemoteProtocolError(f"a netstring of {end - start} bytes does not end in a comma")
        block, self._inbox = self._inbox[start:end], self._inbox[end + 1 :]
        self._received += end + 1
        return block

    def _check_size(self, size: int) -> None:
        if self._heard == BODY:
            if size > CHUNK:
                raise RemoteProtocolError(f"a chunk has {size} bytes, more than {CHUNK}")
            return
        limit = "params_size" if self.side is APPLICATION else "head_size"
        if size > getattr(self._limits, limit):
            raise LimitExceeded(limit, getattr(self._limits, limit))

    def _hear(self, block: bytes) -> None:
        _, chunk, end = self._hears
        if self._heard == HEAD:
            self._events.append(self._hear_request(block) if self.side is APPLICATION else self._hear_response(block))
            self._heard = BODY
        elif block:
            self._events.append(chunk(block))
        else:
            self._events.append(end())
            self._heard = OVER
            self._turn()

    def _hear_request(self, block: bytes) -> Request:
        params = decode_params(block)
        if len(params) > self._limits.params_count:
            raise LimitExceeded("params_count", self._limits.params_count)
        return Request(params)

    def _hear_response(self, block: bytes) -> Response:
        if self._said == HEAD:
            raise RemoteProtocolError("a response that nobody asked for")
        status, headers = parse_head(block)
        return Response(status or "200 OK", headers)

    def _refuse(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """The connection ends here: say where, and give a web server that waits for a head one."""
        error.args = (f"toy: {error} (at byte {self._received})",)
        if self.side is APPLICATION:
            if self._heard != HEAD:
                self._events.append(AbortRequest())
            if self._said == HEAD:
                head = serialize_head(error.status_hint, [("Content-Type", "text/plain")])
                self._outbox += (netstring(head), netstring(error.status_hint.encode("latin-1")), netstring(b""))
        self.reusable, self._broken, self._inbox = False, True, b""
        return error

    # Sending.

    def send(self, event: Event) -> None:
        """Say something; LocalProtocolError if it is not this side's turn."""
        if self._broken or (isinstance(event, BodyWanted) and self.side is APPLICATION):
            return  # the body is pushed
        head, chunk, end = self._says
        if isinstance(event, head) and self._said == HEAD:
            self._outbox.append(netstring(self._encode_head(event)))
            self._said = BODY
        elif isinstance(event, chunk) and self._said == BODY:
            data = event.data
            self._outbox += (netstring(data[at : at + CHUNK]) for at in range(0, len(data), CHUNK))
        elif isinstance(event, AbortRequest) or (isinstance(event, EndOfResponse) and event.app_status):
            self._said, self.reusable = OVER, False  # its end is missing, and so all can see the cut
            self._turn()
        elif isinstance(event, end) and self._said == BODY:
            self._outbox.append(netstring(b""))
            self._said = OVER
            self._turn()
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _encode_head(self, event: Event) -> bytes:
        if isinstance(event, Request):
            return encode_params(event.params)
        assert isinstance(event, Response)
        return serialize_head(event.status, event.headers)

    def _turn(self) -> None:
        """After a response the next request may come, unless the rest of this one would be taken for it."""
        if (self._said if self.side is APPLICATION else self._heard) == OVER:
            self.reusable = self.reusable and self._heard == self._said
            self._heard = self._said = HEAD if self.reusable else OVER

    def data_to_send(self) -> list[bytes]:
        """What to write now, in order."""
        outbox, self._outbox = self._outbox, []
        return outbox
