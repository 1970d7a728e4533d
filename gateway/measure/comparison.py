"""One comparison from its first process to its last figure: models start, answer alike or not, and are loaded in turn.

All of them run at the same time, but one only is asked: so whatever else the machine does meets every model alike.
"""

from __future__ import annotations

import datetime
import os
import platform
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from statistics import mean, median

from gateway import __version__
from gateway.errors import ConfigError
from gateway.measure.agreement import Expected, Verdict, judge, replay, sequence
from gateway.measure.load import Answer, Round, load, quiet
from gateway.measure.models import Running, running
from gateway.measure.processes import Tree, check_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from gateway.measure.models import Model
    from gateway.measure.requests import Request
    from gateway.measure.target import Target

    Progress: TypeAlias = Callable[[str, int, int], object]

MEASURING = 30.0
"""Seconds that all rounds of all models take together, if nobody says how long one is."""
SHORTEST, LONGEST = 0.1, 2.0
"""Seconds of a round at least, and at most."""
YARDSTICK = "fastcgi"
"""The model that others are multiples of."""
WARM_UP = 0.3
"""Seconds of load before anything is measured, or as long as a round where that is shorter."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure; ``seconds`` are those of one round, 0 for as long as fits into MEASURING."""

    concurrency: tuple[int, ...] = (1, 4, 16)
    rounds: int = 5
    seconds: float = 0.0
    processes: int = max(2, os.cpu_count() or 1)
    threads: int = 8
    timeout: float = 10.0

    def fitted(self, models: int) -> float:
        """Seconds of a round."""
        fitting = MEASURING / (models * self.rounds * len(self.concurrency))
        return self.seconds or min(max(fitting, SHORTEST), LONGEST)


@dataclass(frozen=True, slots=True)
class Level:
    """What so many visitors at once met: seconds, bytes, and each for one request; ``failed`` have no latency.

    ``cpus`` are those of each round, ``cpu`` the one in their middle.
    """

    concurrency: int
    requests: int
    failed: int
    throughput: float
    p50: float
    p95: float
    p99: float
    first_byte: float
    cpu: float | None
    pss: int
    started: float
    cpus: tuple[float, ...]


@dataclass(slots=True)
class Row:
    """One model: how it did, or in ``absence`` why it did not; ``said`` is what its server said if requests failed."""

    name: str
    title: str
    absence: str = ""
    cold_start: float = 0.0
    pss: int = 0
    levels: list[Level] = field(default_factory=list)
    cpu: float | None = None
    started: float = 0.0
    requests: int = 0
    failed: int = 0
    fault: str = ""
    said: str = ""
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def sound(self) -> bool:
        """Did it answer all that it was asked?"""
        return bool(self.levels) and not self.failed

    @property
    def pss_at_load(self) -> int:
        """The most that was seen."""
        return max((level.pss for level in self.levels), default=0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is known in the end; ``reference`` is the model whose answers are those of the others, too."""

    target: str
    requests: list[str]
    rows: list[Row]
    reference: str
    machine: dict[str, str]
    settings: dict[str, Any]

    @property
    def measured(self) -> list[Row]:
        """The models that were asked."""
        return [row for row in self.rows if not row.absence]

    @property
    def yardstick(self) -> Row | None:
        """What the others are compared with: a worker that stays, or else the cheapest that answered everything."""
        costed = [row for row in self.measured if row.sound and row.cpu]
        named = [row for row in costed if row.name == YARDSTICK]
        return min(named or costed, key=lambda row: row.cpu or 0.0, default=None)

    def ratio(self, row: Row) -> float | None:
        """How many times the CPU time of the yardstick a request costs.

        Each round is divided by the yardstick's of the same time, since from one second to the next a machine may be
        half as fast again; of the quotients of a load the one in the middle counts.
        """
        one = self.yardstick
        if one is None or not (row.sound and row.cpu):
            return None
        loads = zip(row.levels, one.levels, strict=True)
        return mean(median(a / b for a, b in zip(mine.cpus, its.cpus, strict=True)) for mine, its in loads)

    def as_json(self) -> dict[str, Any]:
        """As a value of JSON; seconds and bytes."""
        rows = [
            asdict(row) | {"pss_at_load": row.pss_at_load, "ratio": self.ratio(row), "says": str(row.verdict)}
            for row in self.rows
        ]
        return {
            "target": self.target, "requests": self.requests, "reference": self.reference, "machine": self.machine,
            "settings": self.settings, "models": rows,
        }  # fmt: skip


class _Contest:
    """The models under way."""

    def __init__(self, target: Target, requests: Sequence[Request], settings: Settings, progress: Progress) -> None:
        self._target = target
        self._requests = requests
        self._settings = settings
        self._replayed = sequence(requests)
        self._progress = progress
        self._done = 0
        self._steps = 0
        self.rows: dict[str, Row] = {}
        self.reference = ""
        self._running: dict[str, Running] = {}
        self._answers: dict[str, list[Answer]] = {}

    def run(self, models: Sequence[Model]) -> None:
        """From the first start to the last end."""
        self._steps = len(models) * (2 + self._settings.rounds * len(self._settings.concurrency))
        with ExitStack() as stack, quiet():
            for model in models:
                self._start(model, stack)
            if not self._running:
                raise ConfigError("\n".join(row.absence for row in self.rows.values()))
            stack.callback(self._terminate)  # all at once, before each is waited for
            self._compare_answers()
            self._measure(self._settings.fitted(len(self._running)))

    def _step(self, what: str, row: Row) -> None:
        self._progress(f"{row.name}: {what}", self._done, self._steps)
        self._done += 1

    def _start(self, model: Model, stack: ExitStack) -> None:
        row = self.rows[model.name] = Row(model.name, model.name)
        self._step("start, and the first answers", row)
        try:
            started = stack.enter_context(self._enter(model))
        except ConfigError as error:
            row.absence = str(error)
            return
        row.title = started.title
        first = replay(started.application, self._replayed[:1])
        row.cold_start = time.monotonic() - started.began
        answers = first + replay(started.application, self._replayed[1:])
        if all(answer.fault for answer in answers):
            row.absence = f"{started.title}: every request fails, the first with: {first[0].fault}. {started.said()}"
            started.stop()
            return
        self._answers[model.name] = answers
        self._running[model.name] = started

    def _terminate(self) -> None:
        for started in self._running.values():
            started.terminate()

    def _enter(self, model: Model) -> Any:
        settings = self._settings
        return running(
            model, self._target, processes=settings.processes, threads=settings.threads, timeout=settings.timeout
        )

    # -- answers

    def _compare_answers(self) -> None:
        """With those of CGI, where every process is fresh, or of the first model if somebody left that out."""
        self.reference = "cgi" if "cgi" in self._running else next(iter(self._running))
        again = replay(self._running[self.reference].application, self._replayed)
        expected = [Expected(one, other) for one, other in zip(self._answers[self.reference], again, strict=True)]
        for name, started in self._running.items():
            if name == self.reference:
                continue

            def fresh(requests: Sequence[Request], model: Model = started.model) -> list[Answer]:
                with self._enter(model) as anew:
                    return replay(anew.application, requests)

            self.rows[name].verdict = judge(self._answers[name], expected, self._replayed, fresh=fresh)

    # -- load

    def _measure(self, seconds: float) -> None:
        settings = self._settings
        pids = [started.pid for started in self._running.values() if started.pid is not None]
        trees = {name: Tree(started.pid, apart=pids) for name, started in self._running.items()}
        rounds: dict[str, list[Round]] = {name: [] for name in self._running}
        for name, tree in trees.items():
            self.rows[name].pss = tree.pss()
        for name in trees:
            self._step("warm-up", self.rows[name])
            self._load(name, trees[name], max(settings.concurrency), min(seconds, WARM_UP))
        for number in range(settings.rounds):
            for concurrency in settings.concurrency:
                for name in trees:
                    self._step(f"round {number + 1}, {concurrency} at once", self.rows[name])
                    rounds[name].append(self._load(name, trees[name], concurrency, seconds))
        for name, taken in rounds.items():
            self._conclude(self.rows[name], taken, reaps=self._running[name].model.reaps)

    def _load(self, name: str, tree: Tree, concurrency: int, seconds: float) -> Round:
        application = self._running[name].application
        return load(application, self._requests, tree=tree, concurrency=concurrency, seconds=seconds)

    def _conclude(self, row: Row, rounds: Sequence[Round], *, reaps: bool) -> None:
        for concurrency in self._settings.concurrency:
            at_this = [one for one in rounds if one.concurrency == concurrency]
            row.levels.append(summarize(at_this, reaps=reaps))
        loaded = sum(one.requests for one in rounds)
        faults = [answer.fault for answer in self._answers[row.name] if answer.fault]
        faults += [fault for one in rounds for fault in one.faults]
        row.requests, row.failed, row.fault = loaded + len(self._replayed), len(faults), next(iter(faults), "")
        row.said = self._running[row.name].said() if faults else ""
        row.cpu = mean(level.cpu or 0.0 for level in row.levels) if reaps else None
        row.started = min(level.started for level in row.levels)


def compare(
    target: Target, models: Sequence[Model], requests: Sequence[Request], *, settings: Settings, progress: Progress
) -> Comparison:  # fmt: skip
    """Compare models that serve the target; ``progress(what, done, steps)`` hears what is next.  Raises ConfigError."""
    check_platform()
    machine = describe_machine()
    contest = _Contest(target, requests, settings, progress)
    contest.run(models)
    rows = list(contest.rows.values())
    seconds = settings.fitted(sum(not row.absence for row in rows))
    return Comparison(
        target.name, [str(request) for request in requests], rows, contest.reference, machine,
        asdict(settings) | {"seconds": round(seconds, 3)},
    )  # fmt: skip


def summarize(rounds: Sequence[Round], *, reaps: bool) -> Level:
    """The rounds of one load as one.

    Of CPU time it is the median, of processes started the round with the fewest, of memory that with the most.
    """
    latencies = sorted(latency for one in rounds for latency in one.latencies)
    requests = sum(one.requests for one in rounds)
    return Level(
        rounds[0].concurrency, requests, requests - len(latencies), len(latencies) / sum(one.seconds for one in rounds),
        percentile(latencies, 50), percentile(latencies, 95), percentile(latencies, 99),
        median([first for one in rounds for first in one.first_bytes] or [0.0]),
        median(one.cpu / one.requests for one in rounds) if reaps else None,
        max(one.pss for one in rounds), min(max(0, one.started) / one.requests for one in rounds),
        tuple(one.cpu / one.requests for one in rounds) if reaps else (),
    )  # fmt: skip


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed (nearest rank); 0 if there are none.

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 99)
    (2, 4)
    """
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else 0.0


def describe_machine() -> dict[str, str]:
    """Where and with what it was measured."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processors": f"{os.cpu_count()} × {names[0] if names else platform.machine()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gateway": __version__,
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
