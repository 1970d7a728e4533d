"""Do the models answer alike?  The requests in order, from one visitor, to a fresh process each and to one that stays.

What is compared is the status, the headers that are the application's, and the body, line by line.  Words that differ
between two replays by fresh processes (a process id, a token, the time) may differ everywhere else, too.  Where answers
part, the request is asked again alone, and after each one before it, of a server that has just started: that tells
state which leaks between requests from an application that sees how it is served.
"""

from __future__ import annotations

import difflib
import itertools
import re
from dataclasses import dataclass, field

from gateway.head import HOP_BY_HOP
from gateway.measure.load import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from gateway.measure.load import Answer, WSGIApplication
    from gateway.measure.requests import Request

    Fresh: TypeAlias = Callable[[Sequence[Request]], "list[Answer]"]

REPLAYED = 8
"""Requests that are replayed at least: the list, and again as far as needed."""
TRIED = 4
"""Earlier requests that are tried as the one that made the difference."""
DIFF_LINES = 40
"""Lines of a difference that are shown."""
OF_SERVERS = HOP_BY_HOP | {"content-length", "date", "server", "via"}
"""Headers that are a server's own; of the length there is the body itself."""
VARIES = "…"
EXPIRES = re.compile(r"(?i)(?<=; expires=)[^;]*")  # of a cookie; two answers may be of one second, a third is not
_BETWEEN = r"""\s"'<>()\[\]{};,&"""
_WORD, _SEPARATORS = f"[^{_BETWEEN}]*", re.compile(f"([{_BETWEEN}]+)")
"""What may differ as a whole (a number, a time, a token), and what is between two of these."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the answers of one model compare; ``ordinal`` counts from 1, 0 if all are as they should be.

    ``leaks``: asked alone, the request is answered as it should be.  ``after`` names the request that spoils it.
    """

    ordinal: int = 0
    request: str = ""
    leaks: bool = False
    after: str = ""
    fault: str = ""
    diff: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.ordinal:
            return "answers agree"
        what = "fails" if self.fault else "is answered differently"
        when = f" after {self.after}, and not alone" if self.leaks else ", even alone"
        why = "state leaks from one request into another" if self.leaks else "the application sees how it is served"
        return f"request {self.ordinal}, {self.request}, {what}{when}: {self.fault or why}"


def replay(application: WSGIApplication, requests: Sequence[Request]) -> list[Answer]:
    """The answers to all requests, in order; see :func:`sequence`."""
    return [ask(application, request) for request in requests]


def sequence(requests: Sequence[Request]) -> list[Request]:
    """What to replay: all of them, and again until they are enough to meet a state."""
    return list(itertools.islice(itertools.cycle(requests), max(len(requests), REPLAYED)))


class Expected:
    """What every model is to answer to one request, as fresh processes did, once and once again."""

    def __init__(self, once: Answer, again: Answer) -> None:
        self.fault = once.fault
        one, two = _lines(once), _lines(again)
        if len(one) != len(two):
            one, two = one[:1], two[:1]  # of no two answers alike, the status
        self._whole = len(one) > 1
        self._lines = one
        self._varying: dict[int, re.Pattern[str]] = {}
        for number, (left, right) in enumerate(zip(one, two, strict=True)):
            if left != right:
                pattern, self._lines[number] = _generalize(left, right)
                self._varying[number] = re.compile(pattern, re.DOTALL)

    def diff(self, answer: Answer) -> list[str]:
        """The lines in which an answer differs; none if it agrees."""
        lines = _lines(answer)[: None if self._whole else 1]
        for number, pattern in self._varying.items():
            if number < len(lines) and pattern.fullmatch(lines[number]):
                lines[number] = self._lines[number]
        diff = list(difflib.unified_diff(self._lines, lines, lineterm="", n=1))[2:]  # without the names of two files
        return [line for line in diff if line.strip() and not line.startswith("@@")][:DIFF_LINES]


def judge(
    answers: Sequence[Answer], expected: Sequence[Expected], requests: Sequence[Request], *, fresh: Fresh
) -> Verdict:  # fmt: skip
    """Where the answers of a model part from what is expected, and after which request.

    ``fresh(requests)`` replays requests with the same model, started anew.
    """
    compared = list(zip(answers, expected, strict=True))
    number = next((number for number, pair in enumerate(compared) if parts(*pair)), None)
    if number is None:
        return Verdict()
    (answer, wanted), request = compared[number], requests[number]
    leaks = number > 0 and not parts(fresh([request])[-1], wanted)
    after = ""
    if leaks:
        earlier = list(dict.fromkeys(reversed(requests[:number])))[:TRIED]
        culprit = next((one for one in earlier if parts(fresh([one, request])[-1], wanted)), None)
        after = str(culprit) if culprit else f"the {number} before it" if number > 1 else str(requests[0])
    return Verdict(
        number + 1, str(request), leaks=leaks, after=after,
        fault="" if wanted.fault else answer.fault, diff=wanted.diff(answer),
    )  # fmt: skip


def parts(answer: Answer, wanted: Expected) -> bool:
    """Is it another answer?"""
    return bool(wanted.diff(answer))


def _lines(answer: Answer) -> list[str]:
    """An answer as lines of text, without what is a server's own."""
    pairs = sorted((name.lower(), value) for name, value in answer.headers)
    head = [f"{name}: {EXPIRES.sub(VARIES, value)}" for name, value in pairs if name not in OF_SERVERS]
    body = [f"({answer.size} bytes, sha256 {answer.digest})"]
    if b"\0" not in answer.body and answer.size == len(answer.body):
        body = answer.body.decode("utf-8", "backslashreplace").splitlines()
    return [answer.status[:3] or "no answer", *head, "", *body]


def _generalize(left: str, right: str) -> tuple[str, str]:
    """A pattern for what two lines have in common, and how to show it.

    >>> _generalize("at 10:15, again", "at 9:03, again")[1]
    'at …, again'
    """
    ours, theirs = _SEPARATORS.split(left), _SEPARATORS.split(right)
    if ours[1::2] != theirs[1::2]:
        return ".*", VARIES
    pairs = list(zip(ours, theirs, strict=True))
    pattern = "".join(re.escape(one) if one == other else _WORD for one, other in pairs)
    return pattern, "".join(one if one == other else VARIES for one, other in pairs)
