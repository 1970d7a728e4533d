"""The command ``gateway compare``: one application served by every process model and by others' servers, measured."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

EPILOG = """\
\b
Examples:
  gateway compare app:application
  gateway compare --html report.html app:application
  gateway compare --chdir ~/mysite --urls urls.txt mysite.wsgi:application
  gateway compare --models cgi,fork,fastcgi,uWSGI app:application
  gateway compare cgi-bin/

\b
Models, as the tables and --models call them:
  cgi         a process for each request
  fork        a warm process that forks for each request
  fastcgi     FastCGI, one worker; processes: several; threads; aio: asyncio
  scgi        the same as fastcgi by another wire; and so uwsgi, ajp, http
  cgi-bin     FastCGI, whose worker starts CGI programs; warm: forks for them,
              inprocess: runs them in itself (Python)
  flup, uWSGI, gunicorn, uvicorn, mod_cgid (Apache), fcgiwrap
All that serve TARGET are compared, but for the other wires.

Exit status: 0 if it was measured, 1 if it could not be, 2 for wrong usage, 3 if
TARGET cannot be loaded, 4 if a model failed to answer or state leaked from one
request into another: the classic fault of a migration to workers that stay.
"""


def _numbers(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    words = value.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise click.BadParameter(f"{value!r} is no list of numbers; write for example 1,4,16")
    return tuple(sorted(set(map(int, words))))


@click.command(epilog=EPILOG)
@click.argument("target")
@click.option("--chdir", default=".", metavar="DIR", type=click.Path(exists=True, file_okay=False),
              help="Where TARGET is, and where its servers start.")  # fmt: skip
@click.option("--urls", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Ask for the paths in this file, one on each line, instead of /.")  # fmt: skip
@click.option("--har", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Ask what a browser asked, whose network tab saved it.")  # fmt: skip
@click.option("--models", metavar="NAME,…", default="", help="Compare these only; their names are below.")
@click.option("--concurrency", default="1,4,16", show_default=True, callback=_numbers, metavar="N,…",
              help="Visitors at once, one load after the other.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds of each load.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Length of a round; as usual, half a minute "
              "divided by all rounds.")  # fmt: skip
@click.option("--processes", type=click.IntRange(1), help="Workers, where several; as usual, one a processor.")
@click.option("--threads", type=click.IntRange(1), default=8, show_default=True, help="Threads, where several.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True,
              metavar="SECONDS", help="An answer that stands still for so long has failed.")  # fmt: skip
@click.option("--json", "as_json", metavar="FILE", help="Write all figures, in seconds and bytes; - is stdout.")
@click.option("--html", metavar="FILE", help="Write the report, one page that needs nothing else; - is stdout.")
def command(
    *, target: str, chdir: str, urls: Path | None, har: Path | None, models: str, as_json: str | None, html: str | None,
    seconds: float | None, processes: int | None, **measure: Any,
) -> None:  # fmt: skip
    """Serve TARGET by every process model, and compare what they cost and what they answer.

    TARGET is an application (module:attribute, path/to/file.py:attribute), a CGI script or a directory of them. Each
    model is started for real: a CGI process for each request, forks, FastCGI workers; and flup, uWSGI, gunicorn,
    uvicorn, Apache and fcgiwrap where they are installed. All get the same requests in turn, in a minute or less.
    """
    if urls and har:
        raise click.UsageError("ask for either --urls or --har; leave one out")
    from gateway.errors import ConfigError
    from gateway.measure.comparison import Settings
    from gateway.measure.processes import check_platform
    from gateway.measure.target import recognize

    measure |= {name: value for name, value in (("seconds", seconds), ("processes", processes)) if value}
    settings = Settings(**measure)
    try:
        found = recognize(target, folder=chdir)
    except ConfigError as error:
        click.echo(error, err=True)
        sys.exit(3)
    try:
        check_platform()
        with _ended_by_signals():
            status = _compare(found, urls=urls, har=har, names=models, settings=settings, as_json=as_json, html=html)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does: with the servers that it has started."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    handlers = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _compare(
    target: Any, *, urls: Path | None, har: Path | None, names: str, settings: Any, as_json: str | None,
    html: str | None,
) -> int:  # fmt: skip
    from rich.console import Console

    from gateway.cli.compare_tables import show
    from gateway.measure.comparison import compare
    from gateway.measure.peers import choose
    from gateway.measure.report import render
    from gateway.measure.requests import read_har, read_urls, usual_requests

    requests = read_urls(urls) if urls else read_har(har) if har else usual_requests(target)
    models, missing = choose(target, names)
    with _Progress() as progress:
        comparison = compare(target, models, requests, settings=settings, progress=progress)
    if as_json:
        _write(as_json, json.dumps(comparison.as_json() | {"missing": missing}, indent=2) + "\n")
    if html:
        _write(html, render(comparison, missing=missing))
    if "-" not in (as_json, html):
        show(comparison, missing=missing, console=Console(highlight=False))
    return 4 if any(row.failed or row.verdict.leaks for row in comparison.measured) else 0


def _write(file: str, text: str) -> None:
    try:
        if file == "-":
            click.echo(text, nl=False)
        else:
            Path(file).write_text(text, "utf-8")
            click.echo(f"Written: {file}", err=True)
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}; name another file") from error


class _Progress:
    """What is done at the moment, as a bar on stderr where somebody sees it."""

    def __enter__(self) -> _Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=None)
        self._bar.start()
        return self

    def __call__(self, what: str, done: int, steps: int) -> None:
        self._bar.update(self._task, description=what, completed=done, total=steps)

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()
