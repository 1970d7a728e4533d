"""The wires.  One file each, both sides, no I/O; this page is their registry."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.events import Connection

WIRES = {
    "cgi": "gateway.protocols.cgi",
    "fastcgi": "gateway.protocols.fastcgi",
}
"""The wire's name, also its URL scheme, and the module that holds its ``Connection``."""
SOCKET_WIRES = ("fastcgi",)
"""Those that a persistent worker speaks over a socket; the first is the default."""


def connection_class(wire: str) -> Callable[..., Connection]:
    """The ``Connection`` of a wire.  Raises ConfigError."""
    if wire not in WIRES:
        from gateway.errors import ConfigError

        raise ConfigError(f"no wire is called {wire!r}; there are: {', '.join(WIRES)}")
    connection: Callable[..., Connection] = __import__(WIRES[wire], fromlist=["Connection"]).Connection
    return connection
