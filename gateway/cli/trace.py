"""The command ``gateway trace``: what happens to one request under each process model, as it was measured."""

from __future__ import annotations

import json
import os
import string
import subprocess
import sys
from urllib.parse import quote

import click

from gateway.errors import ConfigError
from gateway.events import APPLICATION, WEB_SERVER
from gateway.measure.phases import MEANINGS, MODELS, Timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from gateway.events import Side
    from gateway.measure.target import Target

    Bytes: TypeAlias = "list[tuple[Side, bytes]]"

REQUESTS = 2
"""The first finds nothing running, the second what the first has left."""

EPILOG = """\
\b
Examples:
  gateway trace hello:application
  gateway trace --as cgi,fastcgi,http hello:application '/path?x=1'
  gateway trace -v --as scgi hello:application /     (every byte, too)

\b
Models:
  cgi      a process for each request, as a cgi-bin has it
  fork     a warm process that forks for each request; asked by FastCGI
  fastcgi  a worker that stays; scgi, uwsgi, ajp and http: by that wire

\b
Exit status:
  0  every model has answered, all with the same status
  1  one could not, or answered otherwise
  2  wrong usage
  3  TARGET cannot be loaded

How each phase is measured: docs/one-request.md.
"""


def parse_path(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """A path as in a URL; what a URL does not spell is escaped.  Raises BadParameter."""
    if value[:1] != "/":
        raise click.BadParameter(f"{value!r} does not begin with /")
    return quote(os.fsencode(value), safe=string.punctuation)


def parse_models(ctx: click.Context, param: click.Parameter, value: str) -> list[str]:
    """The names between commas.  Raises BadParameter."""
    names = list(dict.fromkeys(name.strip() for name in value.split(",")))
    for name in names:
        if name not in MODELS:
            raise click.BadParameter(f"no model is called {name!r}; there are: {', '.join(MODELS)}")
    return names


@click.command(epilog=EPILOG)
@click.argument("target")
@click.argument("path", default="/", callback=parse_path)
@click.option("--as", "models", default="cgi,fork,fastcgi", show_default=True, metavar="MODELS", callback=parse_models,
              help="The process models, with commas between them.")  # fmt: skip
@click.option("--chdir", default=".", metavar="DIR", type=click.Path(exists=True, file_okay=False),
              help="Where TARGET is, and where its servers start.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="All of it for programs, times in nanoseconds.")
@click.option("-v", "--verbose", is_flag=True, help="Show each byte of what crosses the wires.")
def command(*, target: str, path: str, models: list[str], chdir: str, as_json: bool, verbose: bool) -> None:
    """Show what happens to one request, under each process model.

    TARGET is module:application, of WSGI or ASGI. It is asked twice for PATH under each model; the first time nothing
    runs yet. Shown are the phases that the processes have measured by one clock, what differs in the environ that the
    application is called with, and what crosses the wires.
    """
    from gateway.measure.phases_running import measure
    from gateway.measure.target import recognize

    try:
        found = recognize(target, folder=chdir)
    except ConfigError as error:
        click.echo(error, err=True)
        sys.exit(3)
    if not found.is_application:
        raise click.UsageError(f"{target} is a CGI program, and no application: ask it by gateway compare")
    try:
        traces = {
            model: measure(model, target, path, interface=found.kind, folder=found.folder, requests=REQUESTS)
            for model in models
        }
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    wires = {name: (who, _wire(found, traces[who[0]][0])) for name, who in _wires(models).items()}
    if as_json:
        click.echo(json.dumps(as_dict(target, path, traces, wires), indent=2))
    else:
        from gateway.cli.trace_page import Page

        Page(sys.stdout, verbose=verbose).show(f"{target}, GET {path}", traces, differences(traces), wires)
    statuses = {timeline.status for timelines in traces.values() for timeline in timelines}
    if len(statuses) > 1:
        raise click.ClickException(f"the models do not answer alike: {', '.join(sorted(statuses))}")
    if statuses & {"502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"}:
        raise click.ClickException(f"no model answers: {', '.join(statuses)}; look at what they say above")


def _wires(models: list[str]) -> dict[str, list[str]]:
    """The wires, and which models speak them."""
    wires: dict[str, list[str]] = {}
    for model in models:
        wires.setdefault("fastcgi" if model == "fork" else model, []).append(model)
    return wires


def _wire(target: Target, timeline: Timeline) -> Bytes:
    """What crossed the wire.  By CGI that is a program's environment and its stdout: it is run once more for it."""
    if timeline.model != "cgi":
        return list(timeline.wire)
    from gateway.measure.target import inherited

    variables = {
        name.encode("latin-1"): value.encode("latin-1")
        for name, value in environ_of(timeline).items()
        if "." not in name  # as there is in those of WSGI and ours
    }
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli.cgi_run", target.name], cwd=target.folder,
        env={os.fsencode(name): os.fsencode(value) for name, value in inherited().items()} | variables,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )  # fmt: skip
    environment = b"".join(b"%b=%b\0" % pair for pair in sorted(variables.items()))
    return [(WEB_SERVER, environment), (APPLICATION, done.stdout)]


def environ_of(timeline: Timeline) -> dict[str, str]:
    """The environ of a request, without the process's own environment, with which CGI mixes it."""
    from gateway.measure.target import inherited

    inherits = inherited()
    return {name: value for name, value in timeline.environ.items() if inherits.get(name) != value}


def differences(traces: dict[str, list[Timeline]]) -> dict[str, dict[str | None, list[str]]]:
    """Each variable of the environs: its values, None for that it is missing, and the models that have it so."""
    environs = {model: environ_of(timelines[0]) for model, timelines in traces.items()}
    variables: dict[str, dict[str | None, list[str]]] = {}
    for name in sorted(set().union(*environs.values())):
        values = variables.setdefault(name, {})
        for model, environ in environs.items():
            values.setdefault(environ.get(name), []).append(model)
    return variables


def as_dict(
    target: str, path: str, traces: dict[str, list[Timeline]], wires: dict[str, tuple[list[str], Bytes]]
) -> dict[str, Any]:
    """All of it, for JSON."""
    sides = {WEB_SERVER: "web-server", APPLICATION: "application"}
    return {
        "target": target,
        "path": path,
        "meanings": MEANINGS,
        "requests": [timeline.as_dict() for timelines in traces.values() for timeline in timelines],
        "environ": {model: environ_of(timelines[0]) for model, timelines in traces.items()},
        "wires": {
            wire: [{"from": sides[side], "hex": data.hex()} for side, data in said if data]
            for wire, (_, said) in wires.items()
        },
    }
