"""Annotated bytes on a terminal, in colour, or in a file: each of them in hexadecimal, or a line for each record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import IO, TypeAlias

from gateway.cli.annotate import BAD, BODY, FRAME, NAME, NUMBER, PARTIAL, TYPE, VALUE, Line

COLUMNS = 8
"""Bytes in a row: a FastCGI record's header."""
STYLES = {
    FRAME: "dim", TYPE: "bold yellow", NUMBER: "magenta", NAME: "cyan", VALUE: "green", BODY: "", PARTIAL: "dim italic",
    BAD: "bold white on red",
}  # fmt: skip

Styled: TypeAlias = "tuple[str, str]"
"""Text, and its style."""


def words(line: Line) -> Iterator[Styled]:
    """What a line says."""
    yield "  " * line.level, ""
    said = [piece for piece in line.pieces if piece.text]
    for place, (kind, _, text) in enumerate(said):
        after = "" if place + 1 == len(said) else " " if kind is NAME else "  "
        yield text + after, STYLES[kind]


def rows(line: Line, offset: int, columns: int = COLUMNS) -> Iterator[list[Styled]]:
    """A line as rows of offset, hexadecimal, text; the first one also has what the line says."""
    cells = [(byte, STYLES[piece.kind]) for piece in line.pieces for byte in piece.data]
    for start in range(0, max(len(cells), 1), columns):
        row = cells[start : start + columns]
        styled: list[Styled] = [(f"{offset + start:08x}  ", "dim")]
        runs = [(bytes(byte for byte, _ in run), style) for style, run in groupby(row, key=itemgetter(1))]
        for run, style in runs:
            styled += [(run.hex(" "), style), (" ", "")]
        styled.append((" " * (3 * (columns - len(row)) + 1), ""))
        styled += [("".join(chr(byte) if 32 <= byte < 127 else "." for byte in run), style) for run, style in runs]
        if not start:
            styled += [(" " * (columns - len(row) + 2), ""), *words(line)]
        yield styled


class Screen:
    """Where lines are shown: styled if it is a terminal, or if FORCE_COLOR is set; plain, and cheaply, if not."""

    def __init__(self, file: IO[str]) -> None:
        from rich.console import Console

        self._file = file
        self._console = Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._styled = self._console.color_system is not None and "NO_COLOR" not in os.environ
        self._width = self._console.width if file.isatty() else 0

    def __repr__(self) -> str:
        return f"<Screen {'styled' if self._styled else 'plain'} width={self._width}>"

    def show(self, styled: Iterable[Styled]) -> None:
        """One line, as far as it fits into the terminal's."""
        if not self._styled:
            self._file.write(self._fit("".join(text for text, _ in styled).rstrip()) + "\n")
            return
        from rich.text import Text

        text = Text.assemble(*styled, overflow="ellipsis", no_wrap=True)
        if self._width:
            text.truncate(self._width, overflow="ellipsis")
        self._console.print(text)

    def _fit(self, text: str) -> str:
        return text[: self._width - 1] + "…" if 0 < self._width < len(text) else text
