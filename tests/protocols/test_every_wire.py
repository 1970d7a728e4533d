"""What is true of every wire without a socket: how it takes bytes that no peer should send."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from gateway.errors import RemoteProtocolError
from gateway.events import (
    APPLICATION,
    WEB_SERVER,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    Request,
    Response,
    ResponseBody,
)
from gateway.protocols import PIPED, WIRES, connection_class, options_of
from tests.malformed import LIMITS, MALFORMED, OPTIONS, WHOLE, Malformed
from tests.serving import PLAIN, SPOKEN, whole_request

if TYPE_CHECKING:
    from gateway.events import Connection

ROUNDS = 1500
"""Mutilated messages for each wire and side."""


def application(wire: str) -> Connection:
    """The side that answers, as a server with limits has it."""
    return connection_class(wire)(APPLICATION, limits=LIMITS, **options_of(wire, OPTIONS.get(wire, {})))


def web_server(wire: str) -> Connection:
    """The side that asks, having asked."""
    connection = connection_class(wire)(WEB_SERVER, **OPTIONS.get(wire, {}))
    for event in whole_request(b"body"):
        connection.send(event)
    connection.data_to_send()
    return connection


def answer(connection: Connection, request_id: int) -> None:
    """Say hello."""
    for event in (Response("200 OK", [PLAIN], request_id), ResponseBody(b"hello", request_id)):
        connection.send(event)
    connection.send(EndOfResponse(request_id))


def encode_answer(wire: str) -> bytes:
    """A response as bytes."""
    connection = application(wire)
    connection.receive_data(WHOLE[wire])
    answer(connection, connection.events()[0].request_id)
    return b"".join(connection.data_to_send())


@pytest.mark.parametrize("wire", [*SPOKEN, *PIPED])
def test_a_wire_tells_what_it_can(wire: str) -> None:
    connection = connection_class(wire)
    for name in ("error_channel", "meta_variables", "marks_end", "needs_length"):
        assert isinstance(getattr(connection, name), bool), name


@pytest.mark.parametrize("step", [1, 7])
@pytest.mark.parametrize("bad", MALFORMED, ids=lambda bad: f"{bad.wire}-{bad.name}")
def test_a_broken_rule_is_the_same_however_it_comes(bad: Malformed, step: int) -> None:
    connection = application(bad.wire)
    with pytest.raises(RemoteProtocolError) as caught:
        for at in range(0, len(bad.data), step):
            connection.receive_data(bad.data[at : at + step])
            connection.events()
    assert bad.rule in str(caught.value)
    assert str(caught.value).endswith(f"at byte {bad.offset})")
    if bad.status:
        assert caught.value.status_hint.startswith(str(bad.status))
    assert not connection.reusable


def mutilated(noise: random.Random, data: bytes) -> bytes:
    """A message with some bytes changed, lost, added or repeated."""
    mangled = bytearray(data)
    for _ in range(noise.randrange(1, 6)):
        at = noise.randrange(len(mangled) + 1)
        some = noise.randrange(1, 9)
        mangled[at : at + noise.choice((0, some))] = noise.choice((b"", noise.randbytes(some), mangled[at:][:20]))
    return bytes(mangled)


def pieces(noise: random.Random, data: bytes) -> Iterator[bytes]:
    """The same, as it may come."""
    at = 0
    while at < len(data):
        size = noise.choice((1, 7, 100, len(data)))
        yield data[at : at + size]
        at += size


def converse(connection: Connection, noise: random.Random, data: bytes) -> None:
    """Hear it to its end, and answer what is whole.  Raises RemoteProtocolError."""
    for piece in pieces(noise, data):
        connection.receive_data(piece)
        for event in connection.events():
            if connection.side is WEB_SERVER:
                continue
            if isinstance(event, (EndOfRequest, AbortRequest)):
                answer(connection, event.request_id)
            elif isinstance(event, Request) and noise.random() < 0.5:
                connection.send(BodyWanted(100, event.request_id))
        connection.data_to_send()
    connection.receive_eof()
    connection.events()


@pytest.mark.parametrize("wire", WIRES)
def test_a_mutilated_request_is_a_request_or_breaks_a_rule(wire: str) -> None:
    noise = random.Random(1996)
    seeds = [bad.data for bad in MALFORMED if bad.wire == wire or wire == "auto"]
    seeds += [WHOLE[wire]] * len(seeds) if wire in WHOLE else WHOLE.values()
    for _ in range(ROUNDS):
        connection = application(wire)
        try:
            converse(connection, noise, mutilated(noise, noise.choice(seeds)))
        except RemoteProtocolError as error:
            assert "at byte " in str(error)
            assert_broken(connection)


@pytest.mark.parametrize("wire", SPOKEN)
def test_a_mutilated_response_is_a_response_or_breaks_a_rule(wire: str) -> None:
    noise, whole = random.Random(1997), encode_answer(wire)
    for _ in range(ROUNDS):
        connection = web_server(wire)
        try:
            converse(connection, noise, mutilated(noise, whole))
        except RemoteProtocolError as error:
            assert "at byte " in str(error)
            assert_broken(connection)


def assert_broken(connection: Connection) -> None:
    """It has its last word, and then neither hears nor says anything."""
    connection.events()
    connection.data_to_send()
    assert not connection.reusable and not connection.idle
    connection.receive_data(b"x")
    assert connection.events() == []
    assert connection.data_to_send() == []
