"""The conformance suite over every wire and every worker, and the suite itself: it must tell a bad server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import webtest.lint

from gateway.address import connect, parse_connect
from gateway.client import Client
from gateway.events import EndOfRequest, EndOfResponse, Request, Response, ResponseBody
from gateway.script import CGIScript
from gateway.testing import ConnectionPair, conformance, serve_in_process, wire_app
from gateway.testing.applications import closes, gives
from gateway.testing.conformance import (
    CONFORMANCE,
    asgi_application,
    cases_for,
    make_application,
    run_conformance,
)
from tests.house import ROOT
from tests.leftovers import Leftovers
from tests.requirements import require_module
from tests.serving import PATIENCE, PLAIN, SPOKEN, WORKERS, Serve, echo, hello, until

pytestmark = pytest.mark.usefixtures("unmeasured_children")

SCRIPT = f"""\
#!{sys.executable}
import sys
sys.path[:0] = {sys.path!r}
import gateway
from gateway.testing.conformance import APPLICATION
gateway.run(APPLICATION)
"""


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("wire", SPOKEN)
def test_a_worker_conforms(serve: Serve, wire: str, worker: str) -> None:
    server = serve(make_application(webtest.lint.middleware), protocol=wire, **WORKERS[worker])
    with Client(server.url) as client:
        run_conformance(client, cases_for(wire))


@pytest.mark.parametrize("worker", ["threads=4", "aio"])
@pytest.mark.parametrize("wire", SPOKEN)
def test_a_worker_that_recognises_the_wire_conforms(serve: Serve, wire: str, worker: str) -> None:
    server = serve(make_application(webtest.lint.middleware), protocol="auto", tcp=True, **WORKERS[worker])
    with Client(f"{wire}://{server.address}") as client:
        run_conformance(client, cases_for(wire))


@pytest.mark.parametrize("worker", ["aio", "fork"])
@pytest.mark.parametrize("wire", SPOKEN)
def test_a_worker_conforms_with_asgi_applications(serve: Serve, wire: str, worker: str) -> None:
    server = serve(asgi_application, protocol=wire, **WORKERS[worker])
    with Client(server.url) as client:
        run_conformance(client, cases_for(wire, interface="asgi"))


@pytest.mark.parametrize(("interface", "name"), [("wsgi", "application"), ("asgi", "asgi_application")])
def test_a_cgi_program_conforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, interface: str, name: str) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    script = tmp_path / "application.cgi"
    script.write_text(SCRIPT.replace("APPLICATION", name))
    script.chmod(0o755)
    run_conformance(CGIScript(script), cases_for("cgi", interface=interface))


@pytest.mark.parametrize("wire", SPOKEN)
def test_what_a_wire_is_said_not_to_show_it_does_not_show(serve: Serve, wire: str) -> None:
    shown = cases_for(wire)
    with Client(serve(make_application(), protocol=wire).url) as client:
        for case in CONFORMANCE:
            if case not in shown:
                with pytest.raises(AssertionError):
                    case.run(client)


def test_of_a_wire_that_is_still_unknown_is_asked_what_all_wires_show() -> None:
    assert {*cases_for("auto")} == {*CONFORMANCE}.intersection(*map(cases_for, SPOKEN))


# The suite itself.


def leaves_open(environ: Any, start_response: Any) -> Any:
    """The server that never calls ``close()``."""
    return iter(closes(environ, start_response))


def tells_all(environ: Any, start_response: Any) -> list[bytes]:
    """The server that shows its visitors what went wrong."""
    start_response("500 Internal Server Error", [PLAIN])
    return [b"Traceback (most recent call last): ..."]


@pytest.mark.parametrize(
    ("name", "server", "message"),
    [
        ("a head may be replaced before it is sent", hello, "status: found '200 OK', wanted '404 Not Found'"),
        ("an error in the body cuts it visibly", gives(b"the beginning"), "the response was whole"),
        ("close() is called once", leaves_open, "the application reported nothing in 0.05 seconds"),
        ("an error before the head", tells_all, "the visitor is told b'Traceback'"),
    ],
)
def test_a_case_names_what_is_wrong(monkeypatch: pytest.MonkeyPatch, name: str, server: Any, message: str) -> None:
    monkeypatch.setattr(conformance, "PATIENCE", 0.05)
    (case,) = (case for case in CONFORMANCE if case.name == name)
    with pytest.raises(AssertionError, match=re.escape(message)):
        case.run(server)


def test_a_server_that_answers_all_alike_does_not_conform() -> None:
    with pytest.raises(AssertionError) as caught:
        run_conformance(hello)
    message = str(caught.value)
    assert f"of {len(CONFORMANCE)} cases failed" in message
    assert "the method GET arrives: body: found b'hello', wanted b\"'GET'\"" in message


def listens(url: str) -> bool:
    """Does somebody accept connections there by now?"""
    try:
        connect(parse_connect(url), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def test_a_server_of_somebody_elses_can_be_asked(nothing_left_over: Leftovers, tmp_path: Path) -> None:
    require_module("waitress", package="waitress")
    path = tmp_path / "socket"
    serve = [sys.executable, "-m", "waitress", f"--unix-socket={path}", "gateway.testing.conformance:application"]
    polite = [case for case in cases_for("http") if not case.faulty and not case.name.startswith("sys.exit()")]
    server = subprocess.Popen(serve, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: listens(f"http://{path}"), timeout=20.0)
        with Client(f"http://{path}") as client:
            run_conformance(client, polite)
    finally:
        server.kill()
        server.wait()


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CONFORMANCE}) == len(CONFORMANCE)


# Its company in gateway.testing.


@pytest.mark.parametrize("worker", ["auto", "threads", "aio", "fork"])
def test_webtest_talks_to_a_worker(nothing_left_over: Leftovers, worker: str) -> None:
    with wire_app(echo, worker=worker) as web:
        assert web.post("/", "body").body == b"body"


def test_webtest_talks_to_an_asgi_application(nothing_left_over: Leftovers) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    with wire_app(app) as web:
        assert web.get("/page").body == b"/page"


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
