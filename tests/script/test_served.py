"""CGIDirectory under a server: what a visitor does to a program that runs for them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gateway.address import connect, parse_connect
from gateway.script import CGIDirectory
from gateway.testing import Server
from tests.script.conftest import Program
from tests.serving import Serve, until

HEAD = "echo Content-Type: text/plain; echo;"


@pytest.fixture
def server(serve: Serve, program: Program, tmp_path: Path) -> Server:
    """HTTP, with threads."""
    program(HEAD + "echo $$; exec yes", name="endless.cgi")
    program(HEAD + 'echo "$CONTENT_LENGTH ${HTTP_TRANSFER_ENCODING-none}"; cat', name="echo.cgi")
    program("cat > /dev/null; touch finished", name="upload.cgi")
    return serve(CGIDirectory(tmp_path), protocol="http", threads=4)


def ask(server: Server, request: bytes) -> socket.socket:
    visitor = connect(parse_connect(server.url), timeout=10)
    visitor.sendall(request)
    return visitor


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_program_ends_when_its_visitor_goes(server: Server) -> None:
    with ask(server, b"GET /endless.cgi HTTP/1.0\r\n\r\n") as visitor, visitor.makefile("rb") as response:
        while response.readline().strip():
            pass
        pid = int(response.readline())
        assert not has_ended(pid)
    assert until(lambda: has_ended(pid), timeout=10)


def test_an_upload_in_chunks_gets_a_length(server: Server) -> None:
    request = b"POST /echo.cgi HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with ask(server, request + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n") as visitor, visitor.makefile("rb") as response:
        answer = response.read()
    assert b"6 none\n" in answer
    assert b"onetwo" in answer


def test_a_broken_upload_does_not_look_whole(server: Server, tmp_path: Path) -> None:
    with ask(server, b"POST /upload.cgi HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n") as visitor:
        visitor.sendall(bytes(20_000_000))  # more than is kept before the program starts
        visitor.shutdown(socket.SHUT_WR)
        with visitor.makefile("rb") as response:
            response.read()
    assert not (tmp_path / "finished").exists()
