"""Malformed and hostile requests over real sockets: a clear end, one log line, and nobody else is harmed."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.address import connect, parse_connect
from gateway.events import EndOfRequest, RequestBody
from gateway.limits import Limits
from gateway.protocols import WIRES
from gateway.protocols.ajp_codes import CPING, CPONG, SHUTDOWN
from gateway.protocols.detect import WIRE_OF
from gateway.protocols.fastcgi import ABORT_REQUEST, BEGIN_REQUEST, END_REQUEST, PARAMS, encode_pairs, encode_record
from gateway.testing import Server
from tests.malformed import (
    BEGIN,
    BODY,
    BODY_END,
    HEAD,
    LIMITS,
    MALFORMED,
    NAMES_END,
    OPTIONS,
    RESPONDER_KEPT,
    TLS_HELLO,
    WHOLE,
    Malformed,
    pack,
    params,
)
from tests.serving import PATIENCE, SPOKEN, WORKERS, Log, Serve, WebServer, echo, until

pytestmark = pytest.mark.usefixtures("unmeasured_children")

SPEAKER = {"fastcgi": "FastCGI", "scgi": "SCGI", "uwsgi": "uwsgi", "ajp": "AJP", "http": "HTTP", "auto": "auto"}
"""What begins a wire's complaints."""


# Well-formed FastCGI whose request makes no sense.
REFUSED: dict[str, tuple[bytes, str]] = {
    "a length that is no number": (
        params(("CONTENT_LENGTH", "many")) + BODY + BODY_END, "two different CONTENT_LENGTH: '4' and 'many'",
    ),
    "a length that is negative": (
        BEGIN + encode_record(PARAMS, 1, encode_pairs([("CONTENT_LENGTH", "-4")])) + NAMES_END + BODY_END,
        "CONTENT_LENGTH is '-4', not a number",
    ),
    "two lengths": (
        params(("CONTENT_LENGTH", "5")) + BODY + BODY_END, "two different CONTENT_LENGTH: '4' and '5'",
    ),
    "a body that is too short": (HEAD + BODY_END, "the body has 0 bytes, CONTENT_LENGTH says 4"),
    "a body that is too long": (HEAD + BODY + BODY + BODY_END, "the body has 8 bytes, CONTENT_LENGTH says 4"),
}  # fmt: skip

# What looks odd and is allowed: how the worker answers.
HARMLESS: dict[str, tuple[str, bytes, bytes]] = {
    "an unknown management record": ("fastcgi", encode_record(99, 0), encode_record(11, 0, b"\x63\0\0\0\0\0\0\0")),
    "an unknown role": (
        "fastcgi", encode_record(BEGIN_REQUEST, 7, b"\0\x09\1\0\0\0\0\0"),
        encode_record(END_REQUEST, 7, b"\0\0\0\0\3\0\0\0"),
    ),
    "a second request": (
        "fastcgi", BEGIN + encode_record(BEGIN_REQUEST, 2, RESPONDER_KEPT),
        encode_record(END_REQUEST, 2, b"\0\0\0\0\1\0\0\0"),
    ),
    "an end of an aborted request": (
        "fastcgi", BEGIN + encode_record(ABORT_REQUEST, 1) + NAMES_END, encode_record(END_REQUEST, 1, bytes(8)),
    ),
    "a ping between an empty packet and a shutdown": (
        "ajp", pack(b"") + pack(bytes((SHUTDOWN,))) + pack(bytes((CPING,))), pack(bytes((CPONG,)), magic=b"AB"),
    ),
}  # fmt: skip


def starts(serve: Serve, wire: str, **options: Any) -> Server:
    """Start a server of the application that gives bodies back."""
    return serve(echo, **{"protocol": wire, "tcp": True, "wire_options": OPTIONS.get(wire), **options})


def send(server: Server, data: bytes, *, then_close: bool = True) -> bytes:
    """Send bytes over a connection of their own; what the worker answers until it hangs up."""
    with connect(parse_connect(server.url), timeout=PATIENCE) as sock:
        answer = b""
        try:
            sock.sendall(data)
            if then_close:
                sock.shutdown(socket.SHUT_WR)
            while received := sock.recv(65536):
                answer += received
        except ConnectionError:
            pass  # it hung up before it had read all of that
        return answer


def statuses(wire: str, answer: bytes) -> list[int]:
    """The status of each response in an answer."""
    if wire == "ajp":
        return [int.from_bytes(code, "big") for code in re.findall(rb"AB..\x04(..)", answer, re.DOTALL)]
    return [int(code) for code in re.findall(rb"(?:Status:|HTTP/1.1) (\d+)", answer)]


def assert_refuses(server: Server, log: Log, bad: Malformed) -> None:
    """The request is answered with a status, if it can be, and logged in one line."""
    before = len(log.lines)
    answer = send(server, bad.data, then_close=False)
    assert statuses(bad.wire, answer) == [bad.status] * bool(bad.status)
    ((level, line),) = log.lines[before:]
    assert level == "warning"
    speaker = "PROXY protocol" if bad.name.startswith("PROXY") else SPEAKER[bad.wire]
    assert re.match(rf"127\.0\.0\.1:\d+: {speaker}: ", line)
    assert bad.rule in line
    assert line.endswith(f"at byte {bad.offset})")


def assert_serves(server: Server, wire: str = "fastcgi") -> None:
    """The next request on another connection has its answer."""
    with WebServer(server, wire=wire, **OPTIONS.get(wire, {})) as client:
        assert client.get(b"body").body == b"body"


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("wire", WIRES)
def test_a_broken_rule_ends_the_connection(
    serve: Serve, log: Log, subtests: pytest.Subtests, wire: str, worker: str
) -> None:
    server = starts(serve, wire, limits=LIMITS, **WORKERS[worker])
    for bad in MALFORMED:
        if bad.wire == wire:
            with subtests.test(bad.name):
                assert_refuses(server, log, bad)
                assert_serves(server, "http" if wire == "auto" else wire)


@pytest.mark.parametrize("wire", SPOKEN)
def test_it_does_so_where_the_wire_was_recognised(
    serve: Serve, log: Log, subtests: pytest.Subtests, wire: str
) -> None:
    server = starts(serve, "auto", limits=LIMITS)
    for bad in MALFORMED:
        if bad.wire == wire == WIRE_OF.get(bad.data[0]):
            with subtests.test(bad.name):
                assert_refuses(server, log, bad)
                assert_serves(server, wire)


def test_a_tls_client_is_told_in_its_own_language(serve: Serve) -> None:
    fatal_handshake_failure = b"\x15\x03\x01\0\2\2\x28"
    assert send(starts(serve, "auto"), TLS_HELLO, then_close=False) == fatal_handshake_failure


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_makes_no_sense_is_refused(serve: Serve, log: Log, name: str) -> None:
    data, rule = REFUSED[name]
    server = starts(serve, "fastcgi", limits=LIMITS)
    answer = send(server, data)
    assert statuses("fastcgi", answer) == [400]
    assert b"Traceback" not in answer
    ((level, line),) = log.lines
    assert level == "warning" and rule in line
    assert_serves(server)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_odd_but_allowed_is_answered(serve: Serve, log: Log, name: str) -> None:
    wire, data, answer = HARMLESS[name]
    server = starts(serve, wire)
    with connect(parse_connect(server.url), timeout=PATIENCE) as sock:
        sock.sendall(data)
        assert sock.recv(65536) == answer
    assert_serves(server, wire)


@pytest.mark.parametrize("limits", [Limits(), Limits(body_buffer=1)], ids=["buffered", "streamed"])
@pytest.mark.parametrize("protocol", ["named", "auto"])
@pytest.mark.parametrize("wire", SPOKEN)
def test_a_connection_may_be_cut_at_every_byte(
    serve: Serve, log: Log, wire: str, protocol: str, limits: Limits
) -> None:
    server = starts(serve, wire if protocol == "named" else "auto", tcp=False, limits=limits)
    assert server.worker
    for count in range(1, len(WHOLE[wire])):
        with connect(parse_connect(server.url), timeout=PATIENCE) as sock:
            sock.sendall(WHOLE[wire][:count])
        lines = log.wait(count=count)
        assert len(lines) == count, lines[count - 1 :]
        assert lines[-1][0] in ("info", "warning")
    until(lambda: server.worker and not server.worker.peers)
    assert_serves(server, wire)


@pytest.mark.parametrize("wire", SPOKEN)
def test_a_half_closed_connection_may_be_cut_at_every_byte(serve: Serve, log: Log, wire: str) -> None:
    server = starts(serve, wire, tcp=False)
    for count in range(1, len(WHOLE[wire])):
        send(server, WHOLE[wire][:count])
        assert len(log.wait(count=count)) == count
    assert_serves(server, wire)


@pytest.mark.parametrize("wire", SPOKEN)
def test_any_byte_may_be_wrong(serve: Serve, log: Log, wire: str) -> None:
    server = starts(serve, wire, tcp=False, threads=2, limits=LIMITS)
    whole = WHOLE[wire]
    for index in range(len(whole)):
        for wrong in {0, 1, 0x7F, 0x80, 0xFF} - {whole[index]}:
            send(server, whole[:index] + bytes([wrong]) + whole[index + 1 :])
    assert [line for level, line in log.lines if level == "error"] == []
    assert_serves(server, wire)


def noises(wire: str) -> Iterator[bytes]:
    """What is nearly a request, and what is none."""
    noise, whole = random.Random(1996), WHOLE[wire]
    for _ in range(100):
        yield noise.randbytes(1000)
        yield b"".join(noise.choices([whole[at : at + 8] for at in range(0, len(whole), 8)], k=20))
        yield bytes(noise.choice([byte] * 50 + [noise.randrange(256)]) for byte in whole)
        yield BEGIN + b"".join(
            encode_record(noise.randrange(12), noise.randrange(3), noise.randbytes(noise.randrange(30)))
            for _ in range(20)
        )


@pytest.mark.parametrize("wire", WIRES)
def test_noise_harms_nobody(serve: Serve, log: Log, wire: str) -> None:
    server = starts(serve, wire, tcp=False, limits=LIMITS)
    speaks = "fastcgi" if wire == "auto" else wire
    for data in noises(speaks):
        send(server, data)
    assert [line for level, line in log.lines if level == "error"] == []
    assert_serves(server, speaks)


@pytest.mark.parametrize("wire", ["fastcgi", "ajp", "http"])
def test_a_fault_may_come_after_a_request_that_was_answered(serve: Serve, log: Log, wire: str) -> None:
    server = starts(serve, wire)
    with WebServer(server, **OPTIONS.get(wire, {})) as client:
        assert client.get(b"body").body == b"body"
        client.sock.sendall(b"\xff noise\r\n\r\n")
        while client.sock.recv(1000):
            pass
    ((level, line),) = log.lines
    assert level == "warning" and line.endswith(f"at byte {len(WHOLE[wire])})")
    assert_serves(server, wire)


@pytest.mark.parametrize("wire", SPOKEN)
def test_a_fault_on_one_connection_harms_no_other(serve: Serve, wire: str) -> None:
    server = starts(serve, wire)
    with WebServer(server, **OPTIONS.get(wire, {})) as client:
        client.begin(REQUEST_METHOD="POST", CONTENT_LENGTH="4")
        send(server, b"\xffnoise")
        client.say(RequestBody(b"body", 1), EndOfRequest(1))
        assert client.response().body == b"body"
