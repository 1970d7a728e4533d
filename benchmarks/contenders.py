"""The table of contenders: what each is called, how it is started, and which protocol nginx speaks to it.

In a command, ``{socket}`` is the path to bind, ``{application}`` the ``module:attribute`` to serve, ``{module}`` and
``{attribute}`` its halves, ``{source}`` the directory of this package, ``{build}`` a directory for compiled programs.
Every contender is one process (gunicorn's arbiter apart, which is idle) that logs no requests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.measure.peers import distribution

CONNECTIONS = 16
"""How many connections wrk holds open to nginx, and so at most how many nginx keeps to a contender."""

# Console scripts of the running interpreter come first, whether or not its virtual environment is activated, and Debian
# has nginx in a directory that is not on everybody's PATH.
SEARCH_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"])


@dataclass(frozen=True, slots=True)
class Peer:
    """Software that contenders need: `version` returns None when it is missing, and `install` then says what to do."""

    name: str
    version: Callable[[], str | None]
    install: str


@dataclass(frozen=True, slots=True)
class Contender:
    """One server: how to start it, nginx's word for its wire (fastcgi, scgi, uwsgi, proxy), whether to ask for keep."""

    name: str
    peer: Peer
    protocol: str
    command: tuple[str, ...]
    kept: bool = False

    @property
    def slug(self) -> str:
        """The name as it appears in the URL and in the name of the socket."""
        return re.sub(r"\W+", "-", self.name).strip("-").lower()

    def start_command(self, *, application: str, **places: Path) -> list[str]:
        """Fill the placeholders of `command`."""
        module, attribute = application.split(":")
        return [
            part.format(application=application, module=module, attribute=attribute, **places) for part in self.command
        ]


def program(*command: str) -> Callable[[], str | None]:
    """Return a function that runs `command` and gives the version number in its output, None when it is missing."""

    def version() -> str | None:
        executable = shutil.which(command[0], path=SEARCH_PATH)
        if executable is None:
            return None
        told = subprocess.run([executable, *command[1:]], capture_output=True, text=True)
        number = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
        return number.group() if number else None

    return version


def our_version() -> str | None:
    """Return the version of `gateway`, which may be a source tree that nobody installed; None when it cannot serve."""
    try:
        from gateway import __version__, run, serve
    except ImportError:
        return None
    return __version__ if callable(run) and callable(serve) else None


NGINX = Peer("nginx", program("nginx", "-v"), "apt install nginx")
WRK = Peer("wrk", program("wrk", "-v"), "apt install wrk")
GATEWAY = Peer("gateway", our_version, "pip install .")
FLUP = Peer("flup", distribution("flup"), "pip install flup")
UWSGI = Peer("uWSGI", program("uwsgi", "--version"), "pip install uwsgi")
GUNICORN = Peer("gunicorn", distribution("gunicorn"), "pip install gunicorn")
WAITRESS = Peer("waitress", distribution("waitress"), "pip install waitress")
UVICORN = Peer("uvicorn", distribution("uvicorn"), "pip install 'uvicorn[standard]'")
HYPERCORN = Peer("hypercorn", distribution("hypercorn"), "pip install hypercorn uvloop")
DAPHNE = Peer("daphne", distribution("daphne"), "pip install daphne")
LIBFCGI = Peer("libfcgi", program("pkg-config", "--modversion", "fcgi"), "apt install gcc pkg-config libfcgi-dev")

ONE_WORKER = ("--no-control-socket", "-b", "unix:{socket}", "-w", "1")
"""Options of gunicorn, and so of fcgi-run."""


def gateway_serve(options: str) -> tuple[str, ...]:
    """The library form: no gunicorn, one process."""
    imports = "import gateway; from {module} import {attribute}; "
    return sys.executable, "-c", f"{imports}gateway.serve({{attribute}}, bind='unix:{{socket}}', {options})"


def fcgi_run(*options: str) -> tuple[str, ...]:
    """The command line form: gunicorn manages the process."""
    return sys.executable, "-m", "gateway.cli.fcgi_run", "{application}", *ONE_WORKER, *options


def flup_server(module: str) -> tuple[str, ...]:
    """One of flup's FastCGI servers."""
    imports = f"from flup.server.{module} import WSGIServer; from {{module}} import {{attribute}}; "
    return sys.executable, "-c", f"{imports}WSGIServer({{attribute}}, bindAddress='{{socket}}').run()"


def uwsgi_server(socket_option: str) -> tuple[str, ...]:
    """uWSGI on one of its sockets."""
    options = ("--need-app", "--die-on-term", "--disable-logging")
    return "uwsgi", socket_option, "{socket}", "--module", "{application}", *options


def gunicorn_server(*options: str) -> tuple[str, ...]:
    """One gunicorn worker."""
    return sys.executable, "-m", "gunicorn", "{application}", *ONE_WORKER, *options


def asgi_server(module: str, *options: str) -> tuple[str, ...]:
    """A server of ASGI applications."""
    return sys.executable, "-m", module, *options, "{application}"


def libfcgi_program(threads: int) -> tuple[str, ...]:
    """The program in C, compiled first."""
    compiled = f"{{build}}/hello-{threads}"
    compile_and_run = (
        f"gcc -O2 -o {compiled} {{source}}/hello.c -lfcgi -lpthread && exec {compiled} {{socket}} {threads}"
    )
    return "sh", "-c", compile_and_run


OURS_KEPT = Contender("gateway kept, 1 thread", GATEWAY, "fastcgi", gateway_serve("threads=1"), kept=True)
OURS_KEPT_4 = Contender("gateway kept, 4 threads", GATEWAY, "fastcgi", gateway_serve("threads=4"), kept=True)
OURS_UNKEPT = Contender("gateway unkept, 1 thread", GATEWAY, "fastcgi", gateway_serve("threads=1"))
OURS_UNKEPT_4 = Contender("gateway unkept, 4 threads", GATEWAY, "fastcgi", gateway_serve("threads=4"))
OURS_FORK = Contender("gateway kept, fork", GATEWAY, "fastcgi", gateway_serve("worker_model='fork'"), kept=True)
OURS_AUTO = Contender("gateway auto, FastCGI kept", GATEWAY, "fastcgi", gateway_serve("protocol='auto'"), kept=True)
OURS_SCGI = Contender("gateway SCGI", GATEWAY, "scgi", gateway_serve("protocol='scgi'"))
OURS_AUTO_SCGI = Contender("gateway auto, SCGI", GATEWAY, "scgi", gateway_serve("protocol='auto'"))
OURS_UWSGI = Contender("gateway uwsgi", GATEWAY, "uwsgi", gateway_serve("protocol='uwsgi'"))
OURS_HTTP = Contender("gateway HTTP kept", GATEWAY, "proxy", gateway_serve("protocol='http'"), kept=True)
UWSGI_FASTCGI = Contender("uWSGI FastCGI", UWSGI, "fastcgi", uwsgi_server("--fastcgi-socket"))
UWSGI_SCGI = Contender("uWSGI SCGI", UWSGI, "scgi", uwsgi_server("--scgi-socket"))
UWSGI_UWSGI = Contender("uWSGI uwsgi", UWSGI, "uwsgi", uwsgi_server("--uwsgi-socket"))
FLUP_KEPT = Contender("flup kept, threaded", FLUP, "fastcgi", flup_server("fcgi"), kept=True)
WAITRESS_HTTP = Contender(
    "waitress, HTTP kept",
    WAITRESS,
    "proxy",
    (sys.executable, "-m", "waitress", "--unix-socket", "{socket}", "{application}"),
    kept=True,
)

CONTENDERS = [
    OURS_KEPT,
    OURS_AUTO,
    OURS_KEPT_4,
    OURS_UNKEPT,
    OURS_UNKEPT_4,
    OURS_FORK,
    OURS_SCGI,
    OURS_AUTO_SCGI,
    OURS_UWSGI,
    OURS_HTTP,
    Contender("fcgi-run kept, 1 thread", GATEWAY, "fastcgi", fcgi_run("--threads", "1"), kept=True),
    Contender("fcgi-run kept, 4 threads", GATEWAY, "fastcgi", fcgi_run("--threads", "4"), kept=True),
    UWSGI_FASTCGI,
    Contender("uWSGI FastCGI, keep asked", UWSGI, "fastcgi", uwsgi_server("--fastcgi-socket"), kept=True),
    UWSGI_SCGI,
    UWSGI_UWSGI,
    FLUP_KEPT,
    Contender("flup unkept, threaded", FLUP, "fastcgi", flup_server("fcgi")),
    Contender("flup unkept, single", FLUP, "fastcgi", flup_server("fcgi_single")),
    Contender("gunicorn sync, HTTP", GUNICORN, "proxy", gunicorn_server("-k", "sync")),
    Contender("gunicorn gthread, HTTP kept", GUNICORN, "proxy", gunicorn_server("--threads", "4"), kept=True),
    Contender("gunicorn sync, uwsgi", GUNICORN, "uwsgi", gunicorn_server("--protocol", "uwsgi")),
    WAITRESS_HTTP,
    Contender("libfcgi in C, kept", LIBFCGI, "fastcgi", libfcgi_program(CONNECTIONS), kept=True),
    Contender("libfcgi in C, unkept", LIBFCGI, "fastcgi", libfcgi_program(1)),
]

OURS_ASGI = Contender("gateway ASGI, FastCGI kept", GATEWAY, "fastcgi", gateway_serve(""), kept=True)
OURS_ASGI_HTTP = Contender("gateway ASGI, HTTP kept", GATEWAY, "proxy", gateway_serve("protocol='http'"), kept=True)
UVICORN_HTTP = Contender(
    "uvicorn, HTTP kept",
    UVICORN,
    "proxy",
    asgi_server("uvicorn", "--uds", "{socket}", "--loop", "uvloop", "--http", "httptools", "--log-level", "warning"),
    kept=True,
)
HYPERCORN_HTTP = Contender(
    "hypercorn, HTTP kept",
    HYPERCORN,
    "proxy",
    asgi_server("hypercorn", "--bind", "unix:{socket}", "--workers", "0", "--worker-class", "uvloop"),
    kept=True,
)
DAPHNE_HTTP = Contender(
    "daphne, HTTP kept", DAPHNE, "proxy", asgi_server("daphne", "-u", "{socket}", "-v", "0"), kept=True
)

ASGI_CONTENDERS = [
    OURS_ASGI,
    OURS_ASGI_HTTP,
    Contender("fcgi-run ASGI, FastCGI kept", GATEWAY, "fastcgi", fcgi_run(), kept=True),
    UVICORN_HTTP,
    HYPERCORN_HTTP,
    DAPHNE_HTTP,
]
"""Servers of the ASGI application; where uvloop is installed, ours run in its event loop as well."""
