"""CGI/1.1 as a wire, both sides (RFC 3875).

The meta-variables travel out of band (§4.1: the process environment), the request body is stdin (§4.2), the response is
stdout (§6).  One connection carries one request.

APPLICATION: construct with ``params``, feed stdin, send the response, write ``data_to_send()`` to stdout.
WEB_SERVER: send a Request (its params go to the child's environment), write ``data_to_send()`` to the child's stdin,
feed its stdout.
"""

from __future__ import annotations

from gateway.errors import LocalProtocolError
from gateway.events import (
    APPLICATION,
    WEB_SERVER,
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
from gateway.head import ResponseReader, serialize_head
from gateway.limits import LENGTH_DIGITS, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.events import Params


class Connection:
    """One CGI request and its response; see the module for who feeds what.

    ``nph`` on the APPLICATION side writes an HTTP status line instead of ``Status`` (RFC 3875 §5).
    """

    reusable = False
    error_channel = False
    """stderr is not part of this wire: who runs the process holds it."""
    meta_variables, marks_end = True, False
    body_held, needs_length = 0, True

    def __init__(
        self, side: Side, *, limits: Limits | None = None, params: Params | None = None, nph: bool = False
    ) -> None:
        if (side is APPLICATION) != (params is not None):
            raise LocalProtocolError("params are what the APPLICATION side of CGI begins with, and only it")
        self.side = side
        self.body_left: int | None = 0
        """Bytes of the body still to come; None: to the end of stdin."""
        self._start = "HTTP/1.1 " if nph else "Status: "
        self._inbox: list[bytes] = []
        self._events: list[Event] = []
        self._outbox: list[bytes] = []
        self._in_ended = self._head_sent = self._out_ended = False
        self._reader: ResponseReader | None = None
        if params is None:
            self._reader = ResponseReader((limits or Limits).head_size)
        else:
            self._begin(params)

    @property
    def idle(self) -> bool:
        """Never before its end: a CGI connection is one request."""
        return self._in_ended and self._out_ended

    def __repr__(self) -> str:
        taken = "ended" if self._in_ended else "open"
        said = "ended" if self._out_ended else "head sent" if self._head_sent else "nothing sent"
        return f"<cgi.Connection {self.side} in={taken} out={said!r}>"

    def _begin(self, params: Params) -> None:
        self._events.append(Request(params))
        length = params.get("CONTENT_LENGTH", "")
        if length:
            # RFC 3875 §4.1.2: CONTENT_LENGTH = "" | 1*digit; build_environ() refuses what is neither.
            self.body_left = int(length) if length.isdecimal() and len(length) <= LENGTH_DIGITS else 0
        elif params.get("HTTP_TRANSFER_ENCODING", "").lower().endswith("chunked"):
            # Apache hands a chunked upload on decoded and without a length: it ends where stdin ends.
            self.body_left = None
        if self.body_left == 0:
            self._end_body()

    def _end_body(self) -> None:
        self._in_ended = True
        self._events.append(EndOfRequest())

    def receive_data(self, data: bytes) -> None:
        """stdin (APPLICATION) or the child's stdout (WEB_SERVER).  Raises RemoteProtocolError on a bad head."""
        if self._reader is not None:
            self._events += self._reader.feed(data)
            return
        if self._in_ended or not data:
            return  # RFC 3875 §4.2: bytes beyond CONTENT_LENGTH are no part of the body
        if self.body_left is not None:
            data = data[: self.body_left]
            self.body_left -= len(data)
        self._events.append(RequestBody(data))
        if self.body_left == 0:
            self._end_body()

    def receive_eof(self) -> None:
        """The stream ended: the end of the response (WEB_SERVER), of a body, or of a body cut short (APPLICATION)."""
        if self._in_ended:
            return
        self._in_ended = True
        if self._reader is not None:
            self._reader.feed_eof()
            self._events.append(EndOfResponse())
        elif self.body_left is None:
            self._events.append(EndOfRequest())
        else:
            self._events.append(AbortRequest())

    def events(self) -> list[Event]:
        """What was fed, as events."""
        events, self._events = self._events, []
        return events

    def send(self, event: Event) -> None:
        """Say something; LocalProtocolError if it is not this side's turn."""
        if self.side is WEB_SERVER:
            self._send_request(event)
        elif isinstance(event, BodyWanted):
            pass  # stdin is pushed
        elif self._out_ended:
            raise LocalProtocolError(f"{type(event).__name__} after EndOfResponse")
        elif isinstance(event, Response) and not self._head_sent:
            self._outbox.append(serialize_head(event.status, event.headers, self._start))
            self._head_sent = True
        elif isinstance(event, ResponseBody) and self._head_sent:
            self._outbox.append(event.data)
        elif isinstance(event, EndOfResponse):
            self._out_ended = True
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _send_request(self, event: Event) -> None:
        begun = self._head_sent and not self._out_ended
        if isinstance(event, RequestBody) and begun:
            self._outbox.append(event.data)
        elif isinstance(event, EndOfRequest) and begun:
            self._out_ended = True
        elif isinstance(event, Request) and not self._head_sent:
            self._head_sent = True
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def data_to_send(self) -> list[bytes]:
        """What to write to stdout (APPLICATION) or to the child's stdin (WEB_SERVER)."""
        outbox, self._outbox = self._outbox, []
        return outbox
