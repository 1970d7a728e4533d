"""``gateway.Client`` calls servers of others by each wire that they speak: uWSGI, gunicorn, flup."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from gateway.client import Client
from tests.peers.frontends.calls import call
from tests.peers.frontends.processes import Address, running, unused_port
from tests.requirements import require, require_module
from tests.wsgi_calls import ask

APPLICATION = """
try:
    from uwsgi import chunked_read
except ImportError:
    pass  # it is not uWSGI that serves this

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
    read, left = environ["wsgi.input"].read, int(environ.get("CONTENT_LENGTH") or 0)
    if environ.get("wsgi.input_terminated"):
        yield read()
    elif "HTTP_TRANSFER_ENCODING" in environ and not left:
        yield chunked_read()
    while left and (block := read(min(left, 65536))):
        left -= len(block)
        yield block
"""
FLUP_SERVER = """
import importlib, sys
from app import application

server = importlib.import_module("flup.server." + sys.argv[1])
address = sys.argv[2] if sys.argv[1] == "scgi" else ("127.0.0.1", int(sys.argv[2]))
server.WSGIServer(application, scriptName="", bindAddress=address).run()
"""
UWSGI = ["uwsgi_python3", "--wsgi-file", "app.py", "--need-app", "--die-on-term"]
GUNICORN = [sys.executable, "-m", "gunicorn", "app", "-b", "unix:app.sock"]
FLUP = [sys.executable, "flup_server.py"]
MIB = 1024 * 1024


class Server(NamedTuple):
    """Somebody else's server of APPLICATION."""

    wire: str
    command: list[str]
    reads_chunks: bool = True
    """Can an application read a body whose length nobody told?"""
    failure: tuple[str, ...] = ("500", "502")
    upload: int = 4 * MIB


SERVERS = {
    "uWSGI-scgi": Server("scgi", [*UWSGI, "--scgi-socket", "app.sock"]),
    "uWSGI-uwsgi": Server("uwsgi", [*UWSGI, "--uwsgi-socket", "app.sock"]),
    "uWSGI-fastcgi": Server("fastcgi", [*UWSGI, "--fastcgi-socket", "app.sock"], reads_chunks=False),
    "uWSGI-http": Server("http", [*UWSGI, "--http-socket", "app.sock"]),
    "gunicorn-sync": Server("uwsgi", [*GUNICORN, "--protocol", "uwsgi"]),
    "gunicorn-gthread": Server("uwsgi", [*GUNICORN, "--protocol", "uwsgi", "-k", "gthread", "--threads", "2"]),
    "gunicorn-http": Server("http", [*GUNICORN, "-k", "gthread", "--threads", "2"]),
    "flup-scgi": Server("scgi", [*FLUP, "scgi", "app.sock"]),
    # Over TCP it waits for an acknowledgement (40 ms) of each chunk, and its error page is a 200.
    "flup-ajp": Server("ajp", [*FLUP, "ajp", "PORT"], reads_chunks=False, failure=("200",), upload=MIB // 8),
}


@pytest.fixture(scope="module", params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def client(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of each server."""
    require("uwsgi_python3", package="uwsgi-plugin-python3")
    require_module("flup", package="flup")
    folder, port = tmp_path_factory.mktemp("server"), unused_port()
    (folder / "app.py").write_text(APPLICATION)
    (folder / "flup_server.py").write_text(FLUP_SERVER)
    command = [word.replace("PORT", str(port)) for word in SERVERS[name].command]
    by_port = command != SERVERS[name].command
    address: Address = ("127.0.0.1", port) if by_port else f"{folder}/app.sock"
    place = f"127.0.0.1:{port}" if by_port else f"{folder}/app.sock"
    with (
        running(command, directory=folder, name=name, listens=[address]),
        Client(f"{SERVERS[name].wire}://{place}", timeout=10) as client,
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


def test_a_body_streams_both_ways(client: Client, name: str) -> None:
    body = os.urandom(SERVERS[name].upload)
    assert ask(client, body=body, REQUEST_METHOD="POST").body == b"POST" + body


@pytest.mark.parametrize("name", [name for name in SERVERS if SERVERS[name].reads_chunks], indirect=True)
def test_a_body_of_unknown_length_arrives(client: Client, name: str) -> None:
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    assert ask(client, body=b"in chunks", REQUEST_METHOD="POST", **chunked).body == b"POSTin chunks"


def test_a_failure_is_an_error(client: Client, name: str) -> None:
    assert ask(client, "/fail").status[:3] in SERVERS[name].failure


def test_a_failure_does_the_next_visitor_no_harm(client: Client) -> None:
    ask(client, "/fail")
    assert ask(client, "/announced").body == b"page"


def test_a_call_shows_what_moves(client: Client) -> None:
    called = call("-d", "a body", str(client.address), "/a b?x=1")
    assert (called.status, called.body) == (0, b"POSTa body")
    first, method, head = {
        "fastcgi": ("BEGIN_REQUEST  request 1  Responder", "  REQUEST_METHOD = POST", "  Status: 201 Made"),
        "scgi": ("netstring  ", "  REQUEST_METHOD = POST", "Status: 201 Made"),
        "uwsgi": ("request  ", "  REQUEST_METHOD = POST", "HTTP/1.1 201 Made"),
        "ajp": ("Forward Request  ", "  method = POST", "  201 Made"),
        "http": ("POST /a%20b?x=1 HTTP/1.1", "POST /a%20b?x=1 HTTP/1.1", "HTTP/1.1 201 Made"),
    }[client.address.protocol]
    assert called.sent[0].startswith(first) and method in called.sent
    assert [line.replace("/1.0", "/1.1") for line in called.received].count(head) == 1
    assert any(line.strip().lower() == "x-query: x=1" for line in called.received)
    assert called.said[-1].startswith("* 201 Made, 10 bytes in ")
