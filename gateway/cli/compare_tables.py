"""What ``gateway compare`` shows in a terminal: the sentence, two tables, and what is to be said of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.measure.comparison import Comparison, Row
from gateway.measure.report import describe, duration, headline, memory, times, verdicts

DIFF_LINES = 8
"""Lines of a difference; the report has more."""
SAID_LINES = 4
"""Lines of what a server said; likewise."""
_STYLES = {"-": "red", "+": "green"}


def show(comparison: Comparison, *, missing: Mapping[str, str], console: Console) -> None:
    """Print it all."""
    console.print(f"\n[bold]{escape(headline(comparison))}.[/]\n", soft_wrap=True)
    console.print(_costs(comparison))
    console.print(_load(comparison.measured, at_once=comparison.settings["concurrency"][-1]))
    _show_answers(comparison, console)
    for row in comparison.rows:
        if row.absence:
            console.print(f"[red]{row.name} did not start.[/] {escape(row.absence)}", soft_wrap=True)
    if missing:
        advice = "; ".join(f"{name}: {install}" for name, install in missing.items())
        console.print(f"[dim]Not installed: {escape(advice)}[/]", soft_wrap=True)


def _costs(comparison: Comparison) -> Table:
    yardstick = comparison.yardstick
    caption = f"× is how many times as much as {describe(yardstick)}; memory is PSS" if yardstick else None
    table = _table("What one request costs", ["CPU", "×", "processes", "memory", "at load", "cold start"])
    table.caption = caption
    for row in comparison.measured:
        cells = duration(row.cpu), times(comparison.ratio(row)), f"{row.started:.1f}", memory(row.pss)
        table.add_row(row.name, *cells, memory(row.pss_at_load), duration(row.cold_start))
    return table


def _load(rows: Sequence[Row], *, at_once: int) -> Table:
    table = _table(f"{at_once} visitors at once", ["requests/s", "first byte", "p50", "p95", "p99", "failed"])
    for row in rows:
        level = row.levels[-1]
        cells = [duration(value) for value in (level.first_byte, level.p50, level.p95, level.p99)]
        table.add_row(row.name, f"{level.throughput:,.0f}", *cells, f"{level.failed or ''}")
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _show_answers(comparison: Comparison, console: Console) -> None:
    console.print()
    for sentence, names, diff in verdicts(comparison):
        style = "green" if not diff else "yellow"
        console.print(f"[{style}]{', '.join(names)}: {escape(sentence)}.[/]", soft_wrap=True)
        for line in diff[:DIFF_LINES]:
            console.print(f"    {line}", style=_STYLES.get(line[:1], "dim"), markup=False, soft_wrap=True)
    for row in comparison.measured:
        if row.failed:
            told = f"{row.name} failed {row.failed:,} of {row.requests:,} requests, first with: {row.fault}."
            console.print(f"[red]{escape(told)}[/]", soft_wrap=True)
            for line in row.said.splitlines()[-SAID_LINES:]:
                console.print(f"    {line}", style="dim", markup=False, soft_wrap=True)
