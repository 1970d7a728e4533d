"""The conformance suite over every wire and every worker, and the suite itself: it must tell a bad server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import webtest.lint

from gateway.client import Client
from gateway.events import EndOfRequest, EndOfResponse, Request, Response, ResponseBody
from gateway.script import CGIScript
from gateway.testing import ConnectionPair, serve_in_process, serve_in_thread, wire_app
from gateway.testing.conformance import CONFORMANCE, Case, make_application, run_conformance
from tests.leftovers import Leftovers
from tests.serving import PLAIN, Log, Serve, echo, hello, until

CASES = pytest.mark.parametrize("case", CONFORMANCE, ids=lambda case: case.name.replace(" ", "-"))

WORKERS: dict[str, Callable[[Any, Log], Any]] = {
    "threads=1": lambda app, log: serve_in_thread(app, log=log),
    "threads=4": lambda app, log: serve_in_thread(app, log=log, threads=4),
    "threads=1-tcp": lambda app, log: serve_in_thread(app, log=log, tcp=True),
    "fork": lambda app, log: serve_in_process(app, log=log, worker_model="fork"),
}

SCRIPT = f"""\
#!{sys.executable}
import sys
sys.path[:0] = {sys.path!r}
import gateway
from gateway.testing.conformance import application
gateway.run(application)
"""


@pytest.fixture(scope="module", params=WORKERS)
def fastcgi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server that every case asks, its applications checked by both validators."""
    leftovers = Leftovers()
    log = Log(tmp_path_factory.mktemp("conformance") / "log")
    with WORKERS[request.param](make_application(webtest.lint.middleware), log) as server, Client(server.url) as client:
        yield client
    log.close()
    assert leftovers.wait() == []


@pytest.fixture(scope="module")
def cgi(tmp_path_factory: pytest.TempPathFactory) -> CGIScript:
    """The same as a CGI program: a process for each case."""
    path = tmp_path_factory.mktemp("conformance") / "application.cgi"
    path.write_text(SCRIPT)
    path.chmod(0o755)
    return CGIScript(path)


@CASES
def test_fastcgi_conforms(fastcgi: Client, case: Case) -> None:
    case.run(fastcgi)


@CASES
def test_cgi_conforms(cgi: CGIScript, case: Case) -> None:
    case.run(cgi)


# The suite itself.


def test_a_case_names_what_is_wrong() -> None:
    with pytest.raises(AssertionError, match="status: found '200 OK', wanted '404 Not Found'"):
        next(case for case in CONFORMANCE if case.name == "a head may be replaced before it is sent").run(hello)


def test_a_server_that_answers_all_alike_does_not_conform() -> None:
    with pytest.raises(AssertionError) as caught:
        run_conformance(hello)
    message = str(caught.value)
    assert f"of {len(CONFORMANCE)} cases failed" in message
    assert "the method GET arrives: body: found b'hello', wanted b\"'GET'\"" in message


def test_a_server_that_conforms_passes(serve: Serve) -> None:
    with Client(serve(make_application()).url) as client:
        run_conformance(client)


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CONFORMANCE}) == len(CONFORMANCE)


# Its company in gateway.testing.


@pytest.mark.parametrize("worker", ["threads", "fork"])
def test_webtest_talks_to_a_worker(nothing_left_over: Leftovers, worker: str) -> None:
    with wire_app(echo, worker=worker) as web:
        assert web.post("/", "body").body == b"body"


def test_a_connection_pair_carries_both_directions() -> None:
    pair = ConnectionPair("cgi", params={"REQUEST_METHOD": "GET"})
    assert pair.ask(Request({}), EndOfRequest()) == [Request({"REQUEST_METHOD": "GET"}), EndOfRequest()]
    heard = pair.answer(Response("200 OK", [PLAIN]), ResponseBody(b"body"), EndOfResponse())
    assert heard == [Response("200 OK", [PLAIN]), ResponseBody(b"body")]


def test_a_server_process_that_fails_is_reported(
    nothing_left_over: Leftovers, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.workers.threads.ThreadsWorker.run", lambda worker: 1 / 0)
    with pytest.raises(RuntimeError, match="ended with 1"), serve_in_process(hello):
        until(lambda: "ZeroDivisionError" in capfd.readouterr().err)
