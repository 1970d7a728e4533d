"""The speed `gateway` set out to reach, each goal a ratio or a difference within one run, and whether it did."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .cgi import OURS as OURS_ONCE
from .cgi import WSGIREF
from .contenders import (
    DAPHNE_HTTP,
    FLUP_KEPT,
    HYPERCORN_HTTP,
    OURS_ASGI,
    OURS_AUTO,
    OURS_AUTO_SCGI,
    OURS_HTTP,
    OURS_KEPT,
    OURS_KEPT_4,
    OURS_SCGI,
    OURS_UNKEPT,
    OURS_UWSGI,
    UVICORN_HTTP,
    UWSGI_FASTCGI,
    UWSGI_SCGI,
    UWSGI_UWSGI,
    WAITRESS_HTTP,
)
from .hosts import MOD_CGI, MOD_CGID, OURS, OURS_BEHIND_NGINX, WRAP, Host
from .idle import WORKERS as IDLE
from .measure import Result
from .report import Column, Section

PYTHON = r"3\.13\.\d+"
"""Which Python's CGI figures count."""

TITLE = "Goals"
COLUMNS = [
    Column("at most", "limit", "{:.2f}"),
    Column("measured", "measured", "{:.2f}"),
    Column("reached", "reached", "{}"),
]
NOTE = "CPU is CPU time per request. A goal whose contenders were not part of the run is left open."


class NotMeasuredError(Exception):
    """A figure that a goal compares is not part of this run."""


Find = Callable[[str], Result]
"""Gives the result whose whole name matches a pattern."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit, and how to find what it limits."""

    name: str
    limit: float
    measured: Callable[[Find], float]


def cpu_ratio(one: str, other: str) -> Callable[[Find], float]:
    """Return a measurement that divides the CPU time per request of two contenders."""
    return lambda find: find(re.escape(one)).cpu_over(find(re.escape(other)))


def figure(pattern: str, key: str) -> Callable[[Find], float]:
    """Return a measurement that looks up one figure of one result."""

    def measured(find: Find) -> float:
        try:
            return float(find(pattern).figures[key])
        except KeyError:
            raise NotMeasuredError(f"{key} of {pattern}") from None

    return measured


def slowness(language: str, host: Host, *, beside: Host) -> Callable[[Find], float]:
    """Return a measurement that divides the requests per second that `beside` answers by those of `host`."""
    ours, theirs = (figure(f"{language}: {one.name}", "throughput") for one in (host, beside))
    return lambda find: theirs(find) / ours(find)


GOALS = [
    Goal("CPU, kept, 1 thread ÷ uWSGI FastCGI", 1.2, cpu_ratio(OURS_KEPT.name, UWSGI_FASTCGI.name)),
    Goal("CPU, kept, 1 thread ÷ flup kept", 0.25, cpu_ratio(OURS_KEPT.name, FLUP_KEPT.name)),
    Goal("CPU, unkept, 1 thread ÷ uWSGI FastCGI", 1.9, cpu_ratio(OURS_UNKEPT.name, UWSGI_FASTCGI.name)),
    Goal("CPU, kept, 4 threads ÷ 1 thread", 1.25, cpu_ratio(OURS_KEPT_4.name, OURS_KEPT.name)),
    Goal("CPU, SCGI ÷ uWSGI SCGI", 2.0, cpu_ratio(OURS_SCGI.name, UWSGI_SCGI.name)),
    Goal("CPU, uwsgi ÷ uWSGI uwsgi", 2.0, cpu_ratio(OURS_UWSGI.name, UWSGI_UWSGI.name)),
    Goal("CPU, HTTP kept ÷ waitress", 1.2, cpu_ratio(OURS_HTTP.name, WAITRESS_HTTP.name)),
    Goal("CPU, auto ÷ named wire, FastCGI kept", 1.03, cpu_ratio(OURS_AUTO.name, OURS_KEPT.name)),
    Goal("CPU, auto ÷ named wire, SCGI", 1.03, cpu_ratio(OURS_AUTO_SCGI.name, OURS_SCGI.name)),
    Goal("CPU, ASGI, FastCGI kept ÷ uvicorn", 1.5, cpu_ratio(OURS_ASGI.name, UVICORN_HTTP.name)),
    Goal("CPU, ASGI, FastCGI kept ÷ hypercorn", 0.35, cpu_ratio(OURS_ASGI.name, HYPERCORN_HTTP.name)),
    Goal("CPU, ASGI, FastCGI kept ÷ daphne", 0.35, cpu_ratio(OURS_ASGI.name, DAPHNE_HTTP.name)),
    Goal("CGI script − python -c pass, ms", 1.5, figure(f"{PYTHON}: {OURS_ONCE}", "over_pass")),
    Goal(f"CGI script ÷ {WSGIREF}", 0.75, figure(f"{PYTHON}: {OURS_ONCE}", "vs_wsgiref")),
    Goal("fork worker, ms a request", 1.5, figure("a request to a fork worker", "median")),
    Goal("CGI in C, Apache mod_cgid ÷ gateway", 1, slowness("C", OURS, beside=MOD_CGID)),
    Goal("CGI in C, fcgiwrap ÷ gateway, behind nginx", 1, slowness("C", OURS_BEHIND_NGINX, beside=WRAP)),
    Goal("CGI in Python, lighttpd ÷ gateway's fork", 0.1, slowness("Python", OURS, beside=MOD_CGI)),
    Goal("upload of 1 GiB, MiB of growth", 8, figure("upload of 1 GiB", "peak")),
    Goal("download of 1 GiB, MiB of growth", 8, figure("download of 1 GiB", "peak")),
    Goal("idle connection, KiB", 30, figure(re.escape(IDLE[OURS_ASGI]), "each")),
    Goal("p99 among idle connections ÷ alone", 1.5, figure(re.escape(IDLE[OURS_ASGI]), "p99_ratio")),
]


def judge(sections: Iterable[Section]) -> list[Section]:
    """Compare each goal with the figures of `sections`; return no section when none could be compared."""
    results = [result for section in sections for result in section.results]

    def find(pattern: str) -> Result:
        for result in results:
            if result.status == "measured" and re.fullmatch(pattern, result.name):
                return result
        raise NotMeasuredError(pattern)

    judged = [judge_one(goal, find) for goal in GOALS]
    compared = any(result.status == "measured" for result in judged)
    return [Section("goals", TITLE, COLUMNS, judged, NOTE)] if compared else []


def judge_one(goal: Goal, find: Find) -> Result:
    """Compare one goal with what was measured."""
    try:
        measured = goal.measured(find)
    except NotMeasuredError:
        return Result(goal.name, "skipped", figures={"limit": goal.limit})
    reached = "yes" if measured <= goal.limit else "no"
    return Result(goal.name, figures={"limit": goal.limit, "measured": measured, "reached": reached})
