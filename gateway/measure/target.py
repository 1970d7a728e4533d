"""What is to be served by every model: an application, a CGI program or a directory of them, and the files it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gateway.errors import ConfigError
from gateway.limits import Limits
from gateway.script import CGIDirectory, CGIScript
from gateway.script.faults import first_line, name_interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MODULE = "compared"
"""The name of the module, and of the CGI program, that stand for the target while it is served."""
LOAD_TIMEOUT = 60.0
"""Seconds that an application may take to be imported."""
_NOT_INHERITED = ("HTTP_", "FCGI_", "GUNICORN_", "GATEWAY_", "PYTHONDONTWRITEBYTECODE")
"""What would make a server listen elsewhere, or have each CGI process compile the application again."""
_SET = ("PATH", "PYTHONPATH")
"""What we may have changed."""
_SBIN = "/usr/sbin"
"""Where Debian has servers, and not everybody looks."""

_RECOGNIZE = """\
import sys
from gateway.apps import interface_of
from gateway.loader import load_or_exit
app = load_or_exit(sys.argv[1])
print()
print(interface_of(app))
"""
_APPLICATION = """\
from gateway.loader import load

application = load({name!r}, chdir={folder!r})
"""
_HOST = """\
from gateway.measure.target import host

application = host({path!r}, execution={execution!r})
"""
_SCRIPT = """\
#!{python}
import os

from gateway.cli.cgi_run import main

os.chdir({folder!r})
main([{name!r}])
"""


class Target:
    """What a command line named: ``kind`` is "wsgi", "asgi", "python" (CGI programs in Python) or "program" (others).

    ``folder`` is the directory that servers of it start in.
    """

    def __init__(self, name: str, *, kind: str, folder: str) -> None:
        self.name = name
        self.kind = kind
        self.folder = folder

    def __repr__(self) -> str:
        return f"<Target {self.name!r} {self.kind} in {self.folder!r}>"

    @property
    def is_application(self) -> bool:
        """Is it called, where CGI programs are run?"""
        return self.kind in ("wsgi", "asgi")

    @property
    def path(self) -> str:
        """Where the CGI programs are."""
        return os.path.join(self.folder, self.name)

    def write(self, place: Path, *, execution: str = "spawn") -> str:
        """Write a module of a WSGI or ASGI application that stands for it; the path of the CGI program that does.

        ``execution`` is how that module runs CGI programs in Python.
        """
        values = {**vars(self), "path": self.path, "execution": execution, "python": sys.executable}
        module = _APPLICATION if self.is_application else _HOST
        (place / f"{MODULE}.py").write_text(module.format(**values), "utf-8")
        if not self.is_application:
            return self.path
        script = place / f"{MODULE}.cgi"
        script.write_text(_SCRIPT.format(**values), "utf-8")
        script.chmod(0o755)
        return str(script)


def recognize(name: str, *, folder: str = ".") -> Target:
    """What a name means in a directory; an application is loaded in a process that ends.  Raises ConfigError."""
    folder = os.path.abspath(folder)
    path = os.path.join(folder, name)
    if os.path.isdir(path) or (os.path.isfile(path) and (os.access(path, os.X_OK) or first_line(path)[:2] == b"#!")):
        return Target(name, kind="python" if any(map(is_python, programs(path))) else "program", folder=folder)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RECOGNIZE, name], cwd=folder, env=inherited(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="backslashreplace", timeout=LOAD_TIMEOUT,
        )  # fmt: skip
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; start in a directory that exists") from error
    except subprocess.TimeoutExpired as error:
        advice = "find out what its import waits for"
        raise ConfigError(f"{name} is not loaded after {LOAD_TIMEOUT:g} s: {advice}") from error
    if done.returncode:
        raise ConfigError(done.stderr.strip())
    return Target(name, kind=done.stdout.split()[-1], folder=folder)


def programs(path: str) -> list[str]:
    """The CGI programs at a path: itself, or those in a directory that can be started."""
    if not os.path.isdir(path):
        return [path]
    directory = CGIDirectory(path)
    return [directory.root + one.url for one in directory.inspect() if not one.problem]


def is_python(path: str) -> bool:
    """Does Python run this CGI program?"""
    return "python" in name_interpreter(path)


def host(
    path: str, *, execution: str = "spawn", environment: Mapping[str, str] | None = None, timeout: float = 30.0
) -> CGIScript | CGIDirectory:
    """The CGI program at a path, or those in that directory, as a WSGI application; ``execution`` is for Python's.

    They get our whole environment and ``environment``, and as many run at once as are asked for.
    """
    kept = inherited()
    options: dict[str, Any] = {
        "execution": {os.path.basename(one): execution for one in programs(path) if is_python(one)} | {"*": "spawn"},
        "pass_environment": kept, "limits": Limits(max_children=0), "timeout": timeout,
        "environment": {name: kept[name] for name in _SET if name in kept} | dict(environment or {}),
    }  # fmt: skip
    return CGIDirectory(path, **options) if os.path.isdir(path) else CGIScript(path, **options)


def inherited() -> dict[str, str]:
    """Our own environment, for those whom we start; they find this very package, and the programs beside our Python."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    kept["PATH"] = _joined(os.path.dirname(sys.executable), kept.get("PATH", os.defpath), _SBIN)
    home = Path(__file__).parents[2]
    if home.name not in ("site-packages", "dist-packages"):  # whose place is behind the standard library
        kept["PYTHONPATH"] = _joined(str(home), kept.get("PYTHONPATH", ""))
    return kept


def _joined(*paths: str) -> str:
    """Search paths as one, with nothing twice."""
    return os.pathsep.join(dict.fromkeys(filter(None, os.pathsep.join(paths).split(os.pathsep))))
