"""``gateway.run`` and ``gateway.serve``: the worker that fits the context in which a process finds itself."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.entry import build_worker
from gateway.errors import ConfigError
from gateway.testing import Server
from tests.leftovers import Leftovers
from tests.serving import PATIENCE, WebServer, hello, until

SCRIPT = """\
import sys
import gateway
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(sys.modules).encode() if environ["PATH_INFO"] == "/modules" else b"hello"]
"""
RUN = SCRIPT + "gateway.run(application)\n"


class Started:
    """A Python program that a process manager of some kind has started."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        """The next line of its stdout."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Stop it by a signal: its exit status, and what it wrote to stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors


Start = Callable[..., Started]


@pytest.fixture
def start(nothing_left_over: Leftovers) -> Iterator[Start]:
    """Start Python programs; those that still run at the end are killed."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *, stdin: Any = subprocess.DEVNULL, env: Any = None, **options: Any) -> Started:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})}
        process = subprocess.Popen([sys.executable, "-c", source], stdin=stdin, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=environment, **options)  # fmt: skip
        started.append(process)
        return Started(process)

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that a process manager listens on for the program that it starts."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.listen()
        yield sock


def server_of(listener: socket.socket) -> Server:
    return Server(f"fastcgi://unix:{listener.getsockname()}")


def server_at(path: Path) -> Server:
    """The server at a path, once it listens there."""

    def listens() -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(path)) == 0

    until(listens)
    return Server(f"fastcgi://unix:{path}")


# Who starts us.


@pytest.mark.parametrize("sign", [{"GATEWAY_INTERFACE": "CGI/1.1"}, {"REQUEST_METHOD": "GET"}], ids=str)
def test_a_cgi_environment_means_one_request(start: Start, sign: dict[str, str]) -> None:
    output, _ = start(RUN, env=sign).process.communicate(timeout=PATIENCE)
    assert output == "Status: 200 OK\nContent-Type: text/plain\nContent-Length: 5\n\nhello"


def test_a_listening_socket_as_stdin_means_fastcgi(start: Start, listener: socket.socket) -> None:
    started = start(RUN, stdin=listener)
    with WebServer(server_of(listener)) as client:
        assert client.get().body == client.get().body == b"hello"
    assert started.end() == (0, "")


def test_a_listening_tcp_socket_as_stdin_means_fastcgi(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = start(RUN, stdin=listener)
        with WebServer(Server(f"fastcgi://127.0.0.1:{listener.getsockname()[1]}")) as client:
            assert client.get().body == b"hello"
        assert started.end() == (0, "")


def test_the_sockets_of_systemd_mean_fastcgi(start: Start, listener: socket.socket) -> None:
    take = "import os; os.dup2(int(os.environ['TEST_FD']), 3); os.environ['LISTEN_PID'] = str(os.getpid())\n"
    number = listener.fileno()
    started = start(take + RUN, env={"TEST_FD": str(number), "LISTEN_FDS": "1"}, pass_fds=[number])
    with WebServer(server_of(listener)) as client:
        assert client.get().body == b"hello"
    assert started.end() == (0, "")


def test_under_a_process_manager_gunicorn_is_not_imported(start: Start, listener: socket.socket) -> None:
    start(RUN, stdin=listener)
    with WebServer(server_of(listener)) as client:
        modules = client.get(PATH_INFO="/modules").body.decode().split()
    assert "gateway.workers.threads" in modules
    assert not {"gunicorn", "click", "rich", "asyncio", "h11"} & set(modules)


def test_with_stdout_and_stderr_closed_it_serves(start: Start, listener: socket.socket) -> None:
    started = start(f"import os; os.close(1); os.close(2)\n{RUN}", stdin=listener)  # FastCGI 1.0 §2.2 allows both
    with WebServer(server_of(listener)) as client:
        assert client.get().body == b"hello"
    assert started.end() == (0, "")


def test_without_any_of_them_it_is_a_development_server(start: Start) -> None:
    started = start(RUN, env={"PORT": "0"})
    line = started.line()
    assert line.startswith("gateway: no CGI environment and no listening socket, so this is a development server: http")
    host, port = line.partition("http://")[2].partition("/")[0].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    connection.request("GET", "/")
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"hello")
    connection.close()
    status, errors = started.end(signal.SIGINT)
    assert status == 0 and "Traceback" not in errors


@pytest.mark.parametrize("port", ["http", "70000", "taken"])
def test_a_port_that_cannot_be_used_is_named(start: Start, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1]) if port == "taken" else port
        _, errors = start(RUN, env={"PORT": port}).process.communicate(timeout=PATIENCE)
    last = errors.splitlines()[-1]
    assert last.startswith(f"gateway.errors.ConfigError: no development server on port {port}: ")
    assert last.endswith("choose another one with PORT=…")


# serve()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("options", ["", "threads=2", "worker_model='fork'"])
def test_serve_stops_at_a_signal_and_removes_its_socket(
    start: Start, tmp_path: Path, number: int, options: str
) -> None:
    path = tmp_path / "socket"
    started = start(f"{SCRIPT}gateway.serve(application, 'unix:{path}', {options})\n")
    with WebServer(server_at(path)) as client:
        assert client.get().body == b"hello"
    assert started.end(number) == (0, "")
    assert not path.exists()


@pytest.mark.parametrize("options", ["", "threads=3", "worker_model='fork'"])
def test_serve_speaks_a_wire_of_its_own_on_each_socket(start: Start, tmp_path: Path, options: str) -> None:
    sockets = {wire: tmp_path / wire for wire in ("fastcgi", "scgi", "uwsgi", "ajp", "http")}
    binds = [f"{wire}://{path}" for wire, path in sockets.items() if wire != "fastcgi"]
    binds.append(f"unix:{sockets['fastcgi']}")
    secret = "wire_options={'secret': 's3same'}"
    started = start(f"{SCRIPT}gateway.serve(application, {binds}, {secret}, {options})\n")
    server_at(sockets["fastcgi"])
    for wire, path in sockets.items():
        known = {"secret": "s3same"} if wire == "ajp" else {}
        with gateway.Client(f"{wire}://{path}", wire_options=known, timeout=PATIENCE) as client:
            for _ in range(3):
                assert client.request("GET", "/")[2] == b"hello"
    assert started.end() == (0, "")
    assert not any(path.exists() for path in sockets.values())


def test_serve_listens_everywhere_or_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exists and is not a socket"):
        gateway.serve(hello, [f"unix:{tmp_path}/one", f"scgi://{tmp_path}"])
    assert not (tmp_path / "one").exists()


def test_serve_has_the_usual_port_of_a_wire() -> None:
    with contextlib.ExitStack() as taken:
        with contextlib.suppress(OSError):  # somebody else has taken it already
            taken.enter_context(socket.create_server(("127.0.0.1", 4000)))
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:4000: another program listens there"):
            gateway.serve(hello, protocol="scgi")


def test_serve_gives_signals_back(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def ask_and_end() -> None:
        with WebServer(server_at(path)) as client:
            client.get()
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask_and_end)
    asking.start()
    gateway.serve(hello, f"unix:{path}")
    asking.join()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_serve_makes_a_socket_of_the_mode_given(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    start(f"{SCRIPT}gateway.serve(application, 'unix:{path}', socket_mode=0o660)\n")
    server_at(path)
    assert path.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "gopher"}, "no wire is called 'gopher'"),
        ({"worker_model": "magic"}, "no worker model is called 'magic'"),
        ({"wire_options": {"secret": "x"}}, "secret is no option of fastcgi; leave it out, or listen for a wire that"),
    ],
)
def test_what_is_not_known_is_refused(listener: socket.socket, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_worker(hello, [listener], **options)


def test_a_bind_that_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9000 for this machine only"):
        gateway.serve(hello, "9000")
