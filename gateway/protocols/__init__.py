"""The wires.  One file each, both sides, no I/O; this page is their registry."""

from __future__ import annotations

WIRES = {
    "cgi": "gateway.protocols.cgi",
    "fastcgi": "gateway.protocols.fastcgi",
}
"""The wire's name, also its URL scheme, and the module that holds its ``Connection``."""
