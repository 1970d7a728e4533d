"""A server for tests of its clients, by any wire: a thread for each connection, and answers as the test wants them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.client import Client
from gateway.events import (
    APPLICATION,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    Event,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.protocols import connection_class

WIRES = ["fastcgi", "scgi", "uwsgi", "ajp", "http"]
KEEPING = ["fastcgi", "ajp", "http"]
"""Those that carry one request after the other on a connection."""
OK = Response("200 OK", [("Content-Type", "text/plain")], 1)
END = EndOfResponse(1)


class Peer:
    """One connection at the upstream: what the client says, and what to say to it."""

    def __init__(self, sock: socket.socket, wire: str) -> None:
        self.sock = sock
        self.connection = connection_class(wire)(APPLICATION)
        self.params: dict[str, str] = {}
        self.go_on = threading.Event()
        """Set by a test when an answer that waits for it may continue."""
        self._unread: list[Event] = []

    def next(self) -> Event:
        """The next event; EOFError when the client has hung up."""
        while not self._unread:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.connection.receive_data(data)
            self._unread = self.connection.events()
            self.write(b"".join(self.connection.data_to_send()))
        return self._unread.pop(0)

    def block(self) -> bytes:
        """The next of the request's body; b"" at its end."""
        if not self._unread:
            self.say(BodyWanted(65536, 1))  # to some wires this means something
        event = self.next()
        assert isinstance(event, (RequestBody, EndOfRequest))
        return event.data if isinstance(event, RequestBody) else b""

    def body(self) -> bytes:
        """The rest of it."""
        return b"".join(iter(self.block, b""))

    def say(self, *events: Event) -> None:
        """Send each of them."""
        for event in events:
            self.connection.send(event)
            self.write(b"".join(self.connection.data_to_send()))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if data:  # not even nothing can be sent to a client that has hung up
            self.sock.sendall(data)


Answer = Callable[[Peer], object]


def hello(peer: Peer) -> None:
    """Read the request, and greet."""
    peer.body()
    peer.say(OK, *[ResponseBody(b"hello", 1)] * (peer.params.get("REQUEST_METHOD") != "HEAD"), END)


def echo(peer: Peer) -> None:
    """Read the request, and give its body back."""
    body = peer.body()
    peer.say(OK, ResponseBody(body, 1), END)


def hang_up(peer: Peer) -> None:
    """Read the params, and go."""
    raise EOFError


def wait(peer: Peer) -> None:
    """Read the request, and do nothing until the client hangs up."""
    while peer.next():
        pass


def respond(response: Response, body: bytes = b"") -> Answer:
    """Read the request, and give this response."""

    def answer(peer: Peer) -> None:
        peer.body()
        peer.say(response, ResponseBody(body, 1), END)

    return answer


class Upstream:
    """The server; ``answer(peer)`` is called for each request."""

    def __init__(self, path: Path, answer: Answer, wire: str) -> None:
        self.url = f"{wire}://{path}"
        self.wire = wire
        self.answer = answer
        self.peers: list[Peer] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._start(self._accept)

    @property
    def params(self) -> dict[str, str]:
        """Those of the last request on the last connection."""
        return self.peers[-1].params

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # stop() shut it down
                return
            self.peers.append(Peer(sock, self.wire))
            self._start(self._serve, self.peers[-1])

    def _serve(self, peer: Peer) -> None:
        with peer.sock:
            try:
                going_on = True
                while going_on:
                    event = peer.next()
                    if isinstance(event, Request):
                        peer.params = event.params
                        self.answer(peer)
                        going_on = peer.connection.reusable
            except (EOFError, ConnectionError):
                pass

    def join(self, *, connections: int = 1) -> None:
        """Wait until so many connections have come, and all have ended."""
        deadline = time.monotonic() + 5
        while len(self._threads) <= connections or any(thread.is_alive() for thread in self._threads[1:]):
            assert time.monotonic() < deadline, "the connections did not end in 5 s"
            time.sleep(0.005)

    def stop(self) -> None:
        """Accept no more; then as :meth:`join`."""
        if self._threads[0].is_alive():
            self._listener.shutdown(socket.SHUT_RDWR)
            self._threads[0].join(5)
            self._listener.close()
        self.join(connections=0)


class Upstreams:
    """Those of one test, with a client for each."""

    def __init__(self, folder: Path, wire: str = "fastcgi") -> None:
        self._folder = folder
        self.wire = wire
        self._started: list[tuple[Client, Upstream]] = []

    def __call__(self, answer: Answer = hello, **options: Any) -> tuple[Client, Upstream]:
        """Start another one; the options are the client's."""
        upstream = Upstream(self._folder / f"{len(self._started)}.sock", answer, self.wire)
        self._started.append((Client(upstream.url, **options), upstream))
        return self._started[-1]

    def __enter__(self) -> Upstreams:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for client, upstream in self._started:
            client.close()
            upstream.stop()
