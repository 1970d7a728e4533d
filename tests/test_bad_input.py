"""Malformed and hostile FastCGI over a real socket: a clear end, one log line, and nobody else is harmed."""

from __future__ import annotations

import random
import re
import socket

import pytest

from gateway.address import connect, parse_connect
from gateway.events import EndOfRequest, RequestBody
from gateway.limits import Limits
from gateway.protocols.fastcgi import (
    ABORT_REQUEST,
    BEGIN_REQUEST,
    DATA,
    END_REQUEST,
    GET_VALUES,
    PARAMS,
    STDIN,
    STDOUT,
    encode_pairs,
    encode_record,
)
from gateway.testing import Server
from tests.serving import PARAMS as REQUEST
from tests.serving import PATIENCE, Log, Serve, WebServer, echo, until

LIMITS = Limits(params_size=2000, params_count=20)
RESPONDER_KEPT = b"\0\1\1\0\0\0\0\0"

# A whole request, record by record.
BEGIN = encode_record(BEGIN_REQUEST, 1, RESPONDER_KEPT)
NAMES = encode_record(PARAMS, 1, encode_pairs((REQUEST | {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4"}).items()))
NAMES_END = encode_record(PARAMS, 1)
BODY = encode_record(STDIN, 1, b"body")
BODY_END = encode_record(STDIN, 1)
WHOLE = BEGIN + NAMES + NAMES_END + BODY + BODY_END


def names(*pairs: tuple[str, str]) -> bytes:
    """The beginning of a request with these params in addition."""
    return BEGIN + NAMES + encode_record(PARAMS, 1, encode_pairs(pairs)) + NAMES_END


def stretched(record: bytes, by: int) -> bytes:
    """A record that claims a longer content than it has."""
    return record[:4] + (int.from_bytes(record[4:6], "big") + by).to_bytes(2, "big") + record[6:]


# What is sent; the rule that the log names, and where; the status that the peer is told, if it waits for one.
MALFORMED: dict[str, tuple[bytes, str, int, bytes]] = {
    "another protocol": (b"GET / HTTP/1.1\r\n\r\n", "record version is 71, not 1 (§3.3)", 0, b""),
    "a single wrong byte": (b"\2", "record version is 2, not 1 (§3.3)", 0, b""),
    "a version to come": (BEGIN + b"\2" + NAMES[1:], "record version is 2, not 1 (§3.3)", 16, b"400"),
    "a record that claims too much": (
        BEGIN + NAMES + NAMES_END + stretched(BODY, 8) + BODY_END * 2 + b"rest",
        "record version is 114, not 1 (§3.3)", len(BEGIN + NAMES + NAMES_END + BODY + BODY_END * 2), b"400",
    ),
    "an unknown type": (
        BEGIN + encode_record(99, 1), "record type 99 for request 1 is not for the APPLICATION side", 16, b"400",
    ),
    "a record of the other side": (
        BEGIN + encode_record(STDOUT, 1, b"x"), "record type STDOUT for request 1 is not for the APPLICATION side", 16,
        b"400",
    ),
    "an end of the other side": (
        encode_record(END_REQUEST, 1, bytes(8)), "record type END_REQUEST for request 1 is not for the", 0, b"",
    ),
    "a short BEGIN_REQUEST": (encode_record(BEGIN_REQUEST, 1, b"\0\1"), "BEGIN_REQUEST has 2 bytes, not 8", 0, b""),
    "a request with the id 0": (encode_record(BEGIN_REQUEST, 0, RESPONDER_KEPT), "request id 0", 0, b""),
    "a request begun twice": (BEGIN + BEGIN, "request id 1, which is in use", 16, b"400"),
    "a body before its params": (BEGIN + BODY, "STDIN for request 1, which expects PARAMS", 16, b"400"),
    "params after their end": (
        BEGIN + NAMES + NAMES_END + NAMES, "PARAMS for request 1, which expects STDIN", len(BEGIN + NAMES + NAMES_END),
        b"400",
    ),
    "a file that nobody asked for": (
        BEGIN + NAMES + NAMES_END + encode_record(DATA, 1, b"x"), "DATA for request 1, which expects STDIN",
        len(BEGIN + NAMES + NAMES_END), b"400",
    ),
    "a name longer than its block": (
        BEGIN + encode_record(PARAMS, 1, b"\x0a\x01NAME") + NAMES_END, "claims more than its block of 6 bytes has",
        32, b"400",
    ),
    "a value of two gigabytes": (
        BEGIN + encode_record(PARAMS, 1, b"\x04\xff\xff\xff\xffNAME") + NAMES_END, "claims more than its block", 40,
        b"400",
    ),
    "a block that ends in a length": (
        BEGIN + encode_record(PARAMS, 1, b"\x04\xff\xff") + NAMES_END, "claims more than its block", 32, b"400",
    ),
    "params without end": (
        BEGIN + encode_record(PARAMS, 1, encode_pairs([("A", "x" * 994)])) * 5, "limit params_size=2000 exceeded",
        16 + 2 * 1008, b"431",
    ),
    "too many params": (
        names(*[("A", "x")] * 20), "limit params_count=20 exceeded", len(names(*[("A", "x")] * 20)) - 8, b"431",
    ),
    "a question without sense": (encode_record(GET_VALUES, 0, b"\x0a\x00A"), "claims more than its block", 0, b""),
}  # fmt: skip

# Well-formed records whose request makes no sense.
REFUSED: dict[str, tuple[bytes, str, bytes]] = {
    "a length that is no number": (
        names(("CONTENT_LENGTH", "many")) + BODY + BODY_END, "two different CONTENT_LENGTH: '4' and 'many'", b"400",
    ),
    "a length that is negative": (
        BEGIN + encode_record(PARAMS, 1, encode_pairs([("CONTENT_LENGTH", "-4")])) + NAMES_END + BODY_END,
        "CONTENT_LENGTH is '-4', not a number", b"400",
    ),
    "two lengths": (
        names(("CONTENT_LENGTH", "5")) + BODY + BODY_END, "two different CONTENT_LENGTH: '4' and '5'", b"400",
    ),
    "a body that is too short": (
        BEGIN + NAMES + NAMES_END + BODY_END, "the body has 0 bytes, CONTENT_LENGTH says 4", b"400",
    ),
    "a body that is too long": (
        BEGIN + NAMES + NAMES_END + BODY + BODY + BODY_END, "the body has 8 bytes, CONTENT_LENGTH says 4", b"400",
    ),
}  # fmt: skip

# What looks odd and is allowed: how the worker answers.
HARMLESS: dict[str, tuple[bytes, bytes]] = {
    "an unknown management record": (encode_record(99, 0), encode_record(11, 0, b"\x63\0\0\0\0\0\0\0")),
    "an unknown role": (
        encode_record(BEGIN_REQUEST, 7, b"\0\x09\1\0\0\0\0\0"), encode_record(END_REQUEST, 7, b"\0\0\0\0\3\0\0\0"),
    ),
    "a second request": (
        BEGIN + encode_record(BEGIN_REQUEST, 2, RESPONDER_KEPT), encode_record(END_REQUEST, 2, b"\0\0\0\0\1\0\0\0"),
    ),
    "an end of an aborted request": (
        BEGIN + encode_record(ABORT_REQUEST, 1) + NAMES_END, encode_record(END_REQUEST, 1, bytes(8)),
    ),
}  # fmt: skip


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


def assert_serves(server: Server) -> None:
    """The next request on another connection has its answer."""
    with WebServer(server) as client:
        assert client.get(b"body").body == b"body"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", MALFORMED)
def test_a_broken_rule_ends_the_connection(serve: Serve, log: Log, name: str, threads: int) -> None:
    data, rule, offset, status = MALFORMED[name]
    server = serve(echo, tcp=True, threads=threads, limits=LIMITS)
    answer = send(server, data, then_close=False)
    assert re.findall(rb"Status: (\d+)", answer) == [status] * bool(status)
    ((level, line),) = log.lines
    assert level == "warning"
    assert re.match(r"127\.0\.0\.1:\d+: FastCGI: ", line)
    assert rule in line
    assert line.endswith(f"(record at byte {offset})")
    assert_serves(server)


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_makes_no_sense_is_refused(serve: Serve, log: Log, name: str) -> None:
    data, rule, status = REFUSED[name]
    server = serve(echo, limits=LIMITS)
    answer = send(server, data)
    assert re.findall(rb"Status: (\d+)", answer) == [status]
    assert b"Traceback" not in answer
    ((level, line),) = log.lines
    assert level == "warning" and rule in line
    assert_serves(server)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_odd_but_allowed_is_answered(serve: Serve, log: Log, name: str) -> None:
    data, answer = HARMLESS[name]
    server = serve(echo)
    with connect(parse_connect(server.url), timeout=PATIENCE) as sock:
        sock.sendall(data)
        assert sock.recv(65536) == answer
    assert_serves(server)


@pytest.mark.parametrize("limits", [Limits(), Limits(body_buffer=1)], ids=["buffered", "streamed"])
def test_a_connection_may_be_cut_at_every_byte(serve: Serve, log: Log, limits: Limits) -> None:
    server = serve(echo, limits=limits)
    assert server.worker
    for count in range(1, len(WHOLE)):
        with connect(parse_connect(server.url), timeout=PATIENCE) as sock:
            sock.sendall(WHOLE[:count])
        lines = log.wait(count=count)
        assert len(lines) == count, lines[count - 1 :]
        assert lines[-1][0] in ("info", "warning")
    until(lambda: server.worker and not server.worker.peers)
    assert_serves(server)


def test_a_half_closed_connection_may_be_cut_at_every_byte(serve: Serve, log: Log) -> None:
    server = serve(echo)
    for count in range(1, len(WHOLE)):
        send(server, WHOLE[:count])
        assert len(log.wait(count=count)) == count
    assert_serves(server)


def test_any_byte_may_be_wrong(serve: Serve, log: Log) -> None:
    server = serve(echo, threads=2, limits=LIMITS)
    for index in range(len(WHOLE)):
        for wrong in {0, 1, 0x7F, 0x80, 0xFF} - {WHOLE[index]}:
            send(server, WHOLE[:index] + bytes([wrong]) + WHOLE[index + 1 :])
    assert [line for level, line in log.lines if level == "error"] == []
    assert_serves(server)


def test_noise_harms_nobody(serve: Serve, log: Log) -> None:
    server = serve(echo, limits=LIMITS)
    noise = random.Random(1996)
    for _ in range(100):
        send(server, noise.randbytes(1000))
        send(server, BEGIN + b"".join(
            encode_record(noise.randrange(12), noise.randrange(3), noise.randbytes(noise.randrange(30)))
            for _ in range(20)
        ))  # fmt: skip
    assert [line for level, line in log.lines if level == "error"] == []
    assert_serves(server)


def test_a_fault_on_one_connection_harms_no_other(serve: Serve) -> None:
    server = serve(echo)
    with WebServer(server) as client:
        client.begin(REQUEST_METHOD="POST")
        send(server, b"noise")
        client.say(RequestBody(b"body", 1), EndOfRequest(1))
        assert client.response().body == b"body"
