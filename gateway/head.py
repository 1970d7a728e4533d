"""The response head of CGI and its kin, as text and as values (RFC 3875 §6), from both sides.

The application side serializes a head and refuses header injection; the web-server side cuts the head off a byte
stream, parses it, and recognises local and client redirects.
"""

from __future__ import annotations

from gateway.errors import ApplicationError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import Event, Response, ResponseBody
from gateway.limits import LENGTH_DIGITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.events import Headers

TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""What a header name may be made of (RFC 9110 §5.6.2)."""

_lowered: dict[str, str] = {}
"""Header names that were checked once, and their lower-case form: an application uses the same few for ever."""

_LOWERED_SIZE = 500


def lower_name(name: str) -> str:
    """The lower-case form of a header name; LocalProtocolError if it is no token (RFC 9110 §5.1).

    >>> lower_name("Content-Type")
    'content-type'
    """
    lowered = _lowered.get(name)
    if lowered is None:
        if not isinstance(name, str):
            raise TypeError(f"header name {name!r} is a {type(name).__name__}, not a native string")
        if not name or not TOKEN.issuperset(name):
            raise LocalProtocolError(f"header name {name!r} is not a token (RFC 9110 §5.1)")
        lowered = name.lower()
        if len(_lowered) < _LOWERED_SIZE:
            _lowered[name] = lowered
    return lowered


HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
     "upgrade")
)  # fmt: skip
"""Headers an application must not send (PEP 3333; RFC 9110 §7.6.1): the web server owns the visitor's connection."""

_SPECIAL = HOP_BY_HOP | {"content-length", "status"}


def inspect_headers(headers: Headers) -> tuple[int | None, bool]:
    """Content-Length, None if there is none, and whether there are hop-by-hop headers.

    Raises LocalProtocolError on a bad name or length, ApplicationError on what is no pair of native strings.

    >>> inspect_headers([("Content-Length", "5"), ("Connection", "close")])
    (5, True)
    """
    length, hop_by_hop = None, False
    try:
        for name, value in headers:
            lowered = _lowered.get(name) or lower_name(name)
            if value.__class__ is not str and not isinstance(value, str):
                raise TypeError
            if lowered in _SPECIAL:
                if lowered in HOP_BY_HOP:
                    hop_by_hop = True
                elif lowered == "status":
                    raise LocalProtocolError("Status is a header of CGI's own: give it to start_response() instead")
                elif value.isdecimal() and len(value) <= LENGTH_DIGITS:
                    length = int(value)
                else:
                    raise LocalProtocolError(f"Content-Length {value[:40]!r} is not a number of bytes")
    except (TypeError, ValueError):
        raise ApplicationError(f"these headers are not pairs of native strings (PEP 3333): {headers!r:.200}") from None
    return length, hop_by_hop


def serialize_head(status: str, headers: Headers, start: str = "Status: ") -> bytes:
    r"""The head as bytes, blank line included; ``start`` is ``"HTTP/1.1 "`` where the wire wants a status line.

    Raises LocalProtocolError on CR, LF, NUL or a character beyond latin-1 in any part: header injection.

    >>> serialize_head("200 OK", [("Content-Type", "text/plain")])
    b'Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n'
    """
    lines = [start + status]
    for name, value in headers:
        if name not in _lowered:
            lower_name(name)
        lines.append(f"{name}: {value}")
    text = "\r\n".join(lines) + "\r\n\r\n"
    ends = len(lines) + 1
    if text.count("\n") != ends or text.count("\r") != ends or "\0" in text:
        raise _injection(lines)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        shown = error.object[error.start]
        raise LocalProtocolError(f"the response head holds {shown!r}, which is not latin-1") from None


def _injection(lines: list[str]) -> LocalProtocolError:
    line = next(line for line in lines if not {"\r", "\n", "\0"}.isdisjoint(line))
    return LocalProtocolError(f"CR, LF or NUL in the response head: {line!r}")


def is_status(status: str) -> bool:
    """Is it a code of three digits from 100, alone or with a space and a reason after it (RFC 3875 §6.3.3)?

    >>> is_status("200 OK"), is_status("200"), is_status("20"), is_status("2000")
    (True, True, False, False)
    """
    code = status[:3]
    return len(code) == 3 and code.isascii() and code.isdecimal() and "100" <= code and status[3:4] in ("", " ")


_statuses: dict[int, str] = {}


def with_reason(code: int) -> str:
    """The status with the reason that HTTP has for it: PEP 3333 wants one, and many leave it out.

    >>> with_reason(404), with_reason(299)
    ('404 Not Found', '299 Unknown')
    """
    if not _statuses:
        from http import HTTPStatus  # a CGI program that states its reasons does not pay for this import

        _statuses.update((known.value, f"{known.value} {known.phrase}") for known in HTTPStatus)
    return _statuses.get(code) or f"{code:d} Unknown"


def parse_head(head: bytes) -> tuple[str | None, Headers]:
    r"""Status (None if the head states none) and headers of a head without its blank line.

    Takes LF and CRLF alike, and an HTTP status line in place of ``Status`` (NPH scripts, uwsgi).
    Raises RemoteProtocolError; its message quotes the line at fault.

    >>> parse_head(b"Status: 404 Not Found\nContent-Type: text/plain\n")
    ('404 Not Found', [('Content-Type', 'text/plain')])
    """
    status: str | None = None
    headers: Headers = []
    lines = head.decode("latin-1").replace("\r\n", "\n").rstrip("\n").split("\n")
    if lines[0].startswith("HTTP/"):
        lines[0] = "Status:" + lines[0].partition(" ")[2]
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or not TOKEN.issuperset(name):
            raise _bad_head(f"{line[:200]!r} is no header line: a name, a colon and a value")
        value = value.strip(" \t")
        if "\r" in value or "\0" in value:
            raise _bad_head(f"CR or NUL in the value of header {name!r}")
        if name.lower() != "status":
            headers.append((name, value))
        elif is_status(value):
            status = value
        else:
            raise _bad_head(f"status {value[:60]!r} does not begin with three digits")
    return status, headers


def _bad_head(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, status_hint="502 Bad Gateway")


class ResponseReader:
    """Cuts one response into its head and its body: the web server's half of CGI, FastCGI and SCGI responses."""

    __slots__ = ("_buffer", "_limit", "request_id", "has_head")

    def __init__(self, limit: int, request_id: int = 0) -> None:
        self._buffer = b""
        self._limit = limit
        self.request_id = request_id
        self.has_head = False

    def __repr__(self) -> str:
        return f"<ResponseReader {'body' if self.has_head else f'head, {len(self._buffer)} bytes so far'}>"

    def feed(self, data: bytes) -> list[Event]:
        """Response once the head is whole, then ResponseBody.  Raises RemoteProtocolError, LimitExceeded."""
        if self.has_head:
            return [ResponseBody(data, self.request_id)] if data else []
        searched = max(len(self._buffer) - 2, 0)
        self._buffer += data
        end = self._end_of_head(searched)
        if (end[1] if end else len(self._buffer)) > self._limit:
            raise LimitExceeded("head_size", self._limit, status_hint="502 Bad Gateway")
        if end is None:
            return []
        head, body = self._buffer[: end[0]], self._buffer[end[1] :]
        self._buffer, self.has_head = b"", True
        events: list[Event] = [self._response(head)]
        if body:
            events.append(ResponseBody(body, self.request_id))
        return events

    def feed_eof(self) -> None:
        """The stream ended; raises RemoteProtocolError if that cut the head."""
        if not self.has_head:
            shown = self._buffer[:200].decode("latin-1")
            what = f"no blank line ends the head; it began with {shown!r}" if shown else "the response is empty"
            raise _bad_head(f"{what}: a response is header lines, a blank line, then the body")

    def _end_of_head(self, searched: int) -> tuple[int, int] | None:
        buffer = self._buffer
        if buffer[:1] == b"\n" or buffer[:2] == b"\r\n":
            raise _bad_head("the head is empty: at least one header line must come before the blank line")
        ends = [
            (at + 1, at + len(mark)) for mark in (b"\n\n", b"\n\r\n") if (at := buffer.find(mark, searched)) >= 0
        ]  # fmt: skip
        return min(ends) if ends else None

    def _response(self, head: bytes) -> Response:
        status, headers = parse_head(head)
        location = next((value for name, value in headers if name.lower() == "location"), "")
        local = ""
        if status is None:
            status = "200 OK"
            if location:
                # RFC 3875 §6.2.3: the server MUST generate a 302 'Found' for a client redirect;
                # §6.2.2: a local redirect is a path, and comes with no other header.
                status = "302 Found"
                if location[0] == "/" and location[:2] != "//" and len(headers) == 1:
                    local = location
        return Response(status, headers, self.request_id, local_redirect=local)
