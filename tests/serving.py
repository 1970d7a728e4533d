"""Workers under test, the web server that talks to them, and the log they write.

The fixtures ``serve`` and ``log`` belong to every test (``tests/conftest.py``).  ``WebServer`` is one connection, which
may also say what no web server says.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import pytest

from gateway.address import connect, parse_connect
from gateway.errors import RemoteProtocolError
from gateway.events import (
    WEB_SERVER,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Event,
    Request,
    RequestBody,
    ResponseBody,
)
from gateway.events import Response as Head
from gateway.protocols import WIRES, connection_class
from gateway.testing import Server, serve_in_process, serve_in_thread
from tests.leftovers import Leftovers

PLAIN = ("Content-Type", "text/plain")
PARAMS = {
    "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "localhost", "SERVER_PORT": "80",
}  # fmt: skip
WORKERS: dict[str, dict[str, Any]] = {
    "threads=1": {},
    "threads=4": {"threads": 4},
    "fork": {"worker_model": "fork"},
    "aio": {"worker_model": "aio"},
}
"""Every kind of worker, as options of a server."""
SPOKEN = [wire for wire in WIRES if wire != "auto"]
"""The wires, but for the one that is any of them."""
PATIENCE = 10.0
"""Seconds until something that should happen is taken not to."""

T = TypeVar("T")


def until(condition: Callable[[], T], *, timeout: float = PATIENCE) -> T:
    """Wait for a condition, and give what it gave; TimeoutError if it never came true."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come true")
        time.sleep(0.002)
    return value


def hello(environ: Any, start_response: Any) -> list[bytes]:
    """The shortest application."""
    start_response("200 OK", [PLAIN, ("Content-Length", "5")])
    return [b"hello"]


def echo(environ: Any, start_response: Any) -> list[bytes]:
    """Gives the body back."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [PLAIN])
    return [body]


class Log:
    """What a server logs, from whatever process: ``(level, message)`` for each line of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)

    def close(self) -> None:
        """Nothing logs any more."""
        self._file.close()

    def _write(self, level: str, msg: str, args: tuple[object, ...]) -> None:
        if not self._file.closed:  # a thread that was given up may go on for a moment after its test
            self._file.write(json.dumps((level, msg % args)).encode() + b"\n")

    def info(self, msg: str, *args: object) -> None:
        self._write("info", msg, args)

    def warning(self, msg: str, *args: object) -> None:
        self._write("warning", msg, args)

    def error(self, msg: str, *args: object) -> None:
        self._write("error", msg, args)

    @property
    def lines(self) -> list[tuple[str, str]]:
        """All there is so far."""
        return [tuple(json.loads(line)) for line in self._path.read_text("utf-8").split("\n")[:-1]]

    def wait(self, *, count: int = 1) -> list[tuple[str, str]]:
        """All lines, once there are as many as that."""
        until(lambda: len(self.lines) >= count)
        return self.lines


class Serve(Protocol):
    """Start a server that ends with the test; ``process`` and the fork model start a child process."""

    def __call__(self, app: Any, *, process: bool = False, **options: Any) -> Server: ...


@pytest.fixture
def log(nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Log]:
    """The log of the servers that this test starts."""
    log = Log(tmp_path / "log")
    yield log
    log.close()


@pytest.fixture
def serve(log: Log) -> Iterator[Serve]:
    """Start servers for one test, and see that nothing is left of them (``nothing_left_over``)."""
    with ExitStack() as servers:

        def start(app: Any, *, process: bool = False, **options: Any) -> Server:
            in_child = process or options.get("worker_model") == "fork"
            serving = serve_in_process if in_child else serve_in_thread
            return servers.enter_context(serving(app, **{"log": log, **options}))

        yield start


class Response(NamedTuple):
    """A whole answer."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    errors: bytes


def whole_request(body: bytes = b"", **params: str) -> list[Event]:
    """The events of a request from its beginning to its end."""
    if body:
        params = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body))} | params
    return [Request(PARAMS | params, 1), *[RequestBody(body, 1)] * bool(body), EndOfRequest(1)]


class WebServer:
    """The other end of a worker: a web server with one connection.

    ``wire`` is what it speaks with a server that takes several; ``options`` are those of the wire.
    """

    def __init__(self, server: Server, *, wire: str = "", **options: Any) -> None:
        address = parse_connect(server.url)
        self.connection = connection_class(wire or address.protocol)(WEB_SERVER, **options)
        self.sock = connect(address, timeout=PATIENCE)
        self._unheard: list[Event] = []

    def __enter__(self) -> WebServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.sock.close()

    def reset(self) -> None:
        """Be gone at once, without a goodbye (TCP)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def encode(self, *events: Event) -> bytes:
        """These events as bytes, for the test to send as it pleases."""
        for event in events:
            self.connection.send(event)
        return b"".join(self.connection.data_to_send())

    def say(self, *events: Event) -> None:
        """Send each event as a web server does."""
        self.sock.sendall(self.encode(*events))

    def begin(self, **params: str) -> None:
        """Send a request as far as its body."""
        self.say(Request(PARAMS | params, 1))

    def ask(self, body: bytes = b"", **params: str) -> None:
        """Send a whole request."""
        self.say(*whole_request(body, **params))

    def get(self, body: bytes = b"", **params: str) -> Response:
        """Send a whole request, and wait for all of the answer."""
        self.ask(body, **params)
        return self.response()

    def hear(self) -> Event:
        """The next event; EOFError if the worker hung up, or broke the response off in a way that all can see."""
        while not self._unheard:
            data = self.sock.recv(65536)
            try:
                if data:
                    self.connection.receive_data(data)
                else:
                    self.connection.receive_eof()
                self._unheard = self.connection.events()
            except RemoteProtocolError as error:
                raise EOFError from error
            if not (data or self._unheard):
                raise EOFError
            if reply := self.encode():  # of the wire itself: the next chunk of a body, say
                self.sock.sendall(reply)
        return self._unheard.pop(0)

    def response(self) -> Response:
        """All of an answer; EOFError if it is cut."""
        head, body, errors = Head("", []), b"", b""
        while not isinstance(event := self.hear(), EndOfResponse):
            if isinstance(event, Head):
                head = event
            elif isinstance(event, ResponseBody):
                body += event.data
            elif isinstance(event, ErrorOutput):
                errors += event.data
        return Response(head.status, head.headers, body, errors)

    def end(self) -> EndOfResponse:
        """How the worker ends a request that it does not answer."""
        event = self.hear()
        assert isinstance(event, EndOfResponse)
        return event

    def is_hung_up(self) -> bool:
        """Wait for the worker to hang up; False if it says something instead."""
        try:
            return not self.sock.recv(1)
        except ConnectionResetError:
            return True

    def is_quiet(self) -> bool:
        """Has the worker said nothing, and not hung up?  It is given a moment."""
        self.sock.settimeout(0.05)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)
        return False
