"""Where the commands for development listen: on this machine, at the wished port or the next free one."""

from __future__ import annotations

import errno
import socket

from gateway.address import Address, listen
from gateway.errors import ConfigError

HOST = "127.0.0.1"
PORTS = 20
"""How many ports to try, from the wished one on."""


def listen_nearby(port: int, *, host: str = HOST) -> socket.socket:
    """Listen on the port, or on the next one that is free; 0 is any.  Raises ConfigError."""
    for candidate in range(port, min(port + PORTS, 65536)):
        try:
            return listen(Address(host=host, port=candidate))
        except ConfigError as error:
            if getattr(error.__cause__, "errno", 0) != errno.EADDRINUSE:
                raise
    raise ConfigError(f"ports {port} to {port + PORTS - 1} are all in use; choose another with --port")
