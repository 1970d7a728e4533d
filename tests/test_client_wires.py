"""``gateway.Client`` behaves the same on every wire: it streams both ways, waits for nobody, and ends what it began."""

from __future__ import annotations

import io
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import pytest
import webtest
import webtest.lint

from gateway.events import APPLICATION, WEB_SERVER, AbortRequest, Response, ResponseBody, Side
from tests.leftovers import Leftovers
from tests.upstreams import END, KEEPING, OK, WIRES, Answer, Peer, Upstreams, echo, hello, respond
from tests.wsgi_calls import Call, ask

MIB = 1024 * 1024


@pytest.fixture(params=WIRES)
def start(request: pytest.FixtureRequest, nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Upstreams]:
    with Upstreams(tmp_path, request.param) as upstreams:
        yield upstreams


class MadeToOrder(io.RawIOBase):
    """A request body whose blocks are made when they are read."""

    def __init__(self, *blocks: Callable[[], bytes]) -> None:
        self._blocks = list(blocks)

    def read(self, size: int = -1) -> bytes:
        return self._blocks.pop(0)()


# The request


def test_method_path_and_headers_arrive(start: Upstreams) -> None:
    client, upstream = start(echo)
    headers = [("Content-Type", "text/x"), ("X-Trick", "yes")]
    status, _, body = client.request("PUT", "/a%20b?c=d", headers=headers, body=b"e")
    assert (status, body) == ("200 OK", b"e")
    assert upstream.params.items() >= {
        "REQUEST_METHOD": "PUT", "REQUEST_URI": "/a%20b?c=d", "PATH_INFO": "/a b", "QUERY_STRING": "c=d",
        "CONTENT_TYPE": "text/x", "CONTENT_LENGTH": "1", "HTTP_X_TRICK": "yes", "HTTP_HOST": "localhost",
    }.items()  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 65536, 3 * MIB])
def test_the_body_arrives(start: Upstreams, size: int) -> None:
    client, _ = start(echo)
    body = os.urandom(size)
    assert ask(client, body=body, REQUEST_METHOD="POST").body == body


def test_nothing_is_read_beyond_the_body(start: Upstreams) -> None:
    client, _ = start(echo)
    body = io.BytesIO(b"mine" + b"the next request")
    assert ask(client, body=body, REQUEST_METHOD="POST", CONTENT_LENGTH="4").body == b"mine"
    assert body.read() == b"the next request"


def test_without_a_length_nothing_is_read(start: Upstreams) -> None:
    client, _ = start(echo)
    body = io.BytesIO(b"the next request")
    assert ask(client, body=body, REQUEST_METHOD="POST").body == b""
    assert body.tell() == 0


def test_a_body_whose_end_the_server_marks_is_read_to_its_end(start: Upstreams) -> None:
    client, _ = start(echo)
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    assert len(ask(client, body=io.BytesIO(b"x" * 100_000), REQUEST_METHOD="POST", **chunked).body) == 100_000


def test_what_has_come_of_a_slow_body_is_passed_on(start: Upstreams) -> None:
    reader, writer = os.pipe()

    def answer(peer: Peer) -> None:
        beginning = peer.block()
        os.write(writer, b"end")
        os.close(writer)
        assert (beginning, peer.body()) == (b"beginning ", b"end")
        peer.say(OK, ResponseBody(b"both", 1), END)

    client, _ = start(answer)
    os.write(writer, b"beginning ")
    with open(reader, "rb") as body:
        environ = {"CONTENT_LENGTH": "13", "REQUEST_METHOD": "POST", "wsgi.input": body}
        setup_testing_defaults(environ)
        assert b"".join(client(environ, lambda status, headers: None)) == b"both"


# The response


def test_status_headers_and_body_come_back(start: Upstreams) -> None:
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a"), ("Set-Cookie", "b")]
    client, _ = start(respond(Response("404 Nothing Here", headers, 1), b"gone"))
    status, received, body = client.request("GET", "/")
    assert (status, body) == ("404 Nothing Here", b"gone")
    assert [pair for pair in received if pair[0] != "Date"] == headers  # HTTP adds one


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified")])
def test_a_response_that_has_no_content_is_empty(start: Upstreams, method: str, status: str) -> None:
    client, _ = start(respond(Response(status, [("Content-Length", "5")], 1)))
    assert client.request(method, "/")[::2] == (status, b"")


def test_blocks_come_when_they_are_sent(start: Upstreams) -> None:
    received = threading.Event()

    def answer(peer: Peer) -> None:
        peer.say(OK, ResponseBody(b"one", 1))
        assert received.wait(10)
        peer.body()
        peer.say(ResponseBody(b"two", 1), END)

    client, _ = start(answer)
    call = Call(client)
    assert next(call.blocks) == b"one"
    received.set()
    assert call.answer().body == b"two"


def test_the_head_does_not_wait_for_the_end_of_the_body(start: Upstreams) -> None:
    head_sent = threading.Event()

    def answer(peer: Peer) -> None:
        peer.say(OK)
        head_sent.set()
        peer.say(ResponseBody(peer.body(), 1), END)

    def first() -> bytes:
        assert head_sent.wait(10)
        return b"1"

    client, _ = start(answer)
    body = MadeToOrder(first, lambda: call.status.encode())
    call = Call(client, body=body, REQUEST_METHOD="POST", CONTENT_LENGTH="7")
    assert call.answer().body == b"1200 OK"


@pytest.mark.parametrize("size", [0, 4 * MIB])
def test_an_upstream_may_answer_without_reading_the_body(start: Upstreams, size: int) -> None:
    head = Response("200 OK", [*OK.headers, ("Content-Length", str(size))], 1)
    client, _ = start(lambda peer: peer.say(head, *[ResponseBody(b"x" * size, 1)] * bool(size), END))
    assert len(ask(client, body=bytes(4 * MIB), REQUEST_METHOD="POST").body) == size
    assert repr(client).endswith("idle=0/8>")


def test_bodies_of_any_length_take_the_memory_of_a_few_blocks(start: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.say(OK)
        while block := peer.block():
            peer.say(ResponseBody(block, 1))
        peer.say(END)

    client, _ = start(answer)
    body = MadeToOrder(*[lambda: bytes(65536)] * 256)
    tracemalloc.start()
    try:
        call = Call(client, body=body, REQUEST_METHOD="POST", CONTENT_LENGTH=str(16 * MIB))
        assert sum(map(len, call.blocks)) == 16 * MIB
        call.close()
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()


def test_a_visitor_who_leaves_ends_the_request(start: Upstreams) -> None:
    ends: list[object] = []

    def answer(peer: Peer) -> None:
        peer.body()
        peer.say(OK, ResponseBody(b"and so on", 1))
        try:
            ends.append(type(peer.next()))
        except (EOFError, ConnectionResetError):
            ends.append(EOFError)  # where the wire has no word for it
            raise

    client, upstream = start(answer)
    call = Call(client)
    next(call.blocks)
    call.close()
    upstream.join()
    assert ends == [AbortRequest if start.wire == "fastcgi" else EOFError]


# What else a Client is


def test_ping_finds_out_that_the_upstream_is_there(start: Upstreams) -> None:
    client, upstream = start()
    told = client.ping()
    assert told == {
        "fastcgi": {"FCGI_MAX_CONNS": "10000", "FCGI_MAX_REQS": "1", "FCGI_MPXS_CONNS": "0"}, "ajp": {},
    }.get(start.wire, {"status": "200 OK"})  # fmt: skip
    assert upstream.params.get("REQUEST_METHOD") == (None if start.wire in ("fastcgi", "ajp") else "HEAD")


def test_ping_of_a_path_asks_the_application(start: Upstreams) -> None:
    client, upstream = start()
    assert client.ping("/health?full") == {"status": "200 OK"}
    assert (upstream.params["REQUEST_METHOD"], upstream.params["REQUEST_URI"]) == ("HEAD", "/health?full")


def test_a_tap_is_shown_all_that_moves(start: Upstreams) -> None:
    moved: list[tuple[Side, bytes]] = []
    client, _ = start(hello, tap=lambda side, data: moved.append((side, data)))
    assert ask(client, body=b"a body", REQUEST_METHOD="POST").body == b"hello"
    client.close()
    sent, received = (b"".join(data for side, data in moved if side is wanted) for wanted in (WEB_SERVER, APPLICATION))
    assert b"a body" in sent and b"hello" in received
    assert ((APPLICATION, b"") in moved) == (start.wire not in KEEPING)


def test_the_repr_of_a_response_shows_how_far_it_is(start: Upstreams) -> None:
    client, _ = start()
    environ: dict[str, object] = {}
    setup_testing_defaults(environ)
    response = client(environ, lambda status, headers: None)
    assert repr(response).startswith("<Forwarding ")
    assert b"".join(response) == b"hello"
    assert repr(response).startswith(f"<Forwarding ended <Upstream {start.wire}://unix:")


def test_webtest_and_its_lint_take_a_client_for_an_application(start: Upstreams) -> None:
    client, _ = start(echo)
    app = webtest.TestApp(webtest.lint.middleware(client))
    assert app.post("/form", {"name": "value"}).text == "name=value"


def answers_of_each(wire: str, folder: Path, *answers: Answer) -> list[bytes]:
    """What comes of requests that are answered so, one after the other."""
    with Upstreams(folder, wire) as start:
        client, upstream = start()
        bodies = []
        for answer in answers:
            upstream.answer = answer
            bodies.append(ask(client).body)
        return bodies


@pytest.mark.parametrize("wire", WIRES)
def test_one_answer_does_not_colour_the_next(wire: str, tmp_path: Path) -> None:
    empty, big = respond(Response("204 No Content", [], 1)), respond(OK, b"x" * MIB)
    assert answers_of_each(wire, tmp_path, hello, empty, big, hello) == [b"hello", b"", b"x" * MIB, b"hello"]
