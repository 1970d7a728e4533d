"""One CGI request in a process: what goes to stdout, what to stderr, and what is imported on the way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.errors import RequestAborted
from gateway.workers.once import read_params, run_once
from tests.imports import modules_imported
from tests.leftovers import Leftovers
from tests.serving import PLAIN, hello

CGI = {
    "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/app.cgi", "PATH_INFO": "/page",
    "QUERY_STRING": "", "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
}  # fmt: skip


class Done(NamedTuple):
    """A CGI process that has ended."""

    output: bytes
    errors: str
    status: int

    @property
    def head(self) -> list[bytes]:
        return self.output.partition(b"\r\n\r\n")[0].split(b"\r\n")

    @property
    def body(self) -> bytes:
        return self.output.partition(b"\r\n\r\n")[2]


CGIProcess = Callable[..., Done]


@pytest.fixture
def cgi(tmp_path: Path, nothing_left_over: Leftovers) -> CGIProcess:
    """Run an application as a web server runs a CGI program: in a process of its own, with three files and params."""

    def run(app: Any, stdin: bytes = b"", *, reader: bool = True, **params: str) -> Done:
        files = [tmp_path / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_bytes(stdin)
        print(end="", flush=True)
        pid = os.fork()
        if not pid:
            _be_cgi(app, files, CGI | params, reader=reader)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Done(files[1].read_bytes(), files[2].read_text(), status)

    return run


def _be_cgi(app: Any, files: list[Path], params: dict[str, str], *, reader: bool) -> None:
    """What the child does; without a ``reader`` its stdout is a pipe whose other end is closed."""
    status = 70
    try:
        opened = [os.open(files[0], os.O_RDONLY), *(os.open(file, os.O_WRONLY | os.O_CREAT) for file in files[1:])]
        if not reader:
            read_end, opened[1] = os.pipe()
            os.close(read_end)
        for number, descriptor in enumerate(opened):
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in enumerate("rww"))
        status = 0 if run_once(app, params=params) else 1
    except SystemExit:
        status = 3
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def echo(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [PLAIN])
    return [body]


# What goes where.


def test_the_response_goes_to_stdout(cgi: CGIProcess) -> None:
    assert cgi(hello) == Done(b"Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello", "", 0)


def test_what_the_application_prints_goes_to_stderr(cgi: CGIProcess) -> None:
    done = cgi(lambda *args: print("printed") or hello(*args))
    assert done.body == b"hello"
    assert done.errors == "printed\n"


def test_what_its_children_print_goes_to_stderr(cgi: CGIProcess) -> None:
    done = cgi(lambda *args: subprocess.run(["echo", "printed"]) and hello(*args))
    assert done.body == b"hello"
    assert done.errors == "printed\n"


def test_what_it_prints_before_sys_exit_goes_to_stderr(cgi: CGIProcess) -> None:
    done = cgi(lambda *args: print("printed") or sys.exit())
    assert done.head[0] == b"Status: 500 Internal Server Error"
    assert b"printed" not in done.output
    assert "printed\n" in done.errors
    assert done.status == 3


def test_stdout_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    run_once(hello, params=dict(CGI))
    os.write(1, b"; afterwards")
    assert capfd.readouterr().out.endswith("hello; afterwards")


def test_an_error_goes_to_stderr_and_not_to_the_visitor(cgi: CGIProcess) -> None:
    def fails(environ: Any, start_response: Any) -> Any:
        raise LookupError("a secret")

    done = cgi(fails)
    assert done.head[0] == b"Status: 500 Internal Server Error"
    assert b"secret" not in done.output
    assert "LookupError: a secret" in done.errors
    assert done.status == 0  # the visitor has a whole answer


def test_a_response_cut_short_ends_the_process_with_1(cgi: CGIProcess) -> None:
    def breaks_off(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [PLAIN])
        yield b"beginning"
        raise LookupError

    done = cgi(breaks_off)
    assert (done.body, done.status) == (b"beginning", 1)


def test_a_web_server_that_has_gone_is_not_worth_a_word(cgi: CGIProcess) -> None:
    closed = []

    class Big:
        def __init__(self, environ: Any, start_response: Any) -> None:
            start_response("200 OK", [PLAIN])

        def __iter__(self) -> Any:
            return iter([b"x" * 100_000] * 3)

        def close(self) -> None:
            closed.append(True)
            print("closed")

    assert cgi(Big, reader=False) == Done(b"", "closed\n", 1)


# The body.


def test_a_body_has_the_announced_length(cgi: CGIProcess) -> None:
    assert cgi(echo, b"body", REQUEST_METHOD="POST", CONTENT_LENGTH="4").body == b"body"


def test_what_follows_the_body_is_not_read(cgi: CGIProcess) -> None:
    assert cgi(echo, b"body and more", REQUEST_METHOD="POST", CONTENT_LENGTH="4").body == b"body"


def test_a_chunked_body_ends_where_stdin_ends(cgi: CGIProcess) -> None:
    body = bytes(range(256)) * 1000
    assert cgi(echo, body, REQUEST_METHOD="POST", HTTP_TRANSFER_ENCODING="chunked").body == body


def test_without_a_length_nothing_is_read(cgi: CGIProcess) -> None:
    assert cgi(echo, b"something", REQUEST_METHOD="POST").body == b""


def test_a_body_that_ends_early_is_an_error_to_the_application(cgi: CGIProcess) -> None:
    def reads(environ: Any, start_response: Any) -> list[bytes]:
        with pytest.raises(RequestAborted):
            environ["wsgi.input"].read()
        return hello(environ, start_response)

    assert cgi(reads, b"bo", REQUEST_METHOD="POST", CONTENT_LENGTH="4").body == b"hello"


def test_a_body_that_ends_early_is_a_bad_request(cgi: CGIProcess) -> None:
    done = cgi(echo, b"bo", REQUEST_METHOD="POST", CONTENT_LENGTH="4")
    assert done.head[0] == b"Status: 400 Bad Request"
    assert "Traceback" not in done.errors


@pytest.mark.parametrize("length", ["four", "-4", "4, 4", "\xb2"])
def test_a_length_that_is_no_number_is_a_bad_request_and_one_line(cgi: CGIProcess, length: str) -> None:
    done = cgi(echo, b"body", REQUEST_METHOD="POST", CONTENT_LENGTH=length)
    assert done.head[0] == b"Status: 400 Bad Request"
    (line,) = done.errors.splitlines()
    assert line.startswith(f"gateway: refused with 400 Bad Request: CONTENT_LENGTH is {length!r}, not a number")


def test_a_body_that_nobody_reads_does_not_cost_the_response() -> None:
    server, program = socket.socketpair()  # mod_cgid: stdin and stdout are one
    with server:
        server.sendall(b"unwanted")
        with program, program.dup() as stdout:
            params = CGI | {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "8"}
            assert run_once(hello, params=params, stdin=program.fileno(), stdout=stdout.fileno())
        assert server.recv(100).startswith(b"Status: 200 OK")
        assert server.recv(100) == b""


def test_an_open_stdin_is_not_waited_for() -> None:
    reader, writer = os.pipe()
    out_reader, out_writer = os.pipe()
    try:
        assert run_once(echo, params=dict(CGI), stdin=reader, stdout=out_writer)
        assert os.read(out_reader, 100).startswith(b"Status: 200 OK")
    finally:
        for descriptor in (reader, writer, out_reader, out_writer):
            os.close(descriptor)


# The environment.


def test_variables_are_bytes_as_latin_1() -> None:
    assert read_params({b"HTTP_X_NAME": "Jörg".encode()}) == {"HTTP_X_NAME": "J\xc3\xb6rg"}


def test_on_windows_variables_are_utf_8_as_latin_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "supports_bytes_environ", False)
    monkeypatch.setattr(os, "environ", {"HTTP_X_NAME": "Jörg", "PATH_INFO": "/\udce9"})
    assert read_params() == {"HTTP_X_NAME": "J\xc3\xb6rg", "PATH_INFO": "/\xe9"}


def test_the_mount_wins() -> None:
    seen: dict[str, str] = {}
    params = CGI | {"SCRIPT_NAME": "/shop/cart", "PATH_INFO": ""}
    with open(os.devnull, "wb") as nowhere:
        run_once(lambda environ, *args: seen.update(environ) or hello(environ, *args),
                 params=params, stdout=nowhere.fileno(), mount="/shop/")  # fmt: skip
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/shop", "/cart")


# What it costs.

WEIGHT = {
    "__future__", "gateway", "gateway.entry", "gateway.errors", "gateway.events", "gateway.limits",
    "gateway.head", "gateway.environ", "gateway.exchange", "gateway.apps", "gateway.apps.wsgi",
    "gateway.protocols", "gateway.protocols.cgi", "gateway.workers", "gateway.workers.once",
}  # fmt: skip


def test_a_cgi_script_imports_what_it_needs_and_nothing_else(tmp_path: Path) -> None:
    script = tmp_path / "hello.cgi"
    script.write_text(
        "import gateway\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [environ['wsgi.input'].read()]\n"
        "gateway.run(application)\n"
    )
    env = CGI | {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PYTHONPATH": os.pathsep.join(sys.path)}
    assert modules_imported([sys.executable, str(script)], env=env, stdin=b"body") == WEIGHT
