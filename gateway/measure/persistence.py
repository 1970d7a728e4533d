"""Is it safe to serve an application, or CGI scripts in Python, from a process that stays?

The same requests go to a fresh process each, and several times to one that stays: are they answered alike, and what
does each leave behind there?  What shows only when two requests run at the same time is not found by this.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass, field

from gateway.errors import ConfigError
from gateway.measure import residue_child
from gateway.measure.agreement import Expected, Verdict, judge, replay
from gateway.measure.models import MODELS, Model, running
from gateway.measure.requests import Request, usual_requests
from gateway.script.diagnosis import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from gateway.measure.models import Running
    from gateway.measure.target import Target

ROUNDS = 3
"""How often the requests go to the process that stays: once to fill what is filled once, and twice to compare."""
WINDOW = 60
"""Requests, at least, in each of the windows in which memory is counted; sqlite3 sweeps up after 200 queries."""
GROWS = 1.9
"""Blocks of memory for each request from which on it grows: the interpreter's own caches fill by one or so, slowly."""
STEADY = 0.9
"""How much of its first growth memory still grows by in the end: what wanes is a cache that fills."""
_OTHER_VISITOR = (("Cookie", "visitor=2"), ("User-Agent", "gateway doctor"), ("Accept-Language", "ko"))

_STAYS = Model(
    "persistent", "a process that stays",
    ("{python}", residue_child.__file__, "{place}/{module}.py:application", "unix:{place}/socket"),
    kinds=("wsgi", "asgi", "python"), execution="inprocess",
)  # fmt: skip

_ADVICE = (
    (r"os\.environ", "hand it on as an argument, or to subprocess.run(env=…)"),
    ("the working directory", "use absolute paths, and subprocess.run(cwd=…)"),
    ("the umask", "name the mode: os.open(path, flags, mode), os.fchmod()"),
    ("the handler of", "set it once, where the application is loaded"),
    ("the locale", "format with a library that takes the language as an argument, or set it once, at the start"),
    ("the time zone", "use zoneinfo; leave TZ and time.tzset() alone"),
    ("sys.path", "set it once, where the application is loaded"),
    ("", "set it once, where the application is loaded, or put it back in a finally:"),
)
"""What to do about what belongs to the whole process, by the beginning of its name."""
_KEEP = "keep it in a local variable, the session or a database"


@dataclass(slots=True)
class Findings:
    """What was found; the verdict is that it is safe where nothing was.

    ``notes`` are worth reading, and speak neither for nor against it.
    """

    requests: int
    faults: list[Fault] = field(default_factory=list)
    diff: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def safe(self) -> bool:
        """May it stay?"""
        return not self.faults


def examine(target: Target, requests: Sequence[Request] = ()) -> Findings:
    """Ask all requests, ``/`` by two visitors unless there are others, of fresh processes and of one that stays.

    Raises ConfigError if the target cannot be served, or so cannot be looked at.
    """
    if not _STAYS.serves(target):
        raise ConfigError(f"{target.name} is no application and no CGI script in Python: each request starts it anew")
    requests = requests or _usual(target)
    findings = Findings(len(requests))
    with running(MODELS["cgi"], target) as started:
        once, again = (replay(started.application, requests) for _ in range(2))
    expected = [Expected(*both) for both in zip(once, again, strict=True)]
    asked = [*requests] * ROUNDS
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        report = os.path.join(folder, "report")
        window = len(requests) * -(-WINDOW // len(requests))
        with _stay(target, report, looked=len(asked), window=window) as started:
            answers = replay(started.application, asked)
            if not any(answer.fault.startswith("broken") for answer in answers):
                replay(started.application, [*requests] * (window // len(requests) * residue_child.WINDOWS))
        with open(report, encoding="utf-8") as file:
            told = [json.loads(line) for line in file]

    def fresh(some: Sequence[Request]) -> Any:
        with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
            report = os.path.join(folder, "report")
            with _stay(target, report, looked=0, window=1) as started:
                return replay(started.application, some)

    _judge_answers(judge(answers, expected * ROUNDS, asked, fresh=fresh), findings)
    looks = [one for one in told if "globals" in one]
    findings.faults += _judge_process(looks, asked)
    findings.faults += _judge_globals(looks, len(requests))
    findings.faults += _judge_open(looks, len(requests))
    findings.faults += map(_judge_growth, (one for one in told if "blocks" in one and _grows(one["blocks"])))
    return findings


def _usual(target: Target) -> list[Request]:
    """What a stranger asks, each by two visitors, who differ in all that they say of themselves."""
    return [
        one
        for request in usual_requests(target)
        for one in (request, Request(request.method, f"{request.path}?visitor=2", _OTHER_VISITOR))
    ]


def _stay(target: Target, report: str, **plan: int) -> AbstractContextManager[Running]:
    own = [] if not target.is_application else re.findall(r"^\w+", target.name)
    told = json.dumps({"report": report, "own": own, **plan})
    return running(_STAYS, target, environment={residue_child.PLAN: told})


# -- judging


def _judge_answers(verdict: Verdict, findings: Findings) -> None:
    if verdict.leaks or verdict.fault:
        advice = "see what the first keeps for the second" if verdict.leaks else "see what it says in its log"
        findings.faults.append(Fault(str(verdict), advice))
        findings.diff = verdict.diff
    elif verdict.ordinal:
        findings.notes.append(str(verdict))


def _judge_process(looks: Sequence[Any], asked: Sequence[Request]) -> Iterator[Fault]:
    seen: set[str] = set()
    for look, request in zip(looks, asked, strict=False):
        for name, (before, after) in sorted(look["process"].items()):
            if name not in seen:
                seen.add(name)
                advice = next(advice for begin, advice in _ADVICE if re.match(begin, name))
                yield Fault(f"{name} was {before}, and is {after} after {request}", advice)


def _judge_globals(looks: Sequence[Any], requests: int) -> Iterator[Fault]:
    """What still changes in the last round is no cache that is filled once."""
    changed: dict[str, tuple[str, str]] = {}
    for look in looks[-requests:] if len(looks) == ROUNDS * requests else ():
        changed.update(look["globals"])
    for name, (before, after) in sorted(changed.items()):
        values = f"each time another {after}" if before == after else f"{before}, then {after}"
        yield Fault(f"{name} changes with each request: {values}", _KEEP)


def _judge_open(looks: Sequence[Any], requests: int) -> Iterator[Fault]:
    """What the last round has left open, or running, that was not there before."""
    if len(looks) < ROUNDS * requests:
        return
    before, after = looks[-requests - 1], looks[-1]
    opened = [what for number, what in after["descriptors"].items() if before["descriptors"].get(number) != what]
    if len(after["descriptors"]) > len(before["descriptors"]):
        yield Fault(f"it leaves open: {', '.join(sorted({*opened}))}", "close it: with open(…) as file:")
    for what, advice in (("threads", "end it with the request, or start one that takes work from a queue, once"),
                         ("children", "wait for it: subprocess.run(), or Popen.wait()")):  # fmt: skip
        left = sorted({*after[what]} - {*before[what]})
        if len(after[what]) > len(before[what]):
            names = ", ".join(left)
            yield Fault(f"it leaves {'the thread' if what == 'threads' else 'the process'} {names}", advice)


def _grows(blocks: Sequence[float]) -> bool:
    return min(blocks) > GROWS and blocks[-1] > STEADY * blocks[0]


def _judge_growth(told: Any) -> Fault:
    return Fault(
        f"memory grows by {min(told['blocks']):.1f} blocks with each request, the most in {told['place']}, "
        f"{told['size']:.0f} bytes",
        "let go there of what belongs to a request; a cache needs a limit: functools.lru_cache(maxsize=…)",
    )
