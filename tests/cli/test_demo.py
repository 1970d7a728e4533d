"""``gateway demo``: its front door on its own, and the whole, with its processes, from start to Ctrl-C."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import demo, ports
from gateway.cli.demo_door import Door
from gateway.errors import ConfigError, RemoteProtocolError
from tests.house import ROOT
from tests.leftovers import Leftovers
from tests.wsgi_calls import ask

pytestmark = [
    pytest.mark.usefixtures("nothing_left_over"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]

MODELS = ("cgi", "fork", "fastcgi")


def wait_until(condition: Callable[[], Any], *, what: str, seconds: float = 20.0) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return value


class Demo:
    """A demo in a session and a temporary directory of its own, by which everything it starts can be told."""

    def __init__(self, folder: str, *arguments: str, **environ: str) -> None:
        self.folder = folder
        self._output = Path(folder, "output")
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "demo", *(arguments or ("--port", "0"))], cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": folder, **environ},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: "curl" in self.output or self.process.poll() is not None, what="the demo to start")
        found = re.search(r"http://127\.0\.0\.1:(\d+)/ ", self.output)
        assert found, self.output
        self.port = int(found[1])
        self.ask("fastcgi")  # now its front door has all its processes
        self.began = time.monotonic()

    @property
    def output(self) -> str:
        return self._output.read_text()

    def get(self, path: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode()
        finally:
            connection.close()

    def ask(self, model: str) -> dict[str, int]:
        status, _, body = self.get(f"/{model}/")
        assert status == 200, self.output
        answer: dict[str, int] = json.loads(body)
        return answer

    def processes(self) -> list[int]:
        """Every living process that has inherited this demo's temporary directory, a CGI program too."""
        mark, found = f"TMPDIR={self.folder}\0".encode(), []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                if mark in Path("/proc", name, "environ").read_bytes():
                    found.append(int(name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it ended just now, or is none of ours
        return found

    def sockets(self) -> list[str]:
        return [path.name for path in Path(self.folder).rglob("*.sock")]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def folder() -> Iterator[str]:
    # pytest's own directories have long names, and the path of a unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="d-") as name:
        yield name


@pytest.fixture(scope="module")
def shared() -> Iterator[Demo]:
    """One demo for the tests that do no harm to it."""
    with tempfile.TemporaryDirectory(prefix="d-") as name:
        started = Demo(name)
        yield started
        started.stop()


@pytest.fixture
def own(nothing_left_over: Leftovers, folder: str) -> Iterator[Demo]:
    """A demo for one test."""
    started = Demo(folder)
    yield started
    if started.process.poll() is None:
        started.stop()


class TestWhatItPrints:
    def test_is_the_address_and_how_to_stop_it_and_what_to_try(self, shared: Demo) -> None:
        url = f"http://127.0.0.1:{shared.port}/"
        assert shared.output.splitlines() == [
            f"One application, three ways: {url}  (Ctrl-C stops it)",
            f"Ask it again and again: curl {url}{{cgi,fork,fastcgi}}/",
        ]

    def test_names_the_next_port_if_the_wished_one_is_in_use(self, folder: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            started = Demo(folder, "--port", str(port))
            started.stop()
        assert port < started.port < port + ports.PORTS
        assert f"Port {port} is in use; {started.port} is the next free one." in started.output

    def test_says_so_if_all_ports_nearby_are_in_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ports, "PORTS", 1)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            servers = demo.running(taken.getsockname()[1])
            with pytest.raises(ConfigError, match="choose another with --port"):
                servers.__enter__()


class TestModels:
    @pytest.mark.parametrize("model", ["cgi", "fork"])
    def test_each_request_has_a_process_of_its_own(self, shared: Demo, model: str) -> None:
        answers = [shared.ask(model) for _ in range(3)]
        assert len({answer["pid"] for answer in answers}) == 3
        assert [answer["served"] for answer in answers] == [1, 1, 1]

    def test_a_fastcgi_worker_stays_and_counts(self, shared: Demo) -> None:
        answers = [shared.ask("fastcgi") for _ in range(3)]
        first = answers[0]
        assert answers == [{"pid": first["pid"], "served": first["served"] + n} for n in range(3)]

    @pytest.mark.parametrize("model", MODELS)
    def test_the_time_taken_stands_in_a_header(self, shared: Demo, model: str) -> None:
        _, headers, _ = shared.get(f"/{model}/")
        assert re.fullmatch(r"gateway;dur=\d+\.\d\d", headers["Server-Timing"])


class TestPage:
    def test_shows_process_count_and_time_of_each_model(self, shared: Demo) -> None:
        served = shared.ask("fastcgi")["served"]
        shown = re.findall(r'data-value="(\w+)">([^<]*)<', shared.get("/")[2])
        assert [name for name, _ in shown] == ["pid", "served", "took"] * 3
        assert all(float(value) > 0 for _, value in shown)
        assert [value for name, value in shown if name == "served"] == ["1", "1", str(served + 1)]

    def test_asks_anew_for_each_visitor(self, shared: Demo) -> None:
        first, second = (re.findall(r'"pid">(\d+)', shared.get("/")[2]) for _ in range(2))
        assert [a == b for a, b in zip(first, second, strict=True)] == [False, False, True]

    def test_needs_nothing_but_itself(self, shared: Demo) -> None:
        _, headers, page = shared.get("/")
        links = re.findall(r'(?:src|href|action)="([^"]*)"', page) + re.findall(r"url\(([^)]*)", page)
        assert links
        assert not [link for link in links if not link.startswith(("/cgi/", "/fork/", "/fastcgi/", "#", "data:"))]
        assert headers["Content-Security-Policy"].startswith("default-src 'none';")

    def test_can_ask_again_without_scripts(self, shared: Demo) -> None:
        page = re.sub("(?s)<script>.*</script>", "", shared.get("/")[2])
        assert re.findall('<form action="#(.*)"><button>Ask again</button>', page) == list(MODELS)


class TestDoor:
    """The front door with models of the test's own."""

    def test_escapes_the_name_that_a_visitor_calls_it_by(self) -> None:
        page = ask(Door(dict.fromkeys(MODELS, answering)), HTTP_HOST="<i>").body
        assert b"http://&lt;i&gt;/" in page
        assert b"<i>" not in page

    def test_hands_on_the_rest_of_the_path(self) -> None:
        def echo(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]

        assert ask(Door({"cgi": echo}), "/cgi/a/b").body == b"/cgi /a/b"

    def test_a_head_request_has_no_body(self) -> None:
        assert ask(Door(dict.fromkeys(MODELS, answering)), REQUEST_METHOD="HEAD").body == b""

    def test_an_unknown_path_gives_a_404_that_names_the_known_ones(self) -> None:
        answer = ask(Door(dict.fromkeys(MODELS, answering)), "/nothing")
        assert (answer.status, answer.body.endswith(b"/ /cgi/ /fork/ /fastcgi/\n")) == ("404 Not Found", True)

    def test_a_model_that_refuses_is_shown_as_failed(self) -> None:
        def refusing(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
            start_response("504 Gateway Timeout", [("Content-Type", "text/plain")])
            return []

        page = ask(Door({"cgi": refusing, "fork": answering, "fastcgi": answering})).body.decode()
        assert '<p class="error">504 Gateway Timeout: the terminal says why</p>' in page
        assert re.findall(r'"pid">([^<]*)', page) == ["–", "7", "7"]

    def test_a_model_that_breaks_off_gives_a_502_and_a_log_line(self, caplog: pytest.LogCaptureFixture) -> None:
        def breaking(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterator[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"some"
            raise RemoteProtocolError("the upstream is gone")

        assert ask(Door({"fork": breaking}), "/fork/").status == "502 Bad Gateway"
        assert caplog.messages == ["/fork/ failed: the upstream is gone"]


def answering(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """A model in which process 7 answers."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"pid": 7, "served": 1}']


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
    def test_a_signal_to_its_group_leaves_no_process_and_no_socket(self, own: Demo, number: int) -> None:
        for model in MODELS:
            own.ask(model)
        assert sorted(own.sockets()) == ["fastcgi.sock", "fork.sock"]
        os.killpg(own.process.pid, number)
        assert own.process.wait(20) == 0
        assert (own.processes(), own.sockets(), os.listdir(own.folder)) == ([], [], ["output"])
        assert own.output.endswith("Stopped; no process and no socket is left.\n")

    def test_ctrl_c_amid_requests_leaves_no_process(self, own: Demo) -> None:
        answered: list[str] = []

        def visit() -> None:
            try:
                while own.process.poll() is None:
                    for model in MODELS:
                        own.get(f"/{model}/")
                        answered.append(model)
            except (OSError, http.client.HTTPException):
                return  # it has stopped

        visitors = [threading.Thread(target=visit) for _ in range(3)]
        for visitor in visitors:
            visitor.start()
        wait_until(lambda: len(answered) > 20, what="answers")
        os.killpg(own.process.pid, signal.SIGINT)
        assert own.process.wait(20) == 0
        for visitor in visitors:
            visitor.join(20)
        assert (own.processes(), own.sockets()) == ([], [])

    def test_a_silent_visitor_does_not_hold_it_up(self, own: Demo) -> None:
        with socket.create_connection(("127.0.0.1", own.port)):
            own.ask("fastcgi")  # the silent connection came first, so it is accepted by now
            began = time.monotonic()
            own.stop()
            assert time.monotonic() - began < 5
        assert own.processes() == []

    def test_its_servers_end_when_it_is_killed(self, own: Demo) -> None:
        own.ask("cgi")
        own.process.kill()
        own.process.wait(20)
        wait_until(lambda: not own.processes(), what="its servers to end")


class TestServers:
    def test_one_that_is_killed_is_replaced(self, own: Demo) -> None:
        before = own.ask("fastcgi")["pid"]
        wait_until(lambda: time.monotonic() > own.began + demo.GRACE, what="the worker to be out of its infancy")
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: "takes its place" in own.output, what="another worker")
        after = own.ask("fastcgi")
        assert after["served"] == 1
        assert (
            f"the FastCGI worker, process {before}, died by signal 9 (Killed); process {after['pid']} takes its place"
            in own.output
        )

    def test_one_that_cannot_start_ends_the_demo_with_the_reason(self, folder: str) -> None:
        broken = Path(folder, "gunicorn")
        broken.mkdir()
        (broken / "__init__.py").write_text("raise ImportError('no gunicorn for this test')")
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "demo", "--port", "0"], cwd=folder, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "TMPDIR": folder}, timeout=20,
        )  # fmt: skip
        assert done.returncode == 1
        assert "no gunicorn for this test" in done.stderr
        assert re.search(r"the front door, process \d+, exited with status 1 as soon as it was started", done.stderr)


def test_open_shows_the_page_in_a_browser(folder: str) -> None:
    browser = Path(folder, "browser")
    browser.write_text('#!/bin/sh\necho "$1" >"$TMPDIR/visited"\n')
    browser.chmod(0o755)
    started = Demo(folder, "--port", "0", "--open", BROWSER=f"{browser} %s")
    visited = Path(folder, "visited")
    wait_until(lambda: visited.exists() and visited.read_text(), what="the browser")
    started.stop()
    assert visited.read_text() == f"http://127.0.0.1:{started.port}/\n"
