"""Where a worker listens: a socket, and the wire that is spoken there."""

from __future__ import annotations

import socket

from gateway.address import Address, bound_address, parse_bind
from gateway.errors import ConfigError
from gateway.events import APPLICATION
from gateway.protocols import PORTS, WIRES, connection_factory, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from gateway.events import Connection
    from gateway.limits import Limits


class Listener:
    """A socket that listens, and ``connect``, which makes the Connection of whoever is accepted there."""

    __slots__ = ("sock", "connect", "_kind")

    def __init__(self, sock: socket.socket, connect: Callable[[], Connection]) -> None:
        self.sock = sock
        self.connect = connect
        self._kind = int(sock.family), int(sock.type), sock.proto

    def prepare(self) -> None:
        """No accept() may wait: another process may have been faster.  Accepted connections inherit TCP_NODELAY."""
        self.sock.setblocking(False)
        if self.sock.family in (socket.AF_INET, socket.AF_INET6):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def accept(self) -> tuple[socket.SocketType, object]:
        """Who connected, and its name; raises OSError.

        ``socket.accept()`` does the same, and looks two enums up each time: 9 % of the instructions of a request.
        """
        fd, name = self.sock._accept()  # type: ignore[attr-defined]
        return socket.SocketType(*self._kind, fd), name


def build_listeners(
    sockets: Iterable[tuple[socket.socket, str]], *, limits: Limits, options: Mapping[str, Any] | None = None,
    allowed: frozenset[str] | None = None,
) -> list[Listener]:  # fmt: skip
    """Listeners for sockets that listen already, each with its wire, which gets what it takes of the ``options``.

    ``allowed`` are the addresses that may connect, None for all.  Raises ConfigError.
    """
    return [
        Listener(sock, connections_at(bound_address(sock), wire, limits=limits, options=options or {}, allowed=allowed))
        for sock, wire in sockets
    ]


def connections_at(
    address: Address, wire: str, *, limits: Limits, options: Mapping[str, Any], allowed: frozenset[str] | None
) -> Callable[[], Connection]:
    """What makes the connections of whoever is accepted at an address.  Raises ConfigError."""
    taken = options_of(wire, options)
    _check_trust(address, wire, taken, allowed=allowed)
    return connection_factory(wire, APPLICATION, limits=limits, options=taken)


def parse_listen(bind: str, *, protocol: str) -> tuple[Address, str]:
    """Parse where to listen, and for which wire: ``protocol`` if it names none.  Without a port it is the wire's usual.

    Raises ConfigError, also for a wire that is not spoken over sockets.

    >>> parse_listen("scgi://127.0.0.1", protocol="ajp"), parse_listen("[::1]", protocol="ajp")
    ((Address('127.0.0.1:4000'), 'scgi'), (Address('[::1]:8009'), 'ajp'))
    """
    named = bind.partition("://")[0].strip().lower()
    address = parse_bind(bind, default_port=PORTS.get(named) or PORTS.get(protocol) or PORTS["fastcgi"])
    wire, address.protocol = address.protocol or protocol, ""
    if wire not in WIRES:
        raise ConfigError(f"{bind!r}: no wire is called {wire!r}; there are: {', '.join(WIRES)}")
    return address, wire


def check_taken(options: Iterable[str], *, wires: Iterable[str]) -> None:
    """Raise ConfigError for an option that none of the wires takes: a secret that nobody asks for protects nobody."""
    for name in options:
        if not any(options_of(wire, {name: None}) for wire in wires):
            there = ", ".join(dict.fromkeys(wires))
            raise ConfigError(f"{name} is no option of {there}; leave it out, or listen for a wire that takes it")


def _check_trust(address: Address, wire: str, options: Mapping[str, Any], *, allowed: frozenset[str] | None) -> None:
    """Raise ConfigError if others than this machine could connect and be believed, though the wire knows a secret.

    Whoever connects is believed in all that a web server tells, REMOTE_USER included.  Wires without a secret leave no
    choice but a firewall; where there is one, Tomcat does not start without it either (secretRequired), since it was
    robbed through open AJP ports (CVE-2020-1938).  Not asked of ``auto``: who may not speak AJP would speak FastCGI.
    """
    here = address.kind != "tcp" or address.host in ("localhost", "::1") or address.host.startswith("127.")
    if here or allowed is not None or options.get("secret") or "secret" not in options_of(wire, {"secret": ""}):
        return
    raise ConfigError(
        f"{wire} at {address} would believe everybody who connects: give it a secret (GATEWAY_SECRET, and "
        "secret=… at the web server), name the web servers in FCGI_WEB_SERVER_ADDRS, or listen on 127.0.0.1 or a path"
    )
