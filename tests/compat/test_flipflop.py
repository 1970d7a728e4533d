"""flipflop's documented script, beside flipflop itself where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway.compat.flipflop import WSGIServer
from tests.compat.scripts import COMPAT, body_of, run, spawned
from tests.requirements import require_module


def test_the_visitor_gets_what_flipflop_gives(tmp_path: Path) -> None:
    require_module("flipflop", package="flipflop")
    said = []
    for by in (COMPAT, (sys.executable,)):
        with spawned("flipflop.fcgi", directory=tmp_path, by=by) as (_, client):
            said.append([client.request("POST", "/a", body=b"\xff"), client.request("GET", "/fail")[0]])
    assert said[0] == said[1]


def test_it_serves_the_socket_that_it_is_handed(tmp_path: Path) -> None:
    with spawned("flipflop.fcgi", directory=tmp_path) as (_, client):
        assert client.request("POST", "/a", body=b"and a body")[2] == b"POST /a\nand a body"


def test_an_error_is_a_page(tmp_path: Path) -> None:
    with spawned("flipflop.fcgi", directory=tmp_path) as (_, client):
        assert client.request("GET", "/fail")[:2] == (
            "500 Internal Server Error", [("Content-Type", "text/html"), ("Content-Length", "146")]
        )  # fmt: skip


def test_without_a_socket_it_is_a_cgi_program(tmp_path: Path) -> None:
    assert body_of(run("flipflop.fcgi", directory=tmp_path)) == "GET /\n"


def test_it_is_constructed_with_the_application_alone() -> None:
    with pytest.raises(TypeError, match="bindAddress"):
        WSGIServer(print, bindAddress="/run/s")
