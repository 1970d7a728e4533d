"""Phases of requests: an application of known cost, under every model, and who is charged with what."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.client.visit import visit
from gateway.errors import ConfigError
from gateway.measure import phases_probe
from gateway.measure.phases import (
    ACCEPT,
    APPLICATION,
    EXIT,
    FORK,
    IMPORTS,
    MEANINGS,
    MODELS,
    RECEIVE,
    SPAWN,
    START,
    UNMEASURED,
    WRITE,
    Phase,
    Timeline,
)
from gateway.measure.phases_child import FOLDER, Notes
from gateway.measure.phases_heard import Ear
from gateway.measure.phases_running import Measured, measure
from tests.house import ROOT
from tests.imports import modules_imported
from tests.leftovers import Leftovers
from tests.measure import costly
from tests.serving import until

APPLICATIONS = str(Path(__file__).with_name("costly.py"))
MILLISECOND = 1_000_000
TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
STARTS = {SPAWN, START, IMPORTS}
SERVES = {RECEIVE, APPLICATION, WRITE}
KINDS = {
    **{model: ("whole", model) for model in MODELS},
    **{f"{model}, ASGI": ("asynchronous", model) for model in ("cgi", "fork", "fastcgi")},
    "ASGI 2": ("Double", "fastcgi"),
    "in blocks": ("in_blocks", "fastcgi"),
    "iterated": ("iterated", "http"),
    "cgi, in blocks": ("in_blocks", "cgi"),
}
"""Applications and models."""
PERSISTENT = [kind for kind, (_, model) in KINDS.items() if model not in ("cgi", "fork")]
ACCEPTS_EACH = ("scgi", "uwsgi")
"""Wires that cannot keep a connection."""


def nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


@pytest.fixture(scope="module")
def measured() -> dict[str, list[Timeline]]:
    """Two requests of each kind."""
    with ThreadPoolExecutor(4) as pool:  # they sleep, mostly
        running = {
            kind: pool.submit(measure, model, f"{APPLICATIONS}:{name}", "/some/path")
            for kind, (name, model) in KINDS.items()
        }
        return {kind: future.result() for kind, future in running.items()}


@pytest.fixture
def timelines(request: pytest.FixtureRequest, measured: dict[str, list[Timeline]]) -> list[Timeline]:
    """Those of one kind."""
    return measured[request.param]


every_kind = pytest.mark.parametrize("timelines", KINDS, indirect=True)


def named(timeline: Timeline) -> set[str]:
    return {phase.name for phase in timeline.phases}


@every_kind
class TestOfAnyModel:
    def test_every_request_is_answered(self, timelines: list[Timeline]) -> None:
        assert [timeline.status for timeline in timelines] == ["200 OK", "200 OK"]

    def test_the_phases_and_what_is_unmeasured_are_the_whole(self, timelines: list[Timeline]) -> None:
        for timeline in timelines:
            parts = sorted(timeline.phases + timeline.gaps, key=lambda phase: phase.start)
            assert [part.start for part in parts] == [timeline.began, *(part.end for part in parts[:-1])]
            assert parts[-1].end == timeline.ended
            assert sum(timeline.took(name) for name in (*MEANINGS, UNMEASURED)) == timeline.whole

    def test_a_sleep_in_the_application_is_its_own(self, timelines: list[Timeline]) -> None:
        for timeline in timelines:
            assert timeline.took(APPLICATION) >= nanoseconds(costly.CALL)

    def test_a_sleep_in_its_module_is_of_the_imports(self, timelines: list[Timeline]) -> None:
        for timeline in timelines:
            assert (IMPORTS in named(timeline)) is timeline.cold
            assert (timeline.took(IMPORTS) >= nanoseconds(costly.IMPORT)) is timeline.cold

    def test_the_first_request_finds_nothing_running(self, timelines: list[Timeline]) -> None:
        assert named(timelines[0]) >= STARTS | SERVES

    def test_the_environ_is_that_of_the_application(self, timelines: list[Timeline]) -> None:
        for timeline in timelines:
            assert (timeline.environ["PATH_INFO"], timeline.environ["REQUEST_METHOD"]) == ("/some/path", "GET")
            assert FOLDER not in timeline.environ

    def test_the_web_server_waits_for_the_application_but_not_for_what_comes_after(
        self, timelines: list[Timeline]
    ) -> None:
        for timeline in timelines:
            assert nanoseconds(costly.CALL) < timeline.waited <= timeline.whole


@pytest.mark.parametrize("timelines", ["cgi", "cgi, ASGI", "cgi, in blocks"], indirect=True)
class TestOfCGI:
    def test_each_request_is_the_first_and_last_of_a_process(self, timelines: list[Timeline]) -> None:
        assert [timeline.served for timeline in timelines] == [1, 1]
        assert timelines[0].pid != timelines[1].pid

    def test_each_request_has_every_phase_of_a_process(self, timelines: list[Timeline]) -> None:
        assert [named(timeline) for timeline in timelines] == [STARTS | SERVES | {EXIT}] * 2

    def test_what_python_does_at_its_end_is_of_the_exit(self, timelines: list[Timeline]) -> None:
        assert min(timeline.took(EXIT) for timeline in timelines) >= nanoseconds(costly.EXIT)

    def test_the_kernel_says_likewise_when_the_process_began(self, timelines: list[Timeline]) -> None:
        for timeline in timelines:
            spawn = timeline.phases[0]
            assert spawn.start - TICK - MILLISECOND <= timeline.born <= spawn.end + MILLISECOND


@pytest.mark.parametrize("timelines", ["fork", "fork, ASGI"], indirect=True)
class TestOfFork:
    def test_each_request_is_the_first_and_last_of_a_child(self, timelines: list[Timeline]) -> None:
        assert [timeline.served for timeline in timelines] == [1, 1]
        assert timelines[0].pid != timelines[1].pid

    def test_an_interpreter_starts_only_once(self, timelines: list[Timeline]) -> None:
        assert [named(timeline) for timeline in timelines] == [
            STARTS | SERVES | {ACCEPT, FORK, EXIT}, SERVES | {FORK, EXIT},
        ]  # fmt: skip

    def test_the_kernel_says_likewise_when_the_child_began(self, timelines: list[Timeline]) -> None:
        for timeline in timelines:
            fork = next(phase for phase in timeline.phases if phase.name == FORK)
            assert fork.start - TICK - MILLISECOND <= timeline.born <= fork.end + MILLISECOND


@pytest.mark.parametrize("timelines", PERSISTENT, indirect=True)
class TestOfAWorkerThatStays:
    def test_one_process_serves_both_requests(self, timelines: list[Timeline]) -> None:
        assert [timeline.served for timeline in timelines] == [1, 2]
        assert timelines[0].pid == timelines[1].pid

    def test_the_second_request_starts_nothing(self, timelines: list[Timeline]) -> None:
        accepts = {ACCEPT} if timelines[1].model in ACCEPTS_EACH else set()
        assert [named(timeline) for timeline in timelines] == [STARTS | {ACCEPT} | SERVES, accepts | SERVES]

    def test_what_crossed_the_wire_is_known(self, timelines: list[Timeline]) -> None:
        for timeline in timelines:
            assert b"/some/path" in b"".join(data for _, data in timeline.wire)


def test_requests_at_once_are_not_taken_for_each_other(nothing_left_over: Leftovers) -> None:
    seen: list[Timeline] = []
    for model in ("cgi", "fork", "fastcgi"):
        with Measured(model, f"{APPLICATIONS}:whole", seen=seen.append) as measured, ThreadPoolExecutor(4) as pool:
            asked = list(pool.map(measured.ask, [f"/{number}" for number in range(4)]))
            assert [timeline.environ["PATH_INFO"] for timeline in asked] == ["/0", "/1", "/2", "/3"]
            assert {timeline.took(APPLICATION) >= nanoseconds(costly.CALL) for timeline in asked} == {True}
            assert sorted(map(id, asked)) == sorted(map(id, seen[-4:]))


def test_it_is_an_application_for_any_server(nothing_left_over: Leftovers) -> None:
    with Measured("fastcgi", f"{APPLICATIONS}:whole") as measured:
        started: list[object] = []
        answer = measured(visit("GET", "/name"), lambda status, headers: started.append(status))
        assert (b"".join(answer), started) == (b"/name", ["200 OK"])
        answer.close()
        answer.close()
        assert answer.timeline.size == 5


@pytest.fixture(scope="module")
def failed() -> Iterator[dict[str, Measured]]:
    """An application that fails, under three models."""
    with ExitStack() as stack:
        yield {
            model: stack.enter_context(Measured(model, f"{APPLICATIONS}:failing"))
            for model in ("cgi", "fork", "fastcgi")
        }


class TestOfWhatFails:
    @pytest.mark.parametrize("model", ["cgi", "fork", "fastcgi"])
    def test_an_exception_is_in_the_phases_of_any_answer(self, failed: dict[str, Measured], model: str) -> None:
        timeline = failed[model].ask("/raise")
        assert (timeline.status, named(timeline) >= SERVES) == ("500 Internal Server Error", True)

    @pytest.mark.parametrize("model", ["cgi", "fork", "fastcgi"])
    def test_nothing_is_made_up_for_a_process_that_dies(self, failed: dict[str, Measured], model: str) -> None:
        timeline = failed[model].ask("/die")
        assert (timeline.status, timeline.served, timeline.environ) == ("502 Bad Gateway", 0, {})
        assert named(timeline) <= STARTS
        assert timeline.gaps[-1].end == timeline.ended

    def test_a_worker_that_died_is_started_again(self, failed: dict[str, Measured]) -> None:
        failed["fastcgi"].ask("/die")
        assert failed["fastcgi"].ask("/raise").cold

    def test_a_request_that_is_refused_was_not_served(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.measure.phases_running.PATIENCE", 0.1)
        with Measured("http", f"{APPLICATIONS}:whole") as measured:
            timeline = measured.ask("/", method="GET", headers=[("Expect", "nonsense")])
        assert (timeline.status[:3], timeline.served) in (("417", 0), ("200", 1))

    def test_a_worker_that_cannot_load_says_so(self, capfd: pytest.CaptureFixture[str]) -> None:
        with (
            Measured("fastcgi", f"{APPLICATIONS}:missing") as measured,
            pytest.raises(ConfigError, match="exited with status 3, and serves nothing"),
        ):
            measured.ask()
        assert "has no missing" in capfd.readouterr().err

    def test_a_cgi_program_that_cannot_load_says_so(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert measure("cgi", f"{APPLICATIONS}:missing", requests=1)[0].status == "502 Bad Gateway"

    def test_no_model_is_taken_for_another(self) -> None:
        with pytest.raises(ConfigError, match=r"no model is called 'cgy'; there are: cgi, fork, fastcgi"):
            Measured("cgy", "hello:application")


def test_a_measured_cgi_process_imports_what_any_does_and_what_notes_it(tmp_path: Path) -> None:
    ear = Ear()
    request = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "SERVER_PROTOCOL": "HTTP/1.1"}
    env = request | {"PYTHONPATH": str(ROOT)}
    target = f"{ROOT}/examples/hello.py:application"
    try:
        probe = [sys.executable, phases_probe.__file__, "cgi", target, "auto"]
        more = modules_imported(probe, env=env | {FOLDER: ear.folder})
    finally:
        ear.close()
    usual = modules_imported([sys.executable, "-m", "gateway.cli.cgi_run", target], env=env)
    assert more - usual == {"gateway.measure", "gateway.measure.phases_child"}
    assert not any(name.startswith("gateway.measure") for name in usual)


class TestOfWhoTells:
    @pytest.fixture
    def ear(self, nothing_left_over: Leftovers) -> Iterator[Ear]:
        ear = Ear()
        yield ear
        ear.close()

    @pytest.fixture
    def notes(self, ear: Ear) -> Iterator[Notes]:
        notes = Notes(ear.folder, first_line=1)
        yield notes
        os.close(notes.fifo)

    def test_it_tells_of_requests_that_are_measured_and_of_no_others(self, ear: Ear, notes: Notes) -> None:
        record = ear.open()
        told = {"HTTP_X_REQUEST_ID": record.id, "wsgi.run_once": False}
        for request in ({}, {"HTTP_X_REQUEST_ID": "../nobody"}, told):
            notes.called(request)
            notes.written(request)
        ear.catch_up()
        assert (repr(notes), record.served, record.pid) == ("<Notes served=3 open=0>", 3, os.getpid())
        assert ear.forget(record) == {"HTTP_X_REQUEST_ID": record.id, "wsgi.run_once": "False"}

    def test_where_the_kernel_tells_nothing_no_birth_is_made_up(
        self, ear: Ear, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:  # fmt: skip
        monkeypatch.setattr("gateway.measure.phases_child.STAT", "/nowhere")
        record = ear.open()
        request = {"HTTP_X_REQUEST_ID": record.id}
        notes.called(request)
        notes.written(request)
        ear.catch_up()
        assert (record.served, record.born) == (1, 0)


class TestOfTheEnd:
    def test_a_worker_ends_soon_after_who_measures_was_killed(self) -> None:
        program = (
            "import os, signal\n"
            "from gateway.measure.phases_running import Measured\n"
            f"print(Measured('fastcgi', '{APPLICATIONS}:whole').ask().pid, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, timeout=60)
        until(lambda: not Path(f"/proc/{int(killed.stdout)}").exists())

    def test_a_worker_that_does_not_stop_is_killed(
        self, nothing_left_over: Leftovers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.measure.phases_running.STOP_WITHIN", 0)
        with Measured("fastcgi", f"{APPLICATIONS}:whole") as measured:
            assert repr(measured) == "<Measured fastcgi>"
            pid = measured.ask().pid
        assert not Path(f"/proc/{pid}").exists()


def test_a_timeline_tells_its_phases_from_its_beginning() -> None:
    moments = {"asked": 1000, "called": 1200, "answered": 1500, "written": 1500, "last_byte": 1600, "closed": 1700}
    told = Timeline("http", "200 OK", moments, pid=7, served=2).as_dict()
    assert told["phases"] == [
        {"name": RECEIVE, "start": 0, "end": 200},
        {"name": APPLICATION, "start": 200, "end": 500},
        {"name": WRITE, "start": 500, "end": 500},
        {"name": UNMEASURED, "start": 500, "end": 700},
    ]
    assert (told["whole"], told["waited"], told["cold"], told["pid"], told["served"]) == (700, 600, False, 7, 2)


def test_a_busy_machine_may_let_the_child_run_first() -> None:
    moments = {"asked": 0, "spawning": 1, "first_line": 5, "spawned": 9, "loaded": 12, "last_byte": 20}
    assert Timeline("cgi", "200 OK", moments).phases == (Phase(SPAWN, 1, 5), Phase(START, 5, 5), Phase(IMPORTS, 5, 12))
