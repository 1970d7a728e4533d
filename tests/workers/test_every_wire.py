"""Workers on every wire: requests that come slowly, in part or too large, and applications that fail or never end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.events import EndOfResponse, ErrorOutput, RequestBody
from gateway.limits import Limits
from gateway.testing.applications import BIG, PLAIN, breaks_off, fails_at_first, gives, raises, returns
from gateway.testing.asgi_applications import as_asgi
from gateway.workers import threads as threads_module
from tests.serving import PATIENCE, SPOKEN, WORKERS, Log, Serve, WebServer, echo, hello, whole_request

pytestmark = pytest.mark.usefixtures("unmeasured_children")

ON_EVERY_WIRE = pytest.mark.parametrize("wire", SPOKEN)
BY_EVERY_WORKER = pytest.mark.parametrize("worker", WORKERS)


@pytest.fixture(autouse=True)
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers look at their clock as often as these tests need it."""
    monkeypatch.setattr(threads_module, "_TICK", 0.02)


def only_at(path: str, app: Any) -> Any:
    """The application at a path; elsewhere, one that says hello."""
    return lambda environ, start_response: (app if environ["PATH_INFO"] == path else hello)(environ, start_response)


class Endless:
    """The application whose response has no end; it knows when it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Endless:
        start_response("200 OK", [PLAIN])
        return self

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield BIG

    def close(self) -> None:
        self.closed.set()


# How a request comes.


@ON_EVERY_WIRE
@BY_EVERY_WORKER
def test_a_request_may_come_byte_by_byte(serve: Serve, wire: str, worker: str) -> None:
    with WebServer(serve(echo, protocol=wire, **WORKERS[worker])) as client:
        for byte in client.encode(*whole_request(b"body")):
            client.sock.sendall(bytes([byte]))
        assert client.response().body == b"body"


@ON_EVERY_WIRE
def test_slow_clients_hold_no_thread(serve: Serve, wire: str) -> None:
    server = serve(hello, protocol=wire)
    with ExitStack() as clients:
        for count in range(1, 120, 10):
            slow = clients.enter_context(WebServer(server))
            slow.sock.sendall(slow.encode(*whole_request(b"x" * 100))[:count])
        assert clients.enter_context(WebServer(server)).get().body == b"hello"


@ON_EVERY_WIRE
@BY_EVERY_WORKER
def test_a_request_that_stands_still_is_ended(serve: Serve, log: Log, wire: str, worker: str) -> None:
    server = serve(hello, protocol=wire, limits=Limits(receive_timeout=0.05), **WORKERS[worker])
    with WebServer(server) as client:
        client.sock.sendall(client.encode(*whole_request(b"body"))[:20])
        assert client.is_hung_up()
    ((level, line),) = log.lines
    assert level == "warning" and "0.05 silent seconds (receive_timeout)" in line
    with WebServer(server) as client:
        assert client.get().body == b"hello"


def test_who_does_not_say_what_it_speaks_is_ended(serve: Serve, log: Log) -> None:
    with WebServer(serve(hello, protocol="auto", limits=Limits(receive_timeout=0.05)), wire="http") as client:
        client.sock.sendall(b"PROX")
        assert client.is_hung_up()
    ((level, line),) = log.lines
    assert level == "warning" and "0.05 silent seconds (receive_timeout)" in line


@ON_EVERY_WIRE
@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
@pytest.mark.parametrize(
    ("app", "worker"),
    [*((echo, worker) for worker in WORKERS), (as_asgi(echo), "aio"), (as_asgi(echo), "fork")],
    ids=[*(f"wsgi-{worker}" for worker in WORKERS), "asgi-aio", "asgi-fork"],
)
def test_a_web_server_that_half_closes_gets_its_answer(
    serve: Serve, wire: str, tcp: bool, app: Any, worker: str  # noqa: FBT001
) -> None:
    with WebServer(serve(app, protocol=wire, tcp=tcp, **WORKERS[worker])) as client:
        client.ask(b"body")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.response().body == b"body"


@ON_EVERY_WIRE
@BY_EVERY_WORKER
def test_a_body_cut_short_is_not_given_to_the_application(
    serve: Serve, log: Log, wire: str, worker: str
) -> None:
    with WebServer(serve(echo, protocol=wire, **WORKERS[worker])) as client:
        client.begin(REQUEST_METHOD="POST", CONTENT_LENGTH="9")
        client.say(RequestBody(b"body", 1))
        client.sock.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            client.response()
    ((level, line),) = log.lines
    assert level == "info" and line.endswith(": hung up before the body of its request was whole")


@ON_EVERY_WIRE
@BY_EVERY_WORKER
def test_a_body_that_is_read_as_it_comes_may_be_cut_short(
    serve: Serve, log: Log, wire: str, worker: str
) -> None:
    with WebServer(serve(echo, protocol=wire, limits=Limits(body_buffer=0), **WORKERS[worker])) as client:
        client.begin(REQUEST_METHOD="POST", CONTENT_LENGTH="9")
        client.say(RequestBody(b"body", 1))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.response().status == "400 Bad Request"
    assert len(log.lines) == 1


@ON_EVERY_WIRE
@BY_EVERY_WORKER
def test_a_body_beyond_the_limit_is_refused(serve: Serve, log: Log, wire: str, worker: str) -> None:
    server = serve(echo, protocol=wire, limits=Limits(body_size=3), **WORKERS[worker])
    with WebServer(server) as client:
        assert client.get(b"body").status == "413 Content Too Large"
    ((level, line),) = log.lines
    assert level == "warning" and "longer than limit body_size=3" in line
    with WebServer(server) as client:
        assert client.get(b"abc").body == b"abc"


@ON_EVERY_WIRE
def test_a_connection_is_kept_where_the_wire_allows_it(serve: Serve, wire: str) -> None:
    with WebServer(serve(echo, protocol=wire)) as client:
        keeps = client.connection.reusable
        assert client.get(b"one").body == b"one"
        if keeps:
            assert client.get(b"two").body == b"two"
        else:
            assert client.is_hung_up()


# How a response is taken.


@ON_EVERY_WIRE
def test_a_slow_reader_gets_all_of_it(serve: Serve, wire: str) -> None:
    with WebServer(serve(gives(BIG), protocol=wire)) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.ask()
        assert client.response().body == BIG


@ON_EVERY_WIRE
def test_a_response_that_nobody_takes_is_ended(serve: Serve, log: Log, wire: str) -> None:
    endless = Endless()
    server = serve(only_at("/endless", endless), protocol=wire, limits=Limits(send_timeout=0.05))
    with WebServer(server) as client:
        client.ask(PATH_INFO="/endless")
        assert endless.closed.wait(PATIENCE)
        ((level, line),) = log.wait()
    assert level == "info" and "since 0.05 seconds" in line
    with WebServer(server) as client:
        assert client.get().body == b"hello"


@ON_EVERY_WIRE
def test_a_response_that_is_no_longer_wanted_is_ended(serve: Serve, log: Log, wire: str) -> None:
    endless = Endless()
    server = serve(only_at("/endless", endless), protocol=wire)
    with WebServer(server) as client:
        client.ask(PATH_INFO="/endless")
        client.hear()
    assert endless.closed.wait(PATIENCE)
    ((level, _),) = log.wait()
    assert level == "info"
    with WebServer(server) as client:
        assert client.get().body == b"hello"


# What comes out of the application.

FAULTS: dict[str, tuple[Any, str]] = {
    "it raises": (raises(LookupError("a secret")), "LookupError: a secret"),
    "it raises after its head": (fails_at_first, "IndexError: list index out of range"),
    "it raises in its body": (breaks_off, "LookupError: a secret"),
    "it returns text": (returns("text"), "the application returned str, not an iterable of bytes (PEP 3333)"),
    "it gives a block of text": (returns(["text"]), "the application gave a block of type str, not bytes (PEP 3333)"),
    "it writes too much": (
        gives(b"12345", headers=(PLAIN, ("Content-Length", "3"))), "sent 2 bytes beyond its Content-Length",
    ),
    "it writes too little": (
        gives(b"123", headers=(PLAIN, ("Content-Length", "5"))), "sent 2 bytes less than its Content-Length",
    ),
}  # fmt: skip


@ON_EVERY_WIRE
@BY_EVERY_WORKER
def test_a_fault_of_the_application_is_told_once(
    serve: Serve, log: Log, subtests: pytest.Subtests, wire: str, worker: str
) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        name = environ["HTTP_X_FAULT"]
        return (FAULTS[name][0] if name else hello)(environ, start_response)

    server = serve(app, protocol=wire, **WORKERS[worker])
    for name, (_, message) in FAULTS.items():
        with subtests.test(name):
            before = len(log.lines)
            with WebServer(server) as client:
                client.ask(HTTP_X_FAULT=name)
                errors = errors_until_the_end(client)
            ((level, line),) = log.lines[before:]
            assert (level, line.count(message)) == ("error", 1)
            assert errors.count(message) in (0, 1)  # 1 on a wire that tells the web server as well
            with WebServer(server) as client:
                assert client.get(HTTP_X_FAULT="").body == b"hello"


def errors_until_the_end(client: WebServer) -> str:
    """What comes for the web server's error log, until the response ends or breaks off."""
    errors = b""
    try:
        while not isinstance(event := client.hear(), EndOfResponse):
            if isinstance(event, ErrorOutput):
                errors += event.data
    except EOFError:
        pass  # that is one way to end it
    return errors.decode()


@ON_EVERY_WIRE
@BY_EVERY_WORKER
def test_a_request_that_runs_too_long_is_cut(serve: Serve, log: Log, wire: str, worker: str) -> None:
    release = threading.Event()

    def stuck(environ: Any, start_response: Any) -> list[bytes]:
        release.wait(PATIENCE)
        return hello(environ, start_response)

    server = serve(stuck, protocol=wire, limits=Limits(request_timeout=0.1), **WORKERS[worker])
    with WebServer(server) as client:
        client.ask()
        assert client.is_hung_up()
    (level, line), *_ = log.wait()
    assert level == "error" and "longer than request_timeout=0.1 seconds" in line
    release.set()
