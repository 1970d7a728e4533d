"""``gateway demo`` as a whole, with its processes, from start to Ctrl-C."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import ports
from gateway.cli.demo import servers
from gateway.cli.demo.lanes import LANES
from gateway.errors import ConfigError
from tests.house import ROOT
from tests.leftovers import Leftovers
from tests.running_demo import Demo, wait_until

pytestmark = [
    pytest.mark.usefixtures("nothing_left_over"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="d-") as name:
        yield name


@pytest.fixture(scope="module")
def shared() -> Iterator[Demo]:
    """One demo for the tests that do no harm to it."""
    with tempfile.TemporaryDirectory(prefix="d-") as name:
        started = Demo(name)
        started.get("/")  # now it has all its workers
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
        assert shared.output.splitlines() == [
            f"One application, four ways: {shared.url}/  (Ctrl-C stops it)",
            f"Ask it again and again: curl {shared.url}/{{cgi,fork,fastcgi,aio}}/",
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
            started = servers.running(taken.getsockname()[1])
            with pytest.raises(ConfigError, match="choose another with --port"):
                started.__enter__()


class TestLanes:
    @pytest.mark.parametrize("lane", ["cgi", "fork"])
    def test_each_request_has_a_process_of_its_own(self, shared: Demo, lane: str) -> None:
        answers = [shared.ask(lane) for _ in range(3)]
        assert len({answer["pid"] for answer in answers}) == 3
        assert [answer["served"] for answer in answers] == [1, 1, 1]

    @pytest.mark.parametrize("lane", ["fastcgi", "aio"])
    def test_a_worker_stays_and_counts(self, shared: Demo, lane: str) -> None:
        answers = [shared.ask(lane) for _ in range(3)]
        first = answers[0]
        assert answers == [{"pid": first["pid"], "served": first["served"] + n} for n in range(3)]

    def test_what_is_measured_agrees_with_what_the_application_says(self, shared: Demo) -> None:
        for lane in LANES:
            said, numbers = shared.ask(lane), shared.numbers()[lane]
            assert (numbers["pid"], numbers["served"]) == (said["pid"], said["served"])

    def test_the_phases_stand_in_a_header_for_developer_tools(self, shared: Demo) -> None:
        timing = shared.get("/cgi/")[1]["server-timing"]
        assert re.fullmatch(r"([\w-]+;dur=\d+\.\d{3}(, |$))+", timing)
        assert {"fork-exec", "interpreter-start", "imports", "application"} <= set(re.findall(r"([\w-]+);", timing))

    def test_a_worker_is_one_process_with_memory_of_its_own(self, shared: Demo) -> None:
        shared.get("/send", method="POST", body="count=1")
        numbers = shared.numbers()
        assert [numbers[lane]["processes"] for lane in ("fork", "fastcgi", "aio")] == [1, 1, 1]
        assert all(1e6 < numbers[lane]["memory"] < 1e9 for lane in ("fork", "fastcgi", "aio"))


class TestEvents:
    def test_a_request_by_whomever_is_told_to_who_listens(self, shared: Demo) -> None:
        with socket.create_connection(("127.0.0.1", shared.port), timeout=20) as listener:
            listener.sendall(b"GET /events HTTP/1.0\r\n\r\n")
            events = listener.makefile("rb")
            assert b"text/event-stream" in b"".join(iter(events.readline, b"\r\n"))
            assert events.readline() == b"event: lanes\n"
            pid = shared.ask("fastcgi")["pid"]
            told = next(line for line in iter(events.readline, b"") if b'"lane":"fastcgi"' in line)
            assert b'"pid":%d,' % pid in told


    def test_a_page_that_is_closed_is_no_failure(self, own: Demo) -> None:
        with socket.create_connection(("127.0.0.1", own.port), timeout=20) as page:
            page.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert page.recv(1)
            page.shutdown(socket.SHUT_WR)
            while page.recv(65536):
                pass
        own.stop()
        assert "failed" not in own.output


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
    def test_a_signal_to_its_group_leaves_no_process_and_no_file(self, own: Demo, number: int) -> None:
        own.get("/")
        assert "page.sock" in own.left()
        os.killpg(own.process.pid, number)
        assert own.process.wait(20) == 0
        assert (own.processes(), own.left()) == ([], [])
        assert own.output.endswith("Stopped; no process and no socket is left.\n")

    def test_ctrl_c_amid_requests_leaves_no_process(self, own: Demo) -> None:
        answered: list[str] = []

        def visit(lane: str) -> None:
            try:
                while own.process.poll() is None:
                    own.get(f"/{lane}/")
                    answered.append(lane)
            except (OSError, http.client.HTTPException):
                return  # it has stopped

        visitors = [threading.Thread(target=visit, args=(lane,)) for lane in LANES]
        for visitor in visitors:
            visitor.start()
        wait_until(lambda: len(answered) > 20, what="answers")
        os.killpg(own.process.pid, signal.SIGINT)
        assert own.process.wait(20) == 0
        for visitor in visitors:
            visitor.join(20)
        assert (own.processes(), own.left()) == ([], [])

    def test_an_open_page_does_not_hold_it_up(self, own: Demo) -> None:
        with socket.create_connection(("127.0.0.1", own.port), timeout=20) as page:
            page.sendall(b"GET /events HTTP/1.0\r\n\r\n")
            assert page.recv(1)
            began = time.monotonic()
            own.stop()
            assert time.monotonic() - began < 5
        assert "cancelled" not in own.output

    def test_a_silent_visitor_does_not_hold_it_up(self, own: Demo) -> None:
        with socket.create_connection(("127.0.0.1", own.port)):
            own.ask("fastcgi")  # the silent connection came first, so it is accepted by now
            began = time.monotonic()
            own.stop()
            assert time.monotonic() - began < 5
        assert own.processes() == []

    def test_its_servers_end_when_it_is_killed(self, own: Demo) -> None:
        own.get("/")
        own.process.kill()
        own.process.wait(20)
        wait_until(lambda: not own.processes(), what="its servers to end")


class TestServers:
    def test_a_worker_that_is_killed_is_replaced(self, own: Demo) -> None:
        before = own.ask("fastcgi")["pid"]
        os.kill(before, signal.SIGKILL)
        after = wait_until(lambda: own.get("/fastcgi/")[0] == 200 and own.ask("fastcgi"), what="another worker")
        assert after["pid"] != before

    def test_one_that_is_killed_is_replaced(self, own: Demo) -> None:
        worker = own.ask("fastcgi")["pid"]
        before = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        wait_until(lambda: time.monotonic() > own.began + servers.GRACE, what="the server to be out of its infancy")
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: "takes its place" in own.output, what="another server")
        assert own.ask("fastcgi")["served"] == 1
        assert re.search(
            rf"the server of the page, process {before}, died by signal 9 \(Killed\); process \d+ takes its place",
            own.output,
        )
        wait_until(lambda: worker not in own.processes(), what="the worker that nobody asks any more to end")

    def test_one_that_cannot_start_ends_the_demo_with_the_reason(self, folder: str) -> None:
        Path(folder, "h11.py").write_text("raise ImportError('no h11 for this test')")
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "demo", "--port", "0"], cwd=folder, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "TMPDIR": folder}, timeout=20,
        )  # fmt: skip
        assert done.returncode == 1
        assert "no h11 for this test" in done.stderr
        assert re.search(r"the HTTP server, process \d+, exited with status 1 as soon as it was started", done.stderr)


def test_open_shows_the_page_in_a_browser(folder: str) -> None:
    browser = Path(folder, "browser")
    browser.write_text('#!/bin/sh\necho "$1" >"$TMPDIR/visited"\n')
    browser.chmod(0o755)
    started = Demo(folder, "--port", "0", "--open", BROWSER=f"{browser} %s")
    visited = Path(folder, "visited")
    wait_until(lambda: visited.exists() and visited.read_text(), what="the browser")
    started.stop()
    assert visited.read_text() == f"{started.url}/\n"
