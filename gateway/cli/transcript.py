"""What moves between a web server and an application, explained as it moves: ``gateway call -v``."""

from __future__ import annotations

import sys

from gateway.cli.annotate import Annotation, Line, annotator
from gateway.cli.annotate.show import Screen, Styled, rows, words
from gateway.events import APPLICATION, WEB_SERVER, Side

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.address import Address

_MARKS = {WEB_SERVER: ("> ", "blue"), APPLICATION: ("< ", "magenta")}


class Dialogue:
    """What two sides say on a wire: a line for each record and param or, ``verbose``, each byte of them."""

    def __init__(self, wire: str, screen: Screen, *, verbose: bool) -> None:
        self._screen = screen
        self._verbose = verbose
        self._annotations = {side: Annotation(annotator(wire, side)) for side in _MARKS}
        self._offsets = dict.fromkeys(_MARKS, 0)

    def show(self, side: Side, data: bytes) -> None:
        """A side says this."""
        self._show(side, self._annotations[side].feed(data))

    def end(self) -> None:
        """Show what was still to be completed."""
        for side, annotation in self._annotations.items():
            self._show(side, annotation.end())

    def _show(self, side: Side, lines: Iterable[Line]) -> None:
        for line in lines:
            self._line(side, line)
        annotation = self._annotations[side]
        for line in annotation.rest() if annotation.fault else ():
            self._line(side, line)

    def _line(self, side: Side, line: Line) -> None:
        shown: Iterable[Iterable[Styled]] = ()
        if self._verbose:
            shown = rows(line, self._offsets[side])
        elif not line.detail:
            shown = [words(line)]
        for styled in shown:
            self._screen.show([_MARKS[side], *styled])
        self._offsets[side] += len(line.data)


class Transcript:
    """The tap of a client.  ``detail``: 0 shows nothing, 1 a line for each record and param, 2 every byte."""

    def __init__(self, address: Address, *, detail: int) -> None:
        self.connected = False
        """Did anything move?"""
        self.over = False
        """Did the server hang up?"""
        self._detail = detail
        if detail:
            self._screen = Screen(sys.stderr)
            self._dialogue = Dialogue(address.protocol, self._screen, verbose=detail > 1)
            self._say(f"calling {address}")

    def __repr__(self) -> str:
        return f"<Transcript detail={self._detail} connected={self.connected} over={self.over}>"

    def __call__(self, side: Side, data: bytes) -> None:
        """Show what a side says."""
        self.connected = True
        self.over = self.over or not data
        if self._detail and data:
            self._dialogue.show(side, data)

    def end(self, summary: str = "") -> None:
        """Show what was still to be completed, and a last word."""
        if self._detail:
            self._dialogue.end()
            if summary:
                self._say(summary)

    def _say(self, text: str) -> None:
        self._screen.show([("* ", "dim"), (text, "dim")])
