"""The wires.  One file each, both sides, no I/O; this page is their registry."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gateway.events import Connection, Side
    from gateway.limits import Limits

WIRES = {
    "fastcgi": "gateway.protocols.fastcgi",
    "scgi": "gateway.protocols.scgi",
    "uwsgi": "gateway.protocols.uwsgi",
    "ajp": "gateway.protocols.ajp",
    "http": "gateway.protocols.http",
    "auto": "gateway.protocols.detect",
}
"""What is spoken over sockets: the wire's name, also its URL scheme, and the module that holds its ``Connection``.

The first is the default.  A new wire is a new row here, and its own file.
"""
PORTS = {"fastcgi": 9000, "scgi": 4000, "uwsgi": 3031, "ajp": 8009, "http": 8000}
"""The TCP port at which a wire is usually found behind its web server; for any other it is that of FastCGI."""
PIPED = {"cgi": "gateway.protocols.cgi"}
"""What a process speaks with who started it: no worker can listen for it."""


def connection_class(wire: str) -> Callable[..., Connection]:
    """The ``Connection`` of a wire.  Raises ConfigError."""
    module = WIRES.get(wire) or PIPED.get(wire)
    if module is None:
        from gateway.errors import ConfigError

        raise ConfigError(f"no wire is called {wire!r}; there are: {', '.join((*WIRES, *PIPED))}")
    connection: Callable[..., Connection] = __import__(module, fromlist=["Connection"]).Connection
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


def options_of(wire: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a wire takes of the options given to a server: keywords of its ``Connection``; ``auto`` takes any wire's.

    >>> options_of("ajp", {"secret": "s", "multiplex": True}), options_of("auto", {"secret": "s"})
    ({'secret': 's'}, {'options': {'ajp': {'secret': 's'}}})
    """
    if not given:
        return {}
    from inspect import signature

    keywords = signature(connection_class(wire)).parameters
    taken = {name: value for name, value in given.items() if name in keywords}
    if wire == "auto":
        theirs = {other: options for other in WIRES if other != wire and (options := options_of(other, given))}
        taken |= {"options": theirs} if theirs else {}
    return taken
