"""The command ``gateway new``: the script by which a web server reaches an application, ready to drop in, and tried."""

from __future__ import annotations

import ast
import os
import re
import sys

import click

from gateway.errors import ConfigError, ScriptError
from gateway.events import Response, ResponseBody
from gateway.head import ResponseReader
from gateway.script.diagnosis import Patient
from gateway.script.diagnosis.examination import judge, look
from gateway.script.diagnosis.identity import find_user
from gateway.script.diagnosis.trial import KEPT, SEARCH, Trial, attempt

GOOD, FAULTY = 0, 1

SHEBANG_SIZE = 127
"""Bytes of a first line that every Linux reads to its end (execve(2)): more only since 5.1."""

KINDS = {
    "cgi": ("CGI", "cgi-script", "the web server runs it for each request"),
    "fcgi": ("FastCGI", "fcgid-script", "the web server starts it and keeps it"),
}
"""The model's name, Apache's handler, and what becomes of the script."""

SCRIPT = """\
{shebang}
# {app} by {model}: {life}.  Written by gateway new.

import sys

sys.path.insert(0, {folder!r})

{imports}

gateway.run({application})
"""

POLYGLOT = """\
#!/bin/sh
'''exec' "{python}" "$0" "$@"
'''\
"""
"""To a shell the line after the first is a command, to Python it is a string."""

HTACCESS = """\
# Every path below this folder that is not a file goes to {name}, whose name no visitor sees.  Written by gateway new.
# The host has to allow it: AllowOverride FileInfo Options, or All.

Options +ExecCGI
<Files "{name}">
    SetHandler {handler}
</Files>

# The application's Content-Length reaches the visitor: a download shows its progress, and one that breaks off shows.
SetEnv ap_trust_cgilike_cl 1

RewriteEngine On
RewriteCond %{{REQUEST_FILENAME}} !-f
# B: a % or ? in the path stays one.  E: Authorization reaches the application.
RewriteRule ^(.*)$ {name}/$1 [L,QSA,B=%?,E=HTTP_AUTHORIZATION:%{{HTTP:Authorization}}]
"""

EPILOG = """\
\b
Examples:
  gateway new cgi shop.wsgi:application --output /var/www/shop/shop.cgi
  gateway new fcgi "shop:create_app()" --user www-data

Both files are for Apache, where .htaccess is allowed; the script alone is for
any other web server, and for a cgi-bin.

\b
Exit status: 0 if a visitor gets a page, 1 if something keeps it from him, 2 for
wrong usage, and for files that are there already.
"""


@click.command(epilog=EPILOG)
@click.argument("kind", metavar="cgi|fcgi", type=click.Choice(list(KINDS)))
@click.argument("app", metavar="MODULE:APP")
@click.option("--output", metavar="FILE", help="The script, in a folder of the site; here dispatch.cgi or .fcgi.")
@click.option("--force", is_flag=True, help="Replace the script and the .htaccess beside it if they are there.")
@click.option("--user", default="", metavar="NAME", help="Judge rights as this user's, as gateway doctor does.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, metavar="SECONDS",
              help="How long the trial may take.")  # fmt: skip
def command(*, kind: str, app: str, output: str | None, force: bool, user: str, timeout: float) -> None:
    """Write the script that serves MODULE:APP, in this Python, by CGI or by FastCGI, and a .htaccess for it.

    Then run it once as the web server would, and show what a visitor gets. MODULE is imported as from this directory;
    APP may be a call, and MODULE a file.
    """
    path = output or f"dispatch.{kind}"
    htaccess = os.path.join(os.path.dirname(path), ".htaccess")
    try:
        identity = find_user(user)
        texts = {path: script_for(kind, app), htaccess: htaccess_for(kind, os.path.basename(path))}
        for file in texts:
            if os.path.lexists(file) and not force:
                raise ConfigError(f"{file} is there already: --force replaces it, --output names another place")
        for file, text in texts.items():
            _write(file, text, mode=0o755 if file == path else 0o644)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"{path}: written, executable, for {sys.executable}")
    click.echo(f"{htaccess}: written, hides the name of {os.path.basename(path)}, and hands on Authorization")
    patient = Patient(path, identity=identity, search=SEARCH)
    try:
        faults = look(patient)
        if not faults:
            trial = _try(kind, patient, timeout=timeout)
            faults = [fault] if (fault := judge(patient, trial)) else []
    except ScriptError as error:
        raise click.ClickException(str(error)) from None
    for fault in faults:
        click.echo(f"{path}: {fault}")
    if not faults:
        click.echo("A visitor gets:\n")
        click.echo(page(trial))
    sys.exit(FAULTY if faults else GOOD)


def script_for(kind: str, app: str) -> str:
    """The script for an application.  Raises ConfigError."""
    model, _, life = KINDS[kind]
    folder, imports, application = _reach(app)
    return SCRIPT.format(
        shebang=shebang(sys.executable), app=app, model=model, life=life, folder=folder, imports=imports,
        application=application,
    )  # fmt: skip


def htaccess_for(kind: str, name: str) -> str:
    """The .htaccess for a script of that name.  Raises ConfigError."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise ConfigError(f"{name!r} needs quotes in Apache's rules: name it with letters, digits and . - _ alone")
    return HTACCESS.format(name=name, handler=KINDS[kind][1])


def shebang(python: str) -> str:
    """What has a Python run a script: its first line, or two more where that would be too long or holds a space.

    >>> print(shebang("/srv/my venv/bin/python"))
    #!/bin/sh
    '''exec' "/srv/my venv/bin/python" "$0" "$@"
    '''
    """
    line = f"#!{python}"
    if len(os.fsencode(line)) < SHEBANG_SIZE and not re.search(r"\s", python):
        return line
    if re.search(r"""["'$`\\\n]""", python):
        raise ConfigError(f"{python!r} cannot be named in a script: have the virtual environment elsewhere")
    return POLYGLOT.format(python=python)


def _reach(app: str) -> tuple[str, str, str]:
    """The directory to import from, the imports, and what the application is then.  Raises ConfigError."""
    module, _, expression = app.partition(":")
    try:
        found = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        found = None
    first = next((node.id for node in ast.walk(found) if isinstance(node, ast.Name)), "") if found else ""
    if not first:
        raise ConfigError(f"{app!r} does not say what to serve: name it after a colon, as in shop.wsgi:application")
    folder = os.getcwd()
    if os.path.isfile(module):
        folder, file = os.path.split(os.path.abspath(module))
        module, extension = os.path.splitext(file)
        if extension != ".py" or not module.isidentifier():
            target = f"{os.path.join(folder, file)}:{expression}"
            return folder, "import gateway\nfrom gateway.loader import load", f"load({target!r})"
    return folder, f"import gateway\nfrom {module} import {first}", expression.strip()


def _write(path: str, text: str, *, mode: int) -> None:
    """Write a file.  Raises ConfigError."""
    try:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a directory that you may write with --output") from error


def _try(kind: str, patient: Patient, *, timeout: float) -> Trial:
    """One run of the script as a web server has it.  Raises ScriptError."""
    if kind == "cgi":
        return attempt(patient, timeout=timeout, environment={}, path_info="/")
    from gateway.cli.fastcgi_trial import attempt as attempt_fastcgi

    return attempt_fastcgi(patient, timeout=timeout)


def page(trial: Trial) -> str:
    """A response as a visitor's program would show it."""
    reader = ResponseReader(KEPT)
    head, *parts = reader.feed(trial.stdout)
    assert isinstance(head, Response)  # it was judged
    body = b"".join(part.data for part in parts if isinstance(part, ResponseBody))
    lines = [f"HTTP/1.1 {head.status}", *(f"{name}: {value}" for name, value in head.headers), ""]
    try:
        return "\n".join([*lines, body.decode()])
    except UnicodeDecodeError:
        return "\n".join([*lines, f"({len(body)} bytes that are no text)"])
