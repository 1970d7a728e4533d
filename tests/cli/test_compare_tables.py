"""What ``gateway compare`` prints: it fits a terminal, and leaves out nothing that somebody should know."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from gateway.cli.compare_tables import show
from gateway.measure.agreement import Verdict
from gateway.measure.comparison import Comparison, Level, Row

LEAK = Verdict(4, "GET /me", leaks=True, after="GET /login", diff=["-visitor: [bold]", "+visitor: alice"])
BUSY = Level(16, 1_234_567, 0, 12_345.6, 0.0123, 0.123, 1.23, 0.0123, 0.0203, 200 << 20, 1.0, (0.0203,))
CHEAP = replace(BUSY, cpu=0.00005, cpus=(0.00005,))
IDLE = Level(16, 100, 7, 50.0, 0.0, 0.0, 0.0, 0.0, 0.0001, 20 << 20, 0.0, (0.0001,))


def printed(*rows: Row, missing: dict[str, str] | None = None) -> list[str]:
    """The lines that a terminal of 80 columns shows."""
    out = io.StringIO()
    comparison = Comparison("app", ["GET /"], list(rows), "cgi", {}, {"concurrency": (16,)})
    show(comparison, missing=missing or {}, console=Console(file=out, width=80, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """Of models that did well, leaked, failed, and did not start."""
    return printed(
        Row("cgi", "CGI", levels=[BUSY], cpu=0.0203, pss=0, cold_start=0.032, started=1.0),
        Row("processes", "FastCGI, 2 workers", levels=[CHEAP], cpu=0.00005, pss=20 << 20, cold_start=1.2, verdict=LEAK),
        Row("inprocess", "in itself", levels=[IDLE], cpu=0.0001, requests=108, failed=7, fault="500 [x]", said="a\nb"),
        Row("uWSGI", "uWSGI", absence="uWSGI: it exited with status 1"),
        missing={"flup": "pip install flup"},
    )


def test_tables_fit_a_terminal_of_80_columns(lines: list[str]) -> None:
    tables = [line for line in lines if line.startswith(("cgi  ", "processes  ", "inprocess  "))]
    assert len(tables) == 6
    assert max(map(len, tables)) <= 80


def test_a_row_has_its_figures(lines: list[str]) -> None:
    assert "cgi        20.3 ms  406 ×        1.0         0  200.0 MiB     32.0 ms" in lines
    assert "cgi            12,346     12.3 ms  12.3 ms  123 ms  1.23 s" in lines


def test_where_nothing_was_answered_there_is_no_latency(lines: list[str]) -> None:
    assert "inprocess          50           –        –       –       –       7" in lines


def test_what_leaks_is_shown_as_it_is(lines: list[str]) -> None:
    found = next(number for number, line in enumerate(lines) if line.startswith("processes: request 4, GET /me, "))
    assert lines[found + 1 : found + 3] == ["    -visitor: [bold]", "    +visitor: alice"]


def test_what_failed_is_told_with_the_last_words_of_its_server(lines: list[str]) -> None:
    found = lines.index("inprocess failed 7 of 108 requests, first with: 500 [x].")
    assert lines[found + 1 : found + 3] == ["    a", "    b"]


def test_what_did_not_start_and_what_is_missing_is_told(lines: list[str]) -> None:
    assert "uWSGI did not start. uWSGI: it exited with status 1" in lines
    assert lines[-1] == "Not installed: flup: pip install flup"


def test_without_anything_to_compare_with_there_are_no_ratios() -> None:
    lines = printed(Row("inprocess", "in itself", levels=[IDLE], cpu=None, failed=1))
    assert not any("× is" in line for line in lines)
