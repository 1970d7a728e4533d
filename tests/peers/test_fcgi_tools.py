"""The tools of libfcgi and of lighttpd: ``cgi-fcgi`` asks our worker, ``spawn-fcgi`` starts our script."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import Client
from tests.house import ROOT
from tests.peers.frontends.processes import running
from tests.peers.frontends.servers import Worker, fcgi_run
from tests.requirements import require

HELLO = ROOT / "examples" / "hello.py"
PARAMS = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/app", "PATH_INFO": "/a b", "SERVER_NAME": "h", "SERVER_PORT": "80"}


@pytest.fixture(scope="module")
def hello(directory: Path) -> Iterator[Worker]:
    with fcgi_run(directory, target=f"{HELLO}:application", name="hello") as worker:
        yield worker


@pytest.mark.parametrize("where", ["socket", "port"])
def test_cgi_fcgi_turns_its_environment_into_a_request(hello: Worker, where: str) -> None:
    program = require("cgi-fcgi", package="libfcgi-bin")
    address = str(hello.socket) if where == "socket" else f"127.0.0.1:{hello.port}"
    environ = PARAMS | {"PATH": os.environ["PATH"], "QUERY_STRING": "x=1"}
    command = [program, "-bind", "-connect", address]
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"Status: 200 OK\r\nContent-Type: text/plain")
    assert b"SCRIPT_NAME=/app\nPATH_INFO=/a b\nQUERY_STRING=x=1\n" in body


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
