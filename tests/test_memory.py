"""What passes through a worker does not stay in it: its peak memory, from the kernel, during large transfers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.events import EndOfRequest, RequestBody
from gateway.script import CGIDirectory
from gateway.testing import Server
from tests.serving import PLAIN, Serve, WebServer

MIB = 1024 * 1024
SIZE = 1024 * MIB
THROUGH_A_PROGRAM = 200 * MIB
ALLOWED = 8 * MIB
BLOCK = bytes(65528)

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel shows no /proc/PID/status")


def transfers(environ: Any, start_response: Any) -> Iterator[bytes]:
    """Counts the body, or gives a large one."""
    start_response("200 OK", [PLAIN])
    if environ["REQUEST_METHOD"] == "POST":
        count = 0
        while block := environ["wsgi.input"].read(65536):
            count += len(block)
        yield str(count).encode()
    elif environ["PATH_INFO"] == "/large":
        for _ in range(SIZE // MIB):
            yield bytes(MIB)


def memory(server: Server, what: str) -> int:
    """A line of the server's /proc/PID/status, in bytes: VmRSS is now, VmHWM the peak."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {what} in /proc/{server.pid}/status")


def send_body(client: WebServer, size: int) -> None:
    """The body of a request that has begun, to its end."""
    while size:
        block = BLOCK[:size]
        client.say(RequestBody(block, 1))
        size -= len(block)
    client.say(EndOfRequest(1))


def size_of_answer(client: WebServer) -> int:
    """How many bytes come until the server hangs up."""
    return sum(map(len, iter(lambda: client.sock.recv(MIB), b"")))


@pytest.fixture(params=[1, 2], ids=["threads=1", "threads=2"])
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    return serve(transfers, process=True, threads=request.param)


def test_a_large_upload_does_not_stay(server: Server) -> None:
    with WebServer(server) as client:
        client.get(b"warm up")
        before = memory(server, "VmRSS")
        client.begin(REQUEST_METHOD="POST")
        send_body(client, SIZE)
        assert client.response().body == str(SIZE).encode()
        assert memory(server, "VmHWM") - before < ALLOWED


def test_a_large_download_does_not_stay(server: Server) -> None:
    with WebServer(server, keep_conn=False) as client:
        client.ask(PATH_INFO="/large")
        before = memory(server, "VmRSS")
        assert size_of_answer(client) > SIZE
        assert memory(server, "VmHWM") - before < ALLOWED


class TestThroughAProgram:
    """A CGI program is one more pipe on the way."""

    @pytest.fixture(params=["wsgi", "asgi"])
    def server(self, serve: Serve, tmp_path: Path, request: pytest.FixtureRequest) -> Server:
        for name, command in {"count": "wc -c", "large": f"head -c {THROUGH_A_PROGRAM} /dev/zero"}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\necho Content-Type: text/plain; echo; exec {command}\n")
            (tmp_path / name).chmod(0o755)
        app = CGIDirectory(tmp_path)
        return serve(app if request.param == "wsgi" else app.asgi, process=True)

    @pytest.mark.parametrize("length", [{}, {"CONTENT_LENGTH": str(THROUGH_A_PROGRAM)}], ids=["unknown", "known"])
    def test_a_large_upload_does_not_stay(self, server: Server, length: dict[str, str]) -> None:
        with WebServer(server) as client:
            client.get(b"warm up", PATH_INFO="/count")
            before = memory(server, "VmRSS")
            client.begin(REQUEST_METHOD="POST", PATH_INFO="/count", **length)
            send_body(client, THROUGH_A_PROGRAM)
            assert int(client.response().body) == THROUGH_A_PROGRAM
            assert memory(server, "VmHWM") - before < ALLOWED

    def test_a_large_download_does_not_stay(self, server: Server) -> None:
        with WebServer(server, keep_conn=False) as client:
            client.ask(PATH_INFO="/large")
            before = memory(server, "VmRSS")
            assert size_of_answer(client) > THROUGH_A_PROGRAM
            assert memory(server, "VmHWM") - before < ALLOWED
