"""``gateway.Client`` and an upstream that fails: a clean answer before the head, a visible cut after it."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.client import Client
from gateway.client.upstream import Upstream
from gateway.errors import RemoteProtocolError, RequestAborted
from gateway.events import WEB_SERVER, ErrorOutput, Response, ResponseBody
from gateway.limits import Limits
from gateway.protocols.fastcgi import END_REQUEST, STDOUT, Connection, encode_record
from tests.leftovers import Leftovers
from tests.upstreams import END, OK, WIRES, Answer, Peer, Upstreams, hang_up, respond, wait
from tests.wsgi_calls import Call, ask

BAD_GATEWAY, UNAVAILABLE, TIMED_OUT = "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"


@pytest.fixture(params=WIRES)
def start(request: pytest.FixtureRequest, nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Upstreams]:
    with Upstreams(tmp_path, request.param) as upstreams:
        yield upstreams


@pytest.fixture
def fastcgi(nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Upstreams]:
    """For what only this wire can say."""
    with Upstreams(tmp_path) as upstreams:
        yield upstreams


def write(data: bytes) -> Answer:
    """Read the request, and write bytes that may break the rules."""

    def answer(peer: Peer) -> None:
        peer.body()
        peer.write(data)
        raise EOFError

    return answer


def refuse(protocol_status: int) -> bytes:
    return encode_record(END_REQUEST, 1, bytes((0, 0, 0, 0, protocol_status, 0, 0, 0)))


def begin(peer: Peer) -> None:
    """Begin a response; by its length, any wire can see that there was to be more."""
    peer.body()
    peer.say(Response("200 OK", [*OK.headers, ("Content-Length", "100")], 1), ResponseBody(b"begun", 1))


def say_too_much(peer: Peer) -> None:
    """Begin a response with a long head."""
    peer.body()
    peer.say(Response("200 OK", [("X", "x" * 2000)], 1))
    raise EOFError


# Before the head


def check_refusal(
    start: Upstreams, caplog: pytest.LogCaptureFixture, answer: Answer, *, status: str, why: str
) -> None:
    """The visitor gets a plain page, and the log one line."""
    client, upstream = start(answer, timeout=0.1, limits=Limits(head_size=1000))
    answered = ask(client, "/a\nb")
    assert (answered.status, answered.body) == (status, f"{status}\n".encode())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("gateway.client", logging.ERROR)
    place = upstream.url.replace("://", "://unix:")
    message = record.getMessage()
    assert message.startswith(f"GET /a%0Ab: {status}: {place}: ") and why in message


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        (hang_up, BAD_GATEWAY, ""),
        (write(b"\xffgarbage\n\n"), BAD_GATEWAY, ""),
        (wait, TIMED_OUT, "nothing moved for 0.1 s"),
    ],
    ids=["hang-up", "garbage", "silence"],
)
def test_an_upstream_that_gives_no_head_is_answered_for(
    start: Upstreams, caplog: pytest.LogCaptureFixture, answer: Answer, status: str, why: str
) -> None:
    check_refusal(start, caplog, answer, status=status, why=why)


@pytest.mark.parametrize(
    ("answer", "status", "why"),
    [
        (hang_up, BAD_GATEWAY, "closed the connection before END_REQUEST"),
        (write(b"HTTP/1.1 200 OK\r\n\r\n"), BAD_GATEWAY, "record version is 72, not 1"),
        (write(encode_record(STDOUT, 1, b"<html>")), BAD_GATEWAY, "closed the connection before END_REQUEST"),
        (write(encode_record(STDOUT, 1, b"no head\n\n")), BAD_GATEWAY, "'no head' is no header line"),
        (write(refuse(0)), BAD_GATEWAY, "the response is empty"),
        (write(refuse(1)), BAD_GATEWAY, "refused: CANT_MPX_CONN"),
        (write(refuse(2)), UNAVAILABLE, "refused: OVERLOADED"),
    ],
)
def test_the_log_says_what_was_wrong_with_fastcgi(
    fastcgi: Upstreams, caplog: pytest.LogCaptureFixture, answer: Answer, status: str, why: str
) -> None:
    check_refusal(fastcgi, caplog, answer, status=status, why=why)


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire != "ajp"])  # whose packets have a size of their own
def test_a_head_that_is_too_long_is_a_bad_gateway(
    nothing_left_over: Leftovers, tmp_path: Path, caplog: pytest.LogCaptureFixture, wire: str
) -> None:
    with Upstreams(tmp_path, wire) as start:
        check_refusal(start, caplog, say_too_much, status=BAD_GATEWAY, why="limit head_size=1000 exceeded")


def test_a_head_request_is_refused_without_content(start: Upstreams) -> None:
    client, _ = start(hang_up)
    assert ask(client, REQUEST_METHOD="HEAD").body == b""


@pytest.mark.parametrize("wire", WIRES)
def test_nobody_at_the_address_is_a_bad_gateway(tmp_path: Path, caplog: pytest.LogCaptureFixture, wire: str) -> None:
    with Client(f"{wire}://{tmp_path}/none.sock") as client:
        assert ask(client).status == BAD_GATEWAY
    assert "is the server running, and listening there?" in caplog.text


@pytest.mark.parametrize("wire", WIRES)
def test_nobody_who_listens_is_a_bad_gateway(caplog: pytest.LogCaptureFixture, wire: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with Client(f"{wire}://127.0.0.1:{bound.getsockname()[1]}") as client:
            assert ask(client).status == BAD_GATEWAY
    assert "is the server running, and listening there?" in caplog.text


@pytest.mark.parametrize("wire", WIRES)
def test_an_upstream_too_busy_to_accept_is_a_timeout(tmp_path: Path, wire: str) -> None:
    path = str(tmp_path / "busy.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as queued:
        listener.bind(path)
        listener.listen(0)
        queued.connect(path)
        assert ask(Client(f"{wire}://{path}", connect_timeout=0.1)).status == TIMED_OUT


def test_an_upstream_that_stops_reading_is_a_timeout(start: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.sock.recv(1, socket.MSG_WAITALL)
        while peer.sock.recv(1, socket.MSG_PEEK):
            if caught:
                raise EOFError

    caught: list[str] = []
    client, _ = start(answer, timeout=0.1)
    caught.append(ask(client, body=bytes(4_000_000), REQUEST_METHOD="POST").status)
    assert caught == [TIMED_OUT]


def test_what_an_upstream_reported_before_it_died_is_not_lost(fastcgi: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.body()
        peer.connection.send(ErrorOutput(b"Segmentation fault", 1))
        peer.connection.send(END)
        peer.write(b"".join(peer.connection.data_to_send()))

    client, _ = fastcgi(answer)
    answered = ask(client)
    assert (answered.status, answered.errors) == (BAD_GATEWAY, "Segmentation fault\n")


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire != "ajp"])  # which sends only what is asked for
def test_an_upstream_that_resets_the_connection_is_a_bad_gateway(
    nothing_left_over: Leftovers, tmp_path: Path, caplog: pytest.LogCaptureFixture, wire: str
) -> None:
    def answer(peer: Peer) -> None:
        peer.sock.recv(1, socket.MSG_PEEK)  # what is closed with something unread in it, is reset
        raise EOFError

    with Upstreams(tmp_path, wire) as start:
        client, _ = start(answer)
        assert ask(client, body=bytes(4_000_000), REQUEST_METHOD="POST").status == BAD_GATEWAY
    assert re.search("the connection broke: (Connection reset by peer|Broken pipe)", caplog.text)


# After the head


def cut(peer: Peer) -> None:
    begin(peer)
    raise EOFError


def stall(peer: Peer) -> None:
    begin(peer)
    wait(peer)


def babble(peer: Peer) -> None:
    begin(peer)
    assert peer.go_on.wait(5)
    peer.write(b"garbage!")
    raise EOFError


@pytest.mark.parametrize(
    ("answer", "why"), [(cut, ""), (stall, "nothing moved for 0.1 s")], ids=["cut", "stall"]
)
def test_a_response_that_breaks_off_raises(start: Upstreams, answer: Answer, why: str) -> None:
    client, _ = start(answer, timeout=0.1)
    call = Call(client)
    assert call.status == "200 OK"
    with pytest.raises(RemoteProtocolError, match=f"^{start.wire}://unix:.*{why}"):
        call.answer()
    assert repr(client).endswith("idle=0/8>")


@pytest.mark.parametrize("wire", ["fastcgi", "ajp"])
def test_a_response_that_turns_into_garbage_raises(nothing_left_over: Leftovers, tmp_path: Path, wire: str) -> None:
    with Upstreams(tmp_path, wire) as start:
        client, upstream = start(babble)
        call = Call(client)
        upstream.peers[0].go_on.set()
        with pytest.raises(RemoteProtocolError, match=r"is 103, not 1|begins with 67 61, not with 41 42"):
            call.answer()


# The visitor and the server


@pytest.mark.parametrize("length", ["-1", "1 ", "0x10", "²"])
def test_a_content_length_that_is_no_number_is_refused(start: Upstreams, length: str) -> None:
    client, upstream = start()
    statuses: list[str] = []
    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length, "wsgi.input": io.BytesIO()}
    list(client(environ, lambda status, headers: statuses.append(status)))
    assert statuses == ["400 Bad Request"]
    assert upstream.peers == []


def test_a_body_that_ends_early_ends_the_request(start: Upstreams) -> None:
    said: list[bytes] = []

    def answer(peer: Peer) -> None:
        while block := peer.block():
            said.append(block)

    client, upstream = start(answer)
    with pytest.raises(RequestAborted, match="ended 6 bytes before its CONTENT_LENGTH"):
        ask(client, body=io.BytesIO(b"half"), REQUEST_METHOD="POST", CONTENT_LENGTH="10")
    upstream.join()
    assert said in ([b"half"], [])  # it may see the end first


def test_a_server_that_refuses_the_head_ends_the_request(start: Upstreams) -> None:
    client, upstream = start(stall)

    def start_response(status: str, headers: object) -> None:
        raise OSError("the visitor is gone")

    environ = {"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()}
    with pytest.raises(OSError, match="the visitor is gone"):
        client(environ, start_response)
    upstream.join()


def test_an_error_log_that_cannot_be_written_ends_the_request(fastcgi: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.say(ErrorOutput(b"warning\n", 1))
        wait(peer)

    client, upstream = fastcgi(answer)
    errors = io.StringIO()
    errors.close()
    with pytest.raises(ValueError, match="closed file"):
        list(client({"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), "wsgi.errors": errors}, print))
    upstream.join()


def test_an_upstream_that_is_not_there_fails_a_ping(start: Upstreams) -> None:
    client, upstream = start()
    upstream.stop()
    with pytest.raises(RemoteProtocolError, match="is the server running"):
        client.ping()


def test_an_upstream_that_hangs_up_fails_a_ping(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/rude.sock")
        listener.listen()

        def hang_up() -> None:
            with listener.accept()[0] as peer:
                peer.recv(100)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(RemoteProtocolError, match="the upstream closed the connection"):
            Client(f"fastcgi://{tmp_path}/rude.sock").ping()
        thread.join(5)


def test_a_path_that_is_not_there_fails_a_ping_of_it(start: Upstreams) -> None:
    client, _ = start(respond(Response("404 Not Found", OK.headers, 1)))
    with pytest.raises(RemoteProtocolError, match="HEAD /health: 404 Not Found"):
        client.ping("/health")
    client.ping()  # but somebody answers


@pytest.mark.parametrize("wire", ["scgi", "uwsgi", "http"])  # the others ask no application
def test_an_application_that_fails_fails_a_ping(nothing_left_over: Leftovers, tmp_path: Path, wire: str) -> None:
    with Upstreams(tmp_path, wire) as start:
        client, _ = start(respond(Response("500 Broken", OK.headers, 1)))
        with pytest.raises(RemoteProtocolError, match="HEAD /: 500 Broken"):
            client.ping()


def test_a_false_alarm_of_poll_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Upstream, "_wait", lambda upstream: True)
    near, far = socket.socketpair()
    with far, contextlib.closing(Upstream(near, Connection(WEB_SERVER), name="quiet", timeout=0)) as upstream:
        assert upstream.events() == []
