"""What the records of FastCGI 1.0 say: numbers, headers, name-value pairs.

https://fastcgi-archives.github.io/FastCGI_Specification.html

Everything here is about bytes and knows nothing of the connection that carries them.
"""

from __future__ import annotations

from struct import Struct

from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.events import RESPONDER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.events import Pairs, Params

# §8 gives these names with the prefix FCGI_.
VERSION_1, NULL_REQUEST_ID, KEEP_CONN = 1, 0, 1
BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR, DATA = range(1, 9)
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)
MAX_CONNS, MAX_REQS, MPXS_CONNS = "FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS"

TYPE_NAMES = "nothing BEGIN_REQUEST ABORT_REQUEST END_REQUEST PARAMS STDIN STDOUT STDERR DATA GET_VALUES".split()
TYPE_NAMES += ["GET_VALUES_RESULT", "UNKNOWN_TYPE"]
PROTOCOL_STATUS = ("", "CANT_MPX_CONN", "OVERLOADED", "UNKNOWN_ROLE")

# §3.3: version, type, requestId, contentLength, paddingLength, reserved.
_HEADER = Struct(">BBHHBx")
read_header, _make_header = _HEADER.unpack_from, _HEADER.pack
# §5.1: role, flags, reserved[5]; §5.5: appStatus, protocolStatus, reserved[3].
BEGIN_BODY, END_BODY = Struct(">HB5x"), Struct(">IB3x")

CONTENT_MAX = 65528  # the longest content we put in one record; a multiple of 8 needs no padding (§3.3)
_PADDING = [b"\0" * n for n in range(8)]


def encode_record(kind: int, request_id: int, content: bytes = b"") -> bytes:
    """One record, padded to a multiple of eight bytes as §3.3 recommends; ``content`` is at most 65535 bytes."""
    padding = -len(content) % 8
    return _make_header(VERSION_1, kind, request_id, len(content), padding) + content + _PADDING[padding]


def encode_end(request_id: int, app_status: int = 0, protocol_status: int = REQUEST_COMPLETE) -> bytes:
    """END_REQUEST (§5.5)."""
    return encode_record(END_REQUEST, request_id, END_BODY.pack(app_status & 0xFFFFFFFF, protocol_status))


END_OF_STDOUT_1 = encode_record(STDOUT, 1) + encode_end(1)
"""What ends nearly every response there is."""
_BEGIN_1 = [encode_record(BEGIN_REQUEST, 1, BEGIN_BODY.pack(RESPONDER, flags)) for flags in (0, KEEP_CONN)]
_END_1 = encode_record(PARAMS, 1) + encode_record(STDIN, 1)


def cut_request(data: bytes) -> bytes | None:
    """The PARAMS of a request that is all of ``data``, if it is what nearly all are: of a Responder, without a body.

    Such a request is one record of PARAMS between two pieces that are always the same.  Cut at once it costs half of
    what its four records do one by one.
    """
    if data[-16:] != _END_1 or data[:16] not in _BEGIN_1:
        return None
    version, kind, request_id, length, padding = read_header(data, 16)
    if (version, kind, request_id) != (VERSION_1, PARAMS, 1) or not 0 < length == len(data) - 40 - padding:
        return None
    return data[24 : 24 + length]


def encode_pairs(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Name-value pairs (§3.4).  Raises LocalProtocolError for what is not latin-1."""
    text = "".join([_encode_length(len(name)) + _encode_length(len(value)) + name + value for name, value in pairs])
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        shown = error.object[error.start]
        raise LocalProtocolError(f"a param holds {shown!r}, which is not latin-1 (PEP 3333)") from None


def _encode_length(size: int) -> str:
    return chr(size) if size < 128 else (size | 0x80000000).to_bytes(4, "big").decode("latin-1")


def decode_pairs(block: bytes) -> tuple[Params, Pairs]:
    """Name-value pairs (§3.4); all in order as well, if a name came twice.  Raises RemoteProtocolError."""
    text = block.decode("latin-1")
    params: Params = {}
    at, count, size = 0, 0, len(block)
    try:
        if text.isascii():  # so every length is one byte: the common case, and a loop worth keeping short
            while at < size:
                middle = at + 2 + block[at]
                name = text[at + 2 : middle]
                at = middle + block[at + 1]
                params[name] = text[middle:at]
                count += 1
            if at == size and count == len(params):
                return params, ()
            at = 0
        pairs = []
        while at < size:
            lengths = []
            for _ in range(2):
                width = 1 if block[at] < 128 else 4
                lengths.append(int.from_bytes(block[at : at + width], "big") & 0x7FFFFFFF)
                at += width
            middle, end = at + lengths[0], at + sum(lengths)
            pairs.append((text[at:middle], text[middle:end]))
            at = end
    except IndexError:
        at = -1
    if at != size:
        raise RemoteProtocolError(f"a name or value claims more than its block of {size} bytes has (§3.4)")
    params = dict(pairs)
    return params, () if len(params) == len(pairs) else pairs
