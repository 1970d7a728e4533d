"""SCGI and uwsgi: ``fcgi-run`` behind nginx, Apache and lighttpd, as ``examples`` configures them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.frontends.checks import (
    Addresses,
    Bodies,
    CutsOfKnownLength,
    CutsOfKnownLengthWhileStreaming,
    LongBodiesInChunks,
    Requests,
    Responses,
    Streaming,
    UnkeptConnections,
)
from tests.peers.frontends.servers import Site, Worker, apache, example, fcgi_run, lighttpd, nginx


@pytest.fixture(scope="module", params=["scgi", "uwsgi"])
def wire(request: pytest.FixtureRequest) -> str:
    """The wire that the web server and the worker speak."""
    return str(request.param)


@pytest.fixture(scope="module")
def worker(directory: Path, wire: str) -> Iterator[Worker]:
    with fcgi_run(directory, "--protocol", wire, "--threads", "4", name=wire) as worker:
        yield worker


def at(worker: Worker) -> dict[str, str]:
    return {"unix:/run/hello.sock": f"unix:{worker.socket}"}


class TestNginx(Requests, Addresses, Bodies, LongBodiesInChunks, Responses, CutsOfKnownLength, UnkeptConnections):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, wire: str, worker: Worker) -> Iterator[Site]:
        with nginx(directory, f"{wire}.conf", at(worker)) as site:
            yield site


class TestNginxThatPassesOnAtOnce(
    Requests, Bodies, LongBodiesInChunks, Responses, Streaming, CutsOfKnownLength, UnkeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, wire: str, worker: Worker) -> Iterator[Site]:
        unbuffered = {f"# {wire}_{what}buffering off;": f"{wire}_{what}buffering off;" for what in ("", "request_")}
        with nginx(directory, f"{wire}.conf", at(worker) | unbuffered) as site:
            yield site


class TestLighttpd(
    Requests, Addresses, Bodies, LongBodiesInChunks, Responses, Streaming, CutsOfKnownLength, UnkeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, wire: str, worker: Worker) -> Iterator[Site]:
        with lighttpd(directory, f"{wire}.conf", {"/run/hello.sock": str(worker.socket)}) as site:
            yield site


class TestApache(Requests, Addresses, Bodies, Responses, Streaming, CutsOfKnownLengthWhileStreaming, UnkeptConnections):
    """Over TCP and over a unix socket."""

    @pytest.fixture(scope="class", params=["tcp", "unix"])
    @classmethod
    def site(cls, request: pytest.FixtureRequest, directory: Path, wire: str) -> Iterator[Site]:
        with fcgi_run(directory, "--protocol", wire, "--mount", "/app", "--threads", "4", name="mounted") as worker:
            tcp, unix = f"{wire}://127.0.0.1:{worker.port}", f"unix:{worker.socket}|{wire}://hello"
            edits = {f'"{wire}://127.0.0.1:9000': f'"{tcp if request.param == "tcp" else unix}'}
            with apache(directory, example(f"apache/{wire}.conf", edits)) as site:
                yield site

    def test_a_body_in_chunks_arrives_whole(self, site: Site) -> None:
        assert site.post("/app/", iter([b"in ", b"three ", b"chunks"])).status == 411  # Apache itself says so
