"""The limits of the persistent worker: times, numbers, and who may connect; with a clock that runs fast."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.events import RequestBody
from gateway.limits import Limits
from gateway.workers import threads as threads_module
from tests.serving import PATIENCE, PLAIN, Log, Serve, WebServer, hello, until, whole_request

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "_TICK", 0.02)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets the application of :func:`stuck_until` go on; at the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


def stuck_until(release: threading.Event) -> Any:
    """The application that is stuck at ``/stuck``."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/stuck":
            waits_for_something(release)
        return hello(environ, start_response)

    return app


def waits_for_something(release: threading.Event) -> None:
    release.wait(PATIENCE)


# Time.


@pytest.mark.parametrize("part", [slice(10), slice(-10)])
def test_a_request_that_stands_still_is_ended(serve: Serve, log: Log, part: slice) -> None:
    with WebServer(serve(hello, limits=Limits(receive_timeout=0.05))) as client:
        client.sock.sendall(client.encode(*whole_request())[part])
        assert client.is_hung_up()
    ((level, line),) = log.lines
    assert level == "warning" and "0.05 silent seconds (receive_timeout)" in line


def test_a_request_that_moves_is_not_ended(serve: Serve) -> None:
    with WebServer(serve(hello, limits=Limits(receive_timeout=0.2))) as client:
        for byte in client.encode(*whole_request()):
            client.sock.sendall(bytes([byte]))
            time.sleep(0.002)
        assert client.response().body == b"hello"


def test_a_streamed_body_that_stands_still_raises(serve: Serve, log: Log) -> None:
    limits = Limits(receive_timeout=0.05, body_buffer=2)

    def reads(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        return hello(environ, start_response)

    with WebServer(serve(reads, limits=limits)) as client:
        client.begin(REQUEST_METHOD="POST")
        client.say(RequestBody(b"beginning", 1))
        assert client.response().status == "400 Bad Request"
        assert client.is_hung_up()
    ((level, line),) = log.lines
    assert level == "info" and "since 0.05 seconds" in line


def test_a_response_that_nobody_takes_is_ended(serve: Serve, log: Log) -> None:
    closed = threading.Event()

    class Endless:
        def __init__(self, environ: Any, start_response: Any) -> None:
            start_response("200 OK", [PLAIN])

        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x" * MIB

        def close(self) -> None:
            closed.set()

    server = serve(Endless, limits=Limits(send_timeout=0.05))
    with WebServer(server) as client:
        client.ask()
        assert closed.wait(PATIENCE)
        ((level, line),) = log.wait()
    assert level == "info" and "since 0.05 seconds" in line


def test_a_slow_reader_gets_all_of_it(serve: Serve) -> None:
    pieces = [os.urandom(size) for size in (1, 100, 65528, 65536, 3 * MIB, 7, 700_000)]

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [PLAIN])
        return pieces

    with WebServer(serve(app)) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.ask()
        time.sleep(0.05)  # by now the socket is full
        assert client.response().body == b"".join(pieces)


def test_an_idle_connection_is_closed_after_keepalive_timeout(serve: Serve, log: Log) -> None:
    with WebServer(serve(hello, limits=Limits(keepalive_timeout=0.05))) as client:
        assert client.get().body == b"hello"
        assert client.is_hung_up()
    assert log.lines == []


def test_a_peer_that_goes_on_after_a_refusal_is_cut_off(serve: Serve) -> None:
    server = serve(hello, limits=Limits(body_size=10, linger_timeout=0.1))
    with WebServer(server) as client:
        client.begin(REQUEST_METHOD="POST")
        with pytest.raises(OSError):
            while True:
                client.say(RequestBody(b"x" * 65528, 1))
        assert server.worker
        until(lambda: server.worker and not server.worker.peers)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_request_that_runs_too_long_is_cut_and_the_worker_stops(
    serve: Serve, log: Log, release: threading.Event, threads: int
) -> None:
    server = serve(stuck_until(release), threads=threads, limits=Limits(request_timeout=0.1))
    with WebServer(server) as client:
        client.ask(PATH_INFO="/stuck")
        assert client.is_hung_up()
    (level, line), *_ = log.wait()
    assert level == "error" and "runs longer than request_timeout=0.1" in line
    assert "in waits_for_something" in line
    assert server.worker
    until(lambda: server.worker and server.worker._wakeup.writer == -1)


def test_one_stuck_request_harms_no_other(serve: Serve, release: threading.Event) -> None:
    later = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        (release if environ["PATH_INFO"] == "/stuck" else later).wait(PATIENCE)
        return hello(environ, start_response)

    server = serve(app, threads=2, limits=Limits(request_timeout=0.6))
    with WebServer(server) as stuck, WebServer(server) as other:
        stuck.ask(PATH_INFO="/stuck")
        time.sleep(0.25)
        other.ask()
        assert stuck.is_hung_up()
        later.set()
        assert other.response().body == b"hello"


# Numbers.


def test_more_connections_than_the_limit_wait(serve: Serve) -> None:
    server = serve(hello, limits=Limits(connections=2))
    with WebServer(server) as one, WebServer(server) as two:
        assert one.get().body == two.get().body == b"hello"
        with WebServer(server) as three:
            three.ask()
            assert three.is_quiet()
            one.close()
            assert three.response().body == b"hello"


def test_without_descriptors_new_connections_wait(serve: Serve, log: Log) -> None:
    def limit(environ: Any, start_response: Any) -> list[bytes]:
        number = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if environ["PATH_INFO"] == "/none":
            number = os.dup(0)  # the lowest that is free
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return hello(environ, start_response)

    server = serve(limit, process=True)
    with WebServer(server) as one:
        one.get(PATH_INFO="/none")
        with WebServer(server) as two:
            two.ask()
            (level, line), *_ = log.wait()
            assert level == "error" and "cannot accept connections: Too many open files" in line
            assert two.is_quiet()
            one.get(PATH_INFO="/all")
            assert two.response().body == b"hello"


# Who may connect.


def test_a_peer_on_the_list_is_served(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FCGI_WEB_SERVER_ADDRS", "192.0.2.1,127.0.0.1")
    with WebServer(serve(hello, tcp=True)) as client:
        assert client.get().body == b"hello"


def test_a_peer_that_is_not_on_the_list_is_refused(serve: Serve, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FCGI_WEB_SERVER_ADDRS", "192.0.2.1")
    with WebServer(serve(hello, tcp=True)) as client:
        assert client.is_hung_up()
    ((level, line),) = log.lines
    assert level == "warning" and "refused a connection from 127.0.0.1:" in line and "FCGI_WEB_SERVER_ADDRS" in line


def test_a_peer_that_queues_when_the_worker_stops_is_refused_as_well(
    serve: Serve, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FCGI_WEB_SERVER_ADDRS", "192.0.2.1")
    monkeypatch.setattr(threads_module.ThreadsWorker, "_accept", lambda worker, listener: time.sleep(0.002))
    server = serve(hello, tcp=True)
    with WebServer(server) as client:
        assert server.worker
        server.worker.stop()
        assert client.is_hung_up()
    assert [level for level, line in log.lines] == ["warning"]
