"""The worker that forks for each request: a clean state for each, and what becomes of children."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.events import AbortRequest, EndOfRequest, RequestBody, ResponseBody
from gateway.events import Response as Head
from gateway.limits import Limits
from gateway.testing import Server
from gateway.workers import fork as fork_module
from gateway.workers import threads as threads_module
from tests.serving import PLAIN, Log, Serve, WebServer, echo, hello, until


@pytest.fixture(autouse=True)
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "_TICK", 0.02)


def forks(serve: Serve, app: Any, **options: Any) -> Server:
    return serve(app, worker_model="fork", **options)


def children_of(pid: int) -> list[str]:
    """The children of a process, dead ones included: their states."""
    states = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("latin-1").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            states.append(fields[0])
    return states


class Gate:
    """An application that notes each request as a file in a folder, and waits for the file ``open`` there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        (self.folder / f"pid-{os.getpid()}").touch()
        until(self.is_open)
        return hello(environ, start_response)

    def is_open(self) -> bool:
        return (self.folder / "open").exists()

    def open(self) -> None:
        (self.folder / "open").touch()

    @property
    def pids(self) -> list[int]:
        """The processes that have come so far."""
        return [int(path.name.partition("-")[2]) for path in self.folder.glob("pid-*")]

    def arrive(self, count: int = 1) -> None:
        """Wait until as many requests have come."""
        until(lambda: len(self.pids) >= count)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


# A state of its own for each request.


def test_globals_are_fresh_for_each_request(serve: Serve) -> None:
    seen: list[int] = []

    def counts(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(1)
        start_response("200 OK", [PLAIN])
        return [str(len(seen)).encode()]

    with WebServer(forks(serve, counts)) as client:
        assert [client.get().body for _ in range(3)] == [b"1", b"1", b"1"]


def test_each_request_has_a_process(serve: Serve) -> None:
    def tells(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [PLAIN])
        return [f"{os.getpid()} {os.getppid()}".encode()]

    server = forks(serve, tells)
    with WebServer(server) as client:
        answers = [client.get().body.decode().split() for _ in range(3)]
    assert len({pid for pid, _ in answers}) == 3
    assert {parent for _, parent in answers} == {str(server.pid)}


def test_the_environ_tells_of_processes(serve: Serve) -> None:
    def tells(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [PLAIN])
        return [repr((environ["wsgi.multiprocess"], environ["wsgi.multithread"])).encode()]

    with WebServer(forks(serve, tells, threads=4)) as client:
        assert client.get().body == b"(True, False)"


def test_what_waits_in_a_buffer_is_written_once(
    serve: Serve, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count()
    with os.fdopen(os.dup(1), "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        server = forks(serve, hello, heartbeat=lambda: print(next(numbers)))
        with WebServer(server) as client:
            for _ in range(3):
                client.get()
                time.sleep(0.03)  # for a heartbeat
    written = capfd.readouterr().out.split()
    assert written == sorted(set(written))


def test_without_stdout_and_stderr_it_serves(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with WebServer(forks(serve, hello)) as client:
        assert client.get().body == client.get().body == b"hello"


# Connections.


def test_one_connection_serves_many_children(serve: Serve) -> None:
    with WebServer(forks(serve, echo)) as client:
        assert [client.get(body).body for body in (b"one", b"", b"three")] == [b"one", b"", b"three"]


def test_a_connection_that_is_not_to_be_kept_is_closed(serve: Serve) -> None:
    with WebServer(forks(serve, hello), keep_conn=False) as client:
        assert client.get().body == b"hello"
        assert client.is_hung_up()


def test_a_body_in_a_file_arrives(serve: Serve) -> None:
    body = bytes(range(256)) * 1000
    with WebServer(forks(serve, echo, limits=Limits(body_memory=10))) as client:
        assert client.get(body).body == body
        assert client.get(body[::-1]).body == body[::-1]


def test_a_child_reads_a_body_while_it_comes(serve: Serve) -> None:
    def echoes_in_two(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [PLAIN])
        yield environ["wsgi.input"].read(3)
        yield environ["wsgi.input"].read()

    with WebServer(forks(serve, echoes_in_two, limits=Limits(body_buffer=2))) as client:
        client.begin(REQUEST_METHOD="POST")
        client.say(RequestBody(b"one", 1))
        assert isinstance(client.hear(), Head)
        assert client.hear() == ResponseBody(b"one", 1)
        client.say(RequestBody(b"two", 1), EndOfRequest(1))
        assert client.response().body == b"two"
        assert client.is_hung_up()  # the parent knows nothing of what the child has read


def test_a_response_cut_short_is_seen(serve: Serve) -> None:
    def breaks_off(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [PLAIN])
        yield b"beginning"
        raise LookupError

    with WebServer(forks(serve, breaks_off)) as client:
        client.ask()
        with pytest.raises(EOFError):
            client.response()


def test_a_request_taken_back_ends_the_child(serve: Serve, tmp_path: Path) -> None:
    def endless(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [PLAIN])
        try:
            while True:
                yield b"block"
                time.sleep(0.002)
        finally:
            (tmp_path / "closed").touch()

    with WebServer(forks(serve, endless)) as client:
        client.ask()
        client.hear()
        client.say(AbortRequest(1))
        until((tmp_path / "closed").exists)


def test_a_process_that_a_child_leaves_behind_keeps_no_visitor_waiting(serve: Serve, tmp_path: Path) -> None:
    def leaves_one(environ: Any, start_response: Any) -> Any:
        if not os.fork():
            until((tmp_path / "over").exists)
            os._exit(0)
        return hello(environ, start_response)

    with WebServer(forks(serve, leaves_one), keep_conn=False) as client:
        assert client.get().body == b"hello"
        assert client.is_hung_up()
    (tmp_path / "over").touch()


def test_a_request_taken_back_before_it_is_whole_needs_no_child(serve: Serve, log: Log) -> None:
    with WebServer(forks(serve, hello)) as client:
        client.begin()
        client.say(AbortRequest(1))
        assert client.sock.recv(100)
    ((level, line),) = log.lines
    assert level == "info" and "took its request back" in line


# Children.


def test_no_child_is_left_unburied(serve: Serve) -> None:
    server = forks(serve, hello)
    for _ in range(5):
        with WebServer(server) as client:
            client.get()
            client.get()
    until(lambda: not children_of(server.pid))


def test_no_more_than_max_children_run(serve: Serve, gate: Gate) -> None:
    server = forks(serve, gate, limits=Limits(max_children=2))
    with ExitStack() as stack:
        clients = [stack.enter_context(WebServer(server)) for _ in range(4)]
        for client in clients:
            client.ask()
        gate.arrive(2)
        assert clients[3].is_quiet()
        assert len(gate.pids) == len(children_of(server.pid)) == 2
        gate.open()
        assert [client.response().body for client in clients] == [b"hello"] * 4
        assert len(gate.pids) == 4


def test_without_max_children_all_run_at_once(serve: Serve, gate: Gate) -> None:
    server = forks(serve, gate, limits=Limits(max_children=0))
    with ExitStack() as stack:
        clients = [stack.enter_context(WebServer(server)) for _ in range(4)]
        for client in clients:
            client.ask()
        gate.arrive(4)
        gate.open()
        assert [client.response().body for client in clients] == [b"hello"] * 4


@pytest.mark.parametrize(
    ("end", "said"),
    [(lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed by signal 9"), (lambda: os._exit(7), "exited with 7")],
    ids=["killed", "exited"],
)
@pytest.mark.parametrize("written", [b"", b"beginning"])
def test_a_child_that_dies_cuts_its_response_only(serve: Serve, log: Log, end: Any, said: str, written: bytes) -> None:
    def dies(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/dies":
            return hello(environ, start_response)
        write = start_response("200 OK", [PLAIN])
        write(written)
        end()

    server = forks(serve, dies)
    with WebServer(server) as dying, WebServer(server) as client:
        dying.ask(PATH_INFO="/dies")
        with pytest.raises(EOFError):
            dying.response()
        ((level, line),) = log.wait()
        assert level == "error" and f"{said} before its response was whole" in line
        assert client.get().body == b"hello"


def test_an_error_of_our_own_ends_its_connection_and_is_logged(
    serve: Serve, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.apps.wsgi.WSGIRunner.__call__", lambda runner, exchange: 1 / 0)
    with WebServer(forks(serve, hello)) as client:
        client.ask()
        with pytest.raises(EOFError):
            client.response()
    assert [line for level, line in log.lines if "ZeroDivisionError" in line]


def test_sys_exit_is_an_error_of_the_application(serve: Serve) -> None:
    def exits(environ: Any, start_response: Any) -> Any:
        sys.exit("a reason")

    with WebServer(forks(serve, exits)) as client:
        assert client.get().status == "500 Internal Server Error"


def test_a_child_that_takes_too_long_is_terminated(serve: Serve, gate: Gate, log: Log) -> None:
    server = forks(serve, gate, limits=Limits(request_timeout=0.1))
    with WebServer(server) as client:
        client.ask()
        with pytest.raises(EOFError):
            client.response()
    ((level, line),) = log.lines
    assert level == "error" and "longer than request_timeout=0.1" in line
    gate.open()
    with WebServer(server) as client:
        assert client.get().body == b"hello"


def test_a_child_that_ignores_sigterm_is_killed(serve: Serve, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def ignores(environ: Any, start_response: Any) -> list[bytes]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return gate(environ, start_response)

    monkeypatch.setattr(fork_module, "_KILL_AFTER", 0.05)
    with WebServer(forks(serve, ignores, limits=Limits(request_timeout=0.1))) as client:
        client.ask()
        with pytest.raises(EOFError):
            client.response()


def test_a_fork_that_fails_is_tried_again(
    serve: Serve, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, none_left = os.fork, tmp_path / "none left"

    def limited() -> int:
        if none_left.exists():
            none_left.unlink()
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    monkeypatch.setattr(os, "fork", limited)
    server = forks(serve, hello)
    none_left.touch()
    with WebServer(server) as client:
        assert client.get().body == b"hello"
    ((level, line),) = log.lines
    assert level == "error" and line == "cannot fork: Resource temporarily unavailable; trying again in a second"


# Stopping.


def test_a_stopping_worker_waits_for_its_children(serve: Serve, gate: Gate) -> None:
    server = forks(serve, gate)
    with WebServer(server) as client:
        client.ask()
        gate.arrive()
        os.kill(server.pid, signal.SIGTERM)
        gate.open()
        assert client.response().body == b"hello"
        assert client.is_hung_up()


def test_a_stopping_worker_kills_children_after_graceful_timeout(serve: Serve, gate: Gate) -> None:
    server = forks(serve, gate, limits=Limits(graceful_timeout=0.1))
    with WebServer(server) as client:
        client.ask()
        gate.arrive()
        os.kill(server.pid, signal.SIGTERM)
        assert client.is_hung_up()
    (pid,) = gate.pids
    until(lambda: not os.path.exists(f"/proc/{pid}"))


def test_after_max_requests_the_worker_stops(serve: Serve, log: Log) -> None:
    server = forks(serve, hello, max_requests=2)
    with WebServer(server) as client:
        assert client.get().body == client.get().body == b"hello"
        assert client.is_hung_up()
    assert log.wait() == [("info", "served 2 requests (max_requests): a fresh worker takes over")]
