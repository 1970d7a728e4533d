"""``.asgi`` of Client, CGIScript and CGIDirectory inside uvicorn, hypercorn and daphne, and mounted in Starlette."""

from __future__ import annotations

import hashlib
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from gateway.testing import serve_in_thread
from gateway.testing.conformance import Case, cases_for, make_application, run_conformance
from tests.house import ROOT
from tests.peers.frontends.processes import running, wait_for
from tests.requirements import require, require_module
from tests.script.execute import is_gone
from tests.serving import echo

MIB = 1024 * 1024
SERVERS = {
    "uvicorn": ["--uds", "{socket}", "--log-level", "warning"],
    "hypercorn": ["--bind", "unix:{socket}", "--workers", "0"],
    "daphne": ["-u", "{socket}"],
}
"""How each is told to listen on a unix socket."""

# What no ASGI server can show: it sends the reasons of statuses that it knows itself.
CASES = [case for case in cases_for("http") if case.name != "the status stays"]

NOT_CUT = {
    "close() is called once after an error",
    "an error in the body cuts it visibly",
    "an error in a body without a length cuts it visibly",
    "a late change of mind cuts the body",
}
"""daphne logs it when an application fails in the middle, and leaves the visitor waiting."""

APPLICATIONS = """
import asyncio
from gateway import CGIDirectory, CGIScript, Client

client = Client({upstream!r}).asgi
script = CGIScript({folder!r} + "/application.cgi").asgi
directory = CGIDirectory({folder!r} + "/cgi-bin", static=True, environment={environment!r}).asgi
"""
MOUNTED = """
from starlette.applications import Starlette
from starlette.routing import Mount
from served import client, directory

mounted = Starlette(routes=[Mount("/client", client), Mount("/cgi-bin", directory)])
"""
IN_FASTAPI = """
from fastapi import FastAPI
from served import client, directory

mounted = FastAPI()
mounted.mount("/client", client)
mounted.mount("/cgi-bin", directory)
"""
SCRIPT = f"""\
#!{sys.executable}
import sys
sys.path[:0] = [{str(ROOT)!r}]
import gateway
from gateway.testing.conformance import application
gateway.run(application)
"""
PROGRAMS = {
    "hello.cgi": 'echo Content-Type: text/plain; echo; echo "$SCRIPT_NAME $PATH_INFO $QUERY_STRING $REMOTE_ADDR"',
    "echo.cgi": "echo Content-Type: application/octet-stream; echo; cat",
    "endless.cgi": "echo Content-Type: text/plain; echo; echo $$; exec yes",
    "slow.cgi": "echo $$ > pid; exec sleep 60",
    "local.cgi": "echo Location: /cgi-bin/hello.cgi/from?here; echo",
}


conformance = make_application()


def upstream_application(environ: Any, start_response: Any) -> Any:
    """What the client forwards to: the cases of the suite, and else an echo."""
    return (conformance if "HTTP_X_CASE" in environ else echo)(environ, start_response)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The modules that the servers import, with an upstream for the client, and the programs."""
    folder = tmp_path_factory.mktemp("asgi")
    git = require("git", package="git")
    backend = subprocess.run([git, "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "cgi-bin").mkdir()
    (folder / "cgi-bin" / "style.css").write_text("p {}")
    (folder / "cgi-bin" / "git").write_text(f"#!/bin/sh\nexec {backend}/git-http-backend\n")
    for name, text in PROGRAMS.items():
        (folder / "cgi-bin" / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / "application.cgi").write_text(SCRIPT)
    for path in (*(folder / "cgi-bin").iterdir(), folder / "application.cgi"):
        path.chmod(0o644 if path.suffix == ".css" else 0o755)
    environment = {"GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1"}
    with serve_in_thread(upstream_application, threads=4) as upstream:
        applications = APPLICATIONS.format(upstream=upstream.url, folder=str(folder), environment=environment)
        (folder / "served.py").write_text(applications)
        (folder / "in_starlette.py").write_text(MOUNTED)
        (folder / "in_fastapi.py").write_text(IN_FASTAPI)
        yield folder


class Served:
    """A server that runs: its process, its socket, and a client of it."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.client = Client(f"http://{path}", timeout=20)


def serve(name: str, application: str, folder: Path) -> Iterator[Served]:
    """A server of one application, in asyncio's debug mode, which must have found no fault by its end."""
    require_module(name, package=name)
    path = folder / f"{name}-{application.replace(':', '-')}"
    words = [word.format(socket=path) for word in SERVERS[name]]
    command = [sys.executable, "-m", name, *words, application]
    debug = {"PYTHONASYNCIODEBUG": "1"}
    with running(command, directory=folder, name=path.name, listens=[str(path)], environ=debug) as process:
        served = Served(name, path)
        with served.client:
            yield served
    assert "never awaited" not in process.said() and "was destroyed" not in process.said()


@pytest.fixture(scope="module", params=SERVERS)
def client(request: pytest.FixtureRequest, folder: Path) -> Iterator[Served]:
    """Client.asgi in front of a worker of ours."""
    yield from serve(request.param, "served:client", folder)


@pytest.fixture(scope="module", params=SERVERS)
def script(request: pytest.FixtureRequest, folder: Path) -> Iterator[Served]:
    """CGIScript.asgi."""
    yield from serve(request.param, "served:script", folder)


@pytest.fixture(scope="module", params=SERVERS)
def directory(request: pytest.FixtureRequest, folder: Path) -> Iterator[Served]:
    """CGIDirectory.asgi."""
    yield from serve(request.param, "served:directory", folder)


@pytest.fixture(scope="module", params=["in_starlette:mounted", "in_fastapi:mounted"])
def mounted(request: pytest.FixtureRequest, folder: Path) -> Iterator[Served]:
    """Client.asgi and CGIDirectory.asgi, each under a path of its own."""
    package = request.param.partition(":")[0].removeprefix("in_")
    require_module(package, package=package)
    yield from serve("uvicorn", request.param, folder)


def visit(served: Served, request: bytes) -> socket.socket:
    """A visitor who has sent something."""
    visitor = socket.socket(socket.AF_UNIX)
    visitor.settimeout(20)
    visitor.connect(str(served.path))
    visitor.sendall(request)
    return visitor


def cases(served: Served, wire: str) -> list[Case]:
    """What to show over a wire as well; what becomes of an application that fails is up to each server."""
    shown = [case for case in CASES if case in cases_for(wire) and (served.name == "uvicorn" or not case.faulty)]
    return [case for case in shown if served.name != "daphne" or case.name not in NOT_CUT]


def test_a_forwarded_application_conforms(client: Served) -> None:
    run_conformance(client.client, cases(client, "fastcgi"))


def test_much_is_forwarded_both_ways(client: Served) -> None:
    body = random.Random(1).randbytes(8 * MIB)
    assert client.client.request("POST", "/", body=body)[2] == body


def test_an_application_that_is_a_program_conforms(script: Served) -> None:
    run_conformance(script.client, cases(script, "cgi"))


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/hello.cgi/a%20b?x=1", "200 OK", b"/hello.cgi /a b x=1"),
        ("/style.css", "200 OK", b"p {}"),
        ("/none", "404 Not Found", b"404 Not Found"),
    ],
)
def test_a_directory_answers_with_what_it_has(directory: Served, path: str, status: str, body: bytes) -> None:
    answer = directory.client.request("GET", path)
    assert (answer[0], answer[2].strip()) == (status, body)


def test_an_upload_comes_back_whole(directory: Served) -> None:
    body = random.Random(1).randbytes(8 * MIB)
    assert directory.client.request("POST", "/echo.cgi", body=body)[2] == body


def test_a_repository_is_pushed_and_cloned(directory: Served, tmp_path: Path) -> None:
    """By a proxy from TCP, which git needs; a push beyond 1 MiB comes in chunks."""
    git = require("git", package="git")
    work, project = tmp_path / "work", directory.path.parent / f"{directory.path.name}.git"
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip

    def run(*words: str, cwd: Path = tmp_path) -> None:
        done = subprocess.run([git, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    run("init", "-q", "--bare", "-b", "main", str(project))
    run("config", "http.receivepack", "true", cwd=project)
    run("init", "-q", "-b", "main", str(work))
    data = random.Random(1).randbytes(2 * MIB)
    (work / "file").write_bytes(data)
    run("add", "file", cwd=work)
    run("commit", "-q", "-m", "A change", cwd=work)
    with serve_in_thread(directory.client, protocol="http", tcp=True, threads=2) as front:
        url = f"{front.url}/git/{project.name}"
        run("push", "-q", url, "main", cwd=work)
        run("clone", "-q", url, "again")
    assert hashlib.sha1((tmp_path / "again" / "file").read_bytes()).digest() == hashlib.sha1(data).digest()


def test_a_program_ends_when_its_visitor_goes_in_the_middle(directory: Served) -> None:
    with visit(directory, b"GET /endless.cgi HTTP/1.1\r\nHost: a\r\n\r\n") as visitor, visitor.makefile("rb") as answer:
        pid = next(int(line) for line in answer if re.fullmatch(rb"\d+\n", line))
        assert not is_gone(pid)
    wait_for(lambda: is_gone(pid), timeout=20)


def test_a_program_ends_when_its_visitor_goes_before_its_head(directory: Served) -> None:
    told = directory.path.parent / "cgi-bin" / "pid"
    told.unlink(missing_ok=True)
    with visit(directory, b"GET /slow.cgi HTTP/1.1\r\nHost: a\r\n\r\n"):
        wait_for(lambda: told.exists() and told.read_text().strip(), timeout=20)
    wait_for(lambda: is_gone(int(told.read_text())), timeout=20)


def test_a_mounted_application_knows_its_place(mounted: Served) -> None:
    answer = mounted.client.request("GET", "/cgi-bin/hello.cgi/a?x=1")
    assert answer[2] == b"/cgi-bin/hello.cgi /a x=1 \n"


def test_a_mounted_programs_local_redirect_stays_under_its_mount(mounted: Served) -> None:
    assert mounted.client.request("GET", "/cgi-bin/local.cgi")[2] == b"/cgi-bin/hello.cgi /from here \n"


def test_a_mounted_client_forwards(mounted: Served) -> None:
    assert mounted.client.request("POST", "/client/x", body=b"a body")[2] == b"a body"
