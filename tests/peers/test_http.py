"""HTTP: ``fcgi-run`` behind nginx, Apache, lighttpd and HAProxy, as ``examples`` configures them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.frontends.checks import (
    Bodies,
    Cuts,
    CutsWhileStreaming,
    ForwardedAddresses,
    KeptConnections,
    LongBodiesInChunks,
    Requests,
    Responses,
    Streaming,
    UnkeptConnections,
)
from tests.peers.frontends.servers import Site, Worker, apache, example, fcgi_run, haproxy, lighttpd, nginx


@pytest.fixture(scope="module")
def worker(directory: Path) -> Iterator[Worker]:
    with fcgi_run(directory, "--protocol", "http", "--mount", "/app", "--threads", "4") as worker:
        yield worker


def at(worker: Worker) -> dict[str, str]:
    return {"/run/hello.sock": str(worker.socket)}


class TestNginx(Requests, ForwardedAddresses, Bodies, LongBodiesInChunks, Responses, Cuts, KeptConnections):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with nginx(directory, "http.conf", at(worker)) as site:
            yield site


class TestNginxThatPassesOnAtOnce(Bodies, LongBodiesInChunks, Responses, Streaming, Cuts, KeptConnections):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        unbuffered = {f"# proxy_{what}buffering off;": f"proxy_{what}buffering off;" for what in ("", "request_")}
        with nginx(directory, "http.conf", at(worker) | unbuffered) as site:
            yield site


class TestApache(Requests, ForwardedAddresses, Bodies, LongBodiesInChunks, Responses, Streaming, Cuts, KeptConnections):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with apache(directory, example("apache/http.conf", {"127.0.0.1:9000": f"127.0.0.1:{worker.port}"})) as site:
            yield site


class TestLighttpd(
    Requests, ForwardedAddresses, Bodies, LongBodiesInChunks, Responses, Streaming, CutsWhileStreaming,
    UnkeptConnections,
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with lighttpd(directory, "http.conf", at(worker)) as site:
            yield site


class TestHAProxy(
    Requests, ForwardedAddresses, Bodies, LongBodiesInChunks, Responses, Streaming, Cuts, KeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with haproxy(directory, "http.cfg", at(worker)) as site:
            yield site
