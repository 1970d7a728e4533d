"""``fcgi-run --cgi-bin``: FastCGI in, CGI out; the heir of fcgiwrap."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.client import Client
from gateway.errors import RemoteProtocolError
from tests.masters import PATIENCE, Master, run_to_end, wait_for

pytestmark = pytest.mark.usefixtures("nothing_left_over")

HEAD = "#!/bin/sh\necho Content-Type: text/plain; echo;"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    """One for all: a directory at /cgi-bin, two programs at once, an extension with an interpreter."""
    folder = tmp_path_factory.mktemp("wrap")
    (folder / "cgi-bin").mkdir()
    for name, text in {
        "hello.cgi": f'{HEAD} echo "$SCRIPT_NAME|$PATH_INFO|$QUERY_STRING"; cat; echo oops >&2',
        "much.cgi": f"{HEAD} exec yes",
        "wait.cgi": f"{HEAD} echo $$; read line < go",
        "page.php": "from a file\n",
        "old.cgi": "#!/bin/sh\r\n",
    }.items():
        path = folder / "cgi-bin" / name
        path.write_bytes(text.encode())
        path.chmod(0o644 if name.endswith("php") else 0o755)
    os.mkfifo(folder / "cgi-bin" / "go")
    shell = "sh -c 'echo Content-Type: text/plain; echo; exec cat $0'"
    words = ["--cgi-bin", "cgi-bin", "--mount", "/cgi-bin", "--threads", "3", "-b", "unix:s", "--cgi-interpreter",
             f".php={shell}", "--limit-output-size", "1000000", "--limit-max-children", "2",
             "--limit-queue-timeout", "0.1"]  # fmt: skip
    with Master(folder, *words, app=None) as master:
        yield master.ready()


def ask(server: Master, path: str, body: bytes = b"") -> tuple[str, bytes]:
    with Client(server.url, pool_size=0, timeout=PATIENCE) as client:
        status, _, answer = client.request("POST" if body else "GET", f"/cgi-bin{path}", body=body)
    return status, answer


def test_a_program_is_run(server: Master) -> None:
    assert ask(server, "/hello.cgi/a%20b?q=1", b"body") == ("200 OK", b"/cgi-bin/hello.cgi|/a b|q=1\nbody")


def test_a_file_is_run_by_its_interpreter(server: Master) -> None:
    assert ask(server, "/page.php") == ("200 OK", b"from a file\n")


@pytest.mark.parametrize(("path", "status"), [("/nothing", "404 Not Found"), ("/old.cgi", "500 Internal Server Error")])
def test_what_cannot_be_run_is_a_page(server: Master, path: str, status: str) -> None:
    assert ask(server, path) == (status, f"{status}\n".encode())


def test_its_start_lists_the_programs_and_their_problems(server: Master) -> None:
    listed = server.wait_log(r"CGI programs, .*:\n((?:  .*\n)+)").splitlines()
    assert [line.split()[0] for line in listed] == ["/hello.cgi", "/much.cgi", "/old.cgi", "/page.php", "/wait.cgi"]
    assert "PROBLEM: its #! line ends in CR LF" in listed[2]


def test_its_start_says_how_many_run_at_once(server: Master) -> None:
    server.wait_log(r"CGI programs, up to 3 at once in each worker process \(--threads\):")


def test_its_log_says_what_was_wrong(server: Master) -> None:
    ask(server, "/old.cgi")
    server.wait_log(r"cgi-bin/old\.cgi: its #! line ends in CR LF")


def test_limits_are_those_of_the_command_line(server: Master) -> None:
    with pytest.raises(RemoteProtocolError):
        ask(server, "/much.cgi")
    server.wait_log("longer than limit output_size=1000000")


def test_more_programs_than_the_limit_are_refused(server: Master) -> None:
    waiting = [threading.Thread(target=ask, args=(server, "/wait.cgi")) for _ in range(2)]
    for thread in waiting:
        thread.start()
    wait_for(lambda: ask(server, "/hello.cgi")[0] == "503 Service Unavailable", otherwise=server.log)
    gate = os.open(server.folder / "cgi-bin" / "go", os.O_RDWR)
    os.write(gate, b"\n\n")
    for thread in waiting:
        thread.join(PATIENCE)
    os.close(gate)
    assert ask(server, "/hello.cgi")[0] == "200 OK"


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--cgi-bin", ".", "app"], 2, "serve either app or --cgi-bin .; leave one out"),
        (["--cgi-bin", "absent"], 3, "absent is no directory, or this user may not enter it: correct the path"),
        (["--cgi-bin", ".", "--cgi-execution", "swawn"], 3, "no execution is called 'swawn'"),
        (["--cgi-bin", ".", "--cgi-interpreter", "php"], 3, "such as .php=php-cgi"),
        (["--cgi-bin", ".", "--cgi-preload", "cgi"], 3, "nothing runs by fork, which alone preloads cgi: choose *.py="),
        (
            ["--cgi-bin", ".", "--cgi-execution", "*.py=fork", "--worker-model", "fork"], 2,
            "and with it the interpreter that execution fork keeps warm: use worker model threads",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told(tmp_path: Path, words: list[str], status: int, complaint: str) -> None:
    code, _, stderr = run_to_end(tmp_path, *words)
    assert (code, complaint in stderr, "Traceback" in stderr) == (status, True, False), stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "up to 8 at once in each worker process (--threads)"),
        (["--threads", "1"], "up to 1 at once in each worker process (--threads)"),
        (["--worker-model", "fork"], "each as soon as asked for"),
    ],
)
def test_programs_run_at_once_unless_told_otherwise(tmp_path: Path, words: list[str], said: str) -> None:
    code, _, stderr = run_to_end(tmp_path, "--cgi-bin", ".", "--check-config", *words)
    assert (code, f"CGI programs, {said}:" in stderr) == (0, True), stderr


def test_threads_of_an_application_are_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def application(environ, start_response): ...")
    _, stdout, _ = run_to_end(tmp_path, "app:application", "--print-config")
    assert re.search(r"^threads +: 1$|^threads += 1$", stdout, re.MULTILINE), stdout


def test_modules_are_imported_before_the_scripts(tmp_path: Path) -> None:
    """Each option is repeated, or has several values."""
    (tmp_path / "cgi-bin").mkdir()
    script = tmp_path / "cgi-bin" / "told.py"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys\nprint('Content-Type: text/plain\\n')\n"
        "print([name in sys.modules for name in ('colorsys', 'wave', 'this')], os.environ.get('A'))\n"
    )
    script.chmod(0o755)
    words = ["--cgi-bin", "cgi-bin", "--cgi-execution", "*.sh=spawn,*.py=fork", "--cgi-preload", "colorsys",
             "--cgi-preload", "no_such_module, wave", "--cgi-pass-environment", "A", "-b", "unix:s"]  # fmt: skip
    with Master(tmp_path, *words, app=None, env={"A": "b"}) as master:
        server = master.ready()
        with Client(server.url, pool_size=0, timeout=PATIENCE) as client:
            assert client.request("GET", "/told.py")[2] == b"[True, True, False] b\n"
        server.wait_log("cannot preload no_such_module: import error: its Python lacks no_such_module")
