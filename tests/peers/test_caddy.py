"""Caddy in front of ``fcgi-run``, with the configuration of ``examples/caddy``.

Caddy 2.6 keeps no connections, and nothing of what the application says on FCGI_STDERR, whatever capture_stderr says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.frontends.checks import (
    Addresses,
    Bodies,
    CutsOfKnownLength,
    LongBodiesInChunks,
    Requests,
    Responses,
    Streaming,
)
from tests.peers.frontends.servers import Site, Worker, caddy


class TestHTTP(Requests, Addresses, Bodies, LongBodiesInChunks, Responses, Streaming, CutsOfKnownLength):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with caddy(directory, "Caddyfile", {"unix//run/hello.sock": f"unix/{worker.socket}"}) as site:
            yield site


class TestHTTPSToAPort(Requests, Bodies):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with caddy(directory, "Caddyfile", {"unix//run/hello.sock": f"127.0.0.1:{worker.port}"}, tls=True) as site:
            yield site
