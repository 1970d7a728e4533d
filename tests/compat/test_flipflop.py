"""flipflop's documented script, beside flipflop itself where it is installed."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.client import Client
from tests.compat.scripts import COMPAT, DISPATCH, body_of, environment_of, run
from tests.requirements import require_module


@contextmanager
def spawned(folder: Path, by: Sequence[str] = COMPAT) -> Iterator[Client]:
    """As spawn-fcgi does it: the socket is descriptor 0."""
    path = str(folder / "s")
    command = [*by, str(DISPATCH / "flipflop.fcgi")]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with subprocess.Popen(command, env=environment_of(folder), stdin=listener) as process:
            try:
                with Client(f"fastcgi://{path}", pool_size=0, timeout=30) as client:
                    yield client
            finally:
                process.terminate()
                Path(path).unlink()
    assert process.returncode == 0


def test_the_visitor_gets_what_flipflop_gives(tmp_path: Path) -> None:
    require_module("flipflop", package="flipflop")
    said = []
    for by in (COMPAT, (sys.executable,)):
        with spawned(tmp_path, by) as client:
            said.append([client.request("POST", "/a", body=b"\xff"), client.request("GET", "/fail")[0]])
    assert said[0] == said[1]


def test_it_serves_the_socket_that_it_is_handed(tmp_path: Path) -> None:
    with spawned(tmp_path) as client:
        assert client.request("POST", "/a", body=b"and a body")[2] == b"POST /a\nand a body"


def test_an_error_is_a_page(tmp_path: Path) -> None:
    with spawned(tmp_path) as client:
        assert client.request("GET", "/fail")[:2] == (
            "500 Internal Server Error", [("Content-Type", "text/html"), ("Content-Length", "146")]
        )  # fmt: skip


def test_without_a_socket_it_is_a_cgi_program(tmp_path: Path) -> None:
    assert body_of(run("flipflop.fcgi", directory=tmp_path)) == "GET /\n"


def test_it_is_constructed_with_the_application_alone() -> None:
    from gateway.compat.flipflop import WSGIServer

    with pytest.raises(TypeError, match="bindAddress"):
        WSGIServer(print, bindAddress="/run/s")
