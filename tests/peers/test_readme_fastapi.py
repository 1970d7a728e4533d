"""What the README says of FastAPI, done: its CGI program, its command and its lines for nginx."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.peers.frontends.processes import running, unused_port
from tests.peers.frontends.servers import nginx_with
from tests.requirements import require_module

README = (ROOT / "README.md").read_text("utf-8")
PAGE = README[README.index("## FastAPI on a shared host") : README.index("## fcgi-run is gunicorn")]
CGI = {
    "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/cgi-bin/app", "PATH_INFO": "/note/x",
    "SERVER_NAME": "site.example", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of somebody's application, main.py."""
    for package in ("fastapi", "starlette"):
        require_module(package, package=package)
    require_module("python_multipart", package="python-multipart")
    application = (ROOT / "examples" / "fastapi_app" / "notes.py").read_text("utf-8")
    (tmp_path / "main.py").write_text(application, "utf-8")
    return tmp_path


def quoted(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def test_it_is_less_than_ten_lines() -> None:
    assert [quoted(language).count("\n") < 10 for language in ("python", "nginx")] == [True, True]


def test_the_program_is_a_cgi_program(project: Path) -> None:
    program = project / "app.cgi"
    program.write_text(quoted("python").replace("/home/me/myproject", str(project)), "utf-8")
    environ = CGI | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, program], cwd=project, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=20,
    )  # fmt: skip
    assert done.stdout.startswith("Status: 200 OK\n")
    assert '"url":"http://site.example/cgi-bin/app/note/x"' in done.stdout
    assert done.stderr == "notes: the end\n"


def test_the_command_and_the_lines_for_nginx_fit_together(project: Path) -> None:
    (command,) = re.findall(r"^    fcgi-run (.*)$", PAGE, re.MULTILINE)
    socket, port = project / "app.sock", unused_port()
    edits = {"/home/me/myproject": str(project), "/run/app.sock": str(socket)}
    site = f"server {{\nlisten 127.0.0.1:{port};\n{quoted('nginx')}}}\n"
    for old, new in edits.items():
        command, site = command.replace(old, new), site.replace(old, new)
    words = [sys.executable, "-m", "gateway.cli.fcgi_run", *shlex.split(command)]
    with (
        running(words, directory=project, name="worker", listens=[str(socket)]),
        nginx_with(project, site, port=port) as front,
    ):
        told = front.get("/app/note/x?y=1").json()
    assert told == {"name": "x", "query": {"y": ["1"]}, "url": "http://site.example/app/note/x"}
