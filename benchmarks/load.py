"""The load section: throughput, latency and CPU time of each contender, in rounds that alternate between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, mode

from . import nginx
from .contenders import CONNECTIONS, CONTENDERS, FLUP_KEPT, UWSGI_FASTCGI, Contender
from .measure import Load, Result, drive, open_connections, tree_cpu
from .report import Column, Section
from .servers import Stage, answers_hello, behind_nginx

NAMES = [contender.name for contender in CONTENDERS]
REFERENCES = {"uWSGI": UWSGI_FASTCGI, "flup": FLUP_KEPT}
"""Whom the others are compared with, by the heading of the comparison."""
WARM_UP = 1.0
"""Seconds of load before the first round, or as long as a round where that is shorter."""
CLOSING_TIME = 0.1
"""Seconds in which a server that does not keep connections closes one."""

TITLE = f"A hello-world application behind nginx, {CONNECTIONS} connections"


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one contender: wrk's figures, and the CPU microseconds of the process tree."""

    load: Load
    cpu: float


def run(names: Collection[str], *, seconds: float, rounds: int, progress: Callable[[str], None]) -> Section:
    """Measure the contenders called `names`."""
    chosen = [contender for contender in CONTENDERS if contender.name in names]
    application = "benchmarks.hello:application"
    results = race(chosen, application=application, seconds=seconds, rounds=rounds, progress=progress)
    return compared("load", TITLE, results, references=REFERENCES)


def race(
    chosen: Sequence[Contender], *, application: str, seconds: float, rounds: int, progress: Callable[[str], None]
) -> list[Result]:
    """Measure contenders that all serve `application`."""
    present = [contender for contender in chosen if contender.peer.version() is not None]
    progress(f"starting {len(present)} servers")
    with behind_nginx(present, application=application) as stage:
        working = [contender for contender in stage.pids if answers_hello(stage, contender)]
        kept = {contender for contender in working if keeps(stage, contender)}
        for contender in working:
            progress(f"warming up {contender.name}")
            drive(stage.url(contender), seconds=min(seconds, WARM_UP))
        measured: dict[Contender, list[Round]] = {contender: [] for contender in working}
        for number in range(rounds):
            for contender in working:
                progress(f"round {number + 1} of {rounds}, {contender.name}")
                url, pid = stage.url(contender), stage.pids[contender]
                measured[contender].append(measure_round(url, pid=pid, seconds=seconds))
    results = []
    for contender in chosen:
        if contender not in present:
            results.append(Result(contender.name, "skipped", f"needs {contender.peer.name}: {contender.peer.install}"))
        elif contender in stage.failures:
            results.append(Result(contender.name, "failed", stage.failures[contender]))
        else:
            results.append(summarize(contender.name, measured[contender]))
            results[-1].figures["kept"] = "yes" if contender in kept else "no"
    return results


def measure_round(url: str, *, pid: int, seconds: float) -> Round:
    """Load the server that answers at `url`, and is process `pid`, once."""
    before = tree_cpu(pid)
    load = drive(url, seconds=seconds)
    return Round(load, tree_cpu(pid) - before)


def keeps(stage: Stage, contender: Contender) -> bool:
    """Tell whether the connection of a request that was answered is still open a moment later, most of three times."""
    seen = []
    for _ in range(3):
        answers_hello(stage, contender)
        time.sleep(CLOSING_TIME)
        seen.append(open_connections(nginx.socket_path(contender, stage.directory)) > 0)
    return mode(seen)


def summarize(name: str, rounds: list[Round]) -> Result:
    """Condense the rounds of one contender to medians."""
    served = [round_ for round_ in rounds if round_.load.requests]
    if not served:
        return Result(name, "failed", "answered one request, then none under load")
    cpus = [round_.cpu / round_.load.requests if round_.load.requests else math.nan for round_ in rounds]
    cpu = [round_cpu for round_cpu in cpus if not math.isnan(round_cpu)]
    figures: dict[str, float | str] = {
        "throughput": median(round_.load.requests / round_.load.seconds for round_ in served),
        "p50": median(round_.load.p50 for round_ in served) / 1000,
        "p99": median(round_.load.p99 for round_ in served) / 1000,
        "cpu": median(cpu),
        "cpu_lowest": min(cpu),
        "cpu_highest": max(cpu),
        "requests": sum(round_.load.requests for round_ in rounds),
        "errors": sum(round_.load.errors for round_ in rounds),
    }
    remark = f"{figures['errors']} errors" if figures["errors"] else ""
    return Result(name, remark=remark, figures=figures, cpus=cpus)


def compared(key: str, title: str, results: list[Result], *, references: Mapping[str, Contender]) -> Section:
    """Return the table, with the ratios of CPU time to the reference contenders, as far as these were measured."""
    by_name = {result.name: result for result in results if result.cpus}
    for result in by_name.values():
        for heading, reference in references.items():
            if reference.name in by_name:
                result.figures[f"vs_{heading.lower()}"] = result.cpu_over(by_name[reference.name])
    columns = [
        Column("req/s", "throughput", "{:,.0f}"),
        Column("p50 ms", "p50", "{:.2f}"),
        Column("p99 ms", "p99", "{:.2f}"),
        Column("CPU µs/req", "cpu", "{:.1f}"),
        *(Column(f"× {heading}", f"vs_{heading.lower()}", "{:.2f}") for heading in references),
        Column("kept", "kept", "{}"),
    ]
    note = (
        "CPU is user + system time of the server's whole process tree for each request served; the × columns divide "
        f"that of each round by that of {', '.join(repr(reference.name) for reference in references.values())} in the "
        "round beside it, and show the median. "
        "Kept tells whether nginx's connection to the server was seen to stay open after a request."
    )
    return Section(key, title, columns, results, note)
