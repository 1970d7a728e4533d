"""One connection of a worker: what becomes of bodies, and of requests that are given up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.errors import RequestAborted
from gateway.events import WEB_SERVER, AbortRequest, EndOfRequest, RequestBody, ResponseBody
from gateway.events import Response as Head
from gateway.limits import Limits
from gateway.protocols.fastcgi import END_REQUEST, STDIN, STDOUT, Connection, encode_record
from tests.serving import PATIENCE, PLAIN, Log, Serve, WebServer, echo, hello, until

MIB = 1024 * 1024


class Endless:
    """An application whose response has no end, and which knows when it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Endless:
        start_response("200 OK", [PLAIN])
        return self

    def __iter__(self) -> Iterator[bytes]:
        while not self.closed.wait(0.002):
            yield b"block"

    def close(self) -> None:
        self.closed.set()


# Bodies.


def kind_of_body(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [PLAIN])
    return [type(environ["wsgi.input"]).__name__.encode()]


def test_a_small_body_stays_in_memory(serve: Serve) -> None:
    with WebServer(serve(kind_of_body, limits=Limits(body_memory=10))) as client:
        assert client.get(b"x" * 10).body == b"BytesIO"


def test_a_body_beyond_body_memory_goes_to_a_file(serve: Serve) -> None:
    with WebServer(serve(kind_of_body, limits=Limits(body_memory=10))) as client:
        assert client.get(b"x" * 11).body == b"BufferedRandom"


def test_a_body_in_a_file_is_read_whole(serve: Serve) -> None:
    body = bytes(range(256)) * 1000
    with WebServer(serve(echo, limits=Limits(body_memory=10))) as client:
        assert client.get(body).body == body


def test_a_body_beyond_body_buffer_is_read_while_it_comes(serve: Serve) -> None:
    def first_half(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [PLAIN])
        yield environ["wsgi.input"].read(3)
        yield environ["wsgi.input"].read()

    with WebServer(serve(first_half, limits=Limits(body_buffer=2))) as client:
        client.begin(REQUEST_METHOD="POST", CONTENT_LENGTH="6")
        client.say(RequestBody(b"one", 1))
        assert isinstance(client.hear(), Head)
        assert client.hear() == ResponseBody(b"one", 1)
        client.say(RequestBody(b"two", 1), EndOfRequest(1))
        assert client.response().body == b"two"
        assert client.get(b"").status == "200 OK"  # it was read whole, so the connection is kept


def test_a_streamed_body_that_is_not_read_stays_with_the_web_server(serve: Serve) -> None:
    endless = Endless()
    with WebServer(serve(endless, limits=Limits(body_buffer=10))) as client:
        client.begin(REQUEST_METHOD="POST")
        client.sock.settimeout(0.1)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 64 * MIB:
                sent += client.sock.send(encode_record(STDIN, 1, b"x" * 65528))
        assert sent < 4 * MIB


def test_an_answer_before_the_end_of_the_body_arrives(serve: Serve) -> None:
    with WebServer(serve(hello, tcp=True, limits=Limits(body_buffer=10))) as client:
        client.begin(REQUEST_METHOD="POST")
        for _ in range(100):  # much more than the worker reads before it answers
            client.say(RequestBody(b"x" * 65528, 1))
        assert client.response().body == b"hello"
        assert client.is_hung_up()


def test_a_body_beyond_body_size_is_refused_and_the_answer_arrives(serve: Serve, log: Log) -> None:
    with WebServer(serve(hello, tcp=True, limits=Limits(body_size=1000))) as client:
        client.begin(REQUEST_METHOD="POST")
        for _ in range(100):
            client.say(RequestBody(b"x" * 65528, 1))
        assert client.response().status == "413 Content Too Large"
        assert client.is_hung_up()
    ((level, line),) = log.wait()
    assert level == "warning" and "body_size=1000" in line


def test_a_body_that_cannot_be_kept_is_answered_with_507(
    serve: Serve, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: open("/dev/full", "wb", buffering=0))
    with WebServer(serve(hello, limits=Limits(body_memory=10))) as client:
        assert client.get(b"x" * 1000).status == "507 Insufficient Storage"
    ((level, line),) = log.wait()
    assert level == "error" and "No space left on device; look at the disk that TMPDIR is on" in line


# Requests that are given up.


def test_a_request_taken_back_before_it_is_whole_is_ended(serve: Serve, log: Log) -> None:
    with WebServer(serve(hello)) as client:
        client.begin()
        client.say(AbortRequest(1))
        end = encode_record(STDOUT, 1) + encode_record(END_REQUEST, 1, b"\0\0\0\x01\0\0\0\0")
        assert client.sock.recv(100) == end
        client.connection = Connection(WEB_SERVER)
        assert client.get().body == b"hello"
    ((level, line),) = log.wait()
    assert level == "info" and "took its request back" in line


def test_a_request_taken_back_ends_the_response(serve: Serve, log: Log) -> None:
    endless = Endless()
    with WebServer(serve(endless)) as client:
        client.ask()
        client.hear()
        client.say(AbortRequest(1))
        assert endless.closed.wait(PATIENCE)
        with pytest.raises(EOFError):
            client.response()
    ((level, line),) = log.wait()
    assert level == "info" and "gave the request up" in line


def test_a_connection_lost_in_the_response_ends_it(serve: Serve, log: Log) -> None:
    endless = Endless()
    with WebServer(serve(endless)) as client:
        client.ask()
        client.hear()
    assert endless.closed.wait(PATIENCE)
    ((level, line),) = log.wait()
    assert level == "info" and "closed the connection" in line


@pytest.mark.parametrize(
    "lose",
    [lambda client: client.say(AbortRequest(1)), WebServer.close, WebServer.reset],
    ids=["abort", "close", "reset"],
)
def test_reading_a_body_that_was_given_up_raises(serve: Serve, lose: Callable[[WebServer], None]) -> None:
    reading = threading.Event()
    caught: list[BaseException] = []

    def reads(environ: Any, start_response: Any) -> Any:
        reading.set()
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            caught.append(error)
            raise

    with WebServer(serve(reads, tcp=True, limits=Limits(body_buffer=2))) as client:
        client.begin(REQUEST_METHOD="POST")
        client.say(RequestBody(b"beginning", 1))
        assert reading.wait(PATIENCE)
        lose(client)
        until(lambda: caught)
    assert isinstance(caught[0], RequestAborted)


def test_a_malformed_byte_in_a_streamed_body_ends_the_request(serve: Serve, log: Log) -> None:
    reading = threading.Event()

    def reads(environ: Any, start_response: Any) -> list[bytes]:
        reading.set()
        return echo(environ, start_response)

    with WebServer(serve(reads, limits=Limits(body_buffer=2))) as client:
        client.begin(REQUEST_METHOD="POST")
        client.say(RequestBody(b"beginning", 1))
        assert reading.wait(PATIENCE)
        client.sock.sendall(b"not FastCGI")
        assert client.response().status == "400 Bad Request"
        assert client.is_hung_up()
    assert [line for level, line in log.lines if level == "warning" and "record version is 110" in line]


def test_a_connection_that_is_reset_is_worth_one_line(serve: Serve, log: Log) -> None:
    with WebServer(serve(hello, tcp=True)) as client:
        client.begin()
        client.reset()
    ((level, line),) = log.wait()
    assert level == "info" and "Connection reset by peer" in line


# The end of a response.


class Lingerer:
    """An application that gives its one block at once, and lives on until it is told not to."""

    def __init__(self, block: bytes, *, error: Exception | None = None) -> None:
        self.block, self.error = block, error
        self.leave = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [PLAIN, ("Content-Length", "5")])
        yield self.block
        assert self.leave.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        yield b""


def test_a_response_ends_with_its_last_byte_though_the_application_lives_on(serve: Serve) -> None:
    app = Lingerer(b"hello")
    with WebServer(serve(app)) as client:
        assert client.get().body == b"hello"
        app.leave.set()


def test_the_next_request_waits_until_the_application_is_done(serve: Serve) -> None:
    app = Lingerer(b"hello")
    with WebServer(serve(app)) as client:
        assert client.get().body == b"hello"
        client.ask()
        assert client.is_quiet()
        app.leave.set()
        assert client.response().body == b"hello"


def test_an_application_that_fails_after_its_last_byte_is_logged_and_the_connection_kept(
    serve: Serve, log: Log
) -> None:
    app = Lingerer(b"hello", error=RuntimeError("too late"))
    app.leave.set()
    with WebServer(serve(app)) as client:
        for _ in range(2):
            assert client.get().body == b"hello"
    lines = log.wait(count=2)
    assert all(level == "error" and "RuntimeError: too late" in line for level, line in lines)


def test_what_follows_the_last_byte_is_cut_off_and_logged(serve: Serve, log: Log) -> None:
    def chatty(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [PLAIN, ("Content-Length", "5")])
        yield b"hello"
        yield b", world"

    with WebServer(serve(chatty)) as client:
        assert client.get().body == b"hello"
        assert client.get().body == b"hello"
    assert log.wait(count=2) == [
        ("error", "the application sent 7 bytes beyond its Content-Length; they were cut off")
    ] * 2
