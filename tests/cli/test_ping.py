"""``gateway ping``: a line and an exit status that tell whether a server answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import main
from gateway.testing import Server, serve_in_thread

WIRES = ["fastcgi", "scgi", "uwsgi", "ajp", "http"]


def application(environ: Any, start_response: Any) -> list[bytes]:
    """A status for each path; and the root is broken."""
    statuses = {"/health": "204 No Content", "/": "500 Internal Server Error", "/named": environ.get("HTTP_X_STATUS")}
    start_response(statuses.get(environ["PATH_INFO"]) or "404 Not Found", [])
    return []


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    """One for each wire."""
    with ExitStack() as stack:
        yield {wire: stack.enter_context(serve_in_thread(application, protocol=wire)) for wire in WIRES}


@pytest.fixture(params=WIRES)
def url(request: pytest.FixtureRequest, servers: dict[str, Server]) -> str:
    return servers[request.param].url


def ping(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["ping", *arguments])


@pytest.mark.parametrize("wire", ["fastcgi", "ajp"])
def test_a_wire_with_a_question_of_its_own_asks_no_application(servers: dict[str, Server], wire: str) -> None:
    result = ping(servers[wire].url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{servers[wire].url} answers in ")
    assert ("FCGI_MAX_CONNS 10000" in result.stdout) == (wire == "fastcgi")


@pytest.mark.parametrize("wire", ["scgi", "uwsgi", "http"])
def test_the_other_wires_ask_for_the_head_of_the_root(servers: dict[str, Server], wire: str) -> None:
    result = ping(servers[wire].url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"gateway ping: {servers[wire].url}: HEAD /: 500 Internal Server Error\n"


def test_a_path_is_asked_for_on_any_wire(url: str) -> None:
    result = ping("--path", "/health", url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith(" ms: status 204 No Content\n")


def test_a_path_may_follow_the_port() -> None:
    with serve_in_thread(application, protocol="http", tcp=True) as server:
        assert ping(f"{server.url}/health").stdout.endswith(" ms: status 204 No Content\n")
        assert "HEAD /: 500" in ping(f"{server.url}/").stderr


def test_a_path_that_is_not_there_is_no_answer(url: str) -> None:
    result = ping("--path", "/missing", url)
    assert (result.exit_code, "HEAD /missing: 404 Not Found" in result.stderr) == (1, True)


def test_a_param_goes_with_the_path(servers: dict[str, Server]) -> None:
    assert ping("--path", "/named", "--param", "HTTP_X_STATUS=200 Fine", servers["scgi"].url).exit_code == 0


@pytest.mark.parametrize("wire", WIRES)
def test_nobody_at_the_address_is_1(wire: str, tmp_path: Path) -> None:
    result = ping(f"{wire}://{tmp_path}/none.sock")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is the server running, and listening there?" in result.stderr


@pytest.mark.parametrize("wire", WIRES)
def test_a_server_that_says_nothing_is_1(wire: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/deaf.sock")
        listener.listen()
        result = ping("--timeout", "0.1", f"{wire}://{tmp_path}/deaf.sock")
    assert (result.exit_code, "nothing moved for 0.1 s" in result.stderr) == (1, True)
    assert ("do not know GET_VALUES: try --path /" in result.stderr) == (wire == "fastcgi")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Missing argument 'URL'"),
        (("gopher://127.0.0.1:70",), "no wire is called 'gopher'"),
        (("--timeout", "0", "ajp:///x.sock"), "0.0 is not in the range"),
        (("--path", "health", "ajp:///x.sock"), "the path 'health' does not begin with /"),
        (("--param", "NAME", "ajp:///x.sock"), "is not NAME=VALUE"),
    ],
)
def test_wrong_usage_is_2(arguments: tuple[str, ...], complaint: str) -> None:
    result = ping(*arguments)
    assert (result.exit_code, complaint in result.stderr) == (2, True), result.stderr
