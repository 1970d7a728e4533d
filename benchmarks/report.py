"""One run as a rich table for the terminal, as JSON for programs, and as the Markdown page of the documentation."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .measure import Result

ABSENT = "–"
STYLES = {"measured": "", "skipped": "yellow", "failed": "red"}

PAGE = """\
# Benchmarks

Made by `python -m benchmarks --markdown docs/benchmarks.md`; do not edit by hand.

{facts}

Every contender is one process that serves the same application (`benchmarks/hello.py`) behind the same nginx, which
has one worker process and reaches it by a unix socket. {rounds} rounds of {seconds:g} s alternate between contenders
after a warm-up; each figure is the median. Client, nginx and contender share the machine's cores, so compare the CPU
time rather than the throughput, and only within one run.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a section: its heading, its key in `Result.figures`, and how it is written."""

    heading: str
    key: str
    format: str

    def cell(self, result: Result) -> str:
        """Write the figure of one result."""
        return self.format.format(result.figures[self.key]) if self.key in result.figures else ABSENT


@dataclass(frozen=True, slots=True)
class Section:
    """One table of a run."""

    key: str
    title: str
    columns: Sequence[Column]
    results: Sequence[Result]
    note: str

    @property
    def has_remarks(self) -> bool:
        """Is there a last column of remarks?"""
        return any(remark(result) for result in self.results)

    def headings(self) -> list[str]:
        """Return the headings; names and remarks need none."""
        return ["", *(column.heading for column in self.columns), *[""] * self.has_remarks]

    def rows(self) -> list[list[str]]:
        """Return the cells: the name, the figures, the remark."""
        return [
            [result.name, *(column.cell(result) for column in self.columns), *[remark(result)] * self.has_remarks]
            for result in self.results
        ]


@dataclass(frozen=True, slots=True)
class Run:
    """All that a report says: the sections, and under what circumstances they were measured."""

    sections: Sequence[Section]
    versions: dict[str, str]
    seconds: float
    rounds: int
    load_before: float

    def facts(self) -> dict[str, str]:
        """Return the circumstances."""
        return {
            "Date": datetime.date.today().isoformat(),
            "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
            "System": f"{platform.system()} {platform.release()}",
            "Load average before": f"{self.load_before:.1f}",
            "Python": platform.python_version(),
        } | self.versions


def remark(result: Result) -> str:
    """Return what there is to say about a result beside its figures."""
    if result.status == "measured":
        return result.remark
    return f"{result.status}: {result.remark}" if result.remark else result.status


def cpu_model() -> str:
    """Return the processor's name."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def wide_console() -> Console:
    """Return a console that does not squeeze the tables when the output goes to a file."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=132)


def show(run: Run, *, console: Console) -> None:
    """Print the tables."""
    console.print(Text(" · ".join(f"{name} {value}" for name, value in run.facts().items()), style="dim"))
    for section in run.sections:
        table = Table(title=section.title, title_justify="left", title_style="bold", caption=section.note)
        table.caption_justify = "left"
        for heading in section.headings():
            table.add_column(heading, justify="right" if heading else "left", no_wrap=not table.columns)
        for result, row in zip(section.results, section.rows(), strict=True):
            table.add_row(*row, style=STYLES[result.status])
        console.print()
        console.print(table)


def to_json(run: Run) -> str:
    """Return the whole run as JSON: `facts`, `rounds`, `seconds`, and for each section a list of results."""
    document: dict[str, object] = {"facts": run.facts(), "rounds": run.rounds, "seconds": run.seconds}
    for section in run.sections:
        document[section.key] = [
            {"name": result.name, "status": result.status, "remark": result.remark, **result.figures}
            for result in section.results
        ]
    return json.dumps(document, indent=2, ensure_ascii=False)


def to_markdown(run: Run) -> str:
    """Return the page `docs/benchmarks.md`."""
    facts = "\n".join(f"* {name}: {value}" for name, value in run.facts().items())
    parts = [PAGE.format(facts=facts, rounds=run.rounds, seconds=run.seconds)]
    for section in run.sections:
        headings = section.headings()
        rows = [headings, ["--:" if heading else "---" for heading in headings], *section.rows()]
        table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
        parts.append(f"## {section.title}\n\n{table}\n\n{section.note}\n")
    return "\n".join(parts)
