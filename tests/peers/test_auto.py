"""``fcgi-run --protocol auto``: several web servers, wires and PROXY headers on one socket."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.frontends.checks import (
    Addresses,
    Bodies,
    Cuts,
    LongBodiesInChunks,
    Requests,
    Responses,
    Streaming,
    UnkeptConnections,
)
from tests.peers.frontends.servers import Site, Worker, fcgi_run, haproxy, nginx
from tests.requirements import require

CONFIGURATIONS = ["mounted.conf", "scgi.conf", "uwsgi.conf", "http.conf"]
"""The same application, in the words of nginx for each wire that it speaks."""


@pytest.fixture(scope="module")
def worker(directory: Path) -> Iterator[Worker]:
    with fcgi_run(directory, "--protocol", "auto", "--mount", "/app", "--threads", "4") as worker:
        yield worker


def at(worker: Worker) -> dict[str, str]:
    return {"/run/hello.sock": str(worker.socket)}


class TestNginxByEachWire(Requests, Bodies, Responses):
    @pytest.fixture(scope="class", params=CONFIGURATIONS)
    @classmethod
    def site(cls, request: pytest.FixtureRequest, directory: Path, worker: Worker) -> Iterator[Site]:
        with nginx(directory, request.param, at(worker)) as site:
            yield site


def test_visitors_by_all_wires_at_once_get_an_answer_each(directory: Path, worker: Worker) -> None:
    with ExitStack() as started, ThreadPoolExecutor(8) as visitors:
        sites = []
        for configuration in CONFIGURATIONS:
            (folder := directory / configuration).mkdir()
            sites.append(started.enter_context(nginx(folder, configuration, at(worker))))
        answers = visitors.map(lambda n: sites[n % 4].get(f"/app/{n}").json()["PATH_INFO"], range(80))
        assert list(answers) == [f"/{n}" for n in range(80)]


class TestHAProxyAndItsHeader(
    Requests, Addresses, Bodies, LongBodiesInChunks, Responses, Streaming, Cuts, UnkeptConnections
):  # fmt: skip
    """PROXY protocol, version 1 and 2; no two visitors share a connection, which begins with the name of one."""

    @pytest.fixture(scope="class", params=["send-proxy", "send-proxy-v2"])
    @classmethod
    def site(cls, request: pytest.FixtureRequest, directory: Path, worker: Worker) -> Iterator[Site]:
        with haproxy(directory, "proxy-protocol.cfg", {"send-proxy-v2-ssl": request.param} | at(worker)) as site:
            yield site


class TestHAProxyAndTLS(Requests, Addresses):
    """Version 2 tells of TLS as well."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with haproxy(directory, "proxy-protocol.cfg", at(worker), certificate=certificate(directory)) as site:
            yield site


def certificate(directory: Path) -> Path:
    """A key, and a certificate for it that nobody else signed."""
    path = directory / "site.pem"
    openssl = require("openssl", package="openssl")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, "-subj", "/CN=site.example", "-keyout", path, "-out", path], check=True)
    return path


class TestNginxThatPassesConnectionsOn(Requests, Addresses, Bodies, LongBodiesInChunks, Responses, Streaming, Cuts):
    """The visitor himself speaks to the worker, behind a header of nginx's."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with nginx(directory, "proxy-protocol.conf", at(worker)) as site:
            yield site


class TestFastCGIBehindAHeader(Requests, Addresses, Bodies):
    """Any wire may come behind a header; params of a request that say the same as the header win."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with haproxy(directory, "haproxy.cfg", {"proto fcgi": "proto fcgi send-proxy-v2"} | at(worker)) as site:
            yield site
