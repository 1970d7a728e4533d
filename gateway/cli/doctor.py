"""The command ``gateway doctor``: what is wrong with CGI programs or a server, and what mends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from gateway.cli.call import parse_param
from gateway.errors import ConfigError
from gateway.script import CGIDirectory
from gateway.script.choices import parse_interpreters
from gateway.script.diagnosis import Fault, Patient
from gateway.script.diagnosis.examination import examine
from gateway.script.diagnosis.identity import Identity, find_user
from gateway.script.diagnosis.trial import SEARCH
from gateway.script.faults import name_interpreter

HEALTHY, FAULTY, USAGE = 0, 1, 2

EPILOG = """\
\b
Examples:
  gateway doctor cgi-bin/guestbook.cgi
  gateway doctor --fix --user www-data ./cgi-bin
  gateway doctor --interpreter .php=php-cgi ./cgi-bin
  gateway doctor http://127.0.0.1:8000/cgi-bin/guestbook.cgi
  gateway doctor fastcgi://unix:/run/app.sock
  gateway doctor --persistent app:application
  fcgi-run gateway.cli.echo:application -b unix:/run/app.sock
  gateway doctor http://127.0.0.1:8080/app

Exit status: 0 if nothing is wrong, 1 if something is, 2 for wrong usage.
"""


@click.command(epilog=EPILOG)
@click.argument("what", metavar="SCRIPT|DIR|URL|APP")
@click.option("--persistent", is_flag=True, help="Say whether APP (module:attribute), or a Python script, may be "
              "served by a process that stays: what do requests leave behind in it?")  # fmt: skip
@click.option("--requests", default="", metavar="FILE|DIR", help="What --persistent asks, instead of / by two "
              "visitors: a list of URLs, a HAR file, or the DIR of fcgi-run --record.")  # fmt: skip
@click.option("--fix", is_flag=True, help="Mend what cannot do harm: CR LF, byte order mark, mode; say what was done.")
@click.option("--user", default="", metavar="NAME",
              help="Judge rights as this user's, www-data say, and if root asks, run as him.  Without it: as those of "
                   "anybody who owns nothing and is in no group.")  # fmt: skip
@click.option("--suexec", is_flag=True, help="Apply the rules of Apache's suexec, and of check_owner=True, as well.")
@click.option("--interpreter", multiple=True, metavar=".EXT=COMMAND", help="What runs files with this extension.")
@click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", help="Add to the script's environment.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, metavar="SECONDS",
              help="How long a script may take, or a server keep silent.")  # fmt: skip
@click.option("--stream", is_flag=True, help="A front end should pass on what the application says as it says it.")
def command(
    *, what: str, persistent: bool, requests: str, timeout: float, stream: bool, fix: bool, user: str, **options: object
) -> None:  # fmt: skip
    """Say in one line for each fault what is wrong with a script, all scripts of a directory, or the server at a URL.

    A script is run once, as a web server would run it: a GET without a body, PATH and LANG=C for its environment, no
    terminal. Nothing is said of a healthy one.

    What a front end makes of requests shows if it is asked while it serves gateway.cli.echo:application, started
    as your application is: each thing that it gets wrong is named, with the lines that its configuration lacks.
    """
    if persistent:
        sys.exit(_judge_persistence(what, requests))
    if "://" in what:
        from gateway.cli.doctor_url import judge_url

        sys.exit(FAULTY if judge_url(what, timeout=timeout, stream=stream, say=click.echo) else HEALTHY)
    try:
        doctor = Doctor(find_user(user), timeout=timeout, fix=fix, **options)  # type: ignore[arg-type]
        if os.path.isdir(what):
            sys.exit(_show_directory(what, doctor))
        if not os.path.isfile(what):
            raise ConfigError(f"{what}: there is no such file, directory or URL: correct it")
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(_show_script(what, doctor))


def _judge_persistence(what: str, requests: str) -> int:
    from gateway.cli.doctor_persistent import judge_persistence

    try:
        return FAULTY if judge_persistence(what, requests=requests, say=click.echo) else HEALTHY
    except ConfigError as error:
        click.echo(str(error), err=True)
        return USAGE


class Doctor:
    """How scripts are looked at: the options of the command line."""

    def __init__(
        self, identity: Identity, *, timeout: float, fix: bool, suexec: bool, interpreter: tuple[str, ...],
        environment: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.interpreters = parse_interpreters(interpreter)
        self._identity = identity
        self._timeout = timeout
        self._fix = fix
        self._suexec = suexec
        self._environment = dict(map(parse_param, environment))

    def scripts(self, folder: str) -> Iterator[tuple[str, str, str]]:
        """The scripts of a directory: name, interpreter and path.  Modules that lie beside them are none."""
        for found in CGIDirectory(folder, interpreters=self.interpreters).inspect():
            name = os.fsdecode(found.url.encode("latin-1")).lstrip("/")
            path = os.path.join(folder, name)
            patient = self._patient(path)
            if patient.interpreter or os.access(path, os.X_OK) or b"#!" in patient.line[:5]:
                yield name, " ".join(patient.interpreter) or name_interpreter(path), path

    def see(self, path: str) -> Iterator[tuple[Fault, str]]:
        """What is wrong with a script, and what was done about it, "" for nothing."""
        seen: set[str] = set()
        mended = True
        while mended:
            mended = False
            for fault in self._examine(path):
                if str(fault) in seen:
                    continue
                seen.add(str(fault))
                done = ""
                if self._fix and fault.mend:
                    try:
                        done, mended = fault.mend(), True
                    except OSError as error:
                        fault.fix += f" (it could not be done: {error.strerror})"
                yield fault, done

    def _examine(self, path: str) -> list[Fault]:
        patient = self._patient(path)
        return examine(patient, timeout=self._timeout, environment=self._environment, suexec=self._suexec)

    def _patient(self, path: str) -> Patient:
        return Patient(
            path, interpreter=self.interpreters.get(os.path.splitext(path)[1].lower(), ()), identity=self._identity,
            search=self._environment.get("PATH", SEARCH),
        )  # fmt: skip


def _show_script(path: str, doctor: Doctor) -> int:
    status = HEALTHY
    for fault, done in doctor.see(path):
        if not done:
            status = FAULTY
        click.echo(f"{path}: {_describe(fault, done)}")
    return status


def _show_directory(folder: str, doctor: Doctor) -> int:
    """A table of all scripts, a line for each and each of its faults."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("Script", "Interpreter", "Finding", box=None, pad_edge=False)
    status = HEALTHY
    for name, interpreter, path in doctor.scripts(folder):
        row = [name, interpreter]
        for fault, done in doctor.see(path):
            if not done:
                status = FAULTY
            table.add_row(*map(Text, row), Text(_describe(fault, done), "green" if done else "red"))
            row = ["", ""]
        if row[0]:
            table.add_row(*map(Text, row), Text("healthy", "green"))
    if not table.row_count:
        click.echo(f"There is no script in {folder}: one is a file with chmod +x, or with an --interpreter.")
        return HEALTHY
    # In a file or a pipe a finding is one line, however long.
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as printed:
        console.print(table)
    click.echo("\n".join(map(str.rstrip, printed.get().splitlines())))
    return status


def _describe(fault: Fault, done: str) -> str:
    return f"{fault.what}: mended, {done}" if done else str(fault)
