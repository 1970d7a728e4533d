"""What the packets of AJP13 say: their codes, and the two messages that have a structure, encoded and decoded.

https://tomcat.apache.org/connectors-doc/ajp/ajpv13a.html (without numbered sections: its headings stand in quotes)

Everything here is about one payload and knows nothing of the connection that carries it.
"""

from __future__ import annotations

from struct import Struct

from gateway.environ import decode_path, encode_path, is_under
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.events import Response
from gateway.head import serialize_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gateway.events import Headers, Params

# "Packet Headers": the prefix codes of a payload.
FORWARD_REQUEST, SEND_BODY_CHUNK, SEND_HEADERS, END_RESPONSE, GET_BODY_CHUNK, SHUTDOWN = range(2, 8)
CPONG, CPING = 9, 10

# "method": the code of a method is its place here; any other is spelled by the attribute stored_method.
METHODS = (
    "", "OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE",
    "LOCK", "UNLOCK", "ACL", "REPORT", "VERSION-CONTROL", "CHECKIN", "CHECKOUT", "UNCHECKOUT", "SEARCH", "MKWORKSPACE",
    "UPDATE", "LABEL", "MERGE", "BASELINE_CONTROL", "MKACTIVITY",
)  # fmt: skip
STORED = 0xFF

# "Headers" and "Send Headers": the code of a name is 0xA000 and its place here.
REQUEST_HEADERS = (
    "", "accept", "accept-charset", "accept-encoding", "accept-language", "authorization", "connection", "content-type",
    "content-length", "cookie", "cookie2", "host", "pragma", "referer", "user-agent",
)  # fmt: skip
RESPONSE_HEADERS = (
    "", "Content-Type", "Content-Language", "Content-Length", "Date", "Last-Modified", "Location", "Set-Cookie",
    "Set-Cookie2", "Servlet-Engine", "Status", "WWW-Authenticate",
)  # fmt: skip
_REQUEST_HEADER_CODES = {name: 0xA000 + place for place, name in enumerate(REQUEST_HEADERS) if name}
_RESPONSE_HEADER_CODES = {name.lower(): 0xA000 + place for place, name in enumerate(RESPONSE_HEADERS) if name}
_NAME_MAX = 0x9FFF  # a longer name would begin like a code

# "Attributes": the param that each becomes, by its code.
CONTEXT, QUERY_STRING, REQ_ATTRIBUTE, SSL_KEY_SIZE, SECRET, STORED_METHOD, ARE_DONE = 1, 5, 10, 11, 12, 13, 0xFF
ATTRIBUTES = {
    CONTEXT: "SCRIPT_NAME", 2: "AJP_SERVLET_PATH", 3: "REMOTE_USER", 4: "AUTH_TYPE", QUERY_STRING: "QUERY_STRING",
    6: "AJP_ROUTE", 7: "SSL_CLIENT_CERT", 8: "SSL_CIPHER", 9: "SSL_SESSION_ID", SSL_KEY_SIZE: "SSL_CIPHER_USEKEYSIZE",
    SECRET: "AJP_SECRET", STORED_METHOD: "REQUEST_METHOD",
}  # fmt: skip
SPELLED = {"AJP_REMOTE_PORT": "REMOTE_PORT", "AJP_LOCAL_ADDR": "SERVER_ADDR", "AJP_SSL_PROTOCOL": "SSL_PROTOCOL"}
"""Attributes that web servers spell, because they have no code, and the params that CGI has for them."""

_NULL = 0xFFFF  # the length of a string that is none
_pack_integer = Struct(">H").pack


class Payload:
    """The payload of one packet, read from its beginning; each method raises RemoteProtocolError past its end."""

    __slots__ = ("_data", "_at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __repr__(self) -> str:
        return f"<Payload {self._at} of {len(self._data)} bytes read>"

    def take(self, size: int) -> bytes:
        """The next bytes."""
        start = self._at
        self._at += size
        missing = self._at - len(self._data)
        if missing > 0:
            raise RemoteProtocolError(f"what it says needs {missing} bytes more than its {len(self._data)}")
        return self._data[start : self._at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def integer(self) -> int:
        """The next two bytes, as a number."""
        return int.from_bytes(self.take(2), "big")

    def string(self) -> str:
        """The next string, as latin-1; "" also for one that is null."""
        size = self.integer()
        if size == _NULL:
            return ""
        data = self.take(size + 1)
        if data[-1]:
            raise RemoteProtocolError(f'a string of {size} bytes does not end in NUL ("String")')
        return data[:-1].decode("latin-1")

    def name(self, names: Sequence[str]) -> str:
        """The name of a header: one of ``names`` by its code, or spelled."""
        code = self.integer()
        if code >> 8 != 0xA0:
            self._at -= 2
            return self.string()
        if not 0 < code & 0xFF < len(names):
            raise RemoteProtocolError(f'header code {code:04X} is unknown ("Headers")')
        return names[code & 0xFF]


def encode_string(text: str) -> bytes:
    """A string.  Raises LocalProtocolError if it is not latin-1, or too long.

    >>> encode_string("/a")
    b'\\x00\\x02/a\\x00'
    """
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:
        raise LocalProtocolError(f"a param is not latin-1: {text[:80]!r}") from None
    if len(data) >= _NULL:
        raise LocalProtocolError(f'{text[:80]!r}… has {len(data)} bytes, a string less than {_NULL} ("String")')
    return _pack_integer(len(data)) + data + b"\0"


def encode_name(name: str, codes: Mapping[str, int]) -> bytes:
    """The name of a header, by its code if it has one.  Raises LocalProtocolError.

    >>> encode_name("Host", _REQUEST_HEADER_CODES), encode_name("Via", _REQUEST_HEADER_CODES)
    (b'\\xa0\\x0b', b'\\x00\\x03Via\\x00')
    """
    code = codes.get(name.lower())
    if code:
        return _pack_integer(code)
    if len(name) > _NAME_MAX:
        raise LocalProtocolError(f'the header name {name[:80]!r}… has more than {_NAME_MAX} bytes ("Headers")')
    return encode_string(name)


def encode_integer(name: str, value: str) -> bytes:
    """A param that is a number.  Raises LocalProtocolError if it is none, or too large."""
    if not value.isdecimal() or len(value) > 5 or int(value) > 0xFFFF:
        raise LocalProtocolError(f'{name} is {value[:40]!r}, not a number up to 65535 ("Integer")')
    return _pack_integer(int(value))


# -- Forward Request


def decode_request(data: bytes) -> tuple[list[tuple[str, str]], str]:
    """A Forward Request as CGI's variables (RFC 3875 §4.1), in order, and its secret.  Raises RemoteProtocolError."""
    payload = Payload(data)
    payload.byte()  # the prefix code
    code = payload.byte()
    method = METHODS[code] if code < len(METHODS) else ""
    protocol, uri, remote_addr, remote_host, server_name = (payload.string() for _ in range(5))
    server_port, is_ssl = payload.integer(), payload.byte()
    headers = [(payload.name(REQUEST_HEADERS), payload.string()) for _ in range(payload.integer())]
    attributes, coded = [], {CONTEXT: "", QUERY_STRING: "", SECRET: "", STORED_METHOD: ""}
    while (attribute := payload.byte()) != ARE_DONE:
        name = payload.string() if attribute == REQ_ATTRIBUTE else ATTRIBUTES.get(attribute)
        if name is None:
            raise RemoteProtocolError(f'attribute code {attribute} is unknown ("Attributes")')
        value = str(payload.integer()) if attribute == SSL_KEY_SIZE else payload.string()
        if attribute in coded:
            coded[attribute] = value
        else:
            attributes += [(each, value) for each in (name, SPELLED.get(name)) if each]
    method = coded[STORED_METHOD] if code == STORED else method
    if not method:
        raise RemoteProtocolError(f'method code {code} is unknown, or its name is missing ("method")')
    query, path = coded[QUERY_STRING], decode_path(uri)
    # Web servers do not tell where the application lives; our own client does.
    mount = coded[CONTEXT] if is_under(path, coded[CONTEXT]) else ""
    optional = [("REMOTE_HOST", remote_host), ("SERVER_NAME", server_name), ("HTTPS", "on" if is_ssl else "")]
    return [
        ("REQUEST_METHOD", method), ("REQUEST_URI", uri + (query and "?" + query)), ("SCRIPT_NAME", mount),
        ("PATH_INFO", path[len(mount) :]), ("QUERY_STRING", query), ("SERVER_PROTOCOL", protocol),
        ("REMOTE_ADDR", remote_addr), ("SERVER_PORT", str(server_port)),
        *[pair for pair in optional if pair[1]],
        # X_Remote_User would become the same variable as X-Remote-User, which the web server may vouch for.
        *[(_variable(name), value) for name, value in headers if "_" not in name],
        *attributes,
    ], coded[SECRET]  # fmt: skip


def encode_request(params: Params, pairs: Iterable[tuple[str, str]], *, secret: str = "") -> bytes:
    """A Forward Request from CGI's variables; ``pairs`` are ``params`` with repetitions.  Raises LocalProtocolError.

    Of those that have no code, the ones called ``AJP_…`` go as attributes: Tomcat refuses what it does not expect.
    """
    method = params.get("REQUEST_METHOD", "GET")
    code = METHODS.index(method) if method in METHODS else STORED
    uri = params.get("REQUEST_URI", "").partition("?")[0]
    if uri[:1] != "/":  # RFC 9112 §3.2.2: absolute-form
        uri = encode_path(params.get("SCRIPT_NAME", "") + params.get("PATH_INFO", "")) or "/"
    host = params.get("REMOTE_HOST")
    is_ssl = params.get("HTTPS", "").lower() in ("on", "1")
    port = params.get("SERVER_PORT") or ("443" if is_ssl else "80")
    headers = list(_headers(pairs, length=params.get("CONTENT_LENGTH", "")))
    chunks = [
        bytes((FORWARD_REQUEST, code)), encode_string(params.get("SERVER_PROTOCOL", "HTTP/1.1")), encode_string(uri),
        encode_string(params.get("REMOTE_ADDR", "")), encode_string(host) if host else _pack_integer(_NULL),
        encode_string(params.get("SERVER_NAME", "")), encode_integer("SERVER_PORT", port), bytes((is_ssl,)),
        encode_integer("the number of headers", str(len(headers))),
    ]  # fmt: skip
    for name, value in headers:
        chunks += encode_name(name, _REQUEST_HEADER_CODES), encode_string(value)
    attributes = params | {"AJP_SECRET": secret, "REQUEST_METHOD": method if code == STORED else ""}
    attributes |= {name: params[param] for name, param in SPELLED.items() if name not in params and param in params}
    for attribute, name in ATTRIBUTES.items():
        value = attributes.pop(name, "")
        if value:
            coded = encode_integer(name, value) if attribute == SSL_KEY_SIZE else encode_string(value)
            chunks.append(bytes((attribute,)) + coded)
    for name, value in attributes.items():
        if name.startswith("AJP_"):
            chunks += bytes((REQ_ATTRIBUTE,)), encode_string(name), encode_string(value)
    return b"".join((*chunks, bytes((ARE_DONE,))))


def _variable(name: str) -> str:
    """The param that a request header becomes (RFC 3875 §4.1.18)."""
    variable = name.upper().replace("-", "_")
    return variable if variable in ("CONTENT_LENGTH", "CONTENT_TYPE") else "HTTP_" + variable


def _headers(pairs: Iterable[tuple[str, str]], *, length: str) -> Iterator[tuple[str, str]]:
    """The request headers among some params, called as HTTP does; of two framings, the length."""
    for variable, value in pairs:
        name = variable.removeprefix("HTTP_").replace("_", "-").lower()
        if variable in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            if value:
                yield name, value
        elif variable.startswith("HTTP_") and name not in ("content-length", "content-type"):
            if name != "transfer-encoding" or not length:
                yield name, value


# -- Send Headers


def decode_head(payload: Payload) -> Response:
    """Send Headers, after its prefix code.  Raises RemoteProtocolError."""
    code, reason = payload.integer(), payload.string()
    headers = [(payload.name(RESPONSE_HEADERS), payload.string()) for _ in range(payload.integer())]
    # Tomcat repeats the code where the reason should be, and Apache then shows "200 200".
    status = f"{code} {reason}" if reason not in ("", str(code)) else str(code)
    try:
        serialize_head(status, headers)  # what we may not say, nobody may say to us
    except LocalProtocolError as error:
        raise RemoteProtocolError(str(error)) from None
    if not 100 <= code <= 999:
        raise RemoteProtocolError(f'status {code} has not three digits ("Send Headers")')
    return Response(status, headers)


def encode_head(status: str, headers: Headers) -> bytes:
    """Send Headers.  Raises LocalProtocolError: header injection."""
    # The head as every wire checks and encodes it, cut into its lines again.
    first, *lines = serialize_head(status, headers, "").decode("latin-1")[:-4].split("\r\n")
    chunks = [bytes((SEND_HEADERS,)), _pack_integer(int(first[:3])), encode_string(first[4:])]
    chunks.append(_pack_integer(len(lines)))
    for line in lines:
        name, _, value = line.partition(": ")
        chunks += encode_name(name, _RESPONSE_HEADER_CODES), encode_string(value)
    return b"".join(chunks)
