"""All wires on one socket: the first bytes of a connection decide which of them it speaks, as the APPLICATION.

A PROXY protocol header, version 1 or 2, may come first and tell who connected to whom; §§ are those of
https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt.  It is believed, as the params of every wire are: whoever
can connect can claim any REMOTE_ADDR, so the socket is for web servers and load balancers only (§4).
"""

from __future__ import annotations

from functools import cache
from struct import Struct

from gateway.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from gateway.events import APPLICATION, Event, Request, Side
from gateway.head import TOKEN
from gateway.limits import Limits
from gateway.protocols import connection_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from gateway.events import Connection as Wire
    from gateway.events import Params

WIRE_OF = dict.fromkeys(map(ord, TOKEN), "http")  # a method (RFC 9110 §9.1)
WIRE_OF |= dict.fromkeys(b"0123456789", "scgi")  # the length of a netstring
WIRE_OF |= {0x00: "uwsgi", 0x01: "fastcgi", 0x12: "ajp"}  # modifier1, version, 0x1234
"""The wire that begins with a byte."""

_class_of = cache(connection_class)
_checked: list[object] = [None]
"""The options that were tried last: a server makes all its connections with the same."""

_TLS_HANDSHAKE = 0x16
_HANDSHAKE_FAILURE = b"\x15\x03\x01\x00\x02\x02\x28"
"""A fatal alert, so that the client tells its user something better than that we hung up (RFC 8446 §6.2)."""

V1 = b"PROXY "
V1_MAX = 107
"""Bytes of the longest header of version 1, its CRLF included (§2.1)."""
V2 = b"\r\n\r\n\0\r\nQUIT\n"
_BEGINS_PROXY = (V1[0], V2[0])
_HEADER = Struct(">12xBBH")  # signature, version and command, family and transport, length of what follows (§2.2)
_PORTS = Struct(">HH")
_TLV = Struct(">BH")
LOCAL, PROXY = 0x20, 0x21
ADDRESS_SIZE = {0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16}
"""Bytes of one address, for IPv4 and IPv6, stream and datagram; for what else there is, the connection's own hold."""
TYPE_SSL, CLIENT_SSL = 0x20, 0x01


def decode_proxy(data: bytes) -> tuple[Params, int] | None:
    r"""What a PROXY header says, and its length, 0 if there is none; None while it is not whole.

    Raises RemoteProtocolError.

    >>> decode_proxy(b"PROXY TCP4 192.0.2.7 198.51.100.1 4567 80\r\nGET /")
    ({'REMOTE_ADDR': '192.0.2.7', 'REMOTE_PORT': '4567', 'SERVER_ADDR': '198.51.100.1', 'SERVER_PORT': '80'}, 43)
    >>> decode_proxy(b"POST /")
    ({}, 0)
    """
    for signature, decode in ((V1, _decode_v1), (V2, _decode_v2)):
        if data.startswith(signature):
            return decode(data)
        if signature.startswith(data):
            return None
    return {}, 0


def _decode_v1(data: bytes) -> tuple[Params, int] | None:
    end = data.find(b"\r\n", 0, V1_MAX)
    if end < 0:
        if len(data) >= V1_MAX:
            raise RemoteProtocolError(f"no CRLF in the first {V1_MAX} bytes (§2.1)")
        return None
    line = data[:end].decode("latin-1")
    _, family, *fields = line.split(" ")
    if family == "UNKNOWN":
        return {}, end + 2  # the rest of the line is to be ignored (§2.1)
    if family not in ("TCP4", "TCP6") or len(fields) != 4 or not all(map(_is_port, fields[2:])):
        raise RemoteProtocolError(f"{line!r} is not TCP4 or TCP6, two addresses and two ports (§2.1)")
    return _name(fields[0], fields[1], *fields[2:], version=int(family[3])), end + 2


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) < 65536


def _decode_v2(data: bytes) -> tuple[Params, int] | None:
    if len(data) < _HEADER.size:
        return None
    command, family, length = _HEADER.unpack_from(data)
    if command not in (LOCAL, PROXY):
        raise RemoteProtocolError(f"version and command are 0x{command:02x}, neither 0x20 nor 0x21 (§2.2)")
    end = _HEADER.size + length
    if len(data) < end:
        return None
    size = ADDRESS_SIZE.get(family)
    if command == LOCAL or size is None:
        return {}, end
    body = data[_HEADER.size : end]
    if length < 2 * size + _PORTS.size:
        raise RemoteProtocolError(f"{length} bytes do not hold two addresses of {size} bytes and their ports (§2.2)")
    params = _name(body[:size], body[size : 2 * size], *map(str, _PORTS.unpack_from(body, 2 * size)))
    if _has_tls(body[2 * size + _PORTS.size :]):
        params["HTTPS"] = "on"
    return params, end


def _has_tls(vectors: bytes) -> bool:
    """Does one of the type-length-value vectors say that the client came over TLS (§2.2.6)?"""
    at = 0
    while at < len(vectors):
        kind, length = _TLV.unpack_from(vectors, at) if len(vectors) - at >= _TLV.size else (0, len(vectors))
        value = vectors[at + _TLV.size : at + _TLV.size + length]
        if len(value) < length:
            raise RemoteProtocolError(f"a vector of type 0x{kind:02x} is longer than the header (§2.2.7)")
        if kind == TYPE_SSL and value[:1] and value[0] & CLIENT_SSL:
            return True
        at += _TLV.size + length
    return False


def _name(source: str | bytes, destination: str | bytes, *ports: str, version: int = 0) -> Params:
    """Both ends of the connection, as params; their addresses are text or bytes."""
    from ipaddress import ip_address  # nobody else pays for this import

    try:
        addresses = [ip_address(address) for address in (source, destination)]
    except ValueError as error:
        raise RemoteProtocolError(f"{error} (§2.1)") from None
    if version and any(address.version != version for address in addresses):
        raise RemoteProtocolError(f"{source!r} and {destination!r} are not both of TCP{version} (§2.1)")
    names = ("REMOTE_ADDR", "REMOTE_PORT", "SERVER_ADDR", "SERVER_PORT")
    return dict(zip(names, (str(addresses[0]), ports[0], str(addresses[1]), ports[1]), strict=True))


class Connection:
    """A connection whose wire is not known yet; once it is, all that is heard and said is left to that wire's own.

    ``options`` are those of the wires, by their names: ``{"ajp": {"secret": "…"}}``.
    Raises ConfigError for the WEB_SERVER side, which speaks first and so has to know.
    """

    body_held, needs_length = 0, False
    error_channel = meta_variables = marks_end = False  # what is true of every wire that it may turn out to be

    def __init__(
        self, side: Side, *, limits: Limits | None = None, options: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        if side is not APPLICATION:
            raise ConfigError("who speaks first has to know the wire: give the URL its name, such as fastcgi://…")
        self.side = side
        self._limits = limits
        self._options = options or {}
        if options and options is not _checked[0]:
            for name, given in options.items():
                _class_of(name)(side, **given)  # a wrong option is an error now, not when the first peer comes
            _checked[0] = options
        self._wire: Wire | None = None
        self._told: Params = {}  # by a PROXY header, if there was one that tells something
        self._inbox, self._received = b"", 0  # what is not decoded yet, and the number of bytes before it
        self._over = self._broken = False  # the peer says nothing more; it broke a rule, and is not listened to
        self._last_word = b""

    def __repr__(self) -> str:
        if self._wire is not None:
            return repr(self._wire)
        doing = "broken" if self._broken else f"{len(self._inbox)} bytes so far"
        return f"<detect.Connection {self.side} {doing}>"

    @property
    def reusable(self) -> bool:
        """Keep the transport after the last EndOfResponse?"""
        return not (self._over or self._broken) if self._wire is None else self._wire.reusable

    @property
    def idle(self) -> bool:
        """Is nothing begun that is not finished?"""
        return not (self._inbox or self._broken) if self._wire is None else self._wire.idle

    def receive_data(self, data: bytes) -> None:
        """Feed bytes; nothing is decoded before :meth:`events`."""
        if self._wire is not None:
            self._wire.receive_data(data)
        elif not self._broken:
            self._inbox = self._inbox + data if self._inbox else data

    def receive_eof(self) -> None:
        """The peer sends nothing more.  RemoteProtocolError if it said too little to tell what it speaks."""
        wire = self._wire or self._detect()
        if wire is not None:
            wire.receive_eof()
            return
        self._over = True
        if self._inbox:
            cut = RemoteProtocolError("the peer closed the connection before the end of the header (§2)")
            raise self._refuse("PROXY protocol", cut)

    def events(self) -> list[Event]:
        """What was fed; nothing while it is not clear of which wire it is."""
        wire = self._wire or self._detect()
        if wire is None:
            return []
        return self._tell(wire.events()) if self._told else wire.events()

    def _detect(self) -> Wire | None:
        """The connection of the wire that is spoken here, if that is clear by now."""
        if self._inbox and self._inbox[0] in _BEGINS_PROXY and not self._received:
            try:
                header = decode_proxy(self._inbox)
            except RemoteProtocolError as error:
                raise self._refuse("PROXY protocol", error) from None
            if header is None:
                return None
            self._told, self._received = header
            self._inbox = self._inbox[self._received :]
        if not self._inbox:
            return None
        name = WIRE_OF.get(self._inbox[0])
        if name is None:
            raise self._refuse("auto", self._unknown(self._inbox[0]))
        options = self._options.get(name, {})
        if name == "http":
            options, self._told = {**options, "params": self._told}, {}  # it says nothing of this itself
        self._wire = wire = _class_of(name)(self.side, limits=self._limits, **options)
        self.error_channel = wire.error_channel
        wire.receive_data(self._inbox)
        return wire

    def _unknown(self, byte: int) -> RemoteProtocolError:
        if byte == _TLS_HANDSHAKE:
            self._last_word = _HANDSHAKE_FAILURE
            return RemoteProtocolError("a TLS handshake; let the web server end TLS, and ask us in plain text")
        return RemoteProtocolError(f"no wire begins with the byte 0x{byte:02x}")

    def _refuse(self, rules: str, error: RemoteProtocolError) -> RemoteProtocolError:
        error.args = (f"{rules}: {error} (at byte {self._received})",)
        self._broken, self._inbox = True, b""
        return error

    def _tell(self, heard: list[Event]) -> list[Event]:
        """Add to each request what the PROXY header says, where it does not say it itself."""
        for event in heard:
            if isinstance(event, Request):
                event.params = self._told | event.params
                event.repeated = event.repeated and [*self._told.items(), *event.repeated]
        return heard

    def send(self, event: Event) -> None:
        """Say something.  LocalProtocolError before the peer has asked."""
        if self._wire is not None:
            self._wire.send(event)
        elif not self._broken:
            raise LocalProtocolError(f"{type(event).__name__} does not fit {self!r}")

    def data_to_send(self) -> list[bytes]:
        """What to write now: that of the wire, or a last word to a peer that was refused."""
        if self._wire is not None:
            return self._wire.data_to_send()
        word, self._last_word = self._last_word, b""
        return [word] if word else []
