"""Old servers that no code starts: ``manage.py runfcgi`` in a shell script or a unit, wfastcgi in a web.config.

What is said of them is what to write instead; the files stay as they are.
"""

from __future__ import annotations

import os
import shlex
import xml.parsers.expat

from gateway.errors import ConfigError
from gateway.migrate import CHANGE, COMPAT, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_OPTIONS = {
    "daemonize": "--daemon", "errlog": "--error-logfile", "maxrequests": "--max-requests", "pidfile": "--pid",
    "umask": "--umask", "workdir": "--chdir",
}  # fmt: skip
"""runfcgi's options that fcgi-run has by other names."""
_WIRES = {"fcgi": "fcgi-run", "scgi": "scgi-run", "ajp": "ajp-run"}
CHILDREN = "5"
"""Processes of runfcgi, if nobody says."""


def in_lines(text: str) -> Iterator[Finding]:
    """``runfcgi`` in the words of commands, by whatever their lines are read: a shell, systemd, supervisord."""
    number = 1
    for command in text.replace("\\\n", "\\\0").split("\n"):
        try:
            words = shlex.split(command.replace("\\\0", " "), comments=True)
        except ValueError:  # a quotation goes on in the next line, and so it is no such command
            words = []
        if "runfcgi" in words:
            at = words.index("runfcgi")
            program = words[at - 1] if at else ""
            if os.path.basename(program) in ("manage.py", "django-admin", "django-admin.py"):
                advice = f"python -m gateway.compat {program} runfcgi …, or {modern(words[at + 1 :])}"
                yield Finding(number, "django's runfcgi", COMPAT, advice)
        number += 1 + command.count("\0")


def modern(options: list[str]) -> str:
    """The command that serves as runfcgi did.

    >>> modern(["method=threaded", "host=127.0.0.1", "port=3033", "daemonize=false"])
    'fcgi-run PROJECT.wsgi:application --threads 50 -b 127.0.0.1:3033'
    """
    given = {name: value for name, _, value in (option.lstrip("-").partition("=") for option in options)}
    words = [_WIRES.get(given.pop("protocol", "fcgi"), "fcgi-run"), "PROJECT.wsgi:application"]
    if given.pop("method", "prefork") == "prefork":
        words += ["--workers", given.pop("maxchildren", CHILDREN)]
    else:
        words += ["--threads", given.pop("maxchildren", "50")]
    if given.get("socket"):
        words += ["-b", f"unix:{given['socket']}"]
    elif given.get("port"):
        words += ["-b", f"{given.get('host', '127.0.0.1')}:{given['port']}"]
    if given.setdefault("daemonize", "true" if "-b" in words else "no").lower() not in ("true", "t", "yes"):
        del given["daemonize"]
    for name, option in _OPTIONS.items():
        if name in given:
            words += [option] if name == "daemonize" else [option, given[name]]
    return " ".join(f'"{word}"' if " " in word else word for word in words)  # $NAME stays what it is to a shell


def in_web_config(text: str) -> list[Finding]:
    """``wfastcgi`` in IIS's configuration.  Raises ConfigError if that is no XML."""
    findings: list[Finding] = []
    parser = xml.parsers.expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        for attribute in ("scriptProcessor", "arguments"):
            if "wfastcgi" in attributes.get(attribute, ""):
                advice = "let HttpPlatformHandler start gateway: gateway config iis prints how"
                findings.append(Finding(parser.CurrentLineNumber, "wfastcgi", CHANGE, advice))

    parser.StartElementHandler = start
    try:
        parser.Parse(text.encode(), True)
    except xml.parsers.expat.ExpatError as error:
        raise ConfigError(f"not read: it is no XML ({error}); correct it") from error
    return findings
