"""HTTP/1.1 as a wire, both sides (RFC 9110, RFC 9112); h11 parses and frames.

APPLICATION answers requests, one after the other: one that was pipelined waits until the one before is answered.
WEB_SERVER makes them.  HTTP does not say what a web server knows besides, such as who connected: the caller may.
"""

from __future__ import annotations

import sys
import time
from functools import lru_cache

import h11

from gateway.environ import decode_path, encode_path
from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    RESPONDER,
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
from gateway.head import HOP_BY_HOP, serialize_head
from gateway.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.events import Headers, Params

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_OF_OUR_OWN = HOP_BY_HOP | {"host", "content-length", "content-type", "proxy-connection"}
"""Headers of a request that are not made from the HTTP_* param of their name."""


@lru_cache(maxsize=4)
def format_date(second: int) -> str:
    """Seconds since the epoch as an IMF-fixdate (RFC 9110 §5.6.7).

    >>> format_date(784111777)
    'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(second)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"


class Connection:
    """One HTTP connection; see DESIGN.md §3 for the verbs.

    ``params`` (APPLICATION) are what HTTP does not say: REMOTE_ADDR, SERVER_PORT, HTTPS; a request's own win.
    ``clock`` (APPLICATION) dates the responses (RFC 9110 §6.6.1), None if there is no clock.
    """

    error_channel, meta_variables, marks_end = False, False, True
    body_held, needs_length = 0, False

    def __init__(
        self, side: Side, *, limits: Limits | None = None, params: Params | None = None,
        clock: Callable[[], float] | None = time.time,
    ) -> None:  # fmt: skip
        self.side = side
        self.reusable = True
        self._limits = limits or _DEFAULT_LIMITS
        self._params = params or {}
        self._clock = clock
        role, self._limit = (h11.SERVER, "params_size") if side is APPLICATION else (h11.CLIENT, "head_size")
        self._most: int = getattr(self._limits, self._limit)
        self._h11 = h11.Connection(role, self._most)
        self._request_id = 0
        self._active = False  # a request has begun, and its response has not ended
        self._paused = False  # the request is whole: what comes now is for the time after its response
        self._ended = False  # the peer says nothing more
        self._closing = False  # nothing more is received
        self._broken = False  # the peer broke a rule: nothing more is sent, either
        self._began = self._received = self._room = 0  # bytes: before the present message, in all, to take at most
        self._head: h11.Request | None = None  # its framing depends on what is sent next
        self._events: list[Event] = []
        self._outbox: list[bytes] = []

    def __repr__(self) -> str:
        doing = "broken" if self._broken else f"we={self._h11.our_state} they={self._h11.their_state}"
        return f"<http.Connection {self.side} {doing} reusable={self.reusable}>"

    @property
    def idle(self) -> bool:
        """Is nothing begun that is not finished?"""
        return not (self._active or self._broken) and (self._closing or self._received == self._began)

    def receive_data(self, data: bytes) -> None:
        """Feed bytes; nothing is decoded before :meth:`events`."""
        if self._closing or not data:  # b"" would be the end for h11
            return
        self._received += len(data)
        if self._paused and self._received > self._room:
            # Who pipelines must be ready to ask again (RFC 9112 §9.3.2), so it is not for us to keep all of it.
            self._closing = True
        else:
            self._h11.receive_data(data)

    def receive_eof(self) -> None:
        """The peer sends nothing more.  A request body cut short is an abort; RemoteProtocolError for any other cut."""
        self._events = self.events()
        self._ended = True
        if self.side is APPLICATION and self._active:
            if not self._paused:
                self._paused = self._closing = True
                self._events.append(AbortRequest())
            return  # it waits for its answer, and for those to what it pipelined
        self.reusable = False
        if self._active and self._h11.their_state is h11.SEND_BODY:
            self._h11.receive_data(b"")  # the end of a body without a length, else h11 complains (RFC 9112 §6.3, §8)
            self._events = self.events()
        elif not (self.idle or self._broken):
            raise self._refuse(RemoteProtocolError("the peer closed the connection before the end of a head (§8)"))

    def events(self) -> list[Event]:
        """What was fed.  After a RemoteProtocolError once more: what came before the fault, and an abort."""
        next_event = self._h11.next_event
        try:
            while not (self._paused or self._closing):
                event = next_event()
                if event is h11.NEED_DATA:
                    break
                _HANDLERS[event.__class__](self, event)
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                raise self._refuse(self._too_large(self._limit, self._most)) from None
            status = "501 Not Implemented" if error.error_status_hint == 501 else "400 Bad Request"
            raise self._refuse(RemoteProtocolError(str(error)[:300], status_hint=status)) from None
        except RemoteProtocolError as error:
            self._refuse(error)
            raise
        events, self._events = self._events, []
        return events

    def _refuse(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """The connection ends here: say where, and answer a peer that waits for a response."""
        error.args = (f"HTTP: {error} (message at byte {self._began})",)
        if self.side is not APPLICATION:
            error.status_hint = "502 Bad Gateway"
        elif self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            page = f"{error.status_hint}\n".encode("latin-1")
            headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(page))), ("Connection", "close")]
            self._outbox += (serialize_head(error.status_hint, self._dated(headers), "HTTP/1.1 "), page)
        if self.side is APPLICATION and self._active:
            self._events.append(AbortRequest())
        self.reusable = self._active = False
        self._broken = self._closing = True
        return error

    def _too_large(self, limit: str, size: int) -> LimitExceeded:
        return LimitExceeded(limit, size, status_hint="431 Request Header Fields Too Large")

    def _check(self, event: h11.Request | h11.Response) -> None:
        """What h11 lets pass: a version of another protocol, two framings, a head too large that came at once."""
        version = event.http_version
        if version[:1] != b"1":
            raise RemoteProtocolError(
                f"HTTP version {version.decode('ascii')} is not 1.x", status_hint="505 HTTP Version Not Supported"
            )
        names = [name for name, _ in event.headers]
        if b"transfer-encoding" in names and (b"content-length" in names or version < b"1.1"):
            raise RemoteProtocolError("Transfer-Encoding beside Content-Length, or in HTTP/1.0 (§6.1)")
        if len(names) > self._limits.params_count:
            raise self._too_large("params_count", self._limits.params_count)
        size = self._received - self._began
        if size > self._most and size - len(self._h11.trailing_data[0]) > self._most:
            raise self._too_large(self._limit, self._most)

    def _on_request(self, event: h11.Request) -> None:
        self._check(event)
        method, target, told = event.method.decode("ascii"), event.target.decode("ascii"), self._params.get
        # X_Forwarded_For would be the same variable as X-Forwarded-For, which a web server in front may have checked.
        pairs = [(_variable(name), value.decode("latin-1")) for name, value in event.headers if b"_" not in name]
        if target[0] != "/":
            pairs = _retarget(pairs, method, target)
        headers = dict(pairs)
        host, colon, port = headers.get("HTTP_HOST", "").rpartition(":")
        if not (colon and port.isdigit()):
            host, port = headers.get("HTTP_HOST", ""), told("SERVER_PORT") or ("443" if told("HTTPS") else "80")
        params = self._params | {
            "REQUEST_METHOD": method, "REQUEST_URI": target, "SCRIPT_NAME": "", "PATH_INFO": decode_path(target),
            "QUERY_STRING": target.partition("?")[2], "SERVER_PROTOCOL": f"HTTP/{event.http_version.decode('ascii')}",
            "SERVER_NAME": host or told("SERVER_NAME") or "localhost", "SERVER_PORT": port,
        }  # fmt: skip
        repeated = () if len(headers) == len(pairs) else [*params.items(), *pairs]
        self._active = True
        self._events.append(Request(params | headers, repeated=repeated))

    def _on_data(self, event: h11.Data) -> None:
        data = bytes(event.data)
        self._events.append(RequestBody(data) if self.side is APPLICATION else ResponseBody(data, self._request_id))

    def _on_end(self, event: h11.EndOfMessage) -> None:
        if self.side is APPLICATION:
            self._paused = True
            self._room = self._received + self._most
            self._closing = self._h11.their_state is h11.MUST_CLOSE
            self._events.append(EndOfRequest())
        else:
            self._events.append(EndOfResponse(self._request_id))
            self._end_cycle()

    def _on_close(self, event: h11.ConnectionClosed) -> None:
        self._closing = True

    def _on_information(self, event: h11.InformationalResponse) -> None:
        if event.status_code == 100:
            self._events.append(BodyWanted(sys.maxsize, self._request_id))  # HTTP names no size: it wants all of it

    def _on_response(self, event: h11.Response) -> None:
        if not self._active:
            raise RemoteProtocolError("a response that nobody asked for")
        self._check(event)
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers.raw_items()]
        own = HOP_BY_HOP.union(*(_tokens(value) for name, value in headers if name.lower() == "connection"))
        headers = [(name, value) for name, value in headers if name.lower() not in own]
        status = f"{event.status_code} {event.reason.decode('latin-1')}".rstrip()
        self._events.append(Response(status, headers, self._request_id))

    def _end_cycle(self) -> None:
        """The response is whole: there may be another one, if both sides have said all and want to go on."""
        self._active = self._paused = False
        if self._h11.our_state is self._h11.their_state is h11.DONE and not self._closing:
            self._h11.start_next_cycle()
            self._began = self._received - len(self._h11.trailing_data[0])
            self.reusable = self.reusable and not (self._ended and self.idle)
        else:
            self.reusable, self._closing = False, True

    def send(self, event: Event) -> None:
        """Say something; LocalProtocolError if it is not this side's turn, or cannot be said in HTTP."""
        if self._broken:
            return  # whoever still speaks has not heard of it yet
        if not (self._active or isinstance(event, Request)):
            raise LocalProtocolError(f"{type(event).__name__}, and no request is active")
        if self.side is APPLICATION:
            self._send_response(event)
        else:
            self._send_request(event)

    def _send_response(self, event: Event) -> None:
        has_begun = self._h11.our_state is h11.SEND_BODY
        if isinstance(event, ResponseBody) and has_begun:
            self._transmit(h11.Data(data=event.data))
        elif isinstance(event, Response) and not has_begun:
            self._send_head(event)
        elif isinstance(event, EndOfResponse):
            if has_begun and not event.app_status:
                self._transmit(h11.EndOfMessage())
            else:
                # Without its last chunk, or some of its Content-Length, a response is incomplete (RFC 9112 §8).
                self._closing = True
            self._end_cycle()
        elif isinstance(event, BodyWanted):
            if self._h11.they_are_waiting_for_100_continue:
                self._transmit(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _send_head(self, event: Response) -> None:
        headers = self._dated(event.headers)
        if event.status[:3] == "204":
            headers = [pair for pair in headers if pair[0].lower() != "content-length"]  # RFC 9110 §8.6: MUST NOT
        if self._closing or not self._paused:
            headers = [*headers, ("Connection", "close")]  # nothing can follow a body that was not read
        try:
            if not event.status.isprintable():  # h11 checks the headers, but not this
                raise ValueError(f"control characters in status {event.status!r}")
            status, reason = int(event.status[:3]), event.status[4:].encode("latin-1")
            head = h11.Response(status_code=status, headers=_encode(headers), reason=reason)
        except (h11.LocalProtocolError, ValueError) as error:
            raise LocalProtocolError(f"this response head cannot be sent: {error}") from None
        self._transmit(head)

    def _dated(self, headers: Headers) -> Headers:
        # RFC 9110 §6.6.1: "An origin server with a clock MUST generate a Date header field".
        if self._clock is None or any(name.lower() == "date" for name, _ in headers):
            return headers
        return [("Date", format_date(int(self._clock()))), *headers]

    def _send_request(self, event: Event) -> None:
        if isinstance(event, Request):
            self._send_target(event)
        elif isinstance(event, RequestBody):
            if event.data:
                self._send_framing(("Transfer-Encoding", "chunked"))
                self._transmit(h11.Data(data=event.data))
        elif isinstance(event, EndOfRequest):
            # RFC 9110 §8.6: a method that gives content a meaning should say that there is none.
            empty = self._head is not None and self._head.method in (b"POST", b"PUT", b"PATCH")
            self._send_framing(*[("Content-Length", "0")] * empty)
            self._transmit(h11.EndOfMessage())
        elif isinstance(event, AbortRequest):
            self._closing = True  # to hang up is all that HTTP has for it
            self._end_cycle()
        else:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def _send_target(self, event: Request) -> None:
        if self._active or self._closing or event.role != RESPONDER:
            raise LocalProtocolError(f"a request (role {event.role}) does not fit {self!r}")
        params, get = event.params, event.params.get
        query = get("QUERY_STRING", "")
        path = encode_path(get("SCRIPT_NAME", "") + get("PATH_INFO", "")) + (query and "?" + query)
        try:
            self._head = h11.Request(
                method=get("REQUEST_METHOD", "GET").encode("latin-1"),
                target=(get("REQUEST_URI") or path or "/").encode("latin-1"),
                headers=_encode(_request_headers(params, event.repeated or params.items())),
            )
        except (h11.LocalProtocolError, ValueError) as error:
            raise LocalProtocolError(f"this request cannot be sent: {error}") from None
        self._request_id, self._active = event.request_id, True
        if get("CONTENT_LENGTH"):
            self._send_framing()
        elif get("HTTP_TRANSFER_ENCODING", "").lower().endswith("chunked"):
            self._send_framing(("Transfer-Encoding", "chunked"))

    def _send_framing(self, *header: tuple[str, str]) -> None:
        """Send the head that waited until it was known how the body will be framed."""
        head, self._head = self._head, None
        if head is not None:
            headers = [*head.headers.raw_items(), *_encode(header)]
            self._transmit(h11.Request(method=head.method, target=head.target, headers=headers))

    def _transmit(self, event: h11.Event) -> None:
        try:
            self._outbox += self._h11.send_with_data_passthrough(event) or ()
        except h11.LocalProtocolError as error:
            raise LocalProtocolError(f"HTTP: {error}") from None

    def data_to_send(self) -> list[bytes]:
        """What to write now, in order."""
        outbox, self._outbox = self._outbox, []
        return outbox


@lru_cache(maxsize=1000)
def _variable(name: bytes) -> str:
    """The param that a header's name, in lower case, stands for (RFC 3875 §4.1.18)."""
    variable = name.decode("ascii").upper().replace("-", "_")
    return variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"


def _retarget(pairs: list[tuple[str, str]], method: str, target: str) -> list[tuple[str, str]]:
    """A target that is not a path: the host in it overrides the Host header (RFC 9112 §3.2.2)."""
    if method == "CONNECT":
        raise RemoteProtocolError("CONNECT is for proxies", status_hint="501 Not Implemented")
    _, mark, rest = target.partition("://")
    if mark:
        host = rest.partition("?")[0].partition("/")[0]
        return [*(pair for pair in pairs if pair[0] != "HTTP_HOST"), ("HTTP_HOST", host)]
    if (method, target) != ("OPTIONS", "*"):
        raise RemoteProtocolError(f"target {target[:200]!r} is neither a path nor a URL (§3.2)")
    return pairs


def _request_headers(params: Params, pairs: Iterable[tuple[str, str]]) -> Headers:
    """The headers that some params stand for, but for those that are about this connection only."""
    host, port = params.get("SERVER_NAME", ""), params.get("SERVER_PORT", "80")
    own = _OF_OUR_OWN | _tokens(params.get("HTTP_CONNECTION", ""))
    headers = [("Host", params.get("HTTP_HOST") or (host if port in ("80", "443") else f"{host}:{port}"))]
    for variable, name in (("CONTENT_TYPE", "Content-Type"), ("CONTENT_LENGTH", "Content-Length")):
        if params.get(variable):
            headers.append((name, params[variable]))
    for variable, value in pairs:
        name = variable[5:].replace("_", "-").title()
        if variable[:5] == "HTTP_" and name.lower() not in own:
            headers.append((name, value))
    return headers


def _tokens(value: str) -> set[str]:
    """The members of a list of tokens, in lower case (RFC 9110 §5.6.1)."""
    return {token.strip().lower() for token in value.split(",")}


def _encode(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers for h11, which takes no spaces around a value."""
    return [(name.encode("latin-1"), value.strip(" \t").encode("latin-1")) for name, value in headers]


_DEFAULT_LIMITS = Limits()
_HANDLERS: dict[object, Callable[..., None]] = {
    h11.Request: Connection._on_request, h11.Data: Connection._on_data, h11.EndOfMessage: Connection._on_end,
    h11.Response: Connection._on_response, h11.InformationalResponse: Connection._on_information,
    h11.ConnectionClosed: Connection._on_close,
}  # fmt: skip
