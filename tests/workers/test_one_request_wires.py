"""SCGI and uwsgi over real sockets: requests that break a wire's rules, and the end of a connection."""

from __future__ import annotations

import socket
import struct

import pytest

from gateway.address import connect, parse_connect
from gateway.client import Client
from gateway.limits import Limits
from gateway.testing import Server
from tests.serving import PATIENCE, Log, Serve, echo
from tests.wsgi_calls import ask

HEADERS = b"CONTENT_LENGTH\x004\0SCGI\x001\0REQUEST_METHOD\0POST\0PATH_INFO\0/\0"
SCGI = b"%d:%b," % (len(HEADERS), HEADERS)
VARS = b"".join(
    struct.pack(f"<H{len(name)}sH{len(value)}s", len(name), name, len(value), value)
    for name, value in ((b"CONTENT_LENGTH", b"4"), (b"REQUEST_METHOD", b"POST"), (b"PATH_INFO", b"/"))
)
UWSGI = struct.pack("<BHB", 0, len(VARS), 0) + VARS

FAULTS = [
    ("scgi", b"GET / HTTP/1.1\r\n\r\n", b"Status: 400 "),
    ("scgi", b"99999999999999999999:", b"Status: 431 "),
    ("scgi", SCGI[:-1] + b";", b"Status: 400 "),
    ("scgi", SCGI.replace(b"4\0", b"x\0"), b"Status: 400 "),
    ("scgi", SCGI + b"body and more", b"Status: 400 "),
    ("scgi", SCGI[:-5], b"Status: 400 "),
    ("uwsgi", b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    ("uwsgi", b"\5" + UWSGI[1:], b"HTTP/1.1 400 "),
    ("uwsgi", struct.pack("<BHB", 0, 3, 0) + VARS[:3], b"HTTP/1.1 400 "),
    ("uwsgi", UWSGI + b"body and more", b"HTTP/1.1 400 "),
    ("uwsgi", UWSGI[:-1], b"HTTP/1.1 400 "),
]


def converse(server: Server, data: bytes) -> bytes:
    """All that the worker answers to a web server that says this and no more."""
    with connect(parse_connect(server.url), timeout=PATIENCE) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while block := sock.recv(65536):
            answer += block
        return answer


@pytest.mark.parametrize("worker_model", ["threads", "fork"])
@pytest.mark.parametrize(("wire", "data", "answer"), FAULTS)
def test_a_request_that_breaks_the_rules_is_answered_and_logged_once(
    serve: Serve, log: Log, worker_model: str, wire: str, data: bytes, answer: bytes
) -> None:
    server = serve(echo, protocol=wire, worker_model=worker_model)
    assert converse(server, data).startswith(answer)
    assert [level for level, _ in log.lines] == ["warning"]
    with Client(server.url) as client:
        assert ask(client, body=b"the next request", REQUEST_METHOD="POST").body == b"the next request"


@pytest.mark.parametrize(("wire", "head"), [("scgi", SCGI), ("uwsgi", UWSGI)])
def test_a_web_server_that_half_closes_gets_its_answer(serve: Serve, wire: str, head: bytes) -> None:
    assert converse(serve(echo, protocol=wire), head + b"body").endswith(b"\r\n\r\nbody")


@pytest.mark.parametrize(("wire", "head"), [("scgi", SCGI), ("uwsgi", UWSGI)])
def test_a_body_cut_short_is_not_given_to_the_application(serve: Serve, log: Log, wire: str, head: bytes) -> None:
    assert converse(serve(echo, protocol=wire), head + b"bod") == b""
    ((_, message),) = log.lines
    assert message.endswith(": hung up before the body of its request was whole")


@pytest.mark.parametrize(("wire", "head"), [("scgi", SCGI), ("uwsgi", UWSGI)])
def test_a_body_that_is_read_as_it_comes_may_be_cut_short(serve: Serve, log: Log, wire: str, head: bytes) -> None:
    server = serve(echo, protocol=wire, limits=Limits(body_buffer=0))
    assert b" 400 Bad Request\r\n" in converse(server, head + b"bod")
