"""Django's ``runfcgi``: the management command, the function for dispatch files, each of their settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from gateway.compat.django import fastcgi
from tests.compat.scripts import COMPAT, spawned
from tests.masters import environment, is_alive
from tests.peers.frontends.processes import takes_connections, unused_port, wait_for
from tests.requirements import require_module

MANAGE = """\
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """\
import os
SECRET_KEY = "for the test only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = os.environ.get("APPS", "").split()
"""
URLS = """\
import json, os, sys
from django.http import HttpResponse
from django.urls import re_path

def told(request):
    umask = os.umask(0o22)
    os.umask(umask)
    print("to stdout", flush=True)
    print("to stderr", file=sys.stderr, flush=True)
    names = ("SCRIPT_NAME", "PATH_INFO", "wsgi.multithread", "wsgi.multiprocess")
    environ = {name: request.META[name] for name in names}
    return HttpResponse(json.dumps({"pid": os.getpid(), "cwd": os.getcwd(), "umask": umask, **environ}))

def fail(request):
    raise ValueError("on purpose")

urlpatterns = [re_path("fail", fail), re_path("", told)]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project as startproject made it."""
    require_module("django", package="django")
    (tmp_path / "mysite").mkdir()
    (tmp_path / "manage.py").write_text(MANAGE)
    for name, text in {"__init__": "", "settings": SETTINGS, "urls": URLS}.items():
        (tmp_path / "mysite" / f"{name}.py").write_text(text)
    return tmp_path


def manage(
    project: Path, *words: str, by: tuple[str, ...] = COMPAT, **environ: str
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """``manage.py`` that ends by itself."""
    return subprocess.run(
        [*by, "manage.py", *words], cwd=project, env=environment(project) | environ, capture_output=True, text=True,
        timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@contextmanager
def running(project: Path, *settings: str, wire: str = "fastcgi") -> Iterator[Client]:
    """``runfcgi`` in the foreground, on a unix socket."""
    path = str(project / "s")
    command = [*COMPAT, "manage.py", "runfcgi", f"socket={path}", "daemonize=false", *settings]
    with subprocess.Popen(command, cwd=project, env=environment(project), stdin=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: takes_connections(path))
            with Client(f"{wire}://{path}", pool_size=0, timeout=30) as client:
                yield client
        finally:
            process.terminate()
    assert process.returncode == 0


def told(client: Client) -> dict[str, Any]:
    status, _, body = client.request("GET", "/x")
    assert status == "200 OK", body
    answer: dict[str, Any] = json.loads(body)
    return answer


@pytest.mark.parametrize(("settings", "threads", "processes"), [
    (["method=threaded"], True, False), (["method=thread", "maxchildren=1"], False, False),
    (["method=prefork"], False, True), ([], False, True),
])  # fmt: skip
def test_the_method_is_threads_or_processes(
    project: Path, settings: list[str], threads: bool, processes: bool  # noqa: FBT001
) -> None:  # fmt: skip
    with running(project, *settings) as client:
        answer = told(client)
    assert (answer["wsgi.multithread"], answer["wsgi.multiprocess"], answer["PATH_INFO"]) == (threads, processes, "/x")


def test_the_protocol_may_be_scgi(project: Path) -> None:
    with running(project, "method=threaded", "protocol=scgi", wire="scgi") as client:
        assert told(client)["PATH_INFO"] == "/x"


def test_an_app_in_the_settings_brings_the_command_back(project: Path) -> None:
    known = manage(project, "help", by=(sys.executable,), APPS="gateway.compat.django")
    assert "runfcgi" in known.stdout


def test_the_help_tells_the_settings(project: Path) -> None:
    told = manage(project, "help", "runfcgi").stdout
    assert set(fastcgi.FASTCGI_OPTIONS) - {"host", "port", "outlog", "errlog"} <= {
        word.split("=")[0] for word in told.split()
    }
    assert manage(project, "runfcgi", "help").stdout.startswith("Serve this project by FastCGI, SCGI or AJP.")


@pytest.mark.parametrize(("settings", "message"), [
    (["method=magic"], "ERROR: method=magic: write prefork or threaded."),
    (["protocol=gopher"], "ERROR: protocol=gopher: write fcgi, scgi or ajp."),
    (["host=127.0.0.1"], "ERROR: Invalid combination of host, port, socket."),
    (["host=127.0.0.1", "port=1", "socket=/s"], "ERROR: Invalid combination of host, port, socket."),
    (["daemonize=perhaps"], "ERROR: daemonize=perhaps: write true or false."),
    (["colour=red"], "ERROR: there is no setting colour."),
])  # fmt: skip
def test_a_wrong_setting_says_so(
    capsys: pytest.CaptureFixture[str], settings: list[str], message: str
) -> None:  # fmt: skip
    assert fastcgi.runfastcgi(settings) is False
    assert capsys.readouterr().out.splitlines()[-1] == message


def test_the_command_fails_with_a_wrong_setting(project: Path) -> None:
    assert manage(project, "runfcgi", "method=magic").returncode == 1


def test_a_daemon_is_left_behind_with_its_settings(project: Path) -> None:
    port, workdir = unused_port(), project / "work"
    workdir.mkdir()
    done = manage(
        project, "runfcgi", "method=threaded", "host=127.0.0.1", f"port={port}", f"pidfile={project}/pid", "umask=027",
        f"workdir={workdir}", f"outlog={project}/out", f"errlog={project}/err", PYTHONPATH=os.pathsep.join(
            [str(project), environment(project)["PYTHONPATH"]]
        ),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    wait_for(lambda: takes_connections(("127.0.0.1", port)), otherwise=lambda: (project / "err").read_text())
    pid = int((project / "pid").read_text())
    try:
        with Client(f"fastcgi://127.0.0.1:{port}", timeout=30) as client:
            answer = told(client)
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not is_alive(pid))
    assert (answer["pid"], answer["cwd"], answer["umask"]) == (pid, str(workdir), 0o027)
    assert (project / "out").read_text() == "to stdout\n"
    assert "to stderr\n" in (project / "err").read_text()


def test_an_exception_of_the_project_is_its_own_page(project: Path) -> None:
    with running(project, "method=threaded", "debug=true") as client:
        assert client.request("GET", "/fail")[0] == "500 Internal Server Error"


def test_the_dispatch_file_of_a_shared_host_runs_unedited(project: Path) -> None:
    with spawned("mysite.fcgi", directory=project, environ={"PROJECT": str(project)}) as (_, client):
        assert told(client)["PATH_INFO"] == "/x"
