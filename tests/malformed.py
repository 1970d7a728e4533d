"""Requests that break a rule of their wire, what the log says of each, and what the web server is told."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from gateway.events import WEB_SERVER
from gateway.limits import Limits
from gateway.protocols import connection_class
from gateway.protocols.ajp_codes import ARE_DONE, CPONG, FORWARD_REQUEST, REQ_ATTRIBUTE, SECRET
from gateway.protocols.fastcgi import (
    BEGIN_REQUEST,
    DATA,
    END_REQUEST,
    GET_VALUES,
    PARAMS,
    STDIN,
    STDOUT,
    encode_pairs,
    encode_record,
)
from tests.serving import SPOKEN, whole_request

KNOWN_SECRET = "sesame"
OPTIONS: dict[str, dict[str, Any]] = {wire: {"secret": KNOWN_SECRET} for wire in ("ajp", "auto")}
"""The options of a wire, at both of its ends."""
LIMITS = Limits(params_size=2000, params_count=20)
"""Those of a server that is to find some of these requests too large."""


class Malformed(NamedTuple):
    """One request: its bytes; the rule that the log names, and the byte; the status of the answer.

    ``status`` is 0 where nothing was asked yet, and so nothing can be answered.
    """

    wire: str
    name: str
    data: bytes
    rule: str
    offset: int
    status: int = 400


def _table(wire: str, *rows: tuple[str, bytes, str, int] | tuple[str, bytes, str, int, int]) -> list[Malformed]:
    return [Malformed(wire, *row) for row in rows]


# FastCGI: a whole request, record by record.

RESPONDER_KEPT = b"\0\1\1\0\0\0\0\0"
REQUEST = {
    "REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "localhost", "SERVER_PORT": "80", "CONTENT_LENGTH": "4",
}  # fmt: skip
BEGIN = encode_record(BEGIN_REQUEST, 1, RESPONDER_KEPT)
NAMES = encode_record(PARAMS, 1, encode_pairs(REQUEST.items()))
NAMES_END = encode_record(PARAMS, 1)
BODY = encode_record(STDIN, 1, b"body")
BODY_END = encode_record(STDIN, 1)
HEAD = BEGIN + NAMES + NAMES_END


def params(*pairs: tuple[str, str]) -> bytes:
    """The beginning of a request with these params in addition."""
    return BEGIN + NAMES + encode_record(PARAMS, 1, encode_pairs(pairs)) + NAMES_END


def stretched(record: bytes, by: int) -> bytes:
    """A record that claims a longer content than it has."""
    return record[:4] + (int.from_bytes(record[4:6], "big") + by).to_bytes(2, "big") + record[6:]


FASTCGI = _table(
    "fastcgi",
    ("another protocol", b"GET / HTTP/1.1\r\n\r\n", "record version is 71, not 1 (§3.3)", 0, 0),
    ("a single wrong byte", b"\2", "record version is 2, not 1 (§3.3)", 0, 0),
    ("a version to come", BEGIN + b"\2" + NAMES[1:], "record version is 2, not 1 (§3.3)", 16),
    ("a record that claims too much", HEAD + stretched(BODY, 8) + BODY_END * 2 + b"rest",
     "record version is 114, not 1 (§3.3)", len(HEAD + BODY + BODY_END * 2)),
    ("an unknown type", BEGIN + encode_record(99, 1), "record type 99 for request 1 is not for the APPLICATION", 16),
    ("a record of the other side", BEGIN + encode_record(STDOUT, 1, b"x"),
     "record type STDOUT for request 1 is not for the APPLICATION side", 16),
    ("an end of the other side", encode_record(END_REQUEST, 1, bytes(8)),
     "record type END_REQUEST for request 1 is not for the", 0, 0),
    ("a short BEGIN_REQUEST", encode_record(BEGIN_REQUEST, 1, b"\0\1"), "BEGIN_REQUEST has 2 bytes, not 8", 0, 0),
    ("a request with the id 0", encode_record(BEGIN_REQUEST, 0, RESPONDER_KEPT), "request id 0", 0, 0),
    ("a request begun twice", BEGIN + BEGIN, "request id 1, which is in use", 16),
    ("a body before its params", BEGIN + BODY, "STDIN for request 1, which expects PARAMS", 16),
    ("params after their end", HEAD + NAMES, "PARAMS for request 1, which expects STDIN", len(HEAD)),
    ("a file that nobody asked for", HEAD + encode_record(DATA, 1, b"x"),
     "DATA for request 1, which expects STDIN", len(HEAD)),
    ("a name longer than its block", BEGIN + encode_record(PARAMS, 1, b"\x0a\x01NAME") + NAMES_END,
     "claims more than its block of 6 bytes has", 32),
    ("a value of two gigabytes", BEGIN + encode_record(PARAMS, 1, b"\x04\xff\xff\xff\xffNAME") + NAMES_END,
     "claims more than its block", 40),
    ("a block that ends in a length", BEGIN + encode_record(PARAMS, 1, b"\x04\xff\xff") + NAMES_END,
     "claims more than its block", 32),
    ("params without end", BEGIN + encode_record(PARAMS, 1, encode_pairs([("A", "x" * 994)])) * 5,
     "limit params_size=2000 exceeded", 16 + 2 * 1008, 431),
    ("too many params", params(*[("A", "x")] * 20), "limit params_count=20 exceeded",
     len(params(*[("A", "x")] * 20)) - 8, 431),
    ("a question without sense", encode_record(GET_VALUES, 0, b"\x0a\x00A"), "claims more than its block", 0, 0),
)  # fmt: skip


# SCGI: a netstring of headers, then the body.


def netstring(headers: bytes, *, length: bytes = b"", end: bytes = b",") -> bytes:
    """The headers of a request, ``|`` standing for NUL, after their length, or the one that is claimed."""
    block = headers.replace(b"|", b"\0")
    return (length or b"%d" % len(block)) + b":" + block + end


GET = b"CONTENT_LENGTH|0|SCGI|1|REQUEST_METHOD|GET|PATH_INFO|/|"
SIZE = len(GET)

SCGI = _table(
    "scgi",
    ("another protocol", b"GET / HTTP/1.1\r\n\r\n", "is not the beginning of a netstring", 0),
    ("no length", b":" + GET, "is not the beginning of a netstring", 0),
    ("a length with a leading zero", netstring(GET, length=b"0%d" % SIZE), "is not the beginning of a netstring", 0),
    ("a length with a sign", netstring(GET, length=b"+%d" % SIZE), "is not the beginning of a netstring", 0),
    ("a length below zero", netstring(GET, length=b"-1"), "is not the beginning of a netstring", 0),
    ("a length in base 16", netstring(GET, length=b"0x37"), "is not the beginning of a netstring", 0),
    ("a length with a space", netstring(GET, length=b"%d " % SIZE), "is not the beginning of a netstring", 0),
    ("a length of 20 digits", b"99999999999999999999:", "limit params_size=2000 exceeded", 0, 431),
    ("a length of 20 zeros", b"0" * 20 + b":", "is not the beginning of a netstring", 0),
    ("headers without end", netstring(GET + b"A|" + b"x" * 2000 + b"|"), "limit params_size=2000 exceeded", 0, 431),
    ("no comma", netstring(GET, end=b";"), f"a netstring of {SIZE} bytes ends in ';', not in a comma", SIZE + 3),
    ("a length too small by one", netstring(GET, length=b"%d" % (SIZE - 1)), "not in a comma", SIZE + 2),
    ("no headers", b"0:,", "the first header is not CONTENT_LENGTH", 2),
    ("CONTENT_LENGTH not first", netstring(b"SCGI|1|CONTENT_LENGTH|0|"), "the first header is not CONTENT_LENGTH", 3),
    ("CONTENT_LENGTH without value", netstring(b"CONTENT_LENGTH||SCGI|1|"), "is not CONTENT_LENGTH with a value", 3),
    ("a CONTENT_LENGTH that is no number", netstring(b"CONTENT_LENGTH|many|SCGI|1|"), "CONTENT_LENGTH is 'many'", 3),
    ("a CONTENT_LENGTH below zero", netstring(b"CONTENT_LENGTH|-1|SCGI|1|"), "CONTENT_LENGTH is '-1', not a number", 3),
    ("a CONTENT_LENGTH of 20 digits", netstring(b"CONTENT_LENGTH|%s|SCGI|1|" % (b"9" * 20)), "not a number of", 3),
    ("two lengths", netstring(GET + b"CONTENT_LENGTH|5|"), "there are two different CONTENT_LENGTH", 3),
    ("no header SCGI", netstring(b"CONTENT_LENGTH|0|"), "there is no header SCGI with the value 1", 3),
    ("SCGI 2", netstring(b"CONTENT_LENGTH|0|SCGI|2|"), "there is no header SCGI with the value 1", 3),
    ("a header without name", netstring(GET + b"|x|"), "a header has no name", 3),
    ("a name without value", netstring(GET + b"A|"), "the headers are not each a name, NUL, a value and NUL", 3),
    ("a value without end", netstring(GET + b"A|x"), "the headers are not each a name, NUL, a value and NUL", 3),
    ("too many headers", netstring(GET + b"A|x|" * 20), "limit params_count=20 exceeded", 4, 431),
    ("more than the body", netstring(GET) + b"more", "follow a body that CONTENT_LENGTH says is over", SIZE + 4),
)  # fmt: skip


# uwsgi: a packet of variables, then the body.


def packet(variables: bytes, *, modifier: int = 0, size: int | None = None) -> bytes:
    """A packet, of the size that is claimed."""
    return struct.pack("<BHB", modifier, len(variables) if size is None else size, 0) + variables


def var(name: bytes, value: bytes) -> bytes:
    """A variable."""
    return struct.pack("<H", len(name)) + name + struct.pack("<H", len(value)) + value


VARS = var(b"REQUEST_METHOD", b"GET") + var(b"PATH_INFO", b"/")

UWSGI = _table(
    "uwsgi",
    ("another protocol", b"GET / HTTP/1.1\r\n\r\n", "modifier1 is 71, and only requests, modifier1 0, are served", 0),
    ("the modifier of PHP", packet(VARS, modifier=14), "modifier1 is 14, and only requests", 0),
    ("a single wrong byte", b"\5", "modifier1 is 5, and only requests", 0),
    ("a packet too large", packet(VARS + var(b"A", b"x" * 2000)), "limit params_size=2000 exceeded", 0, 431),
    ("a packet that claims too little", packet(VARS, size=len(VARS) - 1), "claims more than its packet", 4),
    ("a packet of one byte", packet(b"\0"), "a name or value claims more than its packet of 1 bytes has", 4),
    ("a name longer than its packet", packet(b"\xff\xff" + VARS[2:]), "claims more than its packet", 4),
    ("a value longer than its packet", packet(VARS[:-3] + b"\2\0/"), "claims more than its packet", 4),
    ("a name without value", packet(VARS + b"\1\0A"), "claims more than its packet", 4),
    ("a CONTENT_LENGTH that is no number", packet(VARS + var(b"CONTENT_LENGTH", b"many")), "is 'many', not a", 4),
    ("a CONTENT_LENGTH below zero", packet(VARS + var(b"CONTENT_LENGTH", b"-1")), "is '-1', not a number", 4),
    ("two lengths", packet(VARS + var(b"CONTENT_LENGTH", b"4") + var(b"CONTENT_LENGTH", b"5")),
     "there are two different CONTENT_LENGTH", 4),
    ("a body in chunks", packet(VARS + var(b"HTTP_TRANSFER_ENCODING", b"chunked")),
     "a chunked body, and no CONTENT_LENGTH", 4, 411),
    ("too many variables", packet(VARS + var(b"A", b"x") * 20), "limit params_count=20 exceeded", 4, 431),
    ("more than the body", packet(VARS) + b"more", "follow a body that CONTENT_LENGTH says is over", len(VARS) + 4),
)  # fmt: skip


# AJP: packets of the web server, the first of them a Forward Request.


def pack(payload: bytes, *, magic: bytes = b"\x12\x34") -> bytes:
    """A packet."""
    return magic + struct.pack(">H", len(payload)) + payload


def string(text: bytes) -> bytes:
    """A string."""
    return struct.pack(">H", len(text)) + text + b"\0"


SECRET_GIVEN = bytes((SECRET,)) + string(KNOWN_SECRET.encode())


def forward(
    *headers: tuple[bytes, bytes], method: int = 2, uri: bytes = string(b"/"), attributes: bytes = SECRET_GIVEN,
    count: int | None = None, end: bytes = bytes((ARE_DONE,)),
) -> bytes:  # fmt: skip
    """A Forward Request; the name of a header is a code if it has one byte."""
    names = (b"\xa0" + name if len(name) == 1 else string(name) for name, _ in headers)
    texts = b"".join(name + string(value) for name, (_, value) in zip(names, headers, strict=True))
    return pack(
        bytes((FORWARD_REQUEST, method)) + string(b"HTTP/1.1") + uri + string(b"127.0.0.1") + b"\xff\xff"
        + string(b"localhost") + struct.pack(">HBH", 80, 0, len(headers) if count is None else count)
        + texts + attributes + end
    )  # fmt: skip


def chunk(data: bytes) -> bytes:
    """A packet of a body."""
    return pack(struct.pack(">H", len(data)) + data)


UPLOAD = forward((b"content-length", b"4"))
CHUNKED = forward((b"transfer-encoding", b"chunked"))

AJP = _table(
    "ajp",
    ("another protocol", b"GET / HTTP/1.1\r\n\r\n", "a packet begins with 47 45, not with 12 34", 0, 0),
    ("the other side's magic", pack(bytes((CPONG,)), magic=b"AB"), "a packet begins with 41 42, not with 12 34", 0, 0),
    ("a wrong magic after the head", UPLOAD + pack(b"\0\4body", magic=b"AB"),
     "a packet begins with 41 42, not with 12 34", len(UPLOAD)),
    ("no secret", forward(attributes=b""), "the web server sends no secret: tell it ours", 0, 403),
    ("a wrong secret", forward(attributes=bytes((SECRET,)) + string(b"simsim")), "sends the wrong secret", 0, 403),
    ("a packet too large", b"\x12\x34\xff\xff", "a packet of 65539 bytes is longer than packet_size=8192", 0, 431),
    ("an unknown packet", pack(b"\x63"), "prefix code 99 has no meaning for", 0, 0),
    ("an unknown method", forward(method=0), "method code 0 is unknown", 0),
    ("a method that is not spelled", forward(method=255), "method code 255 is unknown, or its name is missing", 0),
    ("an unknown header", forward((b"\xff", b"x")), "header code A0FF is unknown", 0),
    ("an unknown attribute", forward(attributes=b"\x63" + string(b"x")), "attribute code 99 is unknown", 0),
    ("a string without end", forward(uri=b"\0\1/x"), "a string of 1 bytes does not end in NUL", 0),
    ("a string longer than its packet", forward(uri=b"\xff\xf0/"), "what it says needs ", 0),
    ("attributes without end", forward(end=b""), "what it says needs 1 bytes more", 0),
    ("headers fewer than counted", forward(count=9), "what it says needs ", 0),
    ("headers without end", forward((b"xx", b"x" * 2000)), "limit params_size=2000 exceeded", 0, 431),
    ("too many headers", forward(*[(b"xx", b"x")] * 20), "limit params_count=20 exceeded", 0, 431),
    ("a length that is no number", forward((b"content-length", b"many")), "content-length is 'many', not a number", 0),
    ("a length below zero", forward((b"content-length", b"-1")), "content-length is '-1', not a number", 0),
    ("two lengths", forward((b"content-length", b"4"), (b"content-length", b"5")), "content-length has a rival", 0),
    ("a length, and chunks", forward((b"content-length", b"4"), (b"transfer-encoding", b"chunked")), "has a rival", 0),
    ("a chunk that nobody asked for", CHUNKED + chunk(b"body"), "4 bytes came where 0 were due", len(CHUNKED)),
    ("a chunk larger than is due", UPLOAD + chunk(b"bodybody"), "8 bytes came where 4 were due", len(UPLOAD)),
    ("a chunk larger than a packet", CHUNKED + chunk(b"x" * 8187), "a packet of 8193 bytes is longer", len(CHUNKED)),
    ("an attribute without value", forward(attributes=bytes((REQ_ATTRIBUTE,)) + string(b"AJP_X")), "what it says", 0),
)  # fmt: skip


# HTTP: a request's head, and its body in chunks.


def head(*lines: bytes, start: bytes = b"POST / HTTP/1.1") -> bytes:
    """The head of a request."""
    return b"\r\n".join((start, b"Host: localhost", *lines, b"", b""))


SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""What some take for the end of a body and a request, and some for nothing but a body."""
SIZED, CHUNKS = b"Content-Length: 4", b"Transfer-Encoding: chunked"


def chunked(body: bytes) -> bytes:
    """A request with a body in chunks."""
    return head(CHUNKS) + body


HTTP = _table(
    "http",
    ("no request line", b"\0\0\0\r\n\r\n", "illegal request line", 0),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "illegal request line", 0),
    ("HTTP/0.9", b"GET /\r\n\r\n", "illegal request line", 0),
    ("HTTP/2", b"PRI * HTTP/2.0\r\nHost: localhost\r\n\r\nSM\r\n\r\n", "HTTP version 2.0 is not 1.x", 0, 505),
    ("a space in the target", head(start=b"GET /a b HTTP/1.1"), "illegal request line", 0),
    ("a method that is no token", head(start=b"GE(T / HTTP/1.1"), "illegal request line", 0),
    ("a target that is no path", head(start=b"GET there HTTP/1.1"), "target 'there' is neither a path nor a URL", 0),
    ("CONNECT", head(start=b"CONNECT localhost:80 HTTP/1.1"), "CONNECT is for proxies", 0, 501),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", "Missing mandatory Host: header", 0),
    ("two Hosts", head(b"Host: other"), "Found multiple Host: headers", 0),
    ("a line without colon", head(b"nonsense"), "illegal header line", 0),
    ("a space before the colon", head(b"Content-Length : 4") + SMUGGLED, "illegal header line", 0),
    ("a name that is no token", head(b"X(): x"), "illegal header line", 0),
    ("a name of nothing", head(b": x"), "illegal header line", 0),
    ("a fold without a line before", b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", "continuation line at start", 0),
    ("NUL in a value", head(b"X: a\0b"), "illegal header line", 0),
    ("CR in a value", head(b"X: a\rTransfer-Encoding: chunked") + SMUGGLED, "illegal header line", 0),
    ("headers without end", head(b"X: " + b"x" * 2000), "limit params_size=2000 exceeded", 0, 431),
    ("a line without end", b"GET /" + b"x" * 2100, "limit params_size=2000 exceeded", 0, 431),
    ("too many headers", head(*[b"X: x"] * 20), "limit params_count=20 exceeded", 0, 431),
    ("a length that is no number", head(b"Content-Length: many"), "bad Content-Length", 0),
    ("a length with a sign", head(b"Content-Length: +4"), "bad Content-Length", 0),
    ("a length below zero", head(b"Content-Length: -4"), "bad Content-Length", 0),
    ("a length in base 16", head(b"Content-Length: 0x4"), "bad Content-Length", 0),
    ("two lengths", head(SIZED, b"Content-Length: 5") + SMUGGLED, "conflicting Content-Length headers", 0),
    ("two lengths in a line", head(b"Content-Length: 4, 5") + SMUGGLED, "conflicting Content-Length headers", 0),
    ("a length, and chunks", head(SIZED, CHUNKS) + SMUGGLED, "beside Content-Length", 0),
    ("chunks, and a length", head(CHUNKS, SIZED) + SMUGGLED, "beside Content-Length", 0),
    ("chunks in HTTP/1.0", head(CHUNKS, start=b"POST / HTTP/1.0") + SMUGGLED, "or in HTTP/1.0", 0),
    ("chunks that are compressed", head(b"Transfer-Encoding: gzip, chunked") + SMUGGLED, "Transfer-Encoding", 0, 501),
    ("chunks twice", head(CHUNKS, CHUNKS) + SMUGGLED, "Transfer-Encoding", 0, 501),
    ("chunks of another kind", head(b"Transfer-Encoding: xchunked") + SMUGGLED, "Transfer-Encoding", 0, 501),
    ("chunks after a vertical tab", head(b"Transfer-Encoding: \x0bchunked") + SMUGGLED, "illegal header line", 0),
    ("a chunk without size", chunked(b"\r\nbody\r\n"), "illegal chunk header", 0),
    ("a chunk size that is no number", chunked(b"g\r\nbody\r\n"), "illegal chunk header", 0),
    ("a chunk size with a sign", chunked(b"+4\r\nbody\r\n"), "illegal chunk header", 0),
    ("a chunk size below zero", chunked(b"-4\r\nbody\r\n"), "illegal chunk header", 0),
    ("a chunk size with a prefix", chunked(b"0x4\r\nbody\r\n"), "illegal chunk header", 0),
    ("a chunk size of 30 digits", chunked(b"4" * 30 + b"\r\nbody\r\n"), "illegal chunk header", 0),
    ("a chunk header that ends in LF", chunked(b"4\nbody\r\n0\r\n\r\n"), "illegal chunk header", 0),
    ("a chunk longer than its size", chunked(b"2\r\nbody\r\n"), "malformed chunk footer", 0),
    ("a chunk header without end", chunked(b"4;" + b"x" * 2100), "limit params_size=2000 exceeded", 0, 431),
    ("a trailer that is no header", chunked(b"0\r\nnonsense\r\n\r\n"), "illegal header line", 0),
)  # fmt: skip

# Who connects to a server that takes every wire.

V2 = b"\r\n\r\n\0\r\nQUIT\n"
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

AUTO = _table(
    "auto",
    ("a TLS hello", TLS_HELLO, "a TLS handshake; let the web server end TLS", 0, 0),
    ("a byte that begins no wire", b"\xff", "no wire begins with the byte 0xff", 0, 0),
    ("a TLS hello after a PROXY header", b"PROXY UNKNOWN\r\n" + TLS_HELLO, "a TLS handshake", 15, 0),
    ("PROXY of another family", b"PROXY TCP5 192.0.2.7 192.0.2.8 1 2\r\n", "is not TCP4 or TCP6, two addresses", 0, 0),
    ("PROXY without ports", b"PROXY TCP4 192.0.2.7 192.0.2.8\r\n", "is not TCP4 or TCP6, two addresses", 0, 0),
    ("PROXY with names", b"PROXY TCP4 here there 1 2\r\n", "'here' does not appear to be an IPv4 or IPv6", 0, 0),
    ("PROXY of two families", b"PROXY TCP4 ::1 192.0.2.8 1 2\r\n", "are not both of TCP4", 0, 0),
    ("PROXY with a port too large", b"PROXY TCP4 192.0.2.7 192.0.2.8 65536 2\r\n", "is not TCP4 or TCP6", 0, 0),
    ("PROXY without end", b"PROXY TCP4 " + b"1" * 100, "no CRLF in the first 107 bytes", 0, 0),
    ("PROXY of version 3", V2 + b"\x31\x11\0\0", "version and command are 0x31, neither 0x20 nor 0x21", 0, 0),
    ("PROXY with an unknown command", V2 + b"\x22\x11\0\0", "version and command are 0x22", 0, 0),
    ("PROXY without its addresses", V2 + b"\x21\x11\0\4abcd", "4 bytes do not hold two addresses", 0, 0),
    ("PROXY with a vector too long", V2 + b"\x21\x11\0\x0f" + bytes(12) + b"\x20\0\5", "longer than the header", 0, 0),
)  # fmt: skip

# Requests that break none.


def _encode_whole(wire: str) -> bytes:
    connection = connection_class(wire)(WEB_SERVER, **OPTIONS.get(wire, {}))
    for event in whole_request(b"body"):
        connection.send(event)
    return b"".join(connection.data_to_send())


WHOLE = {wire: _encode_whole(wire) for wire in SPOKEN}
"""A whole request with a body, as a web server sends it."""
MALFORMED = [*FASTCGI, *SCGI, *UWSGI, *AJP, *HTTP, *AUTO]
