"""Caddy: FastCGI, each request on a connection of its own, and HTTP."""

from __future__ import annotations

from gateway.cli.configurations import Configuration, Site

TABLE = """
part          |         | # Caddy in front of `@command@`: inside of a site's braces
full          |         | # caddy run --adapter caddyfile --config FILE, in front of `@command@`
              |         |
full          |         | http://:@port@ {
mount         |         |     @at@@name@ path @mount@ @mount@/*
mount         |         |     handle @at@@name@ {
whole         |         |     handle {
fastcgi mount | path    |         uri strip_prefix @mount@
              |         |         reverse_proxy @place@ {
fastcgi       |         |             transport fastcgi {
fastcgi mount | path    |                 env SCRIPT_NAME @mount@
fastcgi       |         |             }
              | httpoxy |             header_up -Proxy
stream        | stream  |             flush_interval -1
              |         |         }
              |         |     }
full          |         | }
"""


def values(site: Site) -> dict[str, object]:
    """The place in the words of Caddy."""
    return {"place": f"unix/{site.path}" if site.path else site.port_address, "at": "@"}


configuration = Configuration(
    "Caddy", {"Caddyfile": TABLE}, values=values, wires=["fastcgi", "http"], tells_mount=["fastcgi"],
    loses={"fastcgi": "keep underscores"}, check=["caddy", "validate", "--adapter", "caddyfile", "--config"],
)  # fmt: skip
