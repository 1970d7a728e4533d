"""``gateway.Client`` keeps connections, and never lets a visitor notice that one of them had died."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leftovers import Leftovers
from tests.upstreams import END, KEEPING, OK, WIRES, Answer, Peer, Upstreams, echo, hang_up, hello, wait
from tests.wsgi_calls import ask


@pytest.fixture(params=KEEPING)
def start(request: pytest.FixtureRequest, nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Upstreams]:
    with Upstreams(tmp_path, request.param) as upstreams:
        yield upstreams


def first(once: Answer, then: Answer) -> Answer:
    """Answer the first request in one way, all others in another."""
    answers = iter([once])
    return lambda peer: next(answers, then)(peer)


def test_a_connection_is_used_again(start: Upstreams) -> None:
    client, upstream = start()
    assert [ask(client).body for _ in range(3)] == [b"hello"] * 3
    assert len(upstream.peers) == 1
    assert repr(client).endswith("idle=1/8>")


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire not in KEEPING])
def test_a_wire_of_one_request_has_nothing_to_keep(nothing_left_over: Leftovers, tmp_path: Path, wire: str) -> None:
    with Upstreams(tmp_path, wire) as start:
        client, upstream = start()
        assert [ask(client).body for _ in range(3)] == [b"hello"] * 3
        assert repr(client).endswith("idle=0/8>")
        assert len(upstream.peers) == 3


def test_no_more_connections_are_kept_than_wished(start: Upstreams) -> None:
    together = threading.Barrier(3)

    def answer(peer: Peer) -> None:
        together.wait(5)
        hello(peer)

    client, _ = start(answer, pool_size=2)
    threads = [threading.Thread(target=ask, args=(client,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert repr(client).endswith("idle=2/2>")


def test_the_connection_used_last_is_used_next(start: Upstreams) -> None:
    together = threading.Barrier(2)

    def answer(peer: Peer) -> None:
        together.wait(5)
        hello(peer)

    used: list[Peer] = []
    client, upstream = start(answer)
    other = threading.Thread(target=ask, args=(client,))
    other.start()
    ask(client)
    other.join(5)

    def note(peer: Peer) -> None:
        used.append(peer)
        hello(peer)

    upstream.answer = note
    for _ in range(5):
        ask(client)
    assert len(set(used)) == 1


def test_a_connection_that_the_upstream_closed_is_replaced(start: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        hello(peer)
        raise EOFError

    client, upstream = start(answer)
    ask(client)
    upstream.join()
    assert ask(client).body == b"hello"


def test_a_connection_on_which_something_unasked_arrived_is_replaced(start: Upstreams) -> None:
    written = threading.Event()

    def answer(peer: Peer) -> None:
        hello(peer)
        peer.write(b"and another thing")
        written.set()

    client, upstream = start(answer)
    assert ask(client).body == b"hello"
    assert written.wait(10)
    assert ask(client).body == b"hello"
    assert len(upstream.peers) == 2


def test_a_connection_with_an_unread_request_body_is_not_kept(start: Upstreams) -> None:
    client, _ = start(lambda peer: peer.say(OK, END))
    ask(client, body=b"unread" * 100_000, REQUEST_METHOD="POST")
    assert repr(client).endswith("idle=0/8>")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_request_that_meets_a_dying_connection_is_sent_again(start: Upstreams, method: str) -> None:
    client, upstream = start()
    ask(client)
    upstream.answer = first(hang_up, hello)
    assert ask(client, REQUEST_METHOD=method).status == "200 OK"
    assert len(upstream.peers) == 2


def test_a_request_is_not_sent_a_third_time(start: Upstreams) -> None:
    client, upstream = start()
    ask(client)
    upstream.answer = hang_up
    assert ask(client).status == "502 Bad Gateway"
    assert len(upstream.peers) == 2


def test_a_request_that_was_answered_in_part_is_not_sent_again(start: Upstreams) -> None:
    def begin(peer: Peer) -> None:
        peer.write({"fastcgi": b"\1\6\0\1", "ajp": b"AB\0", "http": b"HTTP/1."}[start.wire])
        raise EOFError

    client, upstream = start()
    ask(client)
    upstream.answer = first(begin, hello)
    assert ask(client).status == "502 Bad Gateway"


def test_a_request_that_took_too_long_is_not_sent_again(start: Upstreams) -> None:
    client, upstream = start(timeout=0.1)
    ask(client)
    upstream.answer = first(wait, hello)
    assert ask(client).status == "504 Gateway Timeout"


@pytest.mark.parametrize(("method", "body"), [("POST", b""), ("PATCH", b"change"), ("PUT", b"content")])
def test_a_request_that_must_not_be_repeated_gets_a_new_connection(start: Upstreams, method: str, body: bytes) -> None:
    client, upstream = start(echo)
    ask(client)
    assert ask(client, REQUEST_METHOD=method, body=body).body == body
    assert len(upstream.peers) == 2
    assert repr(client).endswith("idle=1/8>")


def test_close_ends_what_is_idle_and_keeps_nothing_more(start: Upstreams) -> None:
    with start()[0] as client:
        ask(client)
    assert repr(client).endswith("idle=0/0>")
    ask(client)
    assert repr(client).endswith("idle=0/0>")


def test_a_child_does_not_speak_on_its_parents_connections(start: Upstreams) -> None:
    client, upstream = start()
    ask(client)
    child = os.fork()
    if child == 0:
        os._exit(0 if ask(client).body == b"hello" and repr(client).endswith("idle=1/8>") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert ask(client).body == b"hello"
    assert len(upstream.peers) == 2
