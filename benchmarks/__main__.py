"""The command line of the benchmarks: what to measure, for how long, and where to write it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console

from . import asgi, cgi, contenders, goals, hosts, idle, load, memory, report, servers

SECTIONS = {"load": load, "asgi": asgi, "cgi": cgi, "hosts": hosts, "memory": memory, "idle": idle}
TOOLS = [contenders.NGINX, contenders.WRK]
SERVERS = [*contenders.CONTENDERS, *contenders.ASGI_CONTENDERS]
PEERS = dict.fromkeys([*(contender.peer for contender in SERVERS), *hosts.PEERS])


def entries(pattern: str = "") -> Iterator[tuple[str, str]]:
    """Yield section and name of everything that can be measured, or of what `pattern` finds in "section: name"."""
    for section, module in SECTIONS.items():
        for name in module.NAMES:
            if re.search(pattern, f"{section}: {name}", re.IGNORECASE):
                yield section, name


def parse_pattern(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse a pattern that is no regular expression or finds nothing."""
    try:
        if any(entries(value)):
            return value
    except re.error as error:
        raise click.BadParameter(f"{value!r} is no regular expression: {error}") from error
    raise click.BadParameter(f"nothing is called {value!r}; --list shows what there is")


@click.command()
@click.option(
    "--only", metavar="PATTERN", default="", callback=parse_pattern, help="Measure only what this regex finds."
)
@click.option("--seconds", type=click.FloatRange(min=0.1), default=1.5, show_default=True, help="Length of a round.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds of each contender.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a page, too.")
@click.option("--list", "only_list", is_flag=True, help="Print the names of all that can be measured, and end.")
def main(*, only: str, seconds: float, rounds: int, as_json: bool, markdown: Path | None, only_list: bool) -> None:
    """Measure gateway against its peers behind one nginx.

    Ends with status 0, or 1 when something that is installed does not work, or 2 for wrong usage.
    """
    if only_list:
        click.echo("\n".join(f"{section}: {name}" for section, name in entries(only)))
        return
    for tool in TOOLS:
        if tool.version() is None:
            raise click.ClickException(f"{tool.name} is not installed: {tool.install}")
    load_before = os.getloadavg()[0]
    try:
        with Console(stderr=True).status("") as status:
            sections = list(measure(only, seconds=seconds, rounds=rounds, progress=status.update))
    except servers.StartError as error:
        raise click.ClickException(f"nginx {error}") from error
    run = report.Run([*sections, *goals.judge(sections)], dict(versions()), seconds, rounds, load_before)
    if as_json:
        click.echo(report.to_json(run))
    else:
        report.show(run, console=report.wide_console())
    if markdown:
        markdown.write_text(report.to_markdown(run), encoding="utf-8")
    if any(result.status == "failed" for section in sections for result in section.results):
        raise SystemExit(1)


def measure(pattern: str, *, seconds: float, rounds: int, progress: Callable[[str], None]) -> Iterator[report.Section]:
    """Yield the sections that `pattern` finds something in."""
    for section, module in SECTIONS.items():
        names = [name for of, name in entries(pattern) if of == section]
        if names:
            yield module.run(names, seconds=seconds, rounds=rounds, progress=progress)


def versions() -> Iterator[tuple[str, str]]:
    """Yield name and version of all software involved that is installed."""
    for software in [*TOOLS, *PEERS]:
        installed = software.version()
        if installed is not None:
            yield software.name, installed


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
