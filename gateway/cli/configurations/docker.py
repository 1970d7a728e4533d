"""Docker: an image of the application, and with Compose nginx in front of it."""

from __future__ import annotations

import json

from gateway.address import Address
from gateway.cli.configurations import Configuration, Site, nginx
from gateway.errors import ConfigError
from gateway.protocols import PORTS

DOCKERFILE = """
 |  | # Beside the application and its requirements.txt: docker compose up --build
 |  | FROM python:3.13-slim
 |  | WORKDIR /srv/@name@
 |  | COPY requirements.txt .
 |  | RUN pip install --no-cache-dir gateway -r requirements.txt
 |  | COPY . .
 |  | USER 65534
 |  | EXPOSE @inner@
 |  | HEALTHCHECK --interval=5s CMD @ping@
 |  | CMD @start@
"""
COMPOSE = """
 |  | # compose.yaml
 |  | services:
 |  |   @label@:
 |  |     build: .
 |  |     init: true
 |  |   web:
 |  |     image: nginx:stable
 |  |     ports: ["@port@:@port@"]
 |  |     volumes: ["./nginx.conf:/etc/nginx/nginx.conf:ro"]
 |  |     depends_on:
 |  |       @label@:
 |  |         condition: service_healthy
"""
NGINX = """
 |  | @nginx@
"""


def values(site: Site) -> dict[str, object]:
    """The commands of the image, and nginx as Compose runs it."""
    return in_containers(site, listen="0.0.0.0", connect=label(site))


def label(site: Site) -> str:
    """The name of the application as a host name."""
    return site.name.replace("_", "-").lower()


def in_containers(site: Site, *, listen: str, connect: str) -> dict[str, object]:
    """What starts the application in a container and asks it for its health, and the nginx in another one."""
    if site.bound and site.path:
        raise ConfigError("containers reach each other by TCP: leave --bind out, or give it a port")
    port = (site.address.port if site.bound else 0) or PORTS[site.wire]
    mount = ["--mount", site.mount] if site.mount else []
    start = ["fcgi-run", site.target, "-b", f"{site.wire}://{listen}:{port}", *mount]
    front = Site(
        site.target, bind=Address(host=connect, port=port, protocol=site.wire), mount=site.mount, stream=site.stream,
        size=site.size, full=True, host=site.host, port=site.port,
    )  # fmt: skip
    return {
        "label": label(site), "inner": port, "start": json.dumps(start),
        "ping": json.dumps(["gateway", "ping", f"{site.wire}://127.0.0.1:{port}"]),
        "nginx": nginx.configuration.write(front)["nginx.conf"].rstrip("\n"),
    }  # fmt: skip


configuration = Configuration(
    "Docker", {"Dockerfile": DOCKERFILE, "compose.yaml": COMPOSE, "nginx.conf": NGINX}, values=values,
    wires=nginx.configuration.wires,
)  # fmt: skip
