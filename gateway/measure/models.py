"""The process models to compare, a table; and what starts one for real, as a process tree of its own.

A CGI program needs no server: :class:`gateway.CGIScript` starts it.  All else is a server that somebody could deploy,
which :class:`Asker` asks by its wire: ours is ``fcgi-run``, others are in :mod:`gateway.measure.peers`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.address import Address, bound_address, connect, listen
from gateway.client import Client
from gateway.client.forwarding import Forwarding
from gateway.errors import ConfigError
from gateway.measure.target import MODULE, Target, host, inherited
from gateway.script.faults import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import NoReturn

    from gateway.client.forwarding import Body
    from gateway.environ import Environ
    from gateway.errors import ProtocolError
    from gateway.events import Headers, Params
    from gateway.script.host import CGIHost

KINDS = ("wsgi", "asgi", "python", "program")
"""Of targets, as :class:`gateway.measure.target.Target` has them."""
START_TIMEOUT = 30.0
"""Seconds in which a server must take connections."""
STOP_TIMEOUT = 5.0
"""Seconds that a server has to end."""
KEPT = 64
"""Idle connections that are kept to a server: one for each visitor, so that nobody connects twice."""
LAST_WORDS = 2000
"""Characters of what a server said that an error message shows."""

_FCGI_RUN = (
    *("{python}", "-c", "from gateway.cli.fcgi_run import main; main()", "{place}/{module}.py:application"),
    *("-c", "{place}/server.conf.py", "-b", "unix:{place}/socket", "--graceful-timeout", "1"),
)
_GUNICORN_CONF = "control_socket_disable = True  # which not every gunicorn knows\n"


@dataclass(frozen=True, slots=True)
class Model:
    """One row: a way to serve.

    ``command`` starts the server; there is none if each request starts a program.  In it, in ``params`` (what the wire
    wants beside the request) and in ``configuration``, the text of {place}/server.conf.py, stand the keys of
    :func:`_start`.  It listens at the unix socket {place}/socket, or with ``tcp`` at {port} of 127.0.0.1.

    ``kinds`` are those of the targets that it serves, ``directories`` whether CGI programs may be several, and
    ``execution`` is how it runs those in Python.  ``kept`` are the connections that it can leave open.
    """

    name: str
    title: str
    command: tuple[str, ...] = ()
    wire: str = "fastcgi"
    kinds: tuple[str, ...] = ("wsgi", "asgi")
    execution: str = "spawn"
    configuration: str = _GUNICORN_CONF
    tcp: bool = False
    directories: bool = True
    kept: int = KEPT
    params: tuple[tuple[str, str], ...] = ()
    reaps: bool = True
    """Does it wait for its children?  The kernel adds the CPU time of others to nobody's."""

    def serves(self, target: Target) -> bool:
        """Can it?"""
        return target.kind in self.kinds and (self.directories or not os.path.isdir(target.path))

    def check(self, target: Target) -> None:
        """Raise ConfigError if it cannot."""
        if not self.serves(target):
            raise ConfigError(f"{self.name} cannot serve {target!r}; leave it out")


def _ours(name: str, title: str, *options: str, **fields: object) -> Model:
    return Model(name, title, (*_FCGI_RUN, *options), **fields)  # type: ignore[arg-type]


_WIRES = {"scgi": "SCGI", "uwsgi": "uwsgi", "ajp": "AJP", "http": "HTTP"}


def _wire(name: str, title: str) -> Model:
    return _ours(name, f"{title}, one worker", "-w", "1", "--protocol", name, wire=name)


MODELS = {
    model.name: model
    for model in (
        Model("cgi", "CGI: a process for each request", wire="", kinds=KINDS),
        _ours("fork", "fork: a warm process forks for each request", "-w", "1", "--worker-model", "fork"),
        _ours("fastcgi", "FastCGI, one worker", "-w", "1"),
        _ours("processes", "FastCGI, {processes} workers", "-w", "{processes}"),
        _ours("threads", "FastCGI, one worker of {threads} threads", "-w", "1", "--worker-model", "threads",
              "--threads", "{threads}", kinds=("wsgi",)),
        _ours("aio", "FastCGI, one worker with asyncio", "-w", "1", "--worker-model", "aio",
              "--threads", "{threads}"),
        _ours("cgi-bin", "FastCGI, whose worker starts CGI programs", "-w", "1", "--threads", "{threads}",
              kinds=("python", "program")),
        _ours("warm", "FastCGI, whose worker forks a warm Python for each script", "-w", "1", "--threads", "{threads}",
              kinds=("python",), execution="fork"),
        _ours("inprocess", "FastCGI, whose worker runs Python scripts in itself", "-w", "1",
              kinds=("python",), execution="inprocess"),
        *(_wire(name, title) for name, title in _WIRES.items()),
    )
}  # fmt: skip
"""Ours by their names, in the order of a telling."""
USUAL = [name for name in MODELS if name not in _WIRES]
"""Those that differ by more than the wire."""


class Asker(Client):
    """A client that never repeats a request, and tells why one failed: that a worker did not survive it must show."""

    def refuse(self, environ: Environ, error: ProtocolError) -> tuple[str, Headers, bytes]:
        """There will be no response."""
        environ["wsgi.errors"].write(str(error).removeprefix(f"{self.address}: "))
        return super().refuse(environ, error)

    def _send(self, params: Params, body: Body, environ: Environ) -> Forwarding:
        pool = self._current_pool()
        return Forwarding(pool.take() or self._connect(), params, body=body, environ=environ, pool=pool)


class Running:
    """A model that serves a target, until :meth:`stop`.

    ``application`` is the WSGI application to ask; ``pid`` the root of the process tree, None where each request starts
    a process of ours; ``began`` when it was started, by the monotonic clock.
    """

    def __init__(
        self, model: Model, application: Client | CGIHost, *, title: str, began: float,
        process: subprocess.Popen[bytes] | None = None, log: Path | None = None,
    ) -> None:  # fmt: skip
        self.model = model
        self.application = application
        self.title = title
        self.began = began
        self.pid = None if process is None else process.pid
        self._process = process
        self._log = log

    def __repr__(self) -> str:
        return f"<Running {self.model.name} pid={self.pid} {self.application!r}>"

    def said(self) -> str:
        """The last that it wrote to stdout and stderr; a program that a request starts writes to ``wsgi.errors``."""
        return self._log.read_text("utf-8", "backslashreplace")[-LAST_WORDS:].strip() if self._log else ""

    def wait(self) -> None:
        """Return once it takes connections.  Raises ConfigError if it does not come to that."""
        if self._process is None or not isinstance(self.application, Client):
            return
        while not _listens(self.application.address):
            if self._process.poll() is not None:
                self._fail(describe_exit(self._process.returncode))
            if time.monotonic() > self.began + START_TIMEOUT:
                self._fail(f"takes no connections after {START_TIMEOUT:g} s")
            time.sleep(0.005)

    def _fail(self, fate: str) -> NoReturn:
        raise ConfigError(f"{self.title}: it {fate}. Mend what it says, or leave {self.model.name} out:\n{self.said()}")

    def terminate(self) -> None:
        """Ask it to end, which :meth:`stop` waits for."""
        self.application.close()
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """End it, and all that it has started."""
        self.terminate()
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass  # it has had its time
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nothing is left, as it should be
        process.wait()


@contextmanager
def running(
    model: Model, target: Target, *, environment: Mapping[str, str] | None = None, processes: int = 2, threads: int = 8,
    timeout: float = 10.0,
) -> Iterator[Running]:  # fmt: skip
    """Start a model; the block begins once it takes connections, and at its end nothing is left.

    ``environment`` is added to ours.  ``timeout``: seconds in which an answer must move.  Raises ConfigError if it does
    not start, with its last words.
    """
    model.check(target)
    environment = environment or {}
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        place = Path(folder)
        script = target.write(place, execution=model.execution)
        if model.command:
            started = _start(
                model, target, place, environment=environment, timeout=timeout,
                script=script, processes=processes, threads=threads,
            )  # fmt: skip
        else:
            programs = host(script, environment=environment, timeout=timeout)
            started = Running(model, programs, title=model.title, began=time.monotonic())
        try:
            started.wait()
            yield started
        finally:
            started.stop()


def _start(
    model: Model, target: Target, place: Path, *, environment: Mapping[str, str], timeout: float, **options: object
) -> Running:
    env = {**inherited(), **environment}
    values = {
        "place": place, "module": MODULE, "python": sys.executable, "bin": Path(sys.executable).parent,
        "prefix": sys.prefix, "port": _unused_port() if model.tcp else 0, "environment": " ".join(env),
        "interface": "wsgi" if target.kind == "wsgi" else "auto", **options,
    }  # fmt: skip
    (place / "server.conf.py").write_text(model.configuration.format(**values), "utf-8")
    listens = f"127.0.0.1:{values['port']}" if model.tcp else f"unix:{place}/socket"
    params = {name: value.format(**values) for name, value in model.params}
    client = Asker(f"{model.wire}://{listens}", timeout=timeout, pool_size=model.kept, params=params)
    log = place / "log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [word.format(**values) for word in model.command], cwd=target.folder, env=env, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    return Running(model, client, title=model.title.format(**values), began=began, process=process, log=log)


def _listens(address: Address) -> bool:
    try:
        connect(address, timeout=1.0).close()
    except OSError:
        return False
    return True


def _unused_port() -> int:
    with listen(Address(host="127.0.0.1")) as listener:
        return bound_address(listener).port
