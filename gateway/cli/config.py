"""The command ``gateway config``: what a web server, or what starts the application, has to be told."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile

import click

from gateway.cli.configurations import SERVERS, Configuration, Site, load
from gateway.errors import ConfigError

EPILOG = """\
\b
Examples:
  gateway config nginx hello:application
  gateway config nginx hello:application --mount /app --stream
  gateway config apache hello:application --bind scgi://127.0.0.1:4000
  gateway config apache-fcgid /srv/hello/hello.py --mount /app
  gateway config caddy hello:application --full --check -o Caddyfile
  gateway config systemd hello:application -o /etc/systemd/system

\b
Exit status: 0 if all went well, 1 if --check finds something wrong or cannot
look, 2 for wrong usage and for what the server cannot do.
"""


@click.command(epilog=EPILOG)
@click.argument("server", type=click.Choice(list(SERVERS)), metavar="SERVER")
@click.argument("target", default="app:application")
@click.option("-b", "--bind", default="", metavar="ADDRESS",
              help="Where fcgi-run listens: unix:PATH or HOST:PORT, behind WIRE:// for another wire than FastCGI.  "
                   "[default: unix:/run/NAME.sock]")  # fmt: skip
@click.option("--mount", default="", metavar="PATH", help="Where the application lives.  [default: the whole site]")
@click.option("--stream", is_flag=True, help="Pass on what either side says as it is said: events, progress, uploads.")
@click.option("--size", type=click.IntRange(1), default=64, show_default=True, metavar="MIB",
              help="The largest upload, where the server limits them by itself.")  # fmt: skip
@click.option("--secret", is_flag=True, help="AJP: tell the $GATEWAY_SECRET of fcgi-run and of the web server.")
@click.option("--packet-size", type=int, metavar="BYTES", help="AJP: the --packet-size of fcgi-run.")
@click.option("--full", is_flag=True, help="The whole of a server, not the lines for one that is there.")
@click.option("--host", default="localhost", show_default=True, help="The name of a whole server.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Where it listens.")
@click.option("--check", is_flag=True, help="Have the server's own checker look at it.")
@click.option("-o", "--output", metavar="PATH", help="Write it there: a file, or a directory for several.")
def command(*, server: str, target: str, check: bool, output: str | None, **options: object) -> None:
    """Print what SERVER has to be told to serve TARGET, as it is named to fcgi-run.

    \b
    SERVER is one of:
      nginx, apache, lighttpd, caddy, haproxy   in front of fcgi-run
      apache-fcgid                              starts the program TARGET
      iis                                       starts Python (web.config)
      systemd, docker, kubernetes               start fcgi-run
    """
    try:
        configuration = load(server)
        files = configuration.write(Site(target, **options))  # type: ignore[arg-type]
        faults = _check(configuration, Site(target, **options | {"full": True})) if check else ""  # type: ignore[arg-type]
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    _write(files, output)
    if faults:
        click.echo(faults, err=True)
        sys.exit(1)


def _write(files: dict[str, str], output: str | None) -> None:
    if output is None:
        click.echo("\n".join(files.values()), nl=False)
        return
    several = len(files) > 1 or os.path.isdir(output)
    try:
        if several:
            os.makedirs(output, exist_ok=True)
        for name, text in files.items():
            with open(os.path.join(output, name) if several else output, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from None


def _check(configuration: Configuration, site: Site) -> str:
    """What the server's own checker says against the whole of a configuration, or why it was not asked."""
    if not configuration.check:
        return f"{configuration.title} has no checker that could be asked here"
    folders = os.pathsep.join([*os.get_exec_path(), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    program = shutil.which(configuration.check[0], path=folders)
    if program is None:
        return f"{configuration.check[0]} is not installed here: nothing was checked"
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        files = configuration.write(site)
        _write(files, folder)
        words = [program, *configuration.check[1:], *(os.path.join(folder, name) for name in files)]
        done = subprocess.run(
            words, cwd=folder, env=os.environ | {"PWD": folder}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    return f"{shlex.join(configuration.check)}:\n{done.stdout.rstrip()}" if done.returncode else ""
