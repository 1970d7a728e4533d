"""``gateway doctor URL``: what is wrong with a running server, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import main
from gateway.testing import serve_in_thread
from tests.upstreams import WIRES, Answer, Peer, Upstream, hang_up, wait

pytestmark = pytest.mark.usefixtures("nothing_left_over")

Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """A server that says what the test wants, as a URL."""

    @contextmanager
    def serving(answer: Answer, *, wire: str = "scgi") -> Iterator[str]:
        upstream = Upstream(tmp_path / "s", answer, wire)
        try:
            yield upstream.url
        finally:
            upstream.stop()

    return serving


def say(text: str) -> Answer:
    """Read the request, and give this response, byte by byte as it is; on SCGI hanging up ends it."""

    def answer(peer: Peer) -> None:
        peer.body()
        peer.write(text.replace("\n", "\r\n").encode())
        raise EOFError

    return answer


def doctor(*words: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *words])


FAULTS = {
    "404": (
        "Status: 404 Not Found\nContent-Type: text/plain\n\n",
        "it answers 404 Not Found: correct the path, or where the application is mounted",
    ),
    "500": (
        "Status: 500 Oops\nContent-Type: text/plain\n\n",
        "it answers 500 Oops: read its error log; if a script answers there: gateway doctor SCRIPT",
    ),
    "502": (
        "Status: 502 Bad Gateway\nContent-Type: text/plain\n\n",
        "it answers 502 Bad Gateway: see that the application behind the front end runs, and that the front end may "
        "connect to it",
    ),
    "418": (
        "Status: 418 Teapot\n\n", "it answers 418 Teapot: ask it for what it expects, or read its error log"
    ),
    "no Content-Type": (
        "Status: 200 OK\n\nbody", "its response has no Content-Type: send Content-Type: text/html; charset=utf-8"
    ),
    "no media type": (
        "Status: 200 OK\nContent-Type: html\n\nbody",
        "its Content-Type 'html' is no media type: send text/html; charset=utf-8, or what it is",
    ),
    "no charset": (
        "Status: 200 OK\nContent-Type: text/html\n\nZo\xeb",
        "its text/html is not ASCII, and no charset is named: send Content-Type: text/html; charset=utf-8",
    ),
    "two types": (
        "Status: 200 OK\nContent-Type: text/html\nContent-Type: text/plain\n\nbody",
        "its header Content-Type comes more than once, as text/html and text/plain: send one; a front end may add "
        "another",
    ),
    "redirect to nowhere": (
        "Status: 302 Found\n\n", "it answers 302 Found without a Location: send Location: and where to go"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_a_response_is_one_line(serving: Serving, text: str, line: str) -> None:
    with serving(say(text)) as url:
        result = doctor(url)
    assert (result.output, result.exit_code) == (f"{url}: {line}\n", 1)


def test_one_that_is_cut_short_says_where(serving: Serving) -> None:
    with serving(say("Status: 200 OK\nContent-Type: text/plain\nContent-Length: 9\n\nfour")) as url:
        result = doctor(url)
    assert re.fullmatch(
        rf"{url}: its (response is cut short after 4 bytes \(.*\)|Content-Length is 9, but 4 bytes came): .*\n",
        result.output,
    )


def test_a_server_that_hangs_up_gives_no_response(serving: Serving) -> None:
    with serving(hang_up) as url:
        result = doctor(url)
    assert result.output.startswith(f"{url}: it gives no response: ")
    assert result.output.endswith(f": see what it says: gateway call -v {url}\n")
    assert result.exit_code == 1


def test_a_server_that_says_nothing_is_not_waited_for(serving: Serving) -> None:
    with serving(wait) as url:
        result = doctor("--timeout", "0.1", url)
    assert result.output == f"{url}: it says nothing in time: see what it waits for, or give it longer (--timeout)\n"


def test_a_slow_one_is_told_so(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.doctor_url.SLOW", 0.0)
    with serving(say("Status: 204 No Content\n\n")) as url:
        result = doctor(url)
    assert re.fullmatch(
        rf"{url}: it is slow: \d\.\d s until its head came: see what it does first; if it starts a program each time: "
        r"execution='fork', or fcgi-run\n",
        result.output,
    )


def test_nobody_there_is_told_with_the_reason(tmp_path: Path) -> None:
    url = f"fastcgi://{tmp_path}/nothing"
    result = doctor(url)
    assert result.output.startswith(f"{url}: cannot connect to {url[:10]}")
    assert result.output.endswith("start the server, or correct the URL\n")
    assert result.exit_code == 1


def test_a_socket_that_may_not_be_used_names_the_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gateway.client.connect", refuse)
    url = f"fastcgi://{tmp_path}/s"
    result = doctor(url)
    assert result.output == f"{url}: Permission denied: fcgi-run --socket-mode 660, and join the group of its socket\n"


@pytest.mark.parametrize("wire", WIRES)
def test_a_healthy_server_is_told_so_on_any_wire(wire: str) -> None:
    def app(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        assert environ["PATH_INFO"] == "/"
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return ["Zo\xeb".encode()]

    with serve_in_thread(app, protocol=wire) as server:
        result = doctor(server.url)
    hint = "To see what .*gateway.cli.echo:application.*\n" if wire == "http" else ""
    assert re.fullmatch(rf"{server.url}: 200 OK, 4 bytes in \d+\.\d ms; nothing is wrong\n{hint}", result.output)
    assert result.exit_code == 0


def test_a_path_may_follow_the_port() -> None:
    def app(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode(), environ["HTTP_HOST"].encode()]

    with serve_in_thread(app, protocol="http", tcp=True) as server:
        result = doctor(f"{server.url}/a%20b")
    size = len(f"/a b{server.url[7:]}")
    assert f"/a%20b: 200 OK, {size} bytes in" in result.output


@pytest.mark.parametrize("url", ["gopher://127.0.0.1:70", "http://"])
def test_a_url_of_no_wire_is_wrong_usage(url: str) -> None:
    assert doctor(url).exit_code == 2
