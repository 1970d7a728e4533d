"""uwsgi as a wire, both sides: requests (modifier1 0) as uWSGI, nginx, Apache and lighttpd send them.

https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html

It is SCGI in another envelope: a packet of at most 64 KiB takes the place of the netstring, an HTTP status line that of
``Status``.
"""

from __future__ import annotations

from struct import Struct

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.protocols import scgi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.events import Pairs, Params

REQUEST = 0
"""The modifier1 of a "Standard WSGI request followed by the HTTP request body"."""
SIZE_MAX = 65535
_HEADER = Struct("<BHB")
"""modifier1, datasize, modifier2."""
_SIZE = Struct("<H")


def encode_request(pairs: Iterable[tuple[str, str]]) -> bytes:
    r"""The packet of a request: each name and value after its length, 16 bits little-endian.

    Raises LocalProtocolError for what is not latin-1, or too long.

    >>> encode_request([("A", "BC")])
    b'\x00\x07\x00\x00\x01\x00A\x02\x00BC'
    """
    texts = [scgi.encode_text(text) for pair in pairs for text in pair]
    size = sum(map(len, texts)) + 2 * len(texts)
    if size > SIZE_MAX:
        message = f"uwsgi: the params have {size} bytes, a packet takes {SIZE_MAX}; SCGI and others take more"
        raise LocalProtocolError(message, status_hint=scgi.TOO_LARGE)
    return _HEADER.pack(REQUEST, size, 0) + b"".join(len(text).to_bytes(2, "little") + text for text in texts)


def decode_vars(block: bytes) -> tuple[Params, Pairs]:
    r"""The params in a packet; all in order as well, if a name came twice.  Raises RemoteProtocolError.

    >>> decode_vars(b"\x01\x00A\x02\x00BC")
    ({'A': 'BC'}, ())
    """
    text = block.decode("latin-1")
    params: Params = {}
    at, count, size = 0, 0, len(block)
    try:
        while at < size:
            name = at + 2
            middle = name + block[at]
            if block[at + 1]:  # few names and values are that long
                middle += block[at + 1] << 8
            value = middle + 2
            at = value + block[middle]
            if block[middle + 1]:
                at += block[middle + 1] << 8
            params[text[name:middle]] = text[value:at]
            count += 1
    except IndexError:
        at = -1
    if at != size:
        raise RemoteProtocolError(f"a name or value claims more than its packet of {size} bytes has")
    return params, () if count == len(params) else _decode_pairs(block)


def _decode_pairs(block: bytes) -> Pairs:
    """All names and values of a packet that is known to be right, in order."""
    texts, at = [], 0
    while at < len(block):
        start, (length,) = at + 2, _SIZE.unpack_from(block, at)
        at = start + length
        texts.append(block[start:at].decode("latin-1"))
    return list(zip(texts[::2], texts[1::2], strict=True))


class Connection(scgi.Connection):
    """One uwsgi connection, and so one request; see DESIGN.md §3 for the verbs."""

    wire = "uwsgi"
    start = "HTTP/1.1 "

    def encode_request(self, pairs: Iterable[tuple[str, str]]) -> bytes:
        """The packet of a request.  Raises LocalProtocolError."""
        return encode_request(pairs)

    def decode_request(self, data: bytes) -> tuple[Params, Pairs, int] | None:
        """The packet of a request and its size, None while it is not whole.  Raises RemoteProtocolError."""
        if data[0] != REQUEST:
            raise RemoteProtocolError(f"modifier1 is {data[0]}, and only requests, modifier1 0, are served")
        if len(data) < 4:
            return None
        _, size, _ = _HEADER.unpack_from(data)
        if size > self._limits.params_size:
            raise LimitExceeded("params_size", self._limits.params_size, status_hint=scgi.TOO_LARGE)
        end = 4 + size
        if len(data) < end:
            return None
        self._received = 4
        params, repeated = decode_vars(data[4:end])
        if "HTTP_TRANSFER_ENCODING" in params and not params.get("CONTENT_LENGTH"):
            # nginx and lighttpd take such a body whole and state its length.  uWSGI's HTTP router sends none of it, or
            # all of it as it came, chunk sizes included: two things that nothing here tells apart.
            raise RemoteProtocolError("a chunked body, and no CONTENT_LENGTH", status_hint="411 Length Required")
        return params, repeated, end
