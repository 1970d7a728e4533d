"""HAProxy in front of ``fcgi-run``, with the configuration of ``examples/haproxy``."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.protocols.fastcgi import BEGIN_REQUEST, GET_VALUES, GET_VALUES_RESULT, STDOUT, decode_pairs
from tests.peers.frontends.checks import (
    Addresses,
    Bodies,
    Cuts,
    ErrorLog,
    FrontEnd,
    KeptConnections,
    Requests,
    Responses,
    Streaming,
    UnkeptConnections,
)
from tests.peers.frontends.servers import Site, Worker, fcgi_run, haproxy
from tests.peers.frontends.wiretap import Wiretap, wiretap

NOT_KEPT = {"option keep-conn": "no option keep-conn"}
ASKING = {"option keep-conn": "option keep-conn\n    option get-values\n    option mpxs-conns"}


def at(socket: Path) -> dict[str, str]:
    return {"unix@/run/hello.sock": f"unix@{socket}"}


class TestKeptConnections(Requests, Addresses, Bodies, Responses, ErrorLog, Streaming, Cuts, KeptConnections):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with haproxy(directory, "haproxy.cfg", at(worker.socket)) as site:
            yield site

    def test_a_body_in_chunks_must_fit_haproxys_buffer(self, site: Site) -> None:
        answer = site.post("/app/", iter([b"x" * 10000] * 2))
        assert (answer.status, answer.all("Content-Type")) == (400, ["text/html"])


class TestAConnectionForEachRequest(Bodies, Responses, Cuts, UnkeptConnections):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with haproxy(directory, "haproxy.cfg", NOT_KEPT | at(worker.socket)) as site:
            yield site


class TestAProcessForEachRequest(Requests, Bodies, Responses, ErrorLog, Cuts, KeptConnections):
    """``--worker-model fork``, over kept connections."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        with (
            fcgi_run(directory, "--worker-model", "fork", name="forking") as worker,
            haproxy(directory, "haproxy.cfg", at(worker.socket)) as site,
        ):
            yield site


class TestQuestionsFirst(FrontEnd):
    """With ``get-values`` HAProxy asks what the application can do; with ``mpxs-conns`` it would multiplex."""

    @pytest.fixture(scope="class")
    @classmethod
    def tap(cls, directory: Path, worker: Worker) -> Iterator[Wiretap]:
        with wiretap(directory / "tap.sock", worker.socket) as tap:
            yield tap

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, tap: Wiretap) -> Iterator[Site]:
        with haproxy(directory, "haproxy.cfg", ASKING | at(tap.path)) as site:
            yield site

    def test_get_values_is_answered_with_the_truth(self, site: Site, tap: Wiretap) -> None:
        assert site.get("/app/a").json()["PATH_INFO"] == "/a"
        asked = [record for record in tap.records if record.connection == tap.records[-1].connection]
        assert (asked[0].side, asked[0].kind) == ("server", GET_VALUES)
        answers = [decode_pairs(record.content)[0] for record in tap.said("application", GET_VALUES_RESULT)]
        assert answers[0]["FCGI_MPXS_CONNS"] == "0"

    def test_haproxy_does_not_multiplex_when_told_not_to(self, site: Site, tap: Wiretap) -> None:
        with ThreadPoolExecutor(8) as visitors:
            answers = list(visitors.map(lambda n: site.get(f"/app/{n}").json()["PATH_INFO"], range(40)))
        assert answers == [f"/{n}" for n in range(40)]
        waiting: dict[int, int] = {}
        for record in tap.records:
            number = record.connection
            if record.kind == BEGIN_REQUEST:
                assert number not in waiting
                waiting[number] = record.request_id
            elif record.kind == STDOUT and record.request_id == waiting.get(number):
                del waiting[number]  # HAProxy does not wait for END_REQUEST
