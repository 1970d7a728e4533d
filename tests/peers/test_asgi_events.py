"""Server-Sent Events through nginx: with the documented switch each comes before the next is sent, and only with it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from gateway.testing import serve_in_thread
from tests.peers.frontends.processes import reserved_ports
from tests.peers.frontends.servers import example, nginx_with
from tests.peers.frontends.visitor import Visitor
from tests.serving import PATIENCE, until

UNKEPT = {"fastcgi_keep_conn on;": ""}
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "fastcgi": ("mounted.conf", UNKEPT),
    "fastcgi, unbuffered": ("mounted.conf", UNKEPT | {"# fastcgi_buffering off": "fastcgi_buffering off"}),
    "fastcgi, kept": ("mounted.conf", {}),
    "uwsgi": ("uwsgi.conf", {}),
    "uwsgi, unbuffered": ("uwsgi.conf", {"# uwsgi_buffering off": "uwsgi_buffering off"}),
}
"""Files of examples/nginx, and what is changed in them."""
EVENTS = [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]


class Clock:
    """An application that sends the next event when the test says so, and forbids buffers if it is asked to."""

    def __init__(self) -> None:
        self.sent = 0
        self._ticked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self._loop, self._ticked = asyncio.get_running_loop(), asyncio.Event()
        headers = [(b"content-type", b"text/event-stream")]
        if scope["query_string"] == b"unbuffered":
            headers.append((b"x-accel-buffering", b"no"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "more_body": True})
        for self.sent, event in enumerate(EVENTS, start=1):
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await self._ticked.wait()
            self._ticked.clear()
        await send({"type": "http.response.body"})

    def wait(self, number: int) -> None:
        """Until so many events are sent."""
        until(lambda: self.sent == number)

    def tick(self) -> None:
        """Go on."""
        assert self._loop
        self._loop.call_soon_threadsafe(self._ticked.set)


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def visitors(directory: Path, clock: Clock) -> Iterator[dict[str, Visitor]]:
    """Each way to the clock, through one nginx."""
    with serve_in_thread(clock, protocol="auto", tcp=True) as server, reserved_ports(len(WAYS)) as ports:
        site = ""
        for number, (port, (path, edits)) in enumerate(zip(ports, WAYS.values(), strict=True)):
            own = {"listen 8080": f"listen 127.0.0.1:{port}", "unix:/run/hello.sock": server.address}
            if path == "mounted.conf":
                own |= {"upstream hello": f"upstream hello{number}", "pass hello": f"pass hello{number}"}
            site += example(f"nginx/{path}", own | edits)
        with nginx_with(directory, site, port=ports[0]):
            yield {way: Visitor(port) for way, port in zip(WAYS, ports, strict=True)}


def come_one_by_one(clock: Clock, events: HTTPResponse) -> None:
    """Each event is there before the next is sent."""
    for number, event in enumerate(EVENTS, start=1):
        assert events.read(len(event)) == event
        clock.wait(number)
        clock.tick()


@pytest.mark.parametrize("way", ["fastcgi, unbuffered", "uwsgi, unbuffered", "fastcgi, kept"])
def test_events_come_one_by_one_if_nginx_keeps_no_buffer(
    clock: Clock, visitors: dict[str, Visitor], way: str
) -> None:
    with visitors[way].asking("GET", "/app/") as events:
        come_one_by_one(clock, events)


@pytest.mark.parametrize("way", ["fastcgi", "uwsgi"])
def test_events_come_one_by_one_if_the_application_forbids_the_buffer(
    clock: Clock, visitors: dict[str, Visitor], way: str
) -> None:
    with visitors[way].asking("GET", "/app/?unbuffered") as events:
        come_one_by_one(clock, events)


@pytest.mark.parametrize("way", ["fastcgi", "uwsgi"])
def test_without_the_switch_events_are_held_back(clock: Clock, visitors: dict[str, Visitor], way: str) -> None:
    clock.sent = 0
    with socket.create_connection(("127.0.0.1", visitors[way].port)) as visitor:
        visitor.sendall(b"GET /app/ HTTP/1.0\r\nHost: site.example\r\n\r\n")
        for number in range(1, len(EVENTS) + 1):
            clock.wait(number)
            visitor.settimeout(0.1)
            with pytest.raises(TimeoutError):
                visitor.recv(1)
            clock.tick()
        visitor.settimeout(PATIENCE)
        with visitor.makefile("rb") as answer:
            assert answer.read().endswith(b"\r\n\r\n" + b"".join(EVENTS))
