"""``cgi-fcgi`` asks our worker, ``spawn-fcgi`` starts our script, and flup's FastCGI wire talks to ours."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from gateway import Client
from tests.house import ROOT
from tests.peers.frontends.processes import running
from tests.peers.frontends.servers import Worker, fcgi_run
from tests.requirements import require, require_module

HELLO = ROOT / "examples" / "hello.py"
PARAMS = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/app", "PATH_INFO": "/a b", "SERVER_NAME": "h", "SERVER_PORT": "80"}


@pytest.fixture(scope="module")
def hello(directory: Path) -> Iterator[Worker]:
    with fcgi_run(directory, target=f"{HELLO}:application", name="hello") as worker:
        yield worker


def cgi_fcgi(address: object, *, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``cgi-fcgi`` as a web server runs a CGI program."""
    command = [require("cgi-fcgi", package="libfcgi-bin"), "-bind", "-connect", str(address)]
    environ = PARAMS | {"PATH": os.environ["PATH"]} | environ
    return subprocess.run(command, env=environ, input=stdin, capture_output=True, timeout=20, check=True)


@pytest.mark.parametrize("where", ["socket", "port"])
def test_cgi_fcgi_turns_its_environment_into_a_request(hello: Worker, where: str) -> None:
    done = cgi_fcgi(hello.socket if where == "socket" else f"127.0.0.1:{hello.port}", QUERY_STRING="x=1")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"Status: 200 OK\r\nContent-Type: text/plain")
    assert b"SCRIPT_NAME=/app\nPATH_INFO=/a b\nQUERY_STRING=x=1\n" in body


def test_cgi_fcgi_sends_a_body(worker: Worker) -> None:
    body = bytes(range(256)) * 2000
    done = cgi_fcgi(worker.socket, stdin=body, REQUEST_METHOD="POST", CONTENT_LENGTH=str(len(body)))
    told = json.loads(done.stdout.partition(b"\r\n\r\n")[2])
    assert told["sha256"] == hashlib.sha256(body).hexdigest()


def test_cgi_fcgi_hears_errors_apart_from_the_response(worker: Worker) -> None:
    done = cgi_fcgi(worker.socket, QUERY_STRING="do=complain")
    assert done.stdout.endswith(b"\r\n\r\ncomplained\n")
    assert done.stderr == b"the application complains\n"


def test_spawn_fcgi_starts_a_script_with_a_socket_and_it_serves_many_requests(directory: Path) -> None:
    program = require("spawn-fcgi", package="spawn-fcgi")
    socket = directory / "spawned.sock"
    command = [program, "-n", "-s", str(socket), "--", sys.executable, str(HELLO)]
    with running(command, directory=directory, name="spawned", listens=[str(socket)]) as spawned:
        with Client(f"fastcgi://unix:{socket}") as client:
            answers = [client.request("GET", "/") for _ in range(2)]
        for number, (status, _, body) in enumerate(answers, 1):
            assert status == "200 OK"
            assert f"Hello from process {spawned.pid} (request {number} of this process)".encode() in body


# flup's own clients crash on Python 3, so its records are driven by hand; it writes each in up to three pieces.


@pytest.fixture
def flup() -> ModuleType:
    require_module("flup", package="flup")
    return require_module("flup.server.fcgi_base", package="flup")


def send(flup: ModuleType, sock: socket.socket, kind: int, content: bytes = b"", *, request_id: int = 1) -> None:
    record = flup.Record(kind, request_id)
    record.contentData, record.contentLength = content, len(content)
    record.write(sock)


def receive(flup: ModuleType, sock: socket.socket, *, until: int) -> dict[int, bytes]:
    """The contents of all records by type, up to the first of type ``until``."""
    contents: dict[int, bytes] = {}
    while until not in contents:
        record = flup.Record()
        record.read(sock)
        contents[record.type] = contents.get(record.type, b"") + record.contentData
    return contents


def test_flups_records_carry_a_request_and_its_response(worker: Worker, flup: ModuleType) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(worker.socket))
        begin = bytes((0, flup.FCGI_RESPONDER, flup.FCGI_KEEP_CONN, 0, 0, 0, 0, 0))
        for body in (b"the first", b"the next, on the same connection"):
            send(flup, sock, flup.FCGI_BEGIN_REQUEST, begin)
            params = PARAMS | {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), "HTTP_LONG": "x" * 200}
            pairs = [flup.encode_pair(name.encode(), value.encode()) for name, value in params.items()]
            send(flup, sock, flup.FCGI_PARAMS, b"".join(pairs))
            send(flup, sock, flup.FCGI_PARAMS)
            send(flup, sock, flup.FCGI_STDIN, body)
            send(flup, sock, flup.FCGI_STDIN)
            answer = receive(flup, sock, until=flup.FCGI_END_REQUEST)
            told = json.loads(answer[flup.FCGI_STDOUT].partition(b"\r\n\r\n")[2])
            assert (told["PATH_INFO"], told["HTTP_LONG"]) == ("/a b", "x" * 200)
            assert told["sha256"] == hashlib.sha256(body).hexdigest()
            assert answer[flup.FCGI_END_REQUEST] == bytes(8)


def test_flup_understands_our_values(worker: Worker, flup: ModuleType) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(worker.socket))
        asked = flup.encode_pair(b"FCGI_MPXS_CONNS", b"")
        send(flup, sock, flup.FCGI_GET_VALUES, asked, request_id=0)
        answer = receive(flup, sock, until=flup.FCGI_GET_VALUES_RESULT)
    assert flup.decode_pair(answer[flup.FCGI_GET_VALUES_RESULT])[1] == (b"FCGI_MPXS_CONNS", b"0")
