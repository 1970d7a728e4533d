"""lighttpd: CGI, a program that it keeps, ``fcgi-run``, an Authorizer, as ``examples/lighttpd`` configures them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.peers.frontends.checks import (
    Addresses,
    Bodies,
    CutsOfKnownLength,
    CutsWhileStreaming,
    ErrorLog,
    FrontEnd,
    LongBodiesInChunks,
    Requests,
    Responses,
    Streaming,
)
from tests.peers.frontends.servers import APP, Site, Worker, fcgi_run, lighttpd

PROGRAM = {"/srv/hello/hello.py": str(APP)}


class TestCGI(Requests, Addresses, Bodies, LongBodiesInChunks, Responses, ErrorLog, Streaming, CutsOfKnownLength):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        with lighttpd(directory, "cgi.conf", PROGRAM) as site:
            yield site


class TestFastCGI(Requests, Addresses, Bodies, LongBodiesInChunks, Responses, ErrorLog, Streaming, CutsWhileStreaming):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with lighttpd(directory, "fastcgi.conf", {"/run/hello.sock": str(worker.socket)}) as site:
            yield site


class TestStartedProgram(Requests, Bodies, LongBodiesInChunks, Responses, ErrorLog, Streaming, CutsOfKnownLength):
    """lighttpd makes the socket and starts the program with it as descriptor 0 (``bin-path``)."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        socket = {"/run/hello.sock": str(directory / "started.sock")}
        with lighttpd(directory, "spawned.conf", PROGRAM | socket) as site:
            yield site

    def test_the_next_request_is_answered_by_the_same_process(self, site: Site) -> None:
        assert site.get("/app/").json()["pid"] == site.get("/app/").json()["pid"]


class TestAuthorizer(FrontEnd):
    """``examples/gatekeeper.py`` decides who may ask the application."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        target = f"{ROOT / 'examples' / 'gatekeeper.py'}:application"
        with fcgi_run(directory, target=target, name="gatekeeper") as gatekeeper:
            sockets = {"/run/gatekeeper.sock": str(gatekeeper.socket), "/run/hello.sock": str(worker.socket)}
            with lighttpd(directory, "authorizer.conf", sockets) as site:
                yield site

    def test_who_proves_to_be_known_may_pass_and_is_named(self, site: Site) -> None:
        told = site.get("/app/secret", [credentials("alice:in wonderland")]).json()
        assert (told["PATH_INFO"], told["GATEKEEPER_USER"]) == ("/secret", "alice")

    @pytest.mark.parametrize("proof", ["alice:wrong", "mallory:in wonderland", ""])
    def test_who_does_not_is_answered_by_the_authorizer(self, site: Site, proof: str) -> None:
        answer = site.get("/app/secret", [credentials(proof)])
        assert (answer.status, answer.body) == (401, b"Tell me who you are.\n")
        assert answer.all("WWW-Authenticate") == ['Basic realm="private"']

    def test_a_body_goes_to_the_application_behind(self, site: Site) -> None:
        told = site.post("/app/", b"a body", [credentials("alice:in wonderland")]).json()
        assert told["size"] == 6

    def test_a_visitor_cannot_name_himself(self, site: Site) -> None:
        spoof = ("Variable-GATEKEEPER_USER", "root")
        assert site.get("/app/", [spoof]).status == 401
        assert site.get("/app/", [spoof, credentials("alice:in wonderland")]).json()["GATEKEEPER_USER"] == "alice"


def credentials(proof: str) -> tuple[str, str]:
    return "Authorization", "Basic " + b64encode(proof.encode()).decode()
