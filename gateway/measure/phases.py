"""What one request consists of, from the web server's question to the end of what answers it: phases on one clock.

CLOCK_MONOTONIC is one clock for all processes of a machine, so moments that several of them noted can be subtracted.
:mod:`gateway.measure.phases_running` notes those of the web server, :mod:`gateway.measure.phases_child` those of the
process that serves; here moments become phases.  Nothing is estimated: what lies between two phases is unmeasured, and
shown as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.events import Side

MODELS = ("cgi", "fork", "fastcgi", "scgi", "uwsgi", "ajp", "http")
"""A process for each request; a fork of a warm process for each; a worker that stays, by each wire."""

SPAWN, START, IMPORTS = "fork+exec", "interpreter start", "imports"
ACCEPT, RECEIVE, FORK = "accept", "receive", "fork"
APPLICATION, WRITE, EXIT = "application", "write", "exit"
UNMEASURED = "unmeasured"

MEANINGS = {
    SPAWN: "a program is started: until the call that forks and execs has returned, for CGI posix_spawn(3)",
    START: "from there to the first line of Python: the system loads the interpreter, which sets itself up",
    IMPORTS: "from there until gateway and the application are loaded",
    ACCEPT: "from connect(2) at the web server until accept(2) has returned in the worker",
    RECEIVE: "until the request is read and decoded, and the application is called or a child is forked for it",
    FORK: "from before fork(2) to the first moment of the child",
    APPLICATION: "from the call of the application until it has given its last byte",
    WRITE: "from there until the system has taken all of the response",
    EXIT: "from there until the parent knows, by waitpid(2), that the process has ended",
}
"""Every phase, in the order in which a request meets them, and what it lasts from and to."""

_BETWEEN = (
    (SPAWN, "spawning", "spawned"),
    (START, "spawned", "first_line"),
    (IMPORTS, "first_line", "loaded"),
    (ACCEPT, "connecting", "accepted"),
    (RECEIVE, "heard", "read"),
    (FORK, "forking", "forked"),
    (RECEIVE, "forked", "called"),
    (APPLICATION, "called", "answered"),
    (WRITE, "answered", "written"),
    (EXIT, "written", "reaped"),
)
"""Which phase lies between which two moments."""


@dataclass(frozen=True)
class Phase:
    """A part of a request: ``start`` and ``end`` are nanoseconds of CLOCK_MONOTONIC."""

    name: str
    start: int
    end: int

    @property
    def took(self) -> int:
        """Nanoseconds."""
        return self.end - self.start


@dataclass(frozen=True)
class Timeline:
    """One measured request.  ``moments`` are nanoseconds of CLOCK_MONOTONIC by the name of what happened then.

    ``pid`` is the process that ran the application (0: nobody told of it), ``served`` how many requests it has served,
    this one included.  ``environ`` is what the application was called with, its objects only named.
    """

    model: str
    status: str
    moments: Mapping[str, int]
    pid: int = 0
    served: int = 0
    born: int = 0
    """When the kernel began that process, as it says; 0: it does not.  To a tick of its clock, 10 ms as a rule."""
    size: int = 0
    """Bytes of the response's body."""
    environ: Mapping[str, str] = field(default_factory=dict)
    wire: tuple[tuple[Side, bytes], ...] = ()
    """What moved on the wire, and who said it.  By CGI nothing does: the request is an environment and stdin."""

    @property
    def began(self) -> int:
        """When the web server began with the request."""
        return self.moments["asked"]

    @property
    def ended(self) -> int:
        """When nothing was left to be done for it, in any process."""
        return max(self.moments.values())

    @property
    def whole(self) -> int:
        """Nanoseconds of everything."""
        return self.ended - self.began

    @property
    def waited(self) -> int:
        """Nanoseconds until the web server had the last byte; the end of a process may come after that."""
        return self.moments["last_byte"] - self.began

    @property
    def cold(self) -> bool:
        """Had an interpreter to be started for this request?"""
        return "spawning" in self.moments

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What was measured, in order; no two of them overlap."""
        return tuple(sorted(_phases(self.moments), key=lambda phase: phase.start))

    @property
    def gaps(self) -> tuple[Phase, ...]:
        """What was not: between the phases, before the first one, and after the last."""
        ends = chain([self.began], (phase.end for phase in self.phases))
        starts = chain((phase.start for phase in self.phases), [self.ended])
        return tuple(Phase(UNMEASURED, end, start) for end, start in zip(ends, starts, strict=True) if end < start)

    def took(self, name: str) -> int:
        """Nanoseconds of all phases of that name; of :data:`UNMEASURED`, all gaps."""
        return sum(phase.took for phase in chain(self.phases, self.gaps) if phase.name == name)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the phases, gaps among them, begin and end in nanoseconds from the beginning of the request."""
        parts = sorted(chain(self.phases, self.gaps), key=lambda phase: phase.start)
        return {
            "model": self.model, "status": self.status, "pid": self.pid, "served": self.served, "cold": self.cold,
            "size": self.size, "whole": self.whole, "waited": self.waited,
            "phases": [
                {"name": phase.name, "start": phase.start - self.began, "end": phase.end - self.began}
                for phase in parts
            ],
        }  # fmt: skip


def _phases(moments: Mapping[str, int]) -> Iterator[Phase]:
    """The phases that these moments tell of.

    >>> [phase.name for phase in _phases({"asked": 1, "accepted": 0, "called": 5, "answered": 7, "written": 8})]
    ['receive', 'application', 'write']
    """
    asked = moments["asked"]
    known = {name: moment for name, moment in moments.items() if moment >= asked}  # a kept connection is older
    known["heard"] = max(known.get(name, asked) for name in ("loaded", "connecting", "accepted"))
    if "forking" in known or "called" in known:
        known["read"] = known.get("forking") or known["called"]
    if "spawned" in known:  # a busy machine may let the child run before it tells the parent
        known["spawned"] = min(known["spawned"], known.get("first_line", known["spawned"]))
    for name, start, end in _BETWEEN:
        if start in known and end in known:
            yield Phase(name, known[start], known[end])
