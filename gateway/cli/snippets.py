"""The lines that a web server needs to pass requests on to us; ``fcgi-run`` and its like print them at their start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from gateway.address import Address

PARAMS = """\
location {location} {{
    include {wire}_params;
    {wire}_param SCRIPT_NAME {script_name};
    {wire}_param PATH_INFO {path_info};
    {wire}_param HTTP_PROXY "";
    {wire}_pass {place};
}}"""
HTTP = """\
location {location} {{
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_pass {place};
}}"""
AJP = """\
# Apache, with mod_proxy_ajp
{more}AllowEncodedSlashes NoDecode
ProxyPass "{path}" "{place}{path}"{secret}"""


def snippet(address: Address, mount: str | None, wire_options: Mapping[str, Any]) -> str:
    """The lines for nginx, or for Apache if nginx does not speak the wire of the address; "" if nobody gets there.

    A socket for all wires gets them for FastCGI.

    >>> from gateway.address import parse_bind
    >>> print(snippet(parse_bind("scgi://127.0.0.1:4000"), "/app", {}))
    location ~ ^(?<script_name>/app)(?<path_info>/.*)?$ {
        include scgi_params;
        scgi_param SCRIPT_NAME $script_name;
        scgi_param PATH_INFO $path_info;
        scgi_param HTTP_PROXY "";
        scgi_pass 127.0.0.1:4000;
    }
    """
    if address.path.startswith("\0"):
        return ""
    path = os.path.abspath(address.path) if address.path else ""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    place = f"unix:{path}" if path else str(Address(host=here, port=address.port))
    wire = "fastcgi" if address.protocol == "auto" else address.protocol
    if wire == "ajp":
        return _for_apache(f"{place}|ajp://localhost" if path else f"ajp://{place}", mount, wire_options)
    if wire == "http":
        location = f"~ ^{re.escape(mount)}(/|$)" if mount else "/"
        return HTTP.format(location=location, place=_quoted(f"http://{place}"))
    if wire not in ("fastcgi", "scgi", "uwsgi"):
        return ""
    location, script_name, path_info = "/", '""', "$document_uri"
    if mount:
        location = f"~ ^(?<script_name>{re.escape(mount)})(?<path_info>/.*)?$"
        script_name, path_info = "$script_name", "$path_info"
    return PARAMS.format(
        location=location, wire=wire, script_name=script_name, path_info=path_info, place=_quoted(place)
    )


def _for_apache(place: str, mount: str | None, options: Mapping[str, Any]) -> str:
    more = secret = ""
    if "secret" in options:
        more = "# and with GATEWAY_SECRET in its environment, or by Define\n"
        secret = ' "secret=${GATEWAY_SECRET}"'
    if "packet_size" in options:
        more += f"ProxyIOBufferSize {options['packet_size']}\n"
    return AJP.format(more=more, path=mount or "/", place=place, secret=secret)


def _quoted(text: str) -> str:
    """A word of nginx's configuration."""
    return f'"{text}"' if re.search(r"[\s;{}#]", text) else text
