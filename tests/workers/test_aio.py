"""The asyncio worker: requests that share a thread, a connection or nothing, its limits, and how its work ends."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import webtest

from gateway import workers
from gateway.client import Client
from gateway.errors import ConfigError, StartupError
from gateway.events import AbortRequest, EndOfRequest, EndOfResponse, Request, RequestBody, ResponseBody
from gateway.events import Response as Head
from gateway.limits import Limits
from gateway.protocols.fastcgi import MPXS_CONNS, decode_pairs, encode_record
from gateway.workers import aio, poller
from gateway.workers import threads as threads_module
from tests.serving import PARAMS, PATIENCE, Log, Serve, WebServer, echo, hello, until, whole_request

MIB = 1024 * 1024
PLAIN = [(b"content-type", b"text/plain")]
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"usual": aio.new_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "_TICK", 0.02)


@pytest.fixture(autouse=True, params=LOOPS)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in uvloop's loop, where there is one, and in asyncio's own, which checks what is done to it."""
    monkeypatch.setattr(aio, "new_loop", LOOPS[request.param])
    if request.param == "asyncio":
        monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")


class Gate:
    """An application that waits at ``/wait…`` until the test lets it pass, and says its path elsewhere."""

    def __init__(self) -> None:
        self.here: list[str] = []
        self.seen: list[str] = []
        self._open: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self._loop, path = asyncio.get_running_loop(), scope["path"]
        await receive()
        if path.startswith("/wait"):
            opened = self._open.setdefault(path, asyncio.Event())
            self.here.append(path)
            try:
                await opened.wait()
            except asyncio.CancelledError:
                self.seen.append(f"{path} cancelled")
                raise
        await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
        await send({"type": "http.response.body", "body": path.encode()})

    def arrive(self, *paths: str) -> None:
        """Wait until requests are at the gate."""
        until(lambda: set(paths) <= set(self.here))

    def open(self, path: str = "/wait") -> None:
        """Let it pass."""
        assert self._loop
        self._loop.call_soon_threadsafe(self._open[path].set)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def ask(client: WebServer, path: str, number: int, data: bytes = b"") -> None:
    """Send a whole request with a number of its own."""
    body = [RequestBody(data, number)] * bool(data)
    client.say(Request(PARAMS | {"PATH_INFO": path}, number), *body, EndOfRequest(number))


def answers(client: WebServer, count: int) -> dict[int, bytes]:
    """So many answers, in the order in which they end, by the numbers of their requests."""
    bodies: dict[int, bytes] = {}
    ended: dict[int, bytes] = {}
    while len(ended) < count:
        event = client.hear()
        if isinstance(event, Head):
            bodies[event.request_id] = b""
        elif isinstance(event, ResponseBody):
            bodies[event.request_id] += event.data
        elif isinstance(event, EndOfResponse):
            ended[event.request_id] = bodies.get(event.request_id, event.refusal.encode())
    return ended


# Many requests, one thread.


def test_requests_wait_at_the_same_time_in_one_thread(serve: Serve, gate: Gate) -> None:
    server = serve(gate)
    with ExitStack() as clients:
        waiting = [clients.enter_context(WebServer(server)) for _ in range(20)]
        for number, client in enumerate(waiting):
            client.ask(PATH_INFO=f"/wait{number}")
        gate.arrive(*[f"/wait{number}" for number in range(20)])
        assert clients.enter_context(WebServer(server)).get(PATH_INFO="/now").body == b"/now"
        for number in reversed(range(20)):
            gate.open(f"/wait{number}")
            assert waiting[number].response().body == f"/wait{number}".encode()


def test_slow_and_idle_clients_hold_up_nobody(serve: Serve, gate: Gate) -> None:
    server = serve(gate)
    with ExitStack() as clients:
        for number in range(20):
            slow = clients.enter_context(WebServer(server))
            slow.sock.sendall(slow.encode(*whole_request(b"x" * 100))[: 8 + number * 20])
        assert clients.enter_context(WebServer(server)).get().body == b"/"


def test_a_request_may_come_byte_by_byte(serve: Serve, gate: Gate) -> None:
    with WebServer(serve(gate)) as client:
        for byte in client.encode(*whole_request(b"body")):
            client.sock.sendall(bytes([byte]))
        assert client.response().body == b"/"


def test_an_answer_before_the_end_of_its_request_keeps_the_connection(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": PLAIN})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    with WebServer(serve(app)) as client:
        for path in ("/a", "/b", "/c"):
            asked = client.encode(Request(PARAMS | {"PATH_INFO": path}, 1), EndOfRequest(1))
            client.sock.sendall(asked[:-8])  # but the end of STDIN, as Apache does
            assert client.response().body == path.encode()
            client.sock.sendall(asked[-8:])
        assert client.is_quiet()


@pytest.mark.parametrize("keep_conn", [True, False], ids=["kept", "unkept"])
def test_a_connection_is_kept_if_the_web_server_wants_it(serve: Serve, gate: Gate, keep_conn: bool) -> None:  # noqa: FBT001
    with WebServer(serve(gate), keep_conn=keep_conn) as client:
        assert client.get().body == b"/"
        if keep_conn:
            assert client.get().body == b"/"
        else:
            assert client.is_hung_up()


def test_pipelined_requests_are_answered_in_order(serve: Serve, gate: Gate) -> None:
    server = serve(gate, protocol="http")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(server.address)
        paths = [path for number in range(10) for path in ("/a", f"/wait{number}", "/b", "/c")] + ["/end"]
        client.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        for number in range(10):
            gate.arrive(f"/wait{number}")
            gate.open(f"/wait{number}")
        data = b""
        while not data.endswith(b"/end"):
            data += client.recv(65536)
    told = [part.rpartition(b"\r\n\r\n")[2].decode() for part in data.split(b"HTTP/1.1 200 OK")[1:]]
    assert told == paths


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_a_web_server_may_half_close_after_its_request(serve: Serve, gate: Gate, tcp: bool) -> None:  # noqa: FBT001
    with WebServer(serve(gate, tcp=tcp, limits=Limits(abort_timeout=0.01))) as client:
        client.ask(PATH_INFO="/wait")
        gate.arrive("/wait")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_quiet()
        gate.open()
        assert client.response().body == b"/wait"
        assert client.is_hung_up()


@pytest.mark.parametrize("wire", ["fastcgi", "scgi", "uwsgi", "ajp", "http"])
@pytest.mark.parametrize("protocol", ["named", "auto"])
def test_every_wire_is_spoken(serve: Serve, gate: Gate, wire: str, protocol: str) -> None:
    server = serve(gate, protocol=wire if protocol == "named" else "auto")
    with Client(f"{wire}://unix:{server.address}") as client:
        for _ in range(3):
            assert webtest.TestApp(client).get("/x").body == b"/x"


# Several requests on one connection (FastCGI 1.0 §3.3).


def test_multiplexed_requests_run_at_the_same_time(serve: Serve, gate: Gate) -> None:
    with WebServer(serve(gate)) as client:
        ask(client, "/wait1", 1)
        ask(client, "/wait2", 2)
        ask(client, "/now", 3)
        assert answers(client, 1) == {3: b"/now"}
        gate.arrive("/wait1", "/wait2")
        gate.open("/wait2")
        assert answers(client, 1) == {2: b"/wait2"}
        gate.open("/wait1")
        assert answers(client, 1) == {1: b"/wait1"}


@pytest.mark.parametrize(("app", "told"), [(Gate(), "1"), (hello, "0")], ids=["asgi", "wsgi"])
def test_whether_it_multiplexes_is_told(serve: Serve, app: Any, told: str) -> None:
    with WebServer(serve(app, worker_model="aio")) as client:
        client.sock.sendall(encode_record(9, 0, b"\x0f\x00" + MPXS_CONNS.encode()))
        record = client.sock.recv(100)
        assert decode_pairs(record[8 : 8 + record[5]])[0] == {MPXS_CONNS: told}


def test_a_multiplexed_request_that_is_aborted_harms_no_other(serve: Serve, gate: Gate) -> None:
    server = serve(gate, limits=Limits(abort_timeout=0.05))
    with WebServer(server) as client:
        ask(client, "/wait1", 1)
        ask(client, "/wait2", 2)
        gate.arrive("/wait1", "/wait2")
        client.say(AbortRequest(1))
        assert list(answers(client, 1)) == [1]
        gate.open("/wait2")
        assert answers(client, 1) == {2: b"/wait2"}


def test_a_body_that_nobody_reads_holds_up_no_other_request(serve: Serve, gate: Gate) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await gate(scope, receive if scope["path"] == "/" else nothing, send)

    async def nothing() -> None:
        """The body is not read."""

    with WebServer(serve(app, limits=Limits(abort_timeout=0.05))) as client:
        client.say(Request(PARAMS | {"PATH_INFO": "/wait"}, 1), RequestBody(b"x", 1))
        gate.arrive("/wait")
        ask(client, "/", 2)
        client.say(*[RequestBody(b"x" * 60_000, 1)] * 20)
        ask(client, "/", 3)
        assert sorted(answers(client, 2)) == [2, 3]


def test_more_requests_on_a_connection_than_the_limit_are_refused(serve: Serve, gate: Gate) -> None:
    with WebServer(serve(gate, limits=Limits(requests_per_connection=2))) as client:
        for number in (1, 2, 3):
            ask(client, f"/wait{number}", number)
        assert answers(client, 1) == {3: b"OVERLOADED"}
        for number in (1, 2):
            gate.arrive(f"/wait{number}")
            gate.open(f"/wait{number}")
        assert len(answers(client, 2)) == 2


# Who does not read, or does not send.


class Endless:
    """An application that sends for ever, and counts what it has sent."""

    def __init__(self) -> None:
        self.sent = 0
        self.error: BaseException | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
                self.sent += 65536
        except BaseException as error:
            self.error = error
            raise


def test_sending_waits_for_a_web_server_that_does_not_read(serve: Serve) -> None:
    app = Endless()
    with WebServer(serve(app)) as client:
        client.ask()
        until(lambda: app.sent)
        before = -1
        while before < app.sent:  # until it stands still
            before = app.sent
            assert app.sent < 8 * MIB
            time.sleep(0.05)
        size = 0
        while size < 8 * MIB:
            size += len(client.sock.recv(MIB))
        until(lambda: app.sent > before)
    until(lambda: app.error)
    assert isinstance(app.error, OSError)


def test_a_response_that_nobody_takes_is_ended(serve: Serve, log: Log) -> None:
    app = Endless()
    with WebServer(serve(app, limits=Limits(send_timeout=0.05))) as client:
        client.ask()
        until(lambda: app.error)
    assert any("takes nothing since send_timeout=0.05 seconds" in line for level, line in log.lines if level == "info")


def test_a_slow_reader_gets_all_of_it(serve: Serve) -> None:
    pieces = [os.urandom(size) for size in (1, 100, 65528, 65536, 3 * MIB, 7, 700_000)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    with WebServer(serve(app)) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.ask()
        time.sleep(0.05)  # by now the socket is full
        assert client.response().body == b"".join(pieces)


def test_a_body_that_the_application_does_not_read_waits_at_the_web_server(serve: Serve, gate: Gate) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def later() -> None:
            """The gate reads nothing."""

        await gate(scope, later, send)

    with WebServer(serve(app)) as client:
        client.sock.settimeout(0.2)
        client.begin(PATH_INFO="/wait", REQUEST_METHOD="POST")
        gate.arrive("/wait")
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                client.say(RequestBody(b"x" * 60_000, 1))
        client.sock.settimeout(PATIENCE)
        gate.open()
        assert client.response().body == b"/wait"


@pytest.mark.parametrize("part", [slice(10), slice(-10)])
def test_a_request_that_stands_still_is_ended(serve: Serve, gate: Gate, log: Log, part: slice) -> None:
    with WebServer(serve(gate, limits=Limits(receive_timeout=0.05))) as client:
        client.sock.sendall(client.encode(*whole_request())[part])
        assert client.is_hung_up()
    assert any("0.05 silent seconds (receive_timeout)" in line for level, line in log.lines if level == "warning")


def test_a_body_that_stands_still_is_a_disconnect(serve: Serve, log: Log) -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while (message := await receive())["type"] == "http.request":
            assert message["more_body"]
        told.append(message["type"])

    with WebServer(serve(app, limits=Limits(receive_timeout=0.05))) as client:
        client.begin(REQUEST_METHOD="POST")
        client.say(RequestBody(b"beginning", 1))
        assert client.response().status == "400 Bad Request"
        assert client.is_hung_up()
    assert told == ["http.disconnect"]


def test_an_idle_connection_is_closed_after_keepalive_timeout(serve: Serve, gate: Gate) -> None:
    with WebServer(serve(gate, limits=Limits(keepalive_timeout=0.05))) as client:
        client.get()
        assert client.is_hung_up()


def test_bad_bytes_end_their_connection_only(serve: Serve, gate: Gate, log: Log) -> None:
    server = serve(gate, limits=Limits(abort_timeout=0.05))
    with WebServer(server) as good, WebServer(server) as bad:
        good.ask(PATH_INFO="/wait")
        bad.ask(PATH_INFO="/wait2")
        gate.arrive("/wait", "/wait2")
        bad.sock.sendall(b"\x07 is no version of FastCGI")
        assert bad.response().status == "400 Bad Request"
        assert bad.is_hung_up()
        gate.open()
        assert good.response().body == b"/wait"
    assert [line for level, line in log.lines if level == "warning" and "record version is 7, not 1" in line]


def test_who_asks_and_does_not_read_is_hung_up_on(serve: Serve, gate: Gate, log: Log) -> None:
    with WebServer(serve(gate)) as client:
        client.sock.settimeout(PATIENCE)
        with pytest.raises(OSError):
            while True:
                client.sock.sendall(encode_record(9, 0, b"\x0f\x00FCGI_MPXS_CONNS") * 1000)
    assert any("does not read the answers" in line for level, line in log.wait(count=2))


# An application that goes on and on.


def test_who_ignores_the_disconnect_is_cancelled(serve: Serve, gate: Gate, log: Log) -> None:
    server = serve(gate, limits=Limits(abort_timeout=0.05))
    with WebServer(server) as client:
        client.ask(PATH_INFO="/wait")
        gate.arrive("/wait")
    until(lambda: gate.seen == ["/wait cancelled"])
    (line,) = [line for level, line in log.lines if level == "warning"]
    assert "nobody listens since abort_timeout=0.05 seconds, and the application goes on: it is cancelled" in line
    with WebServer(server) as client:
        assert client.get().body == b"/"


def test_a_request_that_runs_too_long_is_cancelled_and_answered(serve: Serve, gate: Gate, log: Log) -> None:
    server = serve(gate, limits=Limits(request_timeout=0.1))
    with WebServer(server) as client:
        assert client.get(PATH_INFO="/wait").status == "503 Service Unavailable"
        assert client.get().body == b"/"
    (line,) = [line for level, line in log.lines if level == "error"]
    assert "runs longer than request_timeout=0.1 seconds: it is cancelled" in line and "await opened.wait()" in line


def test_with_a_heartbeat_a_long_request_is_not_ended(serve: Serve, gate: Gate) -> None:
    beats: list[int] = []
    with WebServer(serve(gate, limits=Limits(request_timeout=0.05), heartbeat=lambda: beats.append(1))) as client:
        client.ask(PATH_INFO="/wait")
        gate.arrive("/wait")
        until(lambda: len(beats) > 5)
        gate.open()
        assert client.response().body == b"/wait"


def test_sys_exit_ends_one_request(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await asyncio.sleep(0)
        raise SystemExit(1)

    server = serve(app)
    for _ in range(2):
        with WebServer(server) as client:
            assert client.get().status == "500 Internal Server Error"


# Numbers.


def test_more_connections_than_the_limit_wait(serve: Serve, gate: Gate) -> None:
    server = serve(gate, limits=Limits(connections=2))
    with WebServer(server) as one, WebServer(server) as two:
        assert one.get().body == two.get().body == b"/"
        with WebServer(server) as three:
            three.ask()
            assert three.is_quiet()
            one.close()
            assert three.response().body == b"/"


def test_without_epoll_it_serves_as_well(serve: Serve, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "make_poller", poller.SelectorPoller)
    server = serve(gate)
    with WebServer(server) as one, WebServer(server, keep_conn=False) as two:
        one.ask(PATH_INFO="/wait")
        gate.arrive("/wait")
        assert two.get().body == b"/"
        gate.open()
        assert one.response().body == b"/wait"


# Stopping.


def test_a_stopping_worker_finishes_what_runs(serve: Serve, gate: Gate) -> None:
    server = serve(gate)
    with WebServer(server) as client, WebServer(server) as idle:
        idle.get()
        client.ask(PATH_INFO="/wait")
        gate.arrive("/wait")
        assert server.worker
        server.worker.stop()
        assert idle.is_hung_up()
        gate.open()
        assert client.response().body == b"/wait"
        assert client.is_hung_up()


def test_a_stopping_worker_waits_for_what_goes_on_after_its_response(serve: Serve) -> None:
    done: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
        await asyncio.sleep(0.1)
        done.append(1)

    server = serve(app)
    with WebServer(server, keep_conn=False) as client:
        client.get()
    assert server.worker
    server.worker.stop()
    until(lambda: done)


def test_what_does_not_end_in_time_is_cancelled(serve: Serve, gate: Gate, log: Log) -> None:
    server = serve(gate, limits=Limits(graceful_timeout=0.1))
    with WebServer(server) as client:
        client.ask(PATH_INFO="/wait")
        gate.arrive("/wait")
        assert server.worker
        server.worker.stop()
        assert client.response().status == "503 Service Unavailable"
    assert ("warning", "1 calls of the application were cancelled after graceful_timeout") in log.lines


def test_after_max_requests_the_worker_stops(serve: Serve, gate: Gate, log: Log) -> None:
    server = serve(gate, max_requests=3)
    with WebServer(server) as client:
        for _ in range(3):
            assert client.get().body == b"/"
        assert client.is_hung_up()
    assert ("info", "served 3 requests (max_requests): a fresh worker takes over") in log.lines


def test_a_repr_shows_what_goes_on(serve: Serve, gate: Gate) -> None:
    server = serve(gate)
    with WebServer(server) as client:
        client.ask(PATH_INFO="/wait", REQUEST_URI="/wait")
        gate.arrive("/wait")
        worker: Any = server.worker
        until(lambda: repr(worker) == "<AioWorker serving threads=1 connections=1 calls=1>")
        (peer,) = worker.peers.values()
        (call,) = worker.calls
        assert repr(peer) == f"<AioPeer fd={peer.fd} calls=1>"
        assert repr(call) == "<Call GET /wait running>"
        gate.open()
        client.response()
        until(lambda: repr(call) == "<Call GET /wait answered>")


def test_nothing_is_left_unawaited(serve: Serve, gate: Gate) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with WebServer(serve(gate)) as client:
            assert client.get().body == b"/"


# Lifespan.


class Living:
    """An application with a lifespan of these messages; its requests tell its state."""

    def __init__(self, *answers: Any) -> None:
        self._answers = [*answers]
        self.told: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["shared"] = [1]
            for answer in self._answers:
                self.told.append((await receive())["type"])
                if answer is None:
                    await asyncio.Event().wait()
                elif isinstance(answer, BaseException):
                    raise answer
                await send(answer)
            return
        scope["state"]["own"] = True
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": repr(scope["state"]).encode()})


STARTED, SHUT = {"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}


def test_a_lifespan_surrounds_the_requests_and_gives_them_its_state(serve: Serve, log: Log) -> None:
    app = Living(STARTED, SHUT)
    server = serve(app)
    with WebServer(server) as client:
        assert client.get().body == client.get().body == b"{'shared': [1], 'own': True}"
        assert app.told == ["lifespan.startup"]
        assert server.worker
        server.worker.stop()
        until(lambda: app.told == ["lifespan.startup", "lifespan.shutdown"])
    assert log.lines == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"type": "lifespan.startup.failed", "message": "no database"}, "the application failed to start: no database"),
        ({"type": "lifespan.startup.failed"}, "the application failed to start: it does not say why"),
        (SystemExit(3), "the application failed to start: it called sys.exit(3)"),
        (None, "the application did not start within lifespan_timeout=0.1 seconds"),
    ],
    ids=["failed", "failed silently", "sys.exit()", "hangs"],
)
def test_an_application_that_does_not_start_stops_the_worker_with_the_reason(log: Log, answer: Any, told: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        limits = Limits(lifespan_timeout=0.1)
        worker = workers.build_worker(Living(answer), [(sock, "fastcgi")], limits=limits, log=log)
        with pytest.raises(StartupError, match="^" + told.replace("(", r"\(").replace(")", r"\)")):
            worker.run()


@pytest.mark.parametrize(
    ("app", "level"), [(Gate(), "info"), (Living(KeyError("why")), "warning")], ids=["unknown", "broken"]
)
def test_an_application_without_lifespan_is_served(serve: Serve, log: Log, app: Any, level: str) -> None:
    with WebServer(serve(app)) as client:
        assert client.get().status == "200 OK"
    (line,) = log.lines
    assert line[0] == level and line[1].startswith("served without lifespan: the application answered it with ")


def test_an_application_that_returns_from_its_lifespan_is_served(serve: Serve, log: Log) -> None:
    with WebServer(serve(Living())) as client:
        assert client.get().status == "200 OK"
    assert log.lines == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"type": "lifespan.shutdown.failed", "message": "no"}, "the application failed to shut down: no"),
        (None, "the application did not shut down within lifespan_timeout=0.5 seconds"),
        (STARTED, "'lifespan.startup.complete', which is no answer to what it was told (lifespan)"),
    ],
    ids=["failed", "hangs", "wrong"],
)
def test_a_shutdown_that_fails_is_logged(serve: Serve, log: Log, answer: Any, told: str) -> None:
    server = serve(Living(STARTED, answer), limits=Limits(lifespan_timeout=0.5))
    with WebServer(server) as client:
        client.get()
    assert server.worker
    server.worker.stop()
    assert told in log.wait()[0][1] and log.lines[0][0] == "error"


def test_a_worker_that_is_stopped_while_it_starts_ends(serve: Serve) -> None:
    app = Living(None)
    server = serve(app)
    until(lambda: app.told)
    assert server.worker
    server.worker.stop()


# WSGI applications.


class Held:
    """A WSGI application that waits at ``/wait``."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/wait":
            self.arrived.release()
            assert self.open.wait(PATIENCE)
        return echo(environ, start_response)


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.open.set()


def test_a_wsgi_application_runs_in_threads(serve: Serve, held: Held) -> None:
    server = serve(held, worker_model="aio", threads=2)
    with WebServer(server) as one, WebServer(server) as two, WebServer(server) as three:
        one.ask(b"one", PATH_INFO="/wait")
        assert held.arrived.acquire(timeout=PATIENCE)
        assert two.get(b"two").body == b"two"
        two.ask(b"2", PATH_INFO="/wait")
        assert held.arrived.acquire(timeout=PATIENCE)
        three.ask(b"three")
        assert three.is_quiet()  # there are no more threads than two
        held.open.set()
        assert [client.response().body for client in (one, two, three)] == [b"one", b"2", b"three"]


def test_a_wsgi_application_has_a_big_body_and_kept_connections(serve: Serve) -> None:
    with WebServer(serve(echo, worker_model="aio", limits=Limits(body_buffer=1000))) as client:
        for size in (0, 10, 1_000_000):
            client.ask(b"x" * size)
            assert len(client.response().body) == size


def test_a_stopping_worker_finishes_a_wsgi_application(serve: Serve, held: Held) -> None:
    server = serve(held, worker_model="aio")
    with WebServer(server) as client:
        client.ask(PATH_INFO="/wait")
        assert held.arrived.acquire(timeout=PATIENCE)
        assert server.worker
        server.worker.stop()
        held.open.set()
        assert client.response().status == "200 OK"


def test_pipelined_requests_of_a_wsgi_application_are_answered(serve: Serve) -> None:
    server = serve(echo, worker_model="aio", protocol="http")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(server.address)
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" * 20)
        data = b""
        while data.count(b"abc") < 20:
            data += client.recv(65536)


# Which worker it is.


def test_the_usual_model_follows_from_the_application() -> None:
    assert (workers.choose(hello), workers.choose(Gate())) == (("wsgi", "threads"), ("asgi", "aio"))


def test_the_threads_model_does_not_serve_asgi_and_says_what_does() -> None:
    with pytest.raises(ConfigError, match="worker model threads serves no ASGI applications; use fork or aio"):
        workers.choose(Gate(), model="threads")


def test_idle_connections_are_cheap(serve: Serve, gate: Gate) -> None:
    """So many that a transport, a buffer or a task for each would show; benchmarks/idle.py has 5,000."""
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * count), hard), hard))
    server = serve(gate, process=True)

    def resident() -> int:
        with open(f"/proc/{server.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    with ExitStack() as clients:
        for _ in range(20):
            clients.enter_context(WebServer(server)).get()
        before = resident()
        for _ in range(count):
            clients.enter_context(WebServer(server)).get()
        assert (resident() - before) / count < 30 * 1024
