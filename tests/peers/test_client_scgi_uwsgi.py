"""``gateway.Client`` calls SCGI and uwsgi servers of others: uWSGI, gunicorn, flup."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from gateway.client import Client
from tests.peers.frontends.processes import running
from tests.requirements import require, require_module
from tests.wsgi_calls import ask

APPLICATION = """
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError("failed")
    if path == "/announced":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
        return [b"page"]
    start_response("201 Made", [("Content-Type", "text/plain"), ("X-Query", environ["QUERY_STRING"])])
    return stream(environ)

def stream(environ):
    yield environ["REQUEST_METHOD"].encode()
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (block := environ["wsgi.input"].read(min(left, 65536))):
        left -= len(block)
        yield block
"""
FLUP_SERVER = """
import sys
from app import application
from flup.server.scgi import WSGIServer

WSGIServer(application, scriptName="", bindAddress=sys.argv[1], debug=False).run()
"""
UWSGI = ["uwsgi_python3", "--wsgi-file", "app.py", "--need-app", "--die-on-term"]
GUNICORN = [sys.executable, "-m", "gunicorn", "app", "--protocol", "uwsgi"]
SERVERS = {
    "uWSGI-scgi": ("scgi", [*UWSGI, "--scgi-socket", "app.sock"]),
    "uWSGI-uwsgi": ("uwsgi", [*UWSGI, "--uwsgi-socket", "app.sock"]),
    "gunicorn-sync": ("uwsgi", [*GUNICORN, "-b", "unix:app.sock"]),
    "gunicorn-gthread": ("uwsgi", [*GUNICORN, "-b", "unix:app.sock", "-k", "gthread", "--threads", "2"]),
    "flup": ("scgi", [sys.executable, "flup_server.py", "app.sock"]),
}
MIB = 1024 * 1024


@pytest.fixture(scope="module", params=SERVERS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of each server; all of them serve APPLICATION."""
    wire, command = SERVERS[request.param]
    require("uwsgi_python3", package="uwsgi-plugin-python3")
    require_module("flup", package="flup")
    folder = tmp_path_factory.mktemp("server")
    (folder / "app.py").write_text(APPLICATION)
    (folder / "flup_server.py").write_text(FLUP_SERVER)
    socket = f"{folder}/app.sock"
    with (
        running(command, directory=folder, name=request.param, listens=[socket]),
        Client(f"{wire}://{socket}", timeout=10) as client,
    ):
        yield client


def test_each_method_is_answered(client: Client) -> None:
    answers = [ask(client, "/a b", REQUEST_METHOD=method, QUERY_STRING="x=1") for method in ("GET", "DELETE")]
    assert [(answer.status, answer.body) for answer in answers] == [("201 Made", b"GET"), ("201 Made", b"DELETE")]
    assert [answer.headers["X-Query"] for answer in answers] == ["x=1", "x=1"]


def test_a_response_of_known_length_arrives(client: Client) -> None:
    answer = ask(client, "/announced")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == ("200 OK", "4", b"page")


def test_a_head_request_has_no_body(client: Client) -> None:
    answer = ask(client, "/announced", REQUEST_METHOD="HEAD")
    assert (answer.status, answer.headers["Content-Length"], answer.body) == ("200 OK", "4", b"")


def test_a_body_streams_both_ways(client: Client) -> None:
    body = os.urandom(4 * MIB)
    assert ask(client, body=body, REQUEST_METHOD="POST").body == b"POST" + body


def test_a_body_of_unknown_length_arrives(client: Client) -> None:
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    assert ask(client, body=b"in chunks", REQUEST_METHOD="POST", **chunked).body == b"POSTin chunks"


def test_a_failure_is_an_error(client: Client) -> None:
    assert ask(client, "/fail").status[:3] in ("500", "502")
