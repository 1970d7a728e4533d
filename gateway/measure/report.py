"""A comparison in words, and as one HTML page that needs nothing else: no script, no font, no network.

Charts are SVG whose horizontal places are percentages: they grow and shrink with the page, and their letters do not.
The page leaves room at their right, where the labels of the longest bars are.
"""

from __future__ import annotations

import math
import re
from html import escape
from pathlib import Path
from string import Template

from gateway.measure.comparison import YARDSTICK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gateway.measure.comparison import Comparison, Row

PAGE = Path(__file__).with_name("report.html")
PER_REQUEST = 0.5
"""From so many processes for each request on, a model is one that starts them."""
_MIB = " MiB"
_ROW, _AXIS = 42, 22
"""Pixels of height that one model has in a chart, and the axis above them."""


def headline(comparison: Comparison) -> str:
    """The result in one sentence."""
    dear = next((row for row in comparison.measured if row.name == "cgi"), None)
    cheap = comparison.yardstick
    if dear is None or cheap is None or not dear.sound or dear is cheap:
        ways = len(comparison.measured)
        return f"{comparison.target}, served in {ways} way{'s' if ways > 1 else ''}"
    return (
        f"A process for each request costs {times(comparison.ratio(dear))} as much CPU as {describe(cheap)}: "
        f"{duration(dear.cpu)} instead of {duration(cheap.cpu)}"
    )


def describe(yardstick: Row) -> str:
    """What the others are multiples of."""
    return "a FastCGI worker that stays" if yardstick.name == YARDSTICK else yardstick.name


def verdicts(comparison: Comparison) -> Iterator[tuple[str, list[str], list[str]]]:
    """What is to be said of the answers: the sentence, the models that it is true of, and their difference."""
    told: dict[str, tuple[list[str], list[str]]] = {}
    for row in comparison.measured:
        if row.name == comparison.reference:
            continue
        told.setdefault(str(row.verdict), ([], row.verdict.diff))[0].append(row.name)
    for sentence, (names, diff) in told.items():
        yield sentence, names, diff


def times(ratio: float | None) -> str:
    """A ratio with two digits that matter, and all before the point."""
    return "–" if ratio is None else f"{ratio:.1f} ×" if ratio < 9.95 else f"{ratio:,.0f} ×"


def duration(seconds: float | None) -> str:
    """A time in the unit that suits it.

    >>> duration(0.0000471), duration(0.0204), duration(1.2), duration(None)
    ('47 µs', '20.4 ms', '1.20 s', '–')
    """
    if not seconds:
        return "–"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.{1 if seconds < 0.1 else 0}f} ms"
    return f"{seconds:.2f} s"


def memory(size: int) -> str:
    """Bytes as MiB."""
    return f"{size / (1 << 20):.1f}{_MIB}" if size else "0"


def render(comparison: Comparison, *, missing: Mapping[str, str]) -> str:
    """The page; ``missing`` says how to install the peers that are not."""
    sentence = headline(comparison)
    # A number and its unit stay together, and the first of them is what to remember.
    big = re.sub(r"(\d) (?=[mµ×])", "\\1\N{NO-BREAK SPACE}", escape(sentence))
    big = re.sub(r"[\d.,]+\s×", r"<strong>\g<0></strong>", big)
    rows, settings = comparison.measured, comparison.settings
    values = {
        "title": escape(sentence), "headline": big, "target": escape(comparison.target),
        "cpu": cpu_chart(comparison), "latency": latency_chart(rows), "memory": memory_chart(rows),
        "answers": "".join(_answers(comparison)), "costs": _costs(comparison), "loads": _loads(rows),
        "concurrency": escape(", ".join(map(str, settings["concurrency"]))), "rounds": settings["rounds"],
        "seconds": f"{settings['seconds']:.2g}",
        "yardstick": escape(comparison.yardstick.title if comparison.yardstick else "the cheapest"),
        "requests": escape(", ".join(comparison.requests[:5]) + (", …" if len(comparison.requests) > 5 else "")),
        "machine": "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in comparison.machine.items()
        ),
        "absent": "".join(_absent(comparison, missing)),
    }  # fmt: skip
    return Template(PAGE.read_text("utf-8")).substitute(values)


# -- charts


class Scale:
    """A logarithmic axis, in percent of the width.

    >>> scale = Scale([0.00003, 0.02])
    >>> round(scale.place(0.00001)), round(scale.place(0.001))
    (0, 60)
    """

    def __init__(self, values: Iterable[float]) -> None:
        known = [value for value in values if value > 0] or [1.0]
        self._low = math.floor(math.log10(min(known)) - 0.15)
        self._high = math.log10(max(known) * 1.05)

    def place(self, value: float) -> float:
        """Where a value is."""
        return 100 * (math.log10(value) - self._low) / (self._high - self._low) if value > 0 else 0.0

    def ticks(self) -> list[float]:
        """The powers of ten."""
        return [10.0**power for power in range(self._low, math.floor(self._high) + 1)]


def cpu_chart(comparison: Comparison) -> str:
    """One bar for each model: CPU time of one request."""
    rows = sorted((row for row in comparison.measured if row.cpu), key=_cpu, reverse=True)
    scale = Scale(map(_cpu, rows))

    def draw(row: Row) -> str:
        share = f" · {times(comparison.ratio(row))}" if row.sound else " · failed"
        return _bar(scale.place(_cpu(row))) + _label(scale.place(_cpu(row)), duration(row.cpu) + share)

    return _chart("CPU time of one request", rows, draw, lambda row: duration(row.cpu), scale=scale)


def latency_chart(rows: Sequence[Row]) -> str:
    """For each model a dot for each number of visitors at once, at the median; the line goes on to the 99th percent."""
    rows = [row for row in rows if any(level.p50 for level in row.levels)]
    scale = Scale(value for row in rows for level in row.levels for value in (level.p50, level.p99))

    def draw(row: Row) -> str:
        dots = [
            f'<circle cx="{scale.place(level.p50):.2f}%" cy="26" r="{3 + 5 * number / len(row.levels):.1f}"/>'
            for number, level in enumerate(row.levels, 1)
            if level.p50
        ]
        last = [level for level in row.levels if level.p50][-1]
        begin, end = scale.place(last.p50), scale.place(last.p99)
        line = f'<line x1="{begin:.2f}%" x2="{end:.2f}%" y1="26" y2="26"/>'
        return line + "".join(dots) + _label(end, duration(last.p50))

    def tell(row: Row) -> str:
        return ", ".join(f"{duration(level.p50)} with {level.concurrency}" for level in row.levels)

    return _chart("Median latency by visitors at once", rows, draw, tell, scale=scale)


def memory_chart(rows: Sequence[Row]) -> str:
    """For each model two bars: memory of the whole process tree at load, and in it at rest."""
    most = max((max(row.pss, row.pss_at_load) for row in rows), default=0) or 1

    def tell(row: Row) -> str:
        return f"{memory(row.pss).removesuffix(_MIB)} → {memory(row.pss_at_load)}"

    def draw(row: Row) -> str:
        rest, load = 100 * row.pss / most, 100 * row.pss_at_load / most
        return _bar(load, name="load") + _bar(rest, name="rest") + _label(max(rest, load), tell(row))

    return _chart("Memory at rest and at load", rows, draw, tell)


def _chart(
    title: str, rows: Sequence[Row], draw: Callable[[Row], str], tell: Callable[[Row], str], *,
    scale: Scale | None = None,
) -> str:  # fmt: skip
    """A row for each model, with its title above what is drawn; and all of it in words."""
    top, bottom = (_AXIS, _AXIS + len(rows) * _ROW) if scale else (0, len(rows) * _ROW)
    marks = _axis(scale, bottom) if scale else ""
    for number, row in enumerate(rows):
        kind = "starts" if row.started >= PER_REQUEST else "stays"
        marks += f'<g class="{kind}" transform="translate(0 {top + number * _ROW})">'
        marks += f'<text y="13">{escape(row.title)}</text>{draw(row)}</g>'
    name = title.split()[0].lower()
    told = "; ".join(f"{row.title}: {tell(row)}" for row in rows)
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-told" height="{bottom}">'
        f'<title id="{name}-title">{title}</title><desc id="{name}-told">{escape(told)}</desc>{marks}</svg>'
    )


def _axis(scale: Scale, bottom: int) -> str:
    """The powers of ten as lines, each with its name; where there is little room, each second name will do."""
    return "".join(
        f'<line class="tick" x1="{x}" x2="{x}" y1="{_AXIS - 6}" y2="{bottom}"/>'
        f'<text class="tick{" second" * (number % 2)}" x="{x}" y="11">{re.sub("[.]0+", "", duration(value))}</text>'
        for number, value in enumerate(scale.ticks())
        for x in [f"{scale.place(value):.2f}%"]
    )


def _bar(width: float, *, name: str = "whole") -> str:
    y, height = (22, 8) if name == "rest" else (18, 16)
    return f'<rect class="{name}" y="{y}" width="{width:.2f}%" height="{height}" rx="2"/>'


def _label(place: float, text: str) -> str:
    return f'<text class="value" x="{place:.2f}%" dx="8" y="31">{text}</text>'


def _cpu(row: Row) -> float:
    return row.cpu or math.inf


# -- words and tables


def _answers(comparison: Comparison) -> Iterator[str]:
    for sentence, names, diff in verdicts(comparison):
        models = ", ".join(f"<b>{escape(name)}</b>" for name in names)
        yield f"<p>{models}: {escape(sentence)}.</p>"
        if diff:
            lines = "\n".join(f'<span class="{_DIFF.get(line[:1], "same")}">{escape(line)}</span>' for line in diff)
            yield f"<pre>{lines}</pre>"
    for row in comparison.measured:
        if row.failed:
            yield f'<p class="bad"><b>{escape(row.name)}</b> failed {row.failed:,} of {row.requests:,} requests, first '
            yield f"with: {escape(row.fault)}.</p>" + (f"<pre>{escape(row.said)}</pre>" if row.said else "")


_DIFF = {"-": "old", "+": "new"}


def _costs(comparison: Comparison) -> str:
    return "".join(
        _cells(
            row.title, duration(row.cpu), times(comparison.ratio(row)), f"{row.started:.1f}", memory(row.pss),
            memory(row.pss_at_load), duration(row.cold_start), f"{row.failed:,}",
        )
        for row in comparison.measured
    )  # fmt: skip


def _loads(rows: Sequence[Row]) -> str:
    return "".join(
        _cells(
            "" if number else row.title, f"{level.concurrency}", f"{level.throughput:,.0f}", duration(level.first_byte),
            duration(level.p50), duration(level.p95), duration(level.p99), duration(level.cpu), f"{level.requests:,}",
            height=len(row.levels),
        )
        for row in rows
        for number, level in enumerate(row.levels)
    )  # fmt: skip


def _cells(title: str, *cells: str, height: int = 1) -> str:
    """A row of a table; without a title it goes on with the one above, which is so many rows high."""
    heading = f'<th scope="row" rowspan="{height}">{escape(title)}</th>' if title else ""
    return f"<tr>{heading}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"


def _absent(comparison: Comparison, missing: Mapping[str, str]) -> Iterator[str]:
    for row in comparison.rows:
        if row.absence:
            yield f"<p><b>{escape(row.name)}</b> did not start.</p><pre>{escape(row.absence)}</pre>"
    if missing:
        advice = "; ".join(f"{escape(name)}: <code>{escape(install)}</code>" for name, install in missing.items())
        yield f"<p>Not installed: {advice}.</p>"
