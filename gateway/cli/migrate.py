"""The command ``gateway migrate``: what old CGI and FastCGI code uses, what of it runs, and the edits that are safe."""

from __future__ import annotations

import json
import os
import shlex
import sys

import click

from gateway.errors import ConfigError
from gateway.migrate import COMPAT, VERDICTS, Finding
from gateway.migrate.files import PYTHON, find, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from gateway.migrate.report import Report

DONE, FOUND = 0, 1

EPILOG = """\
\b
Examples:
  gateway migrate dispatch.fcgi
  gateway migrate --diff /srv/www
  gateway migrate --write --backup /srv/www/cgi-bin
  gateway migrate --json . | jq -r '.[] | select(.verdict == "must change").path'

What runs through gateway.compat runs unedited: python -m gateway.compat SCRIPT.

Exit status: 0 if there is nothing to do, or nothing more, 1 if there is, 2 for
wrong usage.
"""


@click.command(epilog=EPILOG)
@click.argument("what", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--write", is_flag=True, help="Make the edits that change nothing of what the code does, and show them.")
@click.option("--diff", is_flag=True, help="Show the edits that --write would make.")
@click.option("--backup", is_flag=True, help="With --write, keep what each file was, as FILE.orig.")
@click.option("--json", "as_json", is_flag=True, help="Tell all of it in JSON.")
def command(*, what: tuple[str, ...], write: bool, diff: bool, backup: bool, as_json: bool) -> None:
    """Tell line by line what runs as it is, what runs through gateway.compat, and what must change, and how.

    Looks for flup, flipflop, wsgiref.handlers, cgi, cgitb, http.server --cgi, Django's runfcgi, wfastcgi and Python 2,
    in what is Python by its name or its first line, and in shell scripts, units and web.config.
    """
    if backup and not write:
        raise click.UsageError("--backup is for --write: nothing is changed without it")
    told = []
    for report in _examine(what):
        written = write and bool(report.diff) and _write(report, backup=backup)
        told.append(_as_dict(report, written=written))
        if not as_json:
            _show(report, written=written, diff=diff or written)
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    elif not any(file["problem"] or file["findings"] for file in told):
        click.echo(f"There is nothing to do in {len(told)} file{'s' * (len(told) != 1)}.")
    sys.exit(FOUND if any(file["problem"] or _left(file) for file in told) else DONE)


def _examine(what: tuple[str, ...]) -> Iterator[Report]:
    """A report on each file; those that were named are code, if nothing else."""
    try:
        from gateway.migrate.report import examine
    except ModuleNotFoundError as error:
        raise click.UsageError(f"{error.name} is missing, which reads code: pip install 'gateway[migrate]'") from None
    for path in what:
        found = find(path) if os.path.isdir(path) else [(path, kind_of(path) or PYTHON)]
        for name, kind in found:
            yield examine(name, kind)


def _write(report: Report, *, backup: bool) -> bool:
    """Whether the edits of a file could be made."""
    try:
        report.write(backup=backup)
    except ConfigError as error:
        report.problem = str(error)
        return False
    return True


def _as_dict(report: Report, *, written: bool) -> dict[str, Any]:
    findings = [
        {"line": found.line, "what": found.what, "verdict": found.verdict, "advice": found.advice, "edit": found.edited}
        for found in report.findings
    ]
    return {
        "path": report.path, "python": report.python, "verdict": report.verdict, "problem": report.problem,
        "findings": findings, "diff": report.diff, "written": written,
    }  # fmt: skip


def _left(file: dict[str, Any]) -> bool:
    """Whether something of a file is still to do."""
    return any(not (file["written"] and found["edit"]) for found in file["findings"])


def _show(report: Report, *, written: bool, diff: bool) -> None:
    """A line for each finding, and one for the file."""
    by_hand = [found for found in report.findings if not found.edited]
    for lines, found in _grouped(report.findings):
        more = f" (also in {', '.join(map(str, lines[1:]))})" if len(lines) > 1 else ""
        done = ("; done" if written else "; --write does it") if found.edited else ""
        click.echo(f"{report.path}:{lines[0]}: {found.what} {found.verdict}{more}: {found.advice}{done}")
    if diff and report.diff:
        _show_diff(report.diff)
    if report.problem:
        click.echo(f"{report.path}: {report.problem}")
    elif report.findings:
        click.echo(f"{report.path} {_sum_up(report, by_hand if written else report.findings)}")


def _sum_up(report: Report, left: list[Finding]) -> str:
    """What a file is good for."""
    if not left:
        said = "is done"
    else:
        said = max((found.verdict for found in left), key=VERDICTS.index)
        if said == COMPAT and report.kind == PYTHON:
            said += f": python -m gateway.compat {shlex.quote(report.path)}"
    if report.python == 2:
        said += "; it was written for Python 2, whose str is bytes: try what it reads and writes"
    return said


def _grouped(findings: list[Finding]) -> Iterator[tuple[list[int], Finding]]:
    """Findings that say the same, once, with all their lines."""
    groups: dict[tuple[object, ...], tuple[list[int], Finding]] = {}
    for found in findings:
        lines, _ = groups.setdefault((found.what, found.advice, found.edited), ([], found))
        if found.line not in lines:
            lines.append(found.line)
    yield from groups.values()


def _show_diff(text: str) -> None:
    """Plain where something may read it: it is a patch."""
    if not _is_terminal():
        click.echo(text, nl=False)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "diff", background_color="default", word_wrap=True))


def _is_terminal() -> bool:
    return sys.stdout.isatty()
