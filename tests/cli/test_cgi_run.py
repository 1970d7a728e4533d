"""``cgi-run``, started as a web server starts it: exit statuses, what goes where, and what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.imports import modules_imported

COMMAND = [sys.executable, "-m", "gateway.cli.cgi_run"]

APPLICATION = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']} | {environ['PATH_INFO']} | {environ['wsgi.input'].read()!r}".encode()]

def noisy(environ, start_response):
    print("a stray print")
    environ["wsgi.errors"].write("a complaint\\n")
    return application(environ, start_response)

def short(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "9")])
    return [b"four"]

def failing(environ, start_response):
    raise ValueError("it failed")
"""


def params(**more: str) -> dict[str, str]:
    """What Apache's CGI says about a GET of /app/shelf; the whole environment of the process."""
    return {
        "PYTHONPATH": str(ROOT), "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "REQUEST_METHOD": "GET", "REQUEST_URI": "/app/shelf",
        "SCRIPT_NAME": "/app", "PATH_INFO": "/shelf", "QUERY_STRING": "", **more,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the module ``shop``."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cgi_run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=params(**more), input=stdin, capture_output=True, text=True, timeout=30
    )


def body(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.partition("\n\n")[2]


class TestExitStatus:
    def test_is_0_when_the_response_went_out(self) -> None:
        done = cgi_run("shop:application")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Status: 200 OK\nContent-Type: text/plain\n")

    def test_is_0_when_the_application_failed_and_the_visitor_was_told(self) -> None:
        done = cgi_run("shop:failing")
        assert (done.returncode, done.stdout.partition("\n")[0]) == (0, "Status: 500 Internal Server Error")
        assert "ValueError: it failed" in done.stderr
        assert "it failed" not in done.stdout

    def test_is_1_when_the_response_is_not_whole(self) -> None:
        done = cgi_run("shop:short")
        assert (done.returncode, body(done)) == (1, "four")
        assert "5 bytes less than its Content-Length" in done.stderr

    def test_is_1_when_the_web_server_does_not_take_it(self) -> None:
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*COMMAND, "shop"], env=params(), stdout=full, stderr=subprocess.PIPE, timeout=30)
        assert done.returncode == 1

    @pytest.mark.parametrize(
        "arguments", [(), ("shop", "shop"), ("--mount",), ("--mount", "/app"), ("--threads", "shop")]
    )
    def test_is_2_for_wrong_usage(self, arguments: tuple[str, ...]) -> None:
        done = cgi_run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("Usage: cgi-run [--mount PATH] [--interface KIND] TARGET")

    def test_is_2_for_a_mount_that_is_no_path(self) -> None:
        done = cgi_run("--mount", "app", "shop")
        assert done.returncode == 2
        assert "mount 'app' is not a path: it begins with one slash, like /app" in done.stderr

    def test_is_2_for_an_interface_that_does_not_exist(self) -> None:
        done = cgi_run("--interface", "cgi", "shop")
        assert done.returncode == 2
        assert "no interface is called 'cgi'; there are: wsgi, asgi, auto" in done.stderr

    @pytest.mark.parametrize(
        ("target", "hint"),
        [
            ("shopp", "did you mean shop?"),
            ("shop:aplication", "did you mean shop:application?"),
            ("quits", "importing must not end the program"),
            ("needs", "pip install no_such_library"),
        ],
    )
    def test_is_3_for_a_target_that_cannot_be_loaded(self, folder: Path, target: str, hint: str) -> None:
        (folder / "quits.py").write_text("raise SystemExit(5)")
        (folder / "needs.py").write_text("import no_such_library")
        done = cgi_run(target)
        assert done.returncode == 3
        assert done.stdout == (
            "Status: 500 Internal Server Error\nContent-Type: text/plain\n\n500 Internal Server Error\n"
        )
        assert done.stderr.startswith(f"cannot load {target!r}")
        assert hint in done.stderr


class TestRequest:
    def test_a_body_is_read_from_stdin(self) -> None:
        done = cgi_run("shop", stdin="some words", REQUEST_METHOD="POST", CONTENT_LENGTH="4")
        assert body(done) == "/app | /shelf | b'some'"

    def test_what_the_application_prints_goes_to_stderr(self) -> None:
        done = cgi_run("shop:noisy")
        assert body(done) == "/app | /shelf | b''"
        assert (done.stderr.count("a stray print\n"), done.stderr.count("a complaint\n")) == (1, 1)

    def test_a_target_can_be_a_file(self, folder: Path) -> None:
        (folder / "shop.py").rename(folder / "shop.cgi")
        assert body(cgi_run("shop.cgi:application")).startswith("/app | /shelf")

    def test_the_help_goes_to_stdout(self) -> None:
        done = cgi_run("--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Usage: cgi-run [--mount PATH] [--interface KIND] TARGET")


class TestMount:
    """The web server puts the whole path into SCRIPT_NAME."""

    @pytest.mark.parametrize("arguments", [("--mount", "/app"), ("--mount=/app",)])
    def test_comes_from_the_command_line(self, arguments: tuple[str, ...]) -> None:
        done = cgi_run(*arguments, "shop", SCRIPT_NAME="/app/shelf", PATH_INFO="")
        assert body(done) == "/app | /shelf | b''"

    def test_comes_from_the_environment(self) -> None:
        done = cgi_run("shop", SCRIPT_NAME="/app/shelf", PATH_INFO="", GATEWAY_MOUNT="/app")
        assert body(done) == "/app | /shelf | b''"

    def test_of_the_command_line_wins(self) -> None:
        assert body(cgi_run("--mount", "/app/shelf", "shop", GATEWAY_MOUNT="/app")) == "/app/shelf |  | b''"

    def test_that_does_not_hold_the_path_gives_a_404_and_a_line_on_stderr(self) -> None:
        done = cgi_run("--mount", "/other", "shop")
        assert done.stdout.startswith("Status: 404 Not Found\n")
        assert "'/app/shelf' is outside the mount '/other'" in done.stderr


HEAVY = {
    "argparse", "asyncio", "click", "dataclasses", "email", "enum", "gunicorn", "importlib", "inspect", "logging",
    "multiprocessing", "re", "rich", "select", "selectors", "signal", "socket", "subprocess", "tempfile", "threading",
    "traceback", "typing", "urllib",
}  # fmt: skip


def test_a_request_imports_nothing_heavy() -> None:
    command = [sys.executable, "-c", "from gateway.cli.cgi_run import main; main(['shop'])"]
    imported = modules_imported(command, env=params())
    assert imported >= {"gateway.loader", "gateway.workers.once", "shop"}
    assert not {name for name in imported if name.partition(".")[0] in HEAVY}
