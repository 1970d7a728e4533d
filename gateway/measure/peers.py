"""The servers of others to compare with, a table: a row is used if it is installed, else it says how to install it.

Each serves the module, or runs the CGI program, that :class:`gateway.measure.target.Target` wrote.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from gateway.errors import ConfigError
from gateway.measure.models import KINDS, MODELS, USUAL, Model
from gateway.measure.target import inherited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from gateway.measure.target import Target

    Version: TypeAlias = Callable[[], "str | None"]

APACHE_MODULES = "/usr/lib/apache2/modules"

_FLUP = (
    "import sys; sys.path.insert(0, sys.argv[1]); from {module} import application; "
    "from flup.server.fcgi import WSGIServer; WSGIServer(application, bindAddress=sys.argv[1] + '/socket').run()"
)
_APACHE = """\
ServerRoot {place}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {place}/pid
ErrorLog /dev/stderr
LogLevel warn
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule env_module {modules}/mod_env.so
LoadModule cgid_module {modules}/mod_cgid.so
ScriptSock {place}/cgid.sock
MaxKeepAliveRequests 0
PassEnv {environment}
ScriptAlias / {script}/
""".replace("{modules}", APACHE_MODULES)
# Apache refuses to serve as root, and its programs must be able to read what root alone may.
_SETPRIV = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
_IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
_AS_NOBODY = (*_SETPRIV, "--inh-caps=+dac_override", "--ambient-caps=+dac_override") if _IS_ROOT else ()


@dataclass(frozen=True, slots=True)
class Peer:
    """One row: ``version`` gives None where it is not installed, and ``install`` is then what to do."""

    model: Model
    version: Version
    install: str


def distribution(name: str) -> Version:
    """The version of an installed Python distribution."""

    def version() -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    return version


def program(name: str, *options: str, beside: str = "") -> Version:
    """The version that a program tells when asked with these options; ``beside`` is a file that it needs."""

    def version() -> str | None:
        executable = shutil.which(name, path=inherited()["PATH"])
        if executable is None or not os.path.exists(beside or executable):
            return None
        told = subprocess.run([executable, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        number = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
        return number[0] if number else ""

    return version


PEERS = {
    peer.model.name: peer
    for peer in (
        Peer(
            # Of connections that come at once and stay, it forgets one now and then.
            Model("flup", "flup: FastCGI, threads", ("{python}", "-c", _FLUP, "{place}"), kinds=("wsgi",), kept=0),
            distribution("flup"), "pip install flup",
        ),
        Peer(
            Model("uWSGI", "uWSGI: FastCGI, one process",
                  ("{bin}/uwsgi", "--fastcgi-socket", "{place}/socket", "--home", "{prefix}", "--need-app",
                   "--wsgi-file", "{place}/{module}.py", "--die-on-term", "--disable-logging"),
                  kinds=("wsgi",), kept=0),
            distribution("uwsgi"), "pip install uwsgi",
        ),
        Peer(
            Model("gunicorn", "gunicorn: HTTP, one sync worker",
                  ("{python}", "-m", "gunicorn", "-c", "{place}/server.conf.py", "-b", "unix:{place}/socket", "-w", "1",
                   "-k", "sync", "--pythonpath", "{place}", "--graceful-timeout", "1", "{module}:application"),
                  wire="http", kinds=("wsgi",)),
            distribution("gunicorn"), "pip install gunicorn",
        ),
        Peer(
            Model("uvicorn", "uvicorn: HTTP, one process",
                  ("{python}", "-m", "uvicorn", "--app-dir", "{place}", "--uds", "{place}/socket", "--interface",
                   "{interface}", "--log-level", "warning", "--no-access-log", "{module}:application"), wire="http"),
            distribution("uvicorn"), "pip install uvicorn",
        ),
        Peer(
            Model("mod_cgid", "Apache mod_cgid: CGI",
                  (*_AS_NOBODY, "apache2", "-DFOREGROUND", "-f", "{place}/server.conf.py"), wire="http", tcp=True,
                  configuration=_APACHE, kinds=KINDS, reaps=False),
            program("apache2", "-v", beside=f"{APACHE_MODULES}/mod_cgid.so"), "apt-get install apache2",
        ),
        Peer(
            Model("fcgiwrap", "fcgiwrap: CGI behind FastCGI",
                  ("fcgiwrap", "-c", "{threads}", "-s", "unix:{place}/socket"),
                  params=(("SCRIPT_FILENAME", "{script}"),), kept=0, kinds=KINDS, directories=False, reaps=False),
            program("fcgiwrap", "-h"), "apt-get install fcgiwrap",
        ),
    )
}  # fmt: skip
"""Theirs by their names."""


def choose(target: Target, names: str = "") -> tuple[list[Model], dict[str, str]]:
    """The models to compare, and how to install the peers that are missing; all that serve it if none is named.

    ``names`` have commas between them.  Raises ConfigError.
    """
    known = MODELS | {name: peer.model for name, peer in PEERS.items()}
    wanted = list(dict.fromkeys(filter(None, map(str.strip, names.split(",")))))
    for name in wanted:
        if name not in known:
            raise ConfigError(f"no model is called {name!r}; there are: {', '.join(known)}")
        known[name].check(target)
    able = wanted or [name for name in (*USUAL, *PEERS) if known[name].serves(target)]
    missing = {name: PEERS[name].install for name in able if name in PEERS and PEERS[name].version() is None}
    chosen = [known[name] for name in able if name not in missing]
    if not chosen:
        raise ConfigError(f"none of these is installed: {', '.join(missing.values())}")
    return chosen, missing
