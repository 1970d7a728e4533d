"""A new wire is its own file and one row in the registry: everything else takes it as it takes ours."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gateway
from gateway.address import connect, parse_connect
from gateway.client import Client
from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    WEB_SERVER,
    AbortRequest,
    EndOfRequest,
    EndOfResponse,
    Event,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.limits import Limits
from gateway.protocols import WIRES
from gateway.testing import ConnectionPair
from gateway.testing.conformance import cases_for, make_application, run_conformance
from tests import house
from tests.masters import Master
from tests.serving import PATIENCE, PLAIN, WORKERS, Log, Serve, echo, until
from tests.toy_wire import Connection, netstring
from tests.wsgi_calls import ask

pytestmark = pytest.mark.usefixtures("unmeasured_children")

ROW = "from gateway.protocols import WIRES; WIRES['toy'] = 'tests.toy_wire'\n"
"""The row, for other processes."""
HEAD = netstring(b'{"REQUEST_METHOD": "POST", "PATH_INFO": "/"}')
WHOLE = HEAD + netstring(b"body") + netstring(b"")
HEARD: list[Event] = [Request({"REQUEST_METHOD": "POST", "PATH_INFO": "/"}), RequestBody(b"body"), EndOfRequest()]


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WIRES, "toy", "tests.toy_wire")


# What its row gives it.


def test_nothing_of_ours_knows_it() -> None:
    assert [module for module, source in house.modules() if "toy" in source] == []


@pytest.mark.parametrize("worker", WORKERS)
def test_every_worker_conforms(serve: Serve, worker: str) -> None:
    with Client(serve(make_application(), protocol="toy", **WORKERS[worker]).url) as client:
        assert str(client.address).startswith("toy://")
        run_conformance(client, cases_for("toy"))


def test_a_connection_is_kept(serve: Serve) -> None:
    with Client(serve(echo, protocol="toy").url) as client:
        assert [client.request("GET", "/", body=body)[2] for body in (b"one", b"two")] == [b"one", b"two"]
        assert repr(client).endswith("idle=1/8>")


def test_serve_takes_its_url(tmp_path: Path, nothing_left_over: object) -> None:
    program = ROW + f"import gateway\nfrom tests.serving import echo\ngateway.serve(echo, 'toy://{tmp_path}/socket')"
    server = subprocess.Popen([sys.executable, "-c", program], cwd=house.ROOT, stderr=subprocess.DEVNULL)
    try:
        with gateway.Client(f"toy://{tmp_path}/socket") as client:
            until(lambda: client.request("POST", "/", body=b"body")[2] == b"body", timeout=2 * PATIENCE)
        server.send_signal(signal.SIGTERM)
        assert server.wait(2 * PATIENCE) == 0
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("words", [("--protocol", "toy", "-b", "unix:s"), ("-b", "toy://unix:s")], ids=" ".join)
def test_fcgi_run_takes_its_name(tmp_path: Path, nothing_left_over: object, words: tuple[str, ...]) -> None:
    program = ("-c", f"{ROW}from gateway.cli.fcgi_run import main; main()")
    with Master(tmp_path, *words, program=program) as master:
        master.ready()
        assert master.ask("/page", url=f"toy://{master.socket}", body=b"four")["body"] == 4
        assert master.stop() == 0


@pytest.mark.parametrize(
    ("words", "said"), [(("call", "-d", "body"), b"body"), (("ping",), b" answers in ")], ids=["call", "ping"]
)
def test_the_commands_take_its_url(serve: Serve, words: tuple[str, ...], said: bytes) -> None:
    program = f"{ROW}from gateway.cli.main import main; main()"
    words = (*words, serve(echo, protocol="toy").url)
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=house.ROOT, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert said in done.stdout


# What its file does.


def test_both_sides_understand_each_other() -> None:
    pair = ConnectionPair("toy")
    assert pair.ask(*HEARD) == HEARD
    answer = [Response("200 OK", [PLAIN]), ResponseBody(b"body"), EndOfResponse()]
    assert pair.answer(*answer) == answer
    assert pair.ask(*HEARD) == HEARD


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_a_request_may_come_in_two_parts(cut: int) -> None:
    connection = Connection(APPLICATION)
    heard: list[Event] = []
    for part in (WHOLE[:cut], WHOLE[cut:]):
        connection.receive_data(part)
        heard += connection.events()
    assert heard == HEARD


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_a_request_that_ends_too_early_is_refused_or_given_up(cut: int) -> None:
    connection = Connection(APPLICATION)
    connection.receive_data(WHOLE[:cut])
    if cut < len(HEAD):
        with pytest.raises(RemoteProtocolError, match="toy: the peer closed the connection within a message"):
            connection.receive_eof()
    else:
        connection.receive_eof()
        assert connection.events()[-1] == AbortRequest()
    assert not connection.reusable


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"GET / HTTP/1.1", r"b'GET / HTTP' is not the length of a netstring \(at byte 0\)"),
        (b"01:", r"b'01' is not the length of a netstring \(at byte 0\)"),
        (b"1:{;", r"a netstring of 1 bytes does not end in a comma \(at byte 0\)"),
        (b"2:[],", r"the head is no JSON object of latin-1 strings: .* \(at byte 5\)"),
        (b'8:{"A": 1},', r"the head is no JSON object of latin-1 strings: .* \(at byte 11\)"),
        (HEAD + b"70000:", rf"a chunk has 70000 bytes, more than 65536 \(at byte {len(HEAD)}\)"),
    ],
)
def test_a_broken_rule_is_named(data: bytes, rule: str) -> None:
    connection = Connection(APPLICATION)
    connection.receive_data(data)
    with pytest.raises(RemoteProtocolError, match=f"^toy: {rule}$"):
        connection.events()
    assert b"".join(connection.data_to_send()).startswith(b"53:Status: 400 Bad Request\r\n")


@pytest.mark.parametrize(("name", "most"), [("params_size", 9), ("params_count", 1)])
def test_a_limit_is_named(name: str, most: int) -> None:
    connection = Connection(APPLICATION, limits=Limits(**{name: most}))
    connection.receive_data(WHOLE)
    with pytest.raises(LimitExceeded) as caught:
        connection.events()
    assert caught.value.limit == name


def test_an_answer_that_nobody_asked_for_is_refused() -> None:
    connection = Connection(WEB_SERVER)
    connection.receive_data(netstring(b"Status: 200 OK\r\n"))
    with pytest.raises(RemoteProtocolError, match="nobody asked for"):
        connection.events()


def test_who_speaks_out_of_turn_is_told() -> None:
    with pytest.raises(LocalProtocolError, match=r"ResponseBody does not fit <toy.Connection APPLICATION hears=head"):
        Connection(APPLICATION).send(ResponseBody(b"body"))


def test_over_a_socket_a_broken_rule_is_logged_once(serve: Serve, log: Log) -> None:
    server = serve(echo, protocol="toy")
    with connect(parse_connect(server.url), timeout=PATIENCE) as sock:
        sock.sendall(b"noise")
        assert sock.recv(1000).startswith(b"53:Status: 400 Bad Request\r\n")
    ((level, line),) = log.lines
    assert level == "warning" and line.endswith("toy: b'noise' is not the length of a netstring (at byte 0)")
    with Client(server.url) as client:
        assert ask(client, body=b"next", REQUEST_METHOD="POST").body == b"next"
