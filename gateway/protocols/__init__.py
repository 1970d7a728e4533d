"""The wires.  One file each, both sides, no I/O; this page is their registry."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gateway.events import Connection, Side
    from gateway.limits import Limits

WIRES = {
    "cgi": "gateway.protocols.cgi",
    "fastcgi": "gateway.protocols.fastcgi",
    "scgi": "gateway.protocols.scgi",
    "uwsgi": "gateway.protocols.uwsgi",
    "ajp": "gateway.protocols.ajp",
    "http": "gateway.protocols.http",
    "auto": "gateway.protocols.detect",
}
"""The wire's name, also its URL scheme, and the module that holds its ``Connection``."""
SOCKET_WIRES = ("fastcgi", "scgi", "uwsgi", "ajp", "http", "auto")
"""Those that a persistent worker speaks over a socket; the first is the default."""


def connection_class(wire: str) -> Callable[..., Connection]:
    """The ``Connection`` of a wire.  Raises ConfigError."""
    if wire not in WIRES:
        from gateway.errors import ConfigError

        raise ConfigError(f"no wire is called {wire!r}; there are: {', '.join(WIRES)}")
    connection: Callable[..., Connection] = __import__(WIRES[wire], fromlist=["Connection"]).Connection
    return connection


def connection_factory(
    wire: str, side: Side, *, limits: Limits, options: Mapping[str, Any] | None = None
) -> Callable[[], Connection]:
    """What makes all connections of a server or a client; ``options`` are those of the wire.  Raises ConfigError."""
    from functools import partial

    factory = partial(connection_class(wire), side, limits=limits, **(options or {}))
    try:
        factory()  # a wrong option is an error now, not when the first peer comes
    except (TypeError, ValueError) as error:
        from gateway.errors import ConfigError

        raise ConfigError(f"the wire {wire} does not take these options: {error}") from error
    return factory
