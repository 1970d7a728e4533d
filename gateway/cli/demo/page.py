"""The page of ``gateway demo`` as HTML: whole without scripts, with an id or a data-… for each place that one fills."""

from __future__ import annotations

import html
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from gateway import __version__
from gateway.cli.annotate import Annotation, Line, annotator
from gateway.cli.demo.lanes import SOURCES, Lane
from gateway.cli.demo.texts import LANGUAGES, texts
from gateway.events import APPLICATION, WEB_SERVER
from gateway.measure.phases import MEANINGS, UNMEASURED, Timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.events import Side

_HERE = Path(__file__).parent
PHASES = [*MEANINGS, UNMEASURED]
"""In the order in which a request meets them."""
_MARKS = {WEB_SERVER: ("asks", ">"), APPLICATION: ("answers", "<")}
WIRE = "fastcgi"
"""What moves between the web server's side and each worker of the demo."""

_escape = html.escape


class Page:
    """The templates, filled in for a visitor."""

    def __init__(self) -> None:
        self._whole = Template((_HERE / "page.html").read_text("utf-8"))
        self._lane = Template((_HERE / "lane.html").read_text("utf-8"))

    def render(self, lanes: Iterable[Lane], *, language: str, host: str) -> str:
        """All of it."""
        said = texts(language)
        written = {key: _escape(text) for key, text in said.items()}
        return self._whole.substitute(
            written,
            language=language, language_label=written["language"], host=_escape(host),
            languages=" ".join(_language(name, current=name == language) for name in LANGUAGES),
            texts=json.dumps(said, ensure_ascii=False).replace("<", "\\u003c"),
            phases="".join(f'<li data-phase="{_escape(name)}">{written[name]}</li>' for name in PHASES),
            definitions="".join(f"<dt>{written[name]}</dt><dd>{written[f'{name} means']}</dd>" for name in PHASES),
            lanes="\n".join(self._render_lane(lane, said, language=language) for lane in lanes),
            sources="".join(map(_source, SOURCES)),
            versions=f"gateway {__version__}, {platform.python_implementation()} {platform.python_version()}",
        )  # fmt: skip

    def _render_lane(self, lane: Lane, said: Mapping[str, str], *, language: str) -> str:
        name = said[f"{lane.name}_name"]
        numbers = lane.numbers()
        failed = numbers["status"] != "200 OK"
        shown = {
            "pid": numbers["pid"] or "–", "served": numbers["served"] or "–", "took": milliseconds(numbers["waited"]),
            "median": milliseconds(numbers["median"]), "asked": numbers["asked"],
            "processes": "–" if lane.processes is None else lane.processes,
            "memory": "–" if lane.memory is None else f"{lane.memory / 1e6:.1f}",
            "environ": render_environ(lane.last, said), "records": render_records(lane.last, said),
        }  # fmt: skip
        return self._lane.substitute(
            {key: _escape(text) for key, text in said.items()} | {f"{key}_value": shown[key] for key in shown},
            lane=lane.name, language=language, name=_escape(name), to=_escape(said["to"].format(lane=name)),
            what=_escape(said[f"{lane.name}_what"]), about=_escape(said[f"{lane.name}_about"]),
            parts=_escape(describe(numbers["phases"], said)),
            error=_escape(said["failed"].format(status=numbers["status"])) if failed else "",
        )  # fmt: skip


def milliseconds(nanoseconds: int) -> str:
    """As the page shows them.

    >>> milliseconds(1234567), milliseconds(12345678)
    ('1.23', '12.3')
    """
    value = nanoseconds / 1e6
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def describe(phases: Iterable[Mapping[str, Any]], said: Mapping[str, str]) -> str:
    """The phases of a request in words."""
    return " · ".join(f"{said[phase['name']]} {milliseconds(phase['end'] - phase['start'])}" for phase in phases)


def _language(name: str, *, current: bool) -> str:
    here = ' aria-current="true"' if current else ""
    return f'<a href="/?lang={name}" lang="{name}" hreflang="{name}"{here}>{LANGUAGES[name]}</a>'


def _source(path: Path) -> str:
    name = _escape(path.name)
    code = _escape(path.read_text("utf-8").strip())
    return f'<figure><figcaption>{name}</figcaption><pre tabindex="0"><code>{code}</code></pre></figure>'


def render_environ(timeline: Timeline | None, said: Mapping[str, str]) -> str:
    """What the application was called with; of what it inherited from us only the names: they may hold secrets."""
    if timeline is None or not timeline.environ:
        return f"<p>{_escape(said['nothing_yet'])}</p>"
    told = {name: value for name, value in timeline.environ.items() if name not in os.environ}
    inherited = sorted(timeline.environ.keys() - told.keys())
    rows = "".join(
        f'<tr><th scope="row">{_escape(name)}</th><td>{_escape(told[name])}</td></tr>'
        for name in sorted(told, key=lambda name: (not name.isupper(), name))
    )
    more = f"<p>{_escape(said['inherited'].format(names=', '.join(inherited)))}</p>" if inherited else ""
    return f"<p>{_escape(said['environ_about'])}</p>{_scrolling('<table>' + rows + '</table>', said['environ'])}{more}"


def render_records(timeline: Timeline | None, said: Mapping[str, str]) -> str:
    """What moved on the wire, a line for each record and param."""
    if timeline is None:
        return f"<p>{_escape(said['nothing_yet'])}</p>"
    if not timeline.wire:
        return f"<p>{_escape(said['no_wire'])}</p>"
    items = "".join(_record(side, line) for side, line in _lines(timeline.wire) if not line.detail)
    listed = _scrolling(f'<ol class="records">{items}</ol>', said["records"])
    return f"<p>{_escape(said['records_about'])}</p>{listed}"


def _scrolling(content: str, name: str) -> str:
    """What may be longer than its place, for the keyboard to scroll."""
    return f'<div class="scrolls" tabindex="0" role="region" aria-label="{_escape(name)}">{content}</div>'


def _lines(wire: Iterable[tuple[Side, bytes]]) -> Iterator[tuple[Side, Line]]:
    annotations = {side: Annotation(annotator(WIRE, side)) for side in _MARKS}
    for side, data in wire:
        for line in annotations[side].feed(data):
            yield side, line


def _record(side: Side, line: Line) -> str:
    who, mark = _MARKS[side]
    said = " ".join(
        f'<span class="{piece.kind}">{_escape(piece.text)}</span>' for piece in line.pieces if piece.text
    )
    return f'<li class="{who} level{min(line.level, 2)}"><b>{_escape(mark)}</b> {said}</li>'
