"""AJP: a worker behind Apache and lighttpd, as ``examples`` configures them."""

from __future__ import annotations

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
from tests.peers.frontends.processes import wait_for
from tests.peers.frontends.servers import Site, Worker, apache, example, fcgi_run, lighttpd


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

    test_the_uri_stays_as_it_is = None

    def test_the_uri_is_decoded_before_it_is_passed_on(self, site: Site) -> None:
        assert site.get("/app/a%20b/c%2Fd").json()["REQUEST_URI"] == "/app/a b/c/d"

    def test_body_packets_without_their_inner_length_are_named_in_the_log(self, site: Site, worker: Worker) -> None:
        site.post("/app/", b"a body")
        wait_for(lambda: "the inner length of AJP body packets" in worker.process.said())


@pytest.fixture(scope="module")
def keeper(directory: Path) -> Iterator[Worker]:
    """A worker that asks for a secret."""
    options, secret = ("--protocol", "ajp", "--mount", "/app"), {"GATEWAY_SECRET": "open sesame"}
    with fcgi_run(directory, *options, name="keeper", environ=secret) as keeper:
        yield keeper


class TestASecret:
    """Apache tells it; lighttpd only where the visitor comes by HTTPS."""

    def test_who_knows_it_is_served(self, directory: Path, keeper: Worker) -> None:
        with apache_telling("open sesame", directory, keeper) as site:
            assert site.get("/app/a").json()["PATH_INFO"] == "/a"

    @pytest.mark.parametrize(("secret", "complaint"), [("open barley", "the wrong"), ("", "no")])
    def test_who_does_not_is_refused_before_the_application_runs(
        self, directory: Path, keeper: Worker, secret: str, complaint: str
    ) -> None:
        with apache_telling(secret, directory, keeper) as site:
            assert site.get("/app/?do=complain").status == 403
        assert f"the web server sends {complaint} secret" in keeper.process.said()
        assert "the application complains" not in keeper.process.said()

    def test_lighttpd_without_https_is_refused(self, directory: Path, keeper: Worker) -> None:
        telling = {"server.stream": 'setenv.set-environment += ("AJP13_SECRET" => "open sesame")\nserver.stream'}
        with lighttpd(directory, "ajp.conf", {"/run/hello.sock": str(keeper.socket)} | telling) as site:
            assert site.get("/app/").status == 403


def apache_telling(secret: str, directory: Path, keeper: Worker) -> AbstractContextManager[Site]:
    """Apache in front of the keeper, which it tells this secret."""
    edits = {"ajp://127.0.0.1:9000": f"unix:{keeper.socket}|ajp://hello"}
    edits["secret=change-me"] = f'"secret={secret}"' if secret else ""
    return apache(directory, example("apache/ajp.conf", edits))
