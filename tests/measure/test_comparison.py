"""Whole comparisons, of applications that behave, leak, crash, dawdle, or answer nothing; and the arithmetic of it."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.measure import agreement
from gateway.measure.comparison import Comparison, Level, Row, Settings, compare, describe_machine, summarize
from gateway.measure.load import Round
from gateway.measure.models import MODELS, Model
from gateway.measure.requests import Request
from gateway.measure.target import Target
from tests.house import ROOT

HOME, LOGIN = Request("GET", "/"), Request("GET", "/login")
QUICK = Settings(concurrency=(1, 2), rounds=1, seconds=0.05, timeout=5.0)
DEAD = Model("dead", "a dead server", ("{python}", "-c", "raise SystemExit('no licence')"))


def comparison(name: str, *models: Model | str, requests: Any = (HOME,), steps: Any = lambda *step: None) -> Comparison:
    """One of the applications in ``stateful``, compared for a moment."""
    target = Target(f"tests.measure.stateful:{name}", kind="wsgi", folder=str(ROOT))
    chosen = [MODELS[model] if isinstance(model, str) else model for model in models]
    return compare(target, chosen, requests, settings=QUICK, progress=steps)


@pytest.fixture(scope="module")
def hello() -> Iterator[tuple[Comparison, list[tuple[str, int, int]]]]:
    """The application that behaves, and the steps that were told on the way."""
    steps: list[tuple[str, int, int]] = []
    yield comparison("hello", "cgi", "fastcgi", DEAD, steps=lambda *step: steps.append(step)), steps


@pytest.fixture
def rows(hello: tuple[Comparison, object]) -> dict[str, Row]:
    """Its rows by the names of models."""
    return {row.name: row for row in hello[0].rows}


def test_a_process_for_each_request_costs_more_than_a_worker_that_stays(hello: tuple[Comparison, object]) -> None:
    result = hello[0]
    ratio = result.ratio(result.rows[0])
    assert ratio is not None
    assert ratio > 10
    assert result.yardstick is result.rows[1]
    assert result.ratio(result.rows[1]) == 1.0


def test_cgi_takes_memory_at_load_only(rows: dict[str, Row]) -> None:
    assert rows["cgi"].pss == 0 < rows["cgi"].pss_at_load
    assert 0 < rows["fastcgi"].pss


def test_cgi_starts_a_process_for_each_request(rows: dict[str, Row]) -> None:
    assert rows["cgi"].started >= 1 > rows["fastcgi"].started


def test_every_load_has_its_figures(rows: dict[str, Row]) -> None:
    for row in (rows["cgi"], rows["fastcgi"]):
        assert [level.concurrency for level in row.levels] == [1, 2]
        for level in row.levels:
            assert level.requests > 0 == level.failed
            assert 0 < level.first_byte <= level.p99
            assert 0 < level.p50 <= level.p95 <= level.p99


def test_a_cold_start_of_a_server_takes_longer_than_one_of_its_answers(rows: dict[str, Row]) -> None:
    assert rows["fastcgi"].cold_start > rows["fastcgi"].levels[0].p50


def test_answers_agree(rows: dict[str, Row]) -> None:
    assert str(rows["fastcgi"].verdict) == "answers agree"


def test_a_model_that_does_not_start_is_reported_and_the_others_are_measured(rows: dict[str, Row]) -> None:
    assert rows["dead"].absence.endswith("Mend what it says, or leave dead out:\nno licence")
    assert not rows["dead"].sound


def test_progress_is_told_step_by_step(hello: tuple[Comparison, list[tuple[str, int, int]]]) -> None:
    steps = hello[1]
    assert [done for _, done, _ in steps] == list(range(len(steps)))
    assert steps[0] == ("cgi: start, and the first answers", 0, 12)
    assert steps[-1][0] == "fastcgi: round 1, 2 at once"


def test_json_has_everything(hello: tuple[Comparison, object]) -> None:
    value = hello[0].as_json()
    assert (value["target"], value["requests"]) == ("tests.measure.stateful:hello", ["GET /"])
    assert [model["name"] for model in value["models"]] == ["cgi", "fastcgi", "dead"]
    assert value["models"][1]["says"] == "answers agree"
    assert value["settings"]["seconds"] == 0.05
    assert {"processors", "python", "gateway"} < value["machine"].keys()


def test_state_that_leaks_is_found_and_named() -> None:
    result = comparison("leaky", "cgi", "fastcgi", requests=[HOME, LOGIN, HOME])
    assert str(result.rows[1].verdict) == (
        "request 3, GET /, is answered differently after GET /login, and not alone: "
        "state leaks from one request into another"
    )
    assert result.rows[1].verdict.diff == [" process …", "-visitor: nobody", "+visitor: alice"]


def test_an_application_that_crashes_at_its_third_request_is_reported() -> None:
    row = comparison("crashing", "cgi", "fastcgi").rows[1]
    fault = "500 Internal Server Error: RuntimeError: three is too many"
    assert str(row.verdict) == f"request 3, GET /, fails after the 2 before it, and not alone: {fault}"
    assert (row.failed, row.fault, row.sound) == (1, fault, False)


def test_an_application_that_ends_its_worker_is_reported_with_what_the_server_says() -> None:
    row = comparison("dying", "cgi", "fastcgi").rows[1]
    assert row.verdict.fault.startswith("502 Bad Gateway: ")
    assert row.failed > 1
    assert "exited with code 7" in row.said


def test_a_slow_application_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "REPLAYED", 2)
    rows = comparison("slow", "cgi", "fastcgi").rows
    assert all(level.p50 >= 0.1 for row in rows for level in row.levels)
    assert all(row.sound for row in rows)


def test_an_application_that_answers_nothing_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "REPLAYED", 2)
    with pytest.raises(ConfigError) as caught:
        comparison("failing", "cgi", "fastcgi")
    assert "CGI: a process for each request: every request fails, the first with: 500" in str(caught.value)
    assert "RuntimeError: the database is away" in str(caught.value)


def round_(concurrency: int = 1, **fields: Any) -> Round:
    """A round of one second."""
    return Round(concurrency, seconds=1.0, **fields)


def test_rounds_of_one_load_become_one() -> None:
    rounds = [
        round_(latencies=[0.1, 0.2], first_bytes=[0.1, 0.1], cpu=0.4, started=3, pss=5),
        round_(latencies=[0.3], first_bytes=[0.2], faults=["500"], cpu=0.6, started=2, pss=7),
    ]
    assert summarize(rounds, reaps=True) == Level(
        concurrency=1, requests=4, failed=1, throughput=1.5, p50=0.2, p95=0.3, p99=0.3, first_byte=0.1, cpu=0.25, pss=7,
        started=1.0, cpus=(0.2, 0.3),
    )  # fmt: skip


def test_a_load_without_one_answer_has_no_latency() -> None:
    level = summarize([round_(faults=["502"])], reaps=True)
    assert (level.failed, level.throughput, level.p99, level.first_byte) == (1, 0.0, 0.0, 0.0)


def test_the_cpu_time_of_children_that_nobody_waits_for_is_not_known() -> None:
    assert summarize([round_(latencies=[0.1], first_bytes=[0.1], cpu=0.4)], reaps=False).cpu is None


@pytest.mark.parametrize(("models", "seconds"), [(2, 1.0), (12, 0.167), (1000, 0.1), (1, 2.0)])
def test_rounds_are_as_long_as_half_a_minute_allows(models: int, seconds: float) -> None:
    assert Settings().fitted(models) == pytest.approx(seconds, abs=0.001)


def test_rounds_are_as_long_as_somebody_says() -> None:
    assert Settings(seconds=3.0).fitted(100) == 3.0


def test_without_a_worker_that_stays_the_cheapest_is_the_yardstick() -> None:
    rows = [
        costing("cgi", [0.02]), costing("fork", [0.002]), costing("flup", [0.001], failed=1), costing("mod_cgid", []),
    ]  # fmt: skip
    result = Comparison("app", ["GET /"], rows, "cgi", {}, {})
    assert result.yardstick is rows[1]
    assert [result.ratio(row) for row in rows] == [10.0, 1.0, None, None]


def test_a_ratio_is_that_of_rounds_at_the_same_time() -> None:
    worker = costing("fastcgi", [0.001, 0.002, 0.004], [0.001, 0.001, 0.001])
    cgi = costing("cgi", [0.1, 0.2, 4.0], [0.5, 0.3, 0.2])
    result = Comparison("app", ["GET /"], [cgi, worker], "cgi", {}, {})
    assert result.ratio(cgi) == pytest.approx((100 + 300) / 2)


def costing(name: str, *loads: list[float], failed: int = 0) -> Row:
    """A model whose requests cost so many CPU seconds in the rounds of each load."""
    levels = [
        summarize([round_(latencies=[0.1], first_bytes=[0.1], cpu=cpu) for cpu in costs or [0.0]], reaps=bool(costs))
        for costs in loads
    ]
    known = [level.cpu for level in levels if level.cpu is not None]
    return Row(name, name, levels=levels, cpu=mean(known) if known else None, failed=failed)


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert " × " in machine["processors"]
    assert machine["date"].endswith("UTC")
