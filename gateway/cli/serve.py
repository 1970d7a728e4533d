"""The command ``gateway serve``: an application, a script or a directory of scripts on HTTP, for development.

The heir of ``python -m http.server --cgi``: our own HTTP wire and worker, one process, a line for each request.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from gateway.apps import interface_of
from gateway.cli.ports import HOST, listen_nearby
from gateway.entry import build_worker
from gateway.errors import ConfigError
from gateway.limits import Limits
from gateway.loader import explain, load
from gateway.script import CGIDirectory, CGIScript
from gateway.script.choices import parse_execution, parse_interpreters, parse_limits
from gateway.script.faults import first_line
from gateway.script.host import CGIHost
from gateway.script.listing import list_scripts

GRACE = 1
"""Seconds that requests have to finish when it stops."""

EPILOG = """\
\b
Examples:
  gateway serve ./cgi-bin
  gateway serve ./cgi-bin --interpreter .php=php-cgi --execution '*.py=fork' --preload cgi
  gateway serve hello.cgi
  gateway serve shop.wsgi:application
"""


@click.command(epilog=EPILOG)
@click.argument("path")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any free port.")
@click.option("--host", default=HOST, show_default=True, help="The address to listen on.")
@click.option("--threads", type=click.IntRange(1), default=8, show_default=True, help="Requests answered at once.")
@click.option("--execution", multiple=True, metavar="[PATTERN=]NAME",
              help="How scripts run: spawn, fork or inprocess; '*.py=fork' for some. Can be repeated.")  # fmt: skip
@click.option("--preload", multiple=True, metavar="MODULE",
              help="A module that scripts import, cgi say: with --execution fork it is imported once, before the first "
                   "request, by the Python that scripts name, and none waits for it. Can be repeated.")  # fmt: skip
@click.option("--interpreter", multiple=True, metavar=".EXT=COMMAND",
              help="What runs files with this extension, executable or not. Can be repeated.")  # fmt: skip
@click.option("--static", is_flag=True, help="Serve the other files of a directory, too.")
@click.option("--follow-symlinks", is_flag=True, help="Follow links that lead out of the directory.")
@click.option("--timeout", type=click.FloatRange(0), default=30.0, show_default=True, metavar="SECONDS",
              help="A script that is silent for so long is ended; 0: never.")  # fmt: skip
@click.option("--limit", multiple=True, metavar="NAME=N",
              help="Set a limit of gateway.limits for scripts, script_memory=512e6 say; 0 turns one off. Can be "
                   "repeated.")  # fmt: skip
def command(*, path: str, port: int, host: str, threads: int, **options: Any) -> None:
    """Serve PATH on HTTP, for development: a directory of CGI scripts, one script, or an application.

    An application is named like everywhere here: module:attribute or path/to/file.py:attribute. If the port is in use,
    the next free one is taken.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        app = build_app(path, **options)
        listener = listen_nearby(port, host=host)
        worker = build_worker(
            Journal(app, say=click.echo) if interface_of(app) == "wsgi" else app, [listener], protocol="http",
            threads=threads, limits=Limits(graceful_timeout=GRACE),
        )  # fmt: skip
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    for number in (signal.SIGINT, signal.SIGTERM):  # before anybody is told that there is something to stop
        signal.signal(number, lambda *_: worker.stop())
    actual = listener.getsockname()[1]
    if port not in (0, actual):
        click.echo(f"Port {port} is in use; {actual} is the next free one.")
    for line in list_scripts(app):
        click.echo(line)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Serving {path} at http://{shown}:{actual}/  (Ctrl-C stops it)")
    worker.run()
    listener.close()
    if isinstance(app, CGIHost):
        app.close()
    click.echo("Stopped.")


def build_app(
    path: str, *, execution: Iterable[str], preload: Sequence[str], interpreter: Iterable[str], static: bool,
    follow_symlinks: bool, timeout: float, limit: Iterable[str],
) -> Any:  # fmt: skip
    """The application that a path means.  Raises ConfigError; ends the process if an application cannot be loaded."""
    interpreters = parse_interpreters(interpreter)
    options: dict[str, Any] = {
        "execution": parse_execution(execution, preload=preload), "timeout": timeout, "limits": parse_limits(limit)
    }  # fmt: skip
    if os.path.isdir(path):
        return CGIDirectory(
            path, interpreters=interpreters, static=static, follow_symlinks=follow_symlinks, **options
        )
    runs_by = interpreters.get(os.path.splitext(path)[1])
    if os.path.isfile(path) and (runs_by or os.access(path, os.X_OK) or first_line(path).startswith(b"#!")):
        return CGIScript(path, interpreter=runs_by or (), **options)
    try:
        return load(path)
    except Exception as error:
        click.echo(explain(path, error), err=True)
        sys.exit(3)


class Journal:
    """A WSGI application before another that says a line for each request: when, what, how it ended, how long."""

    def __init__(self, app: Callable[..., Iterable[bytes]], *, say: Callable[[str], object]) -> None:
        self._app = app
        self._say = say

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """One request."""
        began, status = time.monotonic(), "500"

        def start(said: str, *rest: Any) -> object:
            nonlocal status
            status = said[:3]
            return start_response(said, *rest)

        result = self._app(environ, start)
        try:
            yield from result
        finally:
            if hasattr(result, "close"):
                result.close()
            target = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
            took = 1000 * (time.monotonic() - began)
            printable = "".join(letter if letter.isprintable() else "?" for letter in target)
            self._say(f"{time.strftime('%H:%M:%S')} {environ['REQUEST_METHOD']} {printable} {status} {took:.0f} ms")
