"""The configuration of the nginx in front of every contender: one worker process, one location each."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from pathlib import Path

from .contenders import CONNECTIONS, Contender

PARAMS = """
QUERY_STRING $query_string
REQUEST_METHOD $request_method
CONTENT_TYPE $content_type
SCRIPT_NAME ""
PATH_INFO $uri
REQUEST_URI $request_uri
DOCUMENT_URI $document_uri
DOCUMENT_ROOT $document_root
SERVER_PROTOCOL $server_protocol
REQUEST_SCHEME $scheme
GATEWAY_INTERFACE CGI/1.1
SERVER_SOFTWARE nginx/$nginx_version
REMOTE_ADDR $remote_addr
REMOTE_PORT $remote_port
SERVER_ADDR $server_addr
SERVER_PORT $server_port
SERVER_NAME $server_name
"""
"""What nginx's own parameter files send, the same for every wire."""

OWN_PARAMS = {"fastcgi": "CONTENT_LENGTH $content_length", "uwsgi": "CONTENT_LENGTH $content_length", "scgi": "SCGI 1"}
"""What only some wires need: the SCGI module writes CONTENT_LENGTH itself."""

KEEP = {"fastcgi": "fastcgi_keep_conn on", "proxy": 'proxy_set_header Connection ""'}
"""What asks for a kept connection, beside the upstream's keepalive; nginx cannot keep SCGI and uwsgi connections."""

MAIN = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_max_body_size 0;
    client_body_temp_path {directory}/client_body;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    proxy_temp_path {directory}/proxy;
{upstreams}
    server {{
        listen 127.0.0.1:{port};
        server_name localhost;
{locations}
    }}
}}
"""


def configuration(contenders: Iterable[Contender], *, directory: Path, port: int, streaming: bool = False) -> str:
    """Return the text of nginx.conf.

    `directory` holds nginx's files and the contenders' sockets.  With `streaming`, nginx passes bodies on as they come
    instead of collecting them first, which is its default.
    """
    contenders = list(contenders)
    return MAIN.format(
        # The sockets belong to whoever runs the benchmark; only root's nginx would drop its rights.
        user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
        directory=directory,
        port=port,
        upstreams="\n".join(upstream(contender, directory=directory) for contender in contenders),
        locations="\n".join(location(contender, streaming=streaming) for contender in contenders),
    )


def socket_path(contender: Contender, directory: Path) -> Path:
    """Return where `contender` listens."""
    return directory / f"{contender.slug}.sock"


def upstream(contender: Contender, *, directory: Path) -> str:
    """Return the upstream block of one contender."""
    keep = f" keepalive {CONNECTIONS}; keepalive_requests 100000000;" if contender.kept else ""
    return f"    upstream {contender.slug} {{ server unix:{socket_path(contender, directory)};{keep} }}"


def location(contender: Contender, *, streaming: bool) -> str:
    """Return the location of one contender."""
    wire = contender.protocol
    scheme = "http://" if wire == "proxy" else ""
    directives = [f"{wire}_pass {scheme}{contender.slug}"]
    if streaming:
        directives += [f"{wire}_request_buffering off", f"{wire}_buffering off"]
    if wire == "proxy":
        directives.append("proxy_http_version 1.1")
    else:
        params = (PARAMS.strip() + "\n" + OWN_PARAMS[wire]).splitlines()
        directives += [f"{wire}_param {param}" for param in params]
    if contender.kept:
        directives.append(KEEP[wire])
    body = "".join(f"            {directive};\n" for directive in directives)
    return f"        location = /{contender.slug} {{\n{body}        }}"
