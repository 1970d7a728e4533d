"""AJP: a worker behind Apache and lighttpd, as ``examples`` configures them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.peers.frontends.checks import (
    PATHS,
    Addresses,
    Bodies,
    Cuts,
    CutsWhileStreaming,
    KeptConnections,
    LongBodiesInChunks,
    Requests,
    Responses,
    Streaming,
    UnkeptConnections,
)
from tests.peers.frontends.processes import Process, running, wait_for
from tests.peers.frontends.servers import Site, Worker, apache, example, fcgi_run, lighttpd

KEEPING_A_SECRET = """
import sys
import gateway
from tests.peers.frontends.app import application

secret = {"secret": "open sesame"}
gateway.serve(application, sys.argv[1], protocol="ajp", mount="/app", wire_options=secret)
"""


@pytest.fixture(scope="module")
def worker(directory: Path) -> Iterator[Worker]:
    with fcgi_run(directory, "--protocol", "ajp", "--mount", "/app", "--threads", "4") as worker:
        yield worker


class TestApache(
    Requests, Addresses, Bodies, LongBodiesInChunks, Responses, Streaming, Cuts, KeptConnections
):  # fmt: skip
    """Over TCP and over a unix socket; its secret is told to somebody who does not ask for one."""

    @pytest.fixture(scope="class", params=["tcp", "unix"])
    @classmethod
    def site(cls, request: pytest.FixtureRequest, directory: Path, worker: Worker) -> Iterator[Site]:
        tcp, unix = f"ajp://127.0.0.1:{worker.port}", f"unix:{worker.socket}|ajp://hello"
        edits = {'"ajp://127.0.0.1:9000': f'"{tcp if request.param == "tcp" else unix}'}
        with apache(directory, example("apache/ajp.conf", edits)) as site:
            yield site


class TestLighttpd(
    Requests, Addresses, Bodies, LongBodiesInChunks, Responses, Streaming, CutsWhileStreaming, UnkeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with lighttpd(directory, "ajp.conf", {"/run/hello.sock": str(worker.socket)}) as site:
            yield site

    @pytest.mark.parametrize(
        ("target", "path"), (PATHS | {"/app/100%2525": "/100%", "/app/what%3F": "/what"}).items()
    )
    def test_the_path_is_split_and_decoded(self, site: Site, target: str, path: str) -> None:
        super().test_the_path_is_split_and_decoded(site, target, path)  # lighttpd decodes it, too

    def test_body_packets_without_their_inner_length_are_named_in_the_log(self, site: Site, worker: Worker) -> None:
        site.post("/app/", b"a body")
        wait_for(lambda: "the inner length of AJP body packets" in worker.process.said())


@pytest.fixture(scope="module")
def keeper(directory: Path) -> Iterator[Process]:
    """A worker that asks for a secret, at keeper.sock."""
    command = [sys.executable, "-c", KEEPING_A_SECRET, f"unix:{directory}/keeper.sock"]
    with running(command, directory=directory, name="keeper", listens=[f"{directory}/keeper.sock"]) as keeper:
        yield keeper


class TestASecret:
    """Apache tells it; lighttpd only where the visitor comes by HTTPS."""

    def test_who_knows_it_is_served(self, directory: Path, keeper: Process) -> None:
        with apache_telling("open sesame", directory) as site:
            assert site.get("/app/a").json()["PATH_INFO"] == "/a"

    @pytest.mark.parametrize(("secret", "complaint"), [("open barley", "the wrong"), ("", "no")])
    def test_who_does_not_is_refused_before_the_application_runs(
        self, directory: Path, keeper: Process, secret: str, complaint: str
    ) -> None:
        with apache_telling(secret, directory) as site:
            assert site.get("/app/?do=complain").status == 403
        assert f"the web server sends {complaint} secret" in keeper.said()
        assert "the application complains" not in keeper.said()

    def test_lighttpd_without_https_is_refused(self, directory: Path, keeper: Process) -> None:
        telling = {"server.stream": 'setenv.set-environment += ("AJP13_SECRET" => "open sesame")\nserver.stream'}
        with lighttpd(directory, "ajp.conf", {"/run/hello.sock": f"{directory}/keeper.sock"} | telling) as site:
            assert site.get("/app/").status == 403


def apache_telling(secret: str, directory: Path) -> AbstractContextManager[Site]:
    """Apache in front of the keeper, which it tells this secret."""
    edits = {"ajp://127.0.0.1:9000": f"unix:{directory}/keeper.sock|ajp://hello"}
    edits["secret=change-me"] = f'"secret={secret}"' if secret else ""
    return apache(directory, example("apache/ajp.conf", edits))
