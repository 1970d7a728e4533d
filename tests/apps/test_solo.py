"""An ASGI application that answers one request: as a CGI program, and in the children of the fork worker."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.events import EndOfRequest, RequestBody
from gateway.limits import Limits
from tests.house import ROOT
from tests.imports import modules_imported
from tests.serving import Log, Serve, WebServer, until

PROGRAM = """\
import asyncio
import gateway

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if FAILS:
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        scope["state"]["begun"] = True
        print("begun", flush=True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("over")
        await send({"type": "lifespan.shutdown.complete"})
        return
    size, more = 0, True
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    waiting = asyncio.create_task(receive())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    told = f"{scope['root_path']} {scope['path']} {scope['state']} {size} {ticks > 10}"
    await send({"type": "http.response.body", "body": told.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b", end"})
    assert await waiting == {"type": "http.disconnect"}
    ticking.cancel()

gateway.run(application)
"""
CGI = {
    "PYTHONPATH": str(ROOT), "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/app.cgi",
    "PATH_INFO": "/page", "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
}  # fmt: skip


def command(*, fails: bool = False, dev: bool = True) -> list[str]:
    """The CGI program; a warning of asyncio's is an error."""
    options = ["-X", "dev", "-W", "error"] if dev else []
    return [sys.executable, *options, "-c", PROGRAM.replace("FAILS", str(fails))]


def cgi(stdin: Any, **params: str) -> subprocess.CompletedProcess[bytes]:
    """Run it as a web server does."""
    return subprocess.run(command(), env=CGI | params, stdin=stdin, capture_output=True, timeout=30)


def told(done: subprocess.CompletedProcess[bytes]) -> bytes:
    return done.stdout.partition(b"\r\n\r\n")[2]


def test_an_asgi_application_is_a_cgi_program_with_a_lifespan_around_its_request() -> None:
    done = cgi(subprocess.DEVNULL)
    assert done.stdout.startswith(b"Status: 200 OK\r\ncontent-type: text/plain\r\n\r\n")
    assert told(done) == b"/app.cgi /app.cgi/page {'begun': True} 0 False, end"
    assert (done.returncode, done.stderr) == (0, b"begun\nover\n")


def test_its_body_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x" * 200_000)
    with open(tmp_path / "body", "rb") as file:
        assert b" 200000 " in told(cgi(file, CONTENT_LENGTH="200000"))


def test_its_body_may_come_slowly_and_holds_up_nothing_else() -> None:
    process = subprocess.Popen(
        command(), env=CGI | {"CONTENT_LENGTH": "6"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stderr
    assert process.stderr.readline() == b"begun\n"
    for _ in range(3):
        process.stdin.write(b"xx")
        process.stdin.flush()
        time.sleep(0.1)
    output, _ = process.communicate(timeout=30)
    assert b" 6 True, end" in output


def test_a_body_without_a_length_ends_with_the_input() -> None:
    env = CGI | {"HTTP_TRANSFER_ENCODING": "chunked"}
    done = subprocess.run(command(), env=env, input=b"x" * 100_000, capture_output=True, timeout=30)
    assert b" 100000 " in told(done)


def test_a_startup_that_fails_is_answered_with_500_and_told_on_stderr() -> None:
    done = subprocess.run(command(fails=True), env=CGI, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert done.stdout.startswith(b"Status: 500 Internal Server Error\r\n")
    assert done.stderr == b"gateway: the application failed to start: no database\n"


def test_a_wsgi_application_does_not_pay_for_asyncio() -> None:
    program = "import gateway\ngateway.run(lambda environ, start_response: [start_response('200 OK', []), b''][1:])"
    imported = modules_imported([sys.executable, "-c", program], env=CGI)
    assert "gateway.apps.wsgi" in imported
    assert not {"asyncio", "inspect", "gateway.apps.asgi", "gateway.scope", "http"} & imported


# The fork model.


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Echoes, and tells how often it was started."""
    if scope["type"] == "lifespan":
        scope["state"]["starts"] = scope["state"].get("starts", 0) + 1
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": True})
    await send({"type": "http.response.body", "body": f" {scope['state']}".encode()})


@pytest.fixture
def fork(serve: Serve) -> Any:
    return lambda **options: serve(application, worker_model="fork", **options)


def test_each_child_has_a_loop_and_a_lifespan_of_its_own(fork: Any) -> None:
    with WebServer(fork()) as client:
        assert [client.get(data).body for data in (b"one", b"two")] == [b"one {'starts': 1}", b"two {'starts': 1}"]


def test_a_body_that_is_too_long_to_wait_for_is_streamed(fork: Any) -> None:
    with WebServer(fork(limits=Limits(body_buffer=4, body_memory=3))) as client:
        client.begin(REQUEST_METHOD="POST")
        client.say(RequestBody(b"first, ", 1))
        until(lambda: type(client.hear()).__name__ == "Response")
        client.say(RequestBody(b"second", 1), EndOfRequest(1))
        assert client.response().body == b"first, second {'starts': 1}"


def test_a_body_that_stands_still_is_given_up(fork: Any, log: Log) -> None:
    with WebServer(fork(limits=Limits(body_buffer=4, receive_timeout=0.1))) as client:
        client.begin(REQUEST_METHOD="POST")
        client.say(RequestBody(b"first, ", 1))
        with pytest.raises(EOFError):
            client.response()
    assert any("the web server gave the request up" in line for _, line in log.lines)
