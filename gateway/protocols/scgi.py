"""SCGI as a wire, both sides: the specification of 23 June 2008.

https://python.ca/scgi/protocol.txt

A connection carries one request, a netstring of headers and then the body, and one response.  That ends with the
connection; its form, which the specification leaves open, is that of CGI (RFC 3875 §6).  APPLICATION is what it calls
the server.
"""

from __future__ import annotations

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    Event,
    Repair,
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
    from collections.abc import Iterable

    from gateway.events import Headers, Pairs, Params

BAD_GATEWAY, TOO_LARGE = "502 Bad Gateway", "431 Request Header Fields Too Large"
HEAD, BODY, OVER = "head", "body", "over"
"""How far a request or a response has come: its head is next, its body is next, nothing is."""


def encode_headers(pairs: Iterable[tuple[str, str]]) -> bytes:
    r"""The netstring of a request.  Raises LocalProtocolError for what SCGI or latin-1 cannot say.

    >>> encode_headers([("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "5")])
    b'44:CONTENT_LENGTH\x005\x00SCGI\x001\x00REQUEST_METHOD\x00POST\x00,'
    """
    # §3: the first header is CONTENT_LENGTH, "even if its value is 0", and there is "always" a header SCGI.
    fields = ["CONTENT_LENGTH", "0", "SCGI", "1"]
    for name, value in pairs:
        if name == "CONTENT_LENGTH":
            fields[1] = value or "0"
        elif name != "SCGI":
            fields += (name, value)
    text = "\0".join(fields) + "\0"
    if text.count("\0") != len(fields) or "" in fields[::2]:
        raise LocalProtocolError("SCGI: a name is empty, or a name or a value holds NUL, which separates them")
    block = encode_text(text)
    return b"%d:%b," % (len(block), block)


def encode_text(text: str) -> bytes:
    """Names and values as bytes (PEP 3333).  Raises LocalProtocolError for what is not latin-1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"a param holds {text[error.start]!r}, which is not latin-1 (PEP 3333)") from None


def decode_headers(block: bytes) -> tuple[Params, Pairs]:
    r"""The headers in a netstring; all in order as well, if a name came twice.  Raises RemoteProtocolError.

    >>> decode_headers(b"CONTENT_LENGTH\x000\x00SCGI\x001\x00")
    ({'CONTENT_LENGTH': '0', 'SCGI': '1'}, ())
    """
    fields = block.decode("latin-1").split("\0")
    if fields.pop() or len(fields) % 2:
        raise RemoteProtocolError("the headers are not each a name, NUL, a value and NUL (§3)")
    if not fields or fields[0] != "CONTENT_LENGTH" or not fields[1]:
        raise RemoteProtocolError("the first header is not CONTENT_LENGTH with a value (§3)")
    names, values = fields[::2], fields[1::2]
    params = dict(zip(names, values, strict=True))
    if "" in params:
        raise RemoteProtocolError("a header has no name (§3)")
    if params.get("SCGI") != "1":
        raise RemoteProtocolError("there is no header SCGI with the value 1 (§3); nginx needs: scgi_param SCGI 1;")
    # §3: "Duplicate names are not allowed in the headers", but nginx sends a repeated header of the visitor's as two.
    return params, () if len(params) == len(names) else list(zip(names, values, strict=True))


class Connection:
    """One SCGI connection, and so one request; see DESIGN.md §3 for the verbs."""

    wire = "SCGI"
    start = "Status: "
    """What a response begins with."""
    reusable = False
    error_channel, meta_variables, marks_end = False, True, False
    body_held, needs_length = 0, True

    def __init__(self, side: Side, *, limits: Limits | None = None) -> None:
        self.side = side
        self._limits = limits or _DEFAULT_LIMITS
        self._request = self._response = HEAD
        self._broken = False  # the peer broke a rule: nothing more is received, and nothing sent
        self._left = 0  # bytes of the request's body that are still to come, or to be sent
        self._inbox, self._received = b"", 0  # what is not decoded yet, and the number of bytes before it
        self._events: list[Event] = []
        self._outbox: list[bytes] = []
        self._reader: ResponseReader | None = None  # WEB_SERVER, once the request is sent
        self._bodiless = False  # it is a HEAD request
        self._promised: int | None = None  # bytes that the response's Content-Length still promises

    def __repr__(self) -> str:
        state = "broken" if self._broken else f"request={self._request} response={self._response}"
        return f"<{self.wire.lower()}.Connection {self.side} {state}>"

    @property
    def idle(self) -> bool:
        """Is nothing begun that is not finished?"""
        return self._request == self._response != BODY and not (self._inbox or self._broken)

    # -- how a request is written; other wires of this kind write it their way

    def encode_request(self, pairs: Iterable[tuple[str, str]]) -> bytes:
        """The head of a request.  Raises LocalProtocolError."""
        return encode_headers(pairs)

    def decode_request(self, data: bytes) -> tuple[Params, Pairs, int] | None:
        """The head of a request and its size in bytes, None while it is not whole.  Raises RemoteProtocolError."""
        digits, colon, _ = data[: LENGTH_DIGITS + 1].partition(b":")
        if not digits.isdigit() or (digits[0] == 48 and digits != b"0"):
            shown = data[: LENGTH_DIGITS + 2].decode("latin-1")
            raise RemoteProtocolError(f"{shown!r} is not the beginning of a netstring: its length, then a colon")
        start = len(digits) + 1
        end = start + int(digits)
        if end - start > self._limits.params_size:
            raise LimitExceeded("params_size", self._limits.params_size, status_hint=TOO_LARGE)
        if not colon or len(data) <= end:
            return None
        if data[end] != 44:
            self._received = end
            raise RemoteProtocolError(f"a netstring of {end - start} bytes ends in {chr(data[end])!r}, not in a comma")
        self._received = start
        params, repeated = decode_headers(data[start:end])
        return params, repeated, end + 1

    # -- receiving

    def receive_data(self, data: bytes) -> None:
        """Feed bytes; nothing is decoded before :meth:`events`."""
        if not self._broken:
            self._inbox = self._inbox + data if self._inbox else data

    def receive_eof(self) -> None:
        """The peer sends nothing more: the end of a response.  RemoteProtocolError if that, or a request, is cut."""
        self._events = self.events()
        try:
            if self.side is APPLICATION:
                self._end_request()
            else:
                self._end_response()
        except RemoteProtocolError as error:
            self._refuse(error)
            raise

    def events(self) -> list[Event]:
        """What was fed.  After a RemoteProtocolError once more: what came before the fault, and an abort."""
        if self._inbox:
            try:
                if self.side is APPLICATION:
                    self._receive_request()
                else:
                    self._receive_response()
            except RemoteProtocolError as error:
                self._refuse(error)
                raise
        events, self._events = self._events, []
        return events

    def _refuse(self, error: RemoteProtocolError) -> None:
        """The connection ends here: say where, and give a web server that waits for a head one (silence is a 502)."""
        error.args = (f"{self.wire}: {error} (at byte {self._received})",)
        if self.side is APPLICATION:
            if self._request != HEAD:
                self._events.append(AbortRequest())
            page = f"{error.status_hint}\n".encode("latin-1")
            self._outbox += (serialize_head(error.status_hint, [("Content-Type", "text/plain")], self.start), page)
        self._request = self._response = OVER
        self._broken, self._inbox = True, b""

    def _receive_request(self) -> None:
        data = self._inbox
        if self._request == HEAD:
            decoded = self.decode_request(data)
            if decoded is None:
                return
            params, repeated, size = decoded
            self._begin(params, repeated)
            data, self._received = data[size:], size
        self._inbox = b""
        left = self._left
        if len(data) > left and self._response == HEAD:  # later, nothing is lost but what nobody waits for
            self._received += left
            raise RemoteProtocolError(f"{len(data) - left} bytes follow a body that CONTENT_LENGTH says is over")
        if data and left:
            data = data[:left]
            self._left -= len(data)
            self._received += len(data)
            self._events.append(RequestBody(data))
        if not self._left and self._request == BODY:
            self._request = OVER
            self._events.append(EndOfRequest())

    def _begin(self, params: Params, repeated: Pairs) -> None:
        if len(repeated or params) > self._limits.params_count:
            raise LimitExceeded("params_count", self._limits.params_count, status_hint=TOO_LARGE)
        length = params.get("CONTENT_LENGTH", "")
        if repeated:
            lengths = {value for name, value in repeated if name == "CONTENT_LENGTH" and value}
            if len(lengths) > 1:
                raise RemoteProtocolError("there are two different CONTENT_LENGTH")
            length = "".join(lengths)
        if not is_length(length):
            raise RemoteProtocolError(f"CONTENT_LENGTH is {length[:40]!r}, not a number of bytes")
        self._left, self._request = int(length or 0), BODY
        request = Request(params, repeated=repeated)
        self._events.append(request)
        if "HTTP_CONTENT_LENGTH" in params:
            self._mend_length(request)

    def _mend_length(self, request: Request) -> None:
        """With scgi_request_buffering off, nginx counts only what it has of the body (nginx/nginx#1118)."""
        params = request.params
        whole = params["HTTP_CONTENT_LENGTH"]  # what the visitor announced; only nginx sends it
        if not (is_length(whole) and params.get("SERVER_SOFTWARE", "nginx").startswith("nginx")):
            return
        if int(whole or 0) > self._left:
            self._left = int(whole)
            params["CONTENT_LENGTH"] = whole
            request.repeated = [(name, params[name] if name == "CONTENT_LENGTH" else v) for name, v in request.repeated]
            self._events.append(Repair("content-length"))

    def _end_request(self) -> None:
        if self._request == BODY:
            self._request = OVER
            self._events.append(AbortRequest())
        elif self._inbox:
            raise RemoteProtocolError("the peer closed the connection before the head of its request was whole")

    def _receive_response(self) -> None:
        data, self._inbox = self._inbox, b""
        if self._response == OVER:
            return  # it is longer than its Content-Length
        if self._reader is None:
            raise RemoteProtocolError("the application answered before it was asked", status_hint=BAD_GATEWAY)
        for event in self._reader.feed(data):
            if isinstance(event, Response):
                self._response = BODY
                # RFC 9110 §6.4.1: responses to HEAD, 204 and 304 have no content.
                empty = self._bodiless or event.status[:3] in ("204", "304")
                self._promised = 0 if empty else _content_length(event.headers)
            elif isinstance(event, ResponseBody) and self._promised is not None:
                event.data = event.data[: self._promised]
                self._promised -= len(event.data)
                if not event.data:
                    continue
            self._events.append(event)
        self._received += len(data)
        if self._promised == 0:
            self._end_response()  # a server that keeps its connections does not close this one

    def _end_response(self) -> None:
        if self._reader is None or self._response == OVER:
            return
        self._reader.feed_eof()
        if self._promised:
            message = f"the response ended {self._promised} bytes before its Content-Length"
            raise RemoteProtocolError(message, status_hint=BAD_GATEWAY)
        self._response = OVER
        self._events.append(EndOfResponse())

    # -- sending

    def send(self, event: Event) -> None:
        """Say something; LocalProtocolError if it is not this side's turn, or not what was announced."""
        if self.side is not APPLICATION:
            self._send_request(event)
        elif isinstance(event, ResponseBody) and self._response == BODY:
            self._outbox.append(event.data)
        elif isinstance(event, Response) and self._response == HEAD and self._request != HEAD:
            self._outbox.append(serialize_head(event.status, event.headers, self.start))
            self._response = BODY
        elif isinstance(event, EndOfResponse) and self._response != OVER and self._request != HEAD:
            self._response = OVER
        elif not (self._broken or isinstance(event, BodyWanted)):  # the body is pushed
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _send_request(self, event: Event) -> None:
        if isinstance(event, RequestBody) and self._request == BODY:
            if len(event.data) > self._left:
                raise LocalProtocolError("the request's body is longer than its CONTENT_LENGTH")
            self._left -= len(event.data)
            self._outbox.append(event.data)
        elif isinstance(event, EndOfRequest) and self._request == BODY:
            if self._left:
                raise LocalProtocolError(f"the request's body ends {self._left} bytes before its CONTENT_LENGTH")
            self._request = OVER
        elif isinstance(event, Request) and self._request == HEAD:
            length = event.params.get("CONTENT_LENGTH", "")
            if not is_length(length):
                raise LocalProtocolError(f"CONTENT_LENGTH is {length[:40]!r}, not a number of bytes")
            self._outbox.append(self.encode_request(event.repeated or event.params.items()))
            self._left, self._request = int(length or 0), BODY
            self._reader = ResponseReader(self._limits.head_size)
            self._bodiless = event.params.get("REQUEST_METHOD") == "HEAD"
        elif isinstance(event, AbortRequest) and self._request != HEAD:
            self._request = self._response = OVER  # closing the connection is what says it
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def data_to_send(self) -> list[bytes]:
        """What to write now, in order."""
        outbox, self._outbox = self._outbox, []
        return outbox


def is_length(text: str) -> bool:
    """Is it a CONTENT_LENGTH, be it the empty one (RFC 3875 §4.1.2)?"""
    return not text or (text.isdecimal() and len(text) <= LENGTH_DIGITS)


def _content_length(headers: Headers) -> int | None:
    for name, value in headers:
        if name.lower() == "content-length" and value and is_length(value):
            return int(value)
    return None


_DEFAULT_LIMITS = Limits()
