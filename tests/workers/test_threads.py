"""The persistent worker: what holds a thread and what does not, how connections end, and how the work ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.events import EndOfRequest, Request, RequestBody
from gateway.limits import Limits
from gateway.protocols.fastcgi import (
    BEGIN_REQUEST,
    END_REQUEST,
    GET_VALUES_RESULT,
    encode_record,
)
from gateway.workers import threads as threads_module
from tests.serving import PARAMS, PATIENCE, Log, Serve, WebServer, echo, hello, until, whole_request


@pytest.fixture(autouse=True)
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker looks at its clock as often as these tests need it."""
    monkeypatch.setattr(threads_module, "_TICK", 0.02)


class Gate:
    """An application that waits at ``/wait`` until the test lets it pass, and says hello elsewhere."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/wait":
            self._arrived.release()
            assert self.open.wait(PATIENCE)
        return hello(environ, start_response)

    def arrive(self) -> None:
        """Wait until a request is at the gate."""
        assert self._arrived.acquire(timeout=PATIENCE)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


# Who holds a thread.


@pytest.mark.parametrize("threads", [1, 4])
def test_slow_clients_hold_no_thread(serve: Serve, threads: int) -> None:
    server = serve(hello, threads=threads)
    with ExitStack() as clients:
        for number in range(20):
            slow = clients.enter_context(WebServer(server))
            slow.sock.sendall(slow.encode(*whole_request(b"x" * 100))[: 8 + number * 20])
        assert clients.enter_context(WebServer(server)).get().body == b"hello"


@pytest.mark.parametrize("threads", [1, 4])
def test_a_request_may_come_byte_by_byte(serve: Serve, threads: int) -> None:
    with WebServer(serve(echo, threads=threads)) as client:
        for byte in client.encode(*whole_request(b"body")):
            client.sock.sendall(bytes([byte]))
        assert client.response().body == b"body"


def test_idle_kept_connections_hold_no_thread(serve: Serve) -> None:
    server = serve(hello, threads=2)
    with ExitStack() as clients:
        kept = [clients.enter_context(WebServer(server)) for _ in range(20)]
        assert [client.get().body for client in kept] == [b"hello"] * 20
        assert sum(thread.name.startswith("gateway-") for thread in threading.enumerate()) == 2
        assert clients.enter_context(WebServer(server)).get().body == b"hello"


def test_requests_run_at_the_same_time(serve: Serve, gate: Gate) -> None:
    server = serve(gate, threads=3)
    with WebServer(server) as one, WebServer(server) as two, WebServer(server) as three:
        one.ask(PATH_INFO="/wait")
        gate.arrive()
        two.ask(PATH_INFO="/wait")
        gate.arrive()
        assert three.get().body == b"hello"
        gate.open.set()
        assert one.response().body == two.response().body == b"hello"


def test_one_thread_serves_one_request_after_the_other(serve: Serve, gate: Gate) -> None:
    server = serve(gate, threads=1)
    with WebServer(server) as one, WebServer(server) as two:
        one.ask(PATH_INFO="/wait")
        gate.arrive()
        two.ask()
        assert two.is_quiet()
        gate.open.set()
        assert two.response().body == b"hello"


@pytest.mark.parametrize("requests", [1, 10], ids=["unkept", "kept"])
@pytest.mark.parametrize("threads", [1, 4])
def test_under_load_everybody_gets_their_own_answer(serve: Serve, threads: int, requests: int) -> None:
    def now_and_then_slow(environ: Any, start_response: Any) -> list[bytes]:
        body: list[bytes] = echo(environ, start_response)
        time.sleep(int(body[0]) % 7 / 1000 * (int(body[0]) % 5 == 0))
        return body

    server = serve(now_and_then_slow, threads=threads)

    def visit(number: int) -> bool:
        bodies = [str(1000 * number + count).encode() for count in range(40)]
        answers = []
        while len(answers) < len(bodies):
            with WebServer(server, keep_conn=requests > 1) as client:
                for body in bodies[len(answers) :][:requests]:
                    answers.append(client.get(body).body)
        return answers == bodies

    with ThreadPoolExecutor(8) as visitors:
        assert list(visitors.map(visit, range(8))) == [True] * 8


# Connections.


def test_a_kept_connection_takes_the_next_request(serve: Serve) -> None:
    with WebServer(serve(echo)) as client:
        assert [client.get(body).body for body in (b"one", b"", b"three")] == [b"one", b"", b"three"]


def test_a_connection_that_is_not_to_be_kept_is_closed(serve: Serve) -> None:
    with WebServer(serve(hello), keep_conn=False) as client:
        assert client.get().body == b"hello"
        assert client.is_hung_up()


def test_a_web_server_may_half_close_after_its_request(serve: Serve, gate: Gate) -> None:
    with WebServer(serve(gate)) as client:
        client.ask(PATH_INFO="/wait")
        client.sock.shutdown(socket.SHUT_WR)
        gate.arrive()
        gate.open.set()
        assert client.response().body == b"hello"
        assert client.is_hung_up()


def test_a_second_request_at_once_is_refused_and_the_first_answered(serve: Serve) -> None:
    with WebServer(serve(echo)) as client:
        client.begin()
        client.say(Request(PARAMS, 2), EndOfRequest(2))
        assert client.end().refusal == "CANT_MPX_CONN"
        client.say(RequestBody(b"first", 1), EndOfRequest(1))
        assert client.response().body == b"first"


def test_an_unknown_role_is_refused_and_an_unkept_connection_closed(serve: Serve) -> None:
    with WebServer(serve(hello), keep_conn=False) as client:
        client.sock.sendall(encode_record(BEGIN_REQUEST, 1, b"\0\x09\0\0\0\0\0\0"))
        assert client.sock.recv(100) == encode_record(END_REQUEST, 1, b"\0\0\0\0\x03\0\0\0")  # UNKNOWN_ROLE
        assert client.is_hung_up()


def test_get_values_is_answered_between_requests(serve: Serve) -> None:
    with WebServer(serve(hello)) as client:
        client.get()
        client.sock.sendall(encode_record(9, 0, b"\x0f\x00FCGI_MPXS_CONNS"))
        assert client.sock.recv(100)[1] == GET_VALUES_RESULT
        assert client.get().body == b"hello"


def test_who_asks_and_does_not_read_is_hung_up_on(serve: Serve, log: Log) -> None:
    with WebServer(serve(hello)) as client:
        client.sock.settimeout(0.05)
        with pytest.raises(OSError):
            while True:
                client.sock.sendall(encode_record(9, 0, b"\x0f\x00FCGI_MPXS_CONNS") * 1000)
    ((level, line),) = log.wait()
    assert level == "info" and "does not read the answers" in line


# What comes out of the application.


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [SystemExit(1), GeneratorExit(), BaseException()], ids=repr)
def test_no_exception_of_the_application_ends_the_worker(serve: Serve, threads: int, error: BaseException) -> None:
    def raises(environ: Any, start_response: Any) -> Any:
        raise error

    server = serve(raises, threads=threads)
    for _ in range(threads + 1):
        with WebServer(server) as client:
            assert client.get().status == "500 Internal Server Error"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_exit_of_a_signal_handler_ends_the_worker(serve: Serve) -> None:
    def exits(environ: Any, start_response: Any) -> Any:
        raise SystemExit

    server = serve(exits)
    assert server.worker
    server.worker.interrupted = True
    with WebServer(server) as client:
        assert client.get().status == "500 Internal Server Error"
        assert client.is_hung_up()
    until(lambda: server.worker and server.worker._wakeup.writer == -1)


def test_an_error_of_our_own_ends_its_connection_and_is_logged(serve: Serve, log: Log) -> None:
    server = serve(hello)
    assert server.worker
    server.worker._run = lambda exchange: 1 / 0  # type: ignore[assignment,return-value]
    with WebServer(server) as client:
        client.ask()
        assert client.is_hung_up()
    ((level, line),) = log.wait()
    assert level == "error" and "ZeroDivisionError" in line
    with WebServer(server) as client:
        client.ask()
        assert client.is_hung_up()


# Stopping.


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stopping_worker_finishes_what_runs(serve: Serve, gate: Gate, threads: int) -> None:
    server = serve(gate, threads=threads)
    with WebServer(server) as client:
        client.ask(PATH_INFO="/wait")
        gate.arrive()
        assert server.worker
        server.worker.stop()
        gate.open.set()
        assert client.response().body == b"hello"
        assert client.is_hung_up()


def test_a_stopping_worker_serves_who_queues(serve: Serve, gate: Gate) -> None:
    server = serve(gate)
    with WebServer(server) as client, WebServer(server) as queued:
        client.ask(PATH_INFO="/wait")
        gate.arrive()
        late = WebServer(server)
        queued.ask()
        late.ask()
        assert server.worker
        server.worker.stop()
        gate.open.set()
        assert queued.response().body == b"hello"
        assert late.response().body == b"hello"
        late.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_stopping_worker_closes_idle_connections(serve: Serve, threads: int) -> None:
    server = serve(hello, threads=threads)
    with WebServer(server) as client:
        client.get()
        assert server.worker
        server.worker.stop()
        assert client.is_hung_up()


def test_a_stopping_worker_waits_for_a_web_server_that_used_its_connection_just_now(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_module, "_BUSY", 60.0)
    server = serve(hello)
    with WebServer(server) as client:
        client.get()
        server.worker.stop()
        time.sleep(4 * threads_module._PAUSE)
        assert client.get().body == b"hello"


def test_a_stopping_worker_waits_no_longer_than_graceful_timeout(serve: Serve, gate: Gate, log: Log) -> None:
    server = serve(gate, threads=2, limits=Limits(graceful_timeout=0.1))
    with WebServer(server) as client:
        client.ask(PATH_INFO="/wait")
        gate.arrive()
        assert server.worker
        server.worker.stop()
        assert log.wait() == [("warning", "1 connections were abandoned after graceful_timeout")]
        assert client.is_hung_up()


def test_after_max_requests_the_worker_stops(serve: Serve, log: Log) -> None:
    server = serve(hello, max_requests=3)
    with WebServer(server) as client:
        for _ in range(3):
            assert client.get().body == b"hello"
        assert client.is_hung_up()
    assert log.wait() == [("info", "served 3 requests (max_requests): a fresh worker takes over")]


def test_stop_after_the_end_does_no_harm(serve: Serve) -> None:
    server = serve(hello)
    assert server.worker
    server.worker.stop()
    until(lambda: server.worker and server.worker._wakeup.writer == -1)
    server.worker.stop()


def test_a_repr_shows_what_goes_on(serve: Serve, gate: Gate) -> None:
    worker = serve(gate, threads=2).worker
    assert repr(worker) == "<ThreadsWorker serving threads=2 connections=0>"
    server = serve(gate)
    with WebServer(server) as client:
        client.ask(PATH_INFO="/wait")
        gate.arrive()
        assert server.worker
        (peer,) = server.worker.peers.values()
        assert repr(peer) == f"<Peer fd={peer.fd} running>"
        gate.open.set()
        client.response()
        until(lambda: repr(peer) == f"<Peer fd={peer.fd} idle>")
