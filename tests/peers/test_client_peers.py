"""``gateway.Client`` calls what others wrote: php-fpm, a C program with libfcgi under spawn-fcgi, flup's server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from webtest import TestApp

from gateway.client import Client
from tests.leftovers import Leftovers
from tests.peers.frontends.calls import call
from tests.peers.frontends.processes import running, wait_for
from tests.requirements import require, require_module
from tests.wsgi_calls import Call, ask

MIB = 1024 * 1024

FPM_CONF = """
[global]
error_log = /dev/stderr
[www]
listen = {folder}/fpm.sock
user = root
pm = static
pm.max_children = 2
pm.max_requests = 5
php_admin_flag[display_errors] = off
php_admin_flag[log_errors] = on
"""

SCRIPTS = {
    "index.php": "<?php header('Content-Type: text/plain'); echo 'index of ', $_SERVER['SCRIPT_NAME'];",
    "blog/index.php": "<?php header('Content-Type: text/plain'); echo 'index of ', $_SERVER['SCRIPT_NAME'];",
    "info.php": """<?php header('Content-Type: application/json'); echo json_encode([
        $_SERVER['SCRIPT_NAME'], $_SERVER['PATH_INFO'], $_SERVER['PHP_SELF'], $_SERVER['REQUEST_URI'], $_GET]);""",
    "session.php": """<?php session_save_path(__DIR__); session_start();
        header('Content-Type: text/plain'); echo $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;""",
    "upload.php": """<?php $file = $_FILES['photo']; header('Content-Type: application/json');
        echo json_encode([$_POST['title'], $file['name'], md5_file($file['tmp_name'])]);""",
    "echo.php": "<?php header('Content-Type: text/plain'); echo file_get_contents('php://input');",
    "big.php": "<?php header('Content-Type: text/plain'); for ($i = 0; $i < 512; $i++) echo str_repeat('x', 65536);",
    "log.php": "<?php error_log(\"one\\ntwo\"); header('Content-Type: text/plain'); echo 'logged';",
    "fatal.php": "<?php no_such_function();",
    "slow.php": "<?php sleep(1);",
    "endless.php": """<?php register_shutdown_function(fn() => touch(__DIR__ . '/ended'));
        header('Content-Type: text/plain'); while (true) { echo str_repeat('.', 8192); flush(); }""",
    "picture.jpg": "<?php echo 'a program after all';",
}

C_PROGRAM = r"""
#include <stdlib.h>
#include <string.h>
#include <fcgi_stdio.h>

int main(void) {
    static char block[65536];
    while (FCGI_Accept() >= 0) {
        const char *what = getenv("QUERY_STRING");
        size_t count;
        fprintf(stderr, "asked for %s", what);
        printf("Content-Type: text/plain\r\n\r\n");
        if (!strcmp(what, "echo"))
            while ((count = fread(block, 1, sizeof block, stdin)) > 0)
                fwrite(block, 1, count, stdout);
        else if (!strcmp(what, "die"))
            abort();
        else
            printf("%s", getenv("REQUEST_METHOD"));
    }
    return 0;
}
"""

FLUP_SERVER = """
import sys
from flup.server.fcgi import WSGIServer

def application(environ, start_response):
    environ["wsgi.errors"].write("asked for " + environ["PATH_INFO"] + "\\n")
    if environ["PATH_INFO"] == "/fail":
        raise RuntimeError("failed")
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield environ["REQUEST_METHOD"].encode()
    while block := environ["wsgi.input"].read(65536):
        yield block

WSGIServer(application, bindAddress=sys.argv[1], debug=False).run()
"""


# php-fpm


@pytest.fixture
def php(nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Client]:
    program = require("php-fpm*", package="php-fpm")
    for name, source in SCRIPTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "fpm.conf").write_text(FPM_CONF.format(folder=tmp_path))
    command = [program, "-F", "-n", "-y", "fpm.conf", "-p", str(tmp_path)]
    if os.geteuid() == 0:
        command.append("-R")  # the folder is root's alone, so the pool's processes are root's as well
    with (
        running(command, directory=tmp_path, name="php-fpm", listens=[f"{tmp_path}/fpm.sock"]),
        Client(f"fastcgi://{tmp_path}/fpm.sock", root=tmp_path, timeout=10) as client,
    ):
        yield client


def test_php_is_told_the_script_and_the_path_after_it(php: Client) -> None:
    assert TestApp(php).get("/info.php/a%20b/c?x=1").json == [
        "/info.php", "/a b/c", "/info.php/a b/c", "/info.php/a%20b/c?x=1", {"x": "1"},
    ]  # fmt: skip


@pytest.mark.parametrize(("path", "script"), [("/", "/index.php"), ("/blog/", "/blog/index.php")])
def test_php_finds_the_index_of_a_folder(php: Client, path: str, script: str) -> None:
    assert ask(php, path).body.decode() == f"index of {script}"


def test_php_keeps_a_session(php: Client) -> None:
    visitor, stranger = TestApp(php), TestApp(php)
    assert [app.get("/session.php").text for app in (visitor, visitor, stranger, visitor)] == ["1", "2", "1", "3"]


def test_php_takes_an_upload(php: Client) -> None:
    photo = os.urandom(MIB)
    answer = TestApp(php).post("/upload.php", {"title": "sea"}, upload_files=[("photo", "sea.jpg", photo)])
    assert answer.json == ["sea", "sea.jpg", hashlib.md5(photo).hexdigest()]


def test_php_says_more_than_memory_should_hold(php: Client) -> None:
    call = Call(php, "/big.php")
    sizes = [len(block) for block in call.blocks]
    call.close()
    assert sum(sizes) == 32 * MIB
    assert max(sizes) <= 65536


def test_phps_log_goes_to_wsgi_errors(php: Client) -> None:
    assert ask(php, "/log.php").errors == "PHP message: one\ntwo\n"


def test_a_fatal_error_in_php_is_a_500_that_explains_itself(php: Client) -> None:
    answer = ask(php, "/fatal.php")
    assert answer.status == "500 Internal Server Error"
    assert "Call to undefined function no_such_function()" in answer.errors


def test_a_script_that_php_does_not_find_is_a_404(php: Client) -> None:
    answer = ask(php, "/none.php")
    assert (answer.status, answer.errors) == ("404 Not Found", "Primary script unknown\n")


@pytest.mark.parametrize("path", ["/picture.jpg", "/picture.jpg/x.php"])
def test_php_runs_no_picture(php: Client, path: str) -> None:
    assert ask(php, path).status == "403 Forbidden"


def test_processes_that_php_fpm_replaces_are_not_noticed(php: Client) -> None:
    app = TestApp(php)
    for number in range(30):  # pm.max_requests = 5
        assert app.get("/index.php").text == "index of /index.php"
        assert app.post("/echo.php", {"number": str(number)}).text == f"number={number}"


def test_php_stops_when_the_visitor_leaves(php: Client, tmp_path: Path) -> None:
    call = Call(php, "/endless.php")
    assert next(call.blocks)
    call.close()
    wait_for((tmp_path / "ended").exists)


def test_php_that_is_slow_is_a_504(php: Client) -> None:
    php.timeout = 0.1
    assert ask(php, "/slow.php").status == "504 Gateway Timeout"


def test_php_fpm_answers_a_ping(php: Client) -> None:
    assert php.ping() == {"FCGI_MPXS_CONNS": "0"}


def test_a_call_to_php_shows_what_moves(php: Client, tmp_path: Path) -> None:
    called = call("--root", str(tmp_path), "-d", "a body", str(php.address), "/log.php")
    assert (called.status, called.body) == (0, b"logged")
    assert called.sent[0] == "BEGIN_REQUEST  request 1  Responder  keep the connection"
    assert f"  SCRIPT_FILENAME = {tmp_path}/log.php" in called.sent
    assert called.sent[-2:] == ["STDIN  request 1  6 bytes", "STDIN  request 1  end"]
    assert "  Content-type: text/plain;charset=UTF-8" in called.received
    assert called.received[0].startswith("STDERR  request 1  ")
    assert called.received[-1] == "END_REQUEST  request 1  appStatus 0  REQUEST_COMPLETE"
    assert called.said[1:3] == ["PHP message: one", "two"]


# libfcgi


@pytest.fixture(scope="module")
def c_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = require("gcc", package="gcc")
    require("/usr/include/fcgi_stdio.h", package="libfcgi-dev")
    folder = tmp_path_factory.mktemp("libfcgi")
    (folder / "program.c").write_text(C_PROGRAM)
    subprocess.run([compiler, "-o", folder / "program", folder / "program.c", "-lfcgi"], check=True)
    return f"{folder}/program"


@pytest.fixture
def libfcgi(nothing_left_over: Leftovers, c_program: str, tmp_path: Path) -> Iterator[Client]:
    spawn = require("spawn-fcgi", package="spawn-fcgi")
    command = [spawn, "-n", "-s", f"{tmp_path}/c.sock", "--", c_program]
    with (
        running(command, directory=tmp_path, name="spawn-fcgi", listens=[f"{tmp_path}/c.sock"]),
        Client(f"fastcgi://{tmp_path}/c.sock", timeout=10) as client,
    ):
        yield client


def test_a_c_program_answers_over_a_kept_connection(libfcgi: Client) -> None:
    answers = [ask(libfcgi, QUERY_STRING="method", REQUEST_METHOD=method) for method in ("GET", "DELETE")]
    assert [answer.body for answer in answers] == [b"GET", b"DELETE"]
    assert [answer.errors for answer in answers] == ["asked for method\n"] * 2
    assert repr(libfcgi).endswith("idle=1/8>")


def test_a_c_program_streams_both_ways(libfcgi: Client) -> None:
    body = os.urandom(8 * MIB)
    assert ask(libfcgi, body=body, QUERY_STRING="echo", REQUEST_METHOD="POST").body == body


def test_a_c_program_need_not_read_the_body(libfcgi: Client) -> None:
    assert ask(libfcgi, body=bytes(8 * MIB), QUERY_STRING="method", REQUEST_METHOD="POST").body == b"POST"


def test_a_c_program_that_dies_is_a_502(libfcgi: Client) -> None:
    assert ask(libfcgi, QUERY_STRING="die").status == "502 Bad Gateway"


# flup


@pytest.fixture
def flup(nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Client]:
    require_module("flup", package="flup")
    (tmp_path / "server.py").write_text(FLUP_SERVER)
    command = [sys.executable, "server.py", f"{tmp_path}/flup.sock"]
    with (
        running(command, directory=tmp_path, name="flup", listens=[f"{tmp_path}/flup.sock"]),
        Client(f"fastcgi://{tmp_path}/flup.sock", timeout=10) as client,
    ):
        yield client


def test_flup_answers_over_a_kept_connection(flup: Client) -> None:
    answers = [ask(flup, path) for path in ("/a b", "/c")]
    assert [(answer.body, answer.errors) for answer in answers] == [
        (b"GET", "asked for /a b\n"), (b"GET", "asked for /c\n"),
    ]  # fmt: skip
    assert repr(flup).endswith("idle=1/8>")


def test_flup_streams_both_ways(flup: Client) -> None:
    body = os.urandom(4 * MIB)
    assert ask(flup, body=body, REQUEST_METHOD="POST").body == b"POST" + body


def test_flups_500_comes_back(flup: Client) -> None:
    assert ask(flup, "/fail").status == "500 Internal Server Error"


def test_a_call_to_flup_shows_what_moves(flup: Client) -> None:
    called = call("-d", "a body", str(flup.address), "/a")
    assert (called.status, called.body) == (0, b"POSTa body")
    assert {"  Status: 200 OK", "END_REQUEST  request 1  appStatus 0  REQUEST_COMPLETE"} <= {*called.received}
    assert "asked for /a" in called.said


def test_flup_answers_a_ping(flup: Client) -> None:
    assert flup.ping() == {}  # on Python 3 it recognises none of the names that it is asked for
