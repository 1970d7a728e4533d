"""The command ``gateway replay``: recorded requests, sent to another server, model or version, and what differs."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from gateway.cli.call import parse_header
from gateway.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.measure.replay import Outcome

EPILOG = """\
\b
Examples:
  fcgi-run --record recordings app:application      (on the old server)
  gateway replay recordings --against app:application --as cgi
  gateway replay recordings --against cgi-bin/app.cgi
  gateway replay recordings --against fastcgi://unix:/run/new.sock \\
      --ignore-cookie csrftoken --may-differ 'nonce="[^"]*"'
  gateway replay browser.har --against http://127.0.0.1:8000

\b
Exit status:
  0  everything was answered as it was then
  1  something was not
  2  wrong usage
  3  the target cannot be loaded or started
"""


@click.command(epilog=EPILOG)
@click.argument("recordings", metavar="DIR|FILE.har", type=click.Path(exists=True, path_type=Path))
@click.option("--against", required=True, metavar="TARGET", help="A URL such as fastcgi://unix:/run/app.sock "
              "or http://127.0.0.1:8000, an application (module:attribute), a CGI script or a directory.")  # fmt: skip
@click.option("--as", "model", default="", metavar="MODEL",
              help="The process model for a TARGET that is no URL, one of those that gateway compare names: "
                   "fastcgi for applications, cgi for scripts, unless you say another.")  # fmt: skip
@click.option("--ignore-header", "ignored_headers", multiple=True, metavar="NAME", help="It may differ; beside Date, "
              "Server and others that are a server's own.")  # fmt: skip
@click.option("--ignore-cookie", "ignored_cookies", multiple=True, metavar="NAME", help="It may be set or not. Values "
              "and times of cookies may always differ.")  # fmt: skip
@click.option("--may-differ", multiple=True, metavar="REGEX", help="What this matches in headers and bodies may.")
@click.option("-H", "--header", "headers", multiple=True, metavar="LINE",
              help="Send this header instead of what was recorded, for one that was masked, say.")  # fmt: skip
@click.option("--secret", "secrets", multiple=True, metavar="NAME", help="A name masked beside the usual ones.")
@click.option("--json", "as_json", is_flag=True, help="Tell it for programs.")
def command(
    *, recordings: Path, against: str, model: str, as_json: bool, headers: tuple[str, ...], **rules: Any
) -> None:  # fmt: skip
    """Send recorded requests to TARGET in their order, and tell what it answers otherwise than it was then.

    Recordings are made by fcgi-run --record DIR, by gateway.Recorder, or saved by a browser as HAR. All of them come
    from one visitor here, who gives back the cookies that he gets.
    """
    from gateway.measure.load import quiet
    from gateway.measure.replay import Replay, Rules, read_recordings

    with ExitStack() as stack:
        try:
            stated = Rules(headers=tuple(map(parse_header, headers)), **rules)
            found = read_recordings(recordings)
        except ConfigError as error:
            raise click.UsageError(str(error)) from error
        stack.enter_context(quiet())
        try:
            replay = Replay(_application(against, model, stack), stated)
        except ConfigError as error:
            click.echo(str(error), err=True)
            sys.exit(3)
        outcomes = []
        for recording in found:
            outcomes.append(replay.ask(recording))
            if not as_json:
                _show(outcomes[-1])
    different = sum(1 for outcome in outcomes if outcome.differences)
    skipped = sum(1 for outcome in outcomes if outcome.skipped)
    if as_json:
        click.echo(json.dumps(list(map(_as_json, outcomes)), indent=2))
    else:
        alike = len(outcomes) - different - skipped
        click.echo(f"{len(outcomes)} requests: {alike} answered alike, {different} otherwise, {skipped} not sent")
    sys.exit(1 if different else 0)


def _application(target: str, model: str, stack: ExitStack) -> Any:
    """What asks the target, which may have to be started.  Raises ConfigError."""
    from gateway.client import Client

    if "://" in target:
        if model:
            raise ConfigError(f"{target} is running: leave out --as {model}")
        return stack.enter_context(Client(target))
    from gateway.measure.models import MODELS, running
    from gateway.measure.target import recognize

    found = recognize(target)
    name = model or ("fastcgi" if found.is_application else "cgi")
    if name not in MODELS:
        raise ConfigError(f"no model is called {name!r}; there are: {', '.join(MODELS)}")
    return stack.enter_context(running(MODELS[name], found)).application


def _show(outcome: Outcome) -> None:
    if outcome.skipped:
        click.echo(f"{outcome.recording}: not sent: {outcome.skipped}")
    if outcome.differences:
        click.echo(str(outcome.recording))
    for line in outcome.differences:
        click.secho(f"    {line}", fg={"+": "green", "-": "red"}.get(line[:1]))
    if outcome.hint:
        click.echo(f"    {outcome.hint}")


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "recording": outcome.recording.name, "method": outcome.recording.request.method,
        "path": outcome.recording.request.path, "skipped": outcome.skipped, "differences": outcome.differences,
        "hint": outcome.hint,
    }  # fmt: skip
