"""What ``gateway trace`` shows: requests as bars, their phases in figures, environs side by side, and wires."""

from __future__ import annotations

from textwrap import wrap
from typing import IO

from gateway.cli.annotate.cgi import readable
from gateway.cli.annotate.show import Screen
from gateway.cli.transcript import Dialogue
from gateway.measure import phases
from gateway.measure.phases import MEANINGS, UNMEASURED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cli.annotate.show import Styled
    from gateway.cli.trace import Bytes
    from gateway.measure.phases import Timeline

LETTERS = {
    phases.SPAWN: ("E", "white on red"), phases.START: ("S", "black on yellow"),
    phases.IMPORTS: ("I", "black on bright_yellow"), phases.ACCEPT: ("a", "black on cyan"),
    phases.RECEIVE: ("r", "black on bright_cyan"), phases.FORK: ("F", "white on magenta"),
    phases.APPLICATION: ("A", "black on green"), phases.WRITE: ("w", "black on bright_green"),
    phases.EXIT: ("x", "white on blue"), UNMEASURED: ("·", "dim"),
}  # fmt: skip
"""How phases are drawn: by letters, because not everybody sees colours, and no file has any."""
ORDINALS = ("1st", "2nd")
BAR = 42
"""Columns of the longest request."""
ABREAST = 3
"""Models in one table: as many as fit into 80 columns."""
_TITLE, _DIM = "bold", "dim"


class Page:
    """The whole of it, from top to bottom."""

    def __init__(self, file: IO[str], *, verbose: bool) -> None:
        self._screen = Screen(file)
        self._verbose = verbose

    def show(
        self, title: str, traces: dict[str, list[Timeline]], variables: dict[str, dict[str | None, list[str]]],
        wires: dict[str, tuple[list[str], Bytes]],
    ) -> None:  # fmt: skip
        """Write it."""
        self._say(title, _TITLE)
        self._bars(traces)
        models = list(traces)
        for start in range(0, len(models), ABREAST):
            self._figures({model: traces[model] for model in models[start : start + ABREAST]})
        self._compare(traces)
        self._environs(variables)
        for wire, (who, said) in wires.items():
            self._wire(wire, who, said)

    def _say(self, text: str = "", style: str = "") -> None:
        self._screen.show([(text, style)])

    def _bars(self, traces: dict[str, list[Timeline]]) -> None:
        longest = max(timeline.whole for timelines in traces.values() for timeline in timelines)
        self._say()
        for model, timelines in traces.items():
            for ordinal, timeline in zip(ORDINALS, timelines, strict=True):
                drawn = list(bar(timeline, longest))
                room = " " * (BAR - sum(len(text) for text, _ in drawn) + 1)
                who = f"pid {timeline.pid}, its {_nth(timeline.served)} request" if timeline.served else "no word of it"
                whole = f"{_milliseconds(timeline.whole):>8} ms  "
                self._screen.show([(f"{model:8}{ordinal} ", ""), *drawn, (room, ""), (whole, ""), (who, _DIM)])

    def _figures(self, traces: dict[str, list[Timeline]]) -> None:
        """A table: phases by requests, in milliseconds."""
        timelines = [timeline for of_model in traces.values() for timeline in of_model]
        self._say()
        self._say(f"{'milliseconds':21}" + "".join(f"{model:>9}{'':9}" for model in traces), _TITLE)
        self._say(" " * 21 + "".join(f"{ordinal:>9}" for _ in traces for ordinal in ORDINALS), _TITLE)
        for name in (*MEANINGS, UNMEASURED):
            spent = [timeline.took(name) for timeline in timelines]
            if any(spent):
                letter, style = LETTERS[name]
                cells = "".join(f"{_milliseconds(took) if took else '–':>9}" for took in spent)
                self._screen.show([(f" {letter} ", style), (f"{name:18}{cells}", "")])
        self._say(f"{'whole':21}" + "".join(f"{_milliseconds(timeline.whole):>9}" for timeline in timelines), _TITLE)

    def _compare(self, traces: dict[str, list[Timeline]]) -> None:
        """What a request costs once all runs that stays, beside one to a process that stays."""
        last = {model: timelines[-1] for model, timelines in traces.items()}
        warm = [model for model, timeline in last.items() if not timeline.cold]
        staying = [model for model in warm if last[model].served > 1] or warm
        self._say()
        for model in last:
            if staying and model != staying[0]:
                times = f"{last[model].whole / last[staying[0]].whole:.1f}"
                self._say(f"The 2nd request takes {times} times as long by {model} as by {staying[0]}.")

    def _environs(self, variables: dict[str, dict[str | None, list[str]]]) -> None:
        alike = [name for name, values in variables.items() if len(values) == 1]
        parted = {name: values for name, values in variables.items() if len(values) > 1}
        self._say()
        self._say("environ: what the application is called with", _TITLE)
        room = max((len(", ".join(models)) for values in parted.values() for models in values.values()), default=0)
        for name, values in parted.items():
            for value, models in values.items():
                said = ("–", _DIM)
                if value is not None:
                    said = readable(value.encode("latin-1", "backslashreplace")), "green"
                self._screen.show([(f"  {name:20} ", "bold yellow"), (f"{', '.join(models):{room}}  ", "cyan"), said])
                name = ""
        for text in wrap(f"The same by all: {', '.join(alike)}", 78):
            self._say(f"  {text}", _DIM)

    def _wire(self, wire: str, models: list[str], said: Bytes) -> None:
        self._say()
        what = "environment and stdout, run once more" if wire == "cgi" else "what crosses the wire"
        self._say(f"{wire}: {what} ({', '.join(models)}, 1st request)", _TITLE)
        dialogue = Dialogue(wire, self._screen, verbose=self._verbose)
        for side, data in said:
            dialogue.show(side, data)
        dialogue.end()


def bar(timeline: Timeline, longest: int) -> Iterator[Styled]:
    """A request drawn to scale: its phases, and where none was measured, dots; the longest has ``BAR`` columns."""
    parts = sorted(timeline.phases + timeline.gaps, key=lambda phase: phase.start)
    drawn = 0
    for phase in parts:
        until = round((phase.end - timeline.began) * BAR / longest)
        letter, style = LETTERS[phase.name]
        if until > drawn:
            yield letter * (until - drawn), style
            drawn = until
    if not drawn:  # too short to be seen
        yield LETTERS[max(timeline.phases or parts, key=lambda phase: phase.took).name]


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.3f}"


def _nth(number: int) -> str:
    """An ordinal number.

    >>> _nth(1), _nth(2), _nth(3), _nth(11), _nth(22)
    ('1st', '2nd', '3rd', '11th', '22nd')
    """
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
