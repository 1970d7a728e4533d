"""``gateway.Client(...).asgi`` forwards as the WSGI side does, in an event loop: pooled, cancel-safe, both ways."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from gateway.errors import LocalProtocolError, RemoteProtocolError
from gateway.events import ErrorOutput, Response, ResponseBody
from gateway.limits import Limits
from gateway.protocols.fastcgi import STDOUT, encode_record
from tests.asgi_calls import Request, ask, lifespan, run, until
from tests.leftovers import Leftovers
from tests.upstreams import END, KEEPING, OK, WIRES, Peer, Upstreams, echo, hang_up, hello, respond, wait

MIB = 1024 * 1024


@pytest.fixture
def start(nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Upstreams]:
    with Upstreams(tmp_path) as upstreams:
        yield upstreams


@pytest.fixture(params=WIRES)
def by_wire(request: pytest.FixtureRequest, nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Upstreams]:
    with Upstreams(tmp_path, request.param) as upstreams:
        yield upstreams


# The request


def test_the_scope_arrives_as_params(start: Upstreams) -> None:
    client, upstream = start()
    ask(client.asgi, "/app/a b", root_path="/app", query="x=1", headers={"x-trick": "yes"}, method="DELETE")
    assert upstream.params.items() >= {
        "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "DELETE", "SCRIPT_NAME": "/app", "PATH_INFO": "/a b",
        "QUERY_STRING": "x=1", "HTTP_X_TRICK": "yes", "REQUEST_URI": "/app/a%20b?x=1", "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
    }.items()  # fmt: skip


def test_a_body_goes_there_and_comes_back(by_wire: Upstreams) -> None:
    client, _ = by_wire(echo)
    assert ask(client.asgi, method="POST", body=b"a body").body == b"a body"


def test_a_body_in_chunks_goes_there_and_comes_back(by_wire: Upstreams) -> None:
    client, _ = by_wire(echo)
    assert ask(client.asgi, method="POST", body=[b"in ", b"", b"chunks"]).body == b"in chunks"


def test_a_body_that_nothing_announces_is_sent_as_well(by_wire: Upstreams) -> None:
    client, _ = by_wire(echo)
    answer = ask(client.asgi, method="POST", http_version="2", body=[b"of ", b"HTTP/2"], announced=False)
    assert answer.body == b"of HTTP/2"


def test_a_body_beyond_the_limit_is_refused_where_it_has_to_be_measured(
    nothing_left_over: Leftovers, tmp_path: Path
) -> None:
    with Upstreams(tmp_path, "scgi") as start:
        client, upstream = start(limits=Limits(body_size=3))
        assert ask(client.asgi, method="POST", body=[b"12", b"34"]).status == 413
        assert upstream.peers == []


def test_much_moves_both_ways_at_once(by_wire: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.say(OK)
        while block := peer.block():
            peer.say(ResponseBody(block, 1))
        peer.say(END)

    client, _ = by_wire(answer)
    assert ask(client.asgi, method="POST", body=[bytes(MIB)] * 4).body == bytes(4 * MIB)


def test_a_param_beyond_latin_1_is_the_callers_mistake(start: Upstreams) -> None:
    client, _ = start(params={"EURO": "€"})
    with pytest.raises(LocalProtocolError, match="not latin-1"):
        ask(client.asgi)


# The response


def test_a_response_has_status_headers_and_body(by_wire: Upstreams) -> None:
    client, _ = by_wire(respond(Response("404 Not Found", [*OK.headers, ("X-A", "J\xf6")], 1), b"no"))
    answer = ask(client.asgi)
    assert (answer.status, answer.body, answer.headers["x-a"]) == (404, b"no", "J\xf6")


def test_head_has_no_body(by_wire: Upstreams) -> None:
    client, _ = by_wire()
    assert ask(client.asgi, method="HEAD")[::2] == (200, b"")


def test_an_upstream_may_answer_before_it_has_read_all(start: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.say(Response("413 Content Too Large", OK.headers, 1), END)
        raise EOFError

    client, _ = start(answer)
    assert ask(client.asgi, method="POST", body=[bytes(MIB)] * 8).status == 413


def test_error_output_goes_to_stderr(start: Upstreams, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(peer: Peer) -> None:
        peer.body()
        peer.say(ErrorOutput(b"oops, ", 1), ErrorOutput(b"twice\nno end", 1), OK, END)

    client, _ = start(answer)
    ask(client.asgi)
    assert capsys.readouterr().err == "oops, twice\nno end\n"


def test_a_local_redirect_is_a_get_of_another_path(start: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        body = peer.body()
        if peer.params["PATH_INFO"] == "/first":
            peer.write(encode_record(STDOUT, 1, b"Location: /app/second\n\n"))
            peer.say(END)
        else:
            told = [peer.params[name] for name in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO")]
            peer.say(OK, ResponseBody(" ".join([*told, str(len(body))]).encode(), 1), END)

    client, _ = start(answer)
    assert ask(client.asgi, "/app/first", root_path="/app", method="POST", body=b"x").body == b"GET /app /second 0"


def test_local_redirects_that_go_round_in_a_circle_end(start: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.body()
        peer.write(encode_record(STDOUT, 1, b"Location: /first\n\n"))
        peer.say(END)

    client, _ = start(answer)
    assert ask(client.asgi).status == 502


def test_what_a_slow_visitor_does_not_take_stays_with_the_upstream(start: Upstreams) -> None:
    sent: list[int] = []

    def answer(peer: Peer) -> None:
        peer.body()
        peer.say(OK)
        for _ in range(256):
            peer.say(ResponseBody(bytes(65536), 1))
            sent.append(65536)
        peer.say(END)

    async def main() -> None:
        request = Request(client.asgi)
        request.takes.clear()
        task = request.start()
        await until(lambda: sent)
        seen = 0
        while seen < len(sent):  # until it is stuck
            seen = len(sent)
            await asyncio.sleep(0.1)
        assert sum(sent) < 2 * MIB
        request.takes.set()
        await task
        assert len(request.body) == 16 * MIB
        client.close()

    client, _ = start(answer)
    run(main())


def test_what_a_slow_upstream_does_not_take_stays_with_the_visitor(start: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.go_on.wait(20)
        echo(peer)

    async def main() -> None:
        request = Request(client.asgi, method="POST", body=[bytes(MIB)] * 32)
        task = request.start()
        seen = -1
        while seen < request.taken:
            seen = request.taken
            await asyncio.sleep(0.1)
        assert seen < 4
        upstream.peers[0].go_on.set()
        await task
        assert len(request.body) == 32 * MIB
        client.close()

    client, upstream = start(answer)
    run(main())


# Faults


@pytest.mark.parametrize(("answer", "status"), [(hang_up, 502), (wait, 504)], ids=["hang-up", "silence"])
def test_an_upstream_that_gives_no_head_is_answered_for(
    by_wire: Upstreams, caplog: pytest.LogCaptureFixture, answer: Any, status: int
) -> None:
    client, _ = by_wire(answer, timeout=0.1)
    answered = ask(client.asgi, "/a\nb")
    assert (answered.status, answered.headers["content-type"]) == (status, "text/plain")
    (record,) = [record for record in caplog.records if record.name == "gateway.client"]
    assert record.levelno == logging.ERROR and record.getMessage().startswith(f"GET /a%0Ab: {status} ")


def test_a_response_that_breaks_off_raises(by_wire: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.body()
        peer.say(Response("200 OK", [*OK.headers, ("Content-Length", "100")], 1), ResponseBody(b"begun", 1))
        raise EOFError

    client, _ = by_wire(answer)
    with pytest.raises(RemoteProtocolError):
        ask(client.asgi)


def test_nobody_there_is_a_bad_gateway(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(Client(f"fastcgi://{tmp_path}/none").asgi).status == 502
    assert "is the server running, and listening there?" in caplog.text


def test_nobody_there_by_tcp_is_a_bad_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://localhost:{listener.getsockname()[1]}"
    assert ask(Client(url).asgi).status == 502


def test_a_queue_that_stays_full_is_a_timeout(nothing_left_over: Leftovers, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "full"))
        listener.listen(0)
        first.connect(str(tmp_path / "full"))
        assert ask(Client(f"fastcgi://{tmp_path}/full", connect_timeout=0.05).asgi).status == 504


def test_a_visitor_who_sends_slowly_does_not_time_the_upstream_out(start: Upstreams) -> None:
    async def main() -> int:
        request = Request(client.asgi, method="POST", body=[b"1", b"2"])
        receive = request.receive

        async def slowly() -> Any:
            await asyncio.sleep(0.25)
            return await receive()

        request.receive = slowly  # type: ignore[method-assign]
        answer = await request.answer()
        client.close()
        return answer.status

    client, _ = start(echo, timeout=0.1)
    assert run(main()) == 200


# Who leaves


def test_a_visitor_who_leaves_takes_the_connection_along(by_wire: Upstreams) -> None:
    async def main() -> None:
        request = Request(client.asgi)
        task = request.start()
        await until(lambda: upstream.peers and upstream.peers[0].params)
        request.gone.set()
        await task
        assert request.messages == []

    client, upstream = by_wire(wait)
    run(main())
    upstream.join()


def test_a_visitor_who_leaves_in_the_middle_of_the_body_takes_the_connection_along(start: Upstreams) -> None:
    async def main() -> None:
        request = Request(client.asgi, method="POST", headers={"content-length": "9"}, body=b"1", unfinished=True)
        task = request.start()
        await until(lambda: upstream.peers and upstream.peers[0].params)
        request.gone.set()
        await task

    client, upstream = start(wait)
    run(main())
    upstream.join()


def test_a_task_that_is_cancelled_closes_its_connection(by_wire: Upstreams) -> None:
    async def main() -> None:
        task = Request(client.asgi).start()
        await until(lambda: upstream.peers and upstream.peers[0].params)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    client, upstream = by_wire(wait)
    run(main())
    upstream.join()


# The pool


@pytest.mark.parametrize("wire", KEEPING)
def test_a_connection_is_used_again(nothing_left_over: Leftovers, tmp_path: Path, wire: str) -> None:
    async def main() -> None:
        for _ in range(3):
            assert (await Request(client.asgi).answer()).body == b"hello"
        assert len(upstream.peers) == 1
        assert repr(client.asgi).endswith("idle=1/8>")
        await lifespan(client.asgi)
        assert repr(client.asgi).endswith("idle=0/8>")

    with Upstreams(tmp_path, wire) as start:
        client, upstream = start()
        run(main())


def test_a_kept_connection_that_died_is_not_noticed(start: Upstreams) -> None:
    answers = iter([hello, hang_up])

    async def main() -> None:
        bodies = [(await Request(client.asgi).answer()).body for _ in range(2)]
        assert bodies == [b"hello"] * 2
        client.close()

    client, upstream = start(lambda peer: next(answers, hello)(peer))
    run(main())
    assert len(upstream.peers) == 2


def test_what_may_not_be_repeated_takes_a_new_connection(start: Upstreams) -> None:
    async def main() -> None:
        for _ in range(2):
            await Request(client.asgi, method="POST", body=b"x").answer()
        client.close()

    client, upstream = start()
    run(main())
    assert len(upstream.peers) == 2


def test_each_event_loop_has_a_pool_of_its_own(start: Upstreams) -> None:
    client, upstream = start()
    for _ in range(2):
        run(Request(client.asgi).answer())
        assert "idle=1/" in repr(client.asgi)  # that of the first one was closed as soon as the second needed one
    client.close()
    assert len(upstream.peers) == 2


# What is no request


def test_a_lifespan_is_answered() -> None:
    said = run(lifespan(Client("fastcgi:///none").asgi))
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(
    ("extensions", "first"),
    [({}, "websocket.close"), ({"websocket.http.response": {}}, "websocket.http.response.start")],
)
def test_a_websocket_is_refused_with_the_reason(caplog: pytest.LogCaptureFixture, extensions: Any, first: str) -> None:
    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    said: list[Any] = []
    run(Client("fastcgi:///none").asgi({"type": "websocket", "path": "/ws", "extensions": extensions}, receive, send))
    assert said[0]["type"] == first
    assert "a WebSocket cannot be passed on" in str(said) and "a WebSocket cannot be passed on" in caplog.text


def test_another_kind_of_scope_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no scope of type 'mqtt'"):
        run(Client("fastcgi:///none").asgi({"type": "mqtt"}, _never, _never))


async def _never(*message: Any) -> Any:
    raise AssertionError("nothing is received or sent")
