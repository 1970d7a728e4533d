"""A pool of forked processes that keeps some of them spare, as flup's PreforkServer promises; gunicorn manages it."""

from __future__ import annotations

import atexit
import logging
import math
import mmap
import os
import signal
import sys

from gateway.prefork.application import Application
from gateway.prefork.arbiter import Arbiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import Any


def run_pool(
    app: Callable[..., Any], sockets: list[socket.socket], *, wire: str, mount: str | None, level: int,
    spare: tuple[int, int], most: int, max_requests: int, timeout: float | None,
) -> bool:  # fmt: skip
    """Serve until SIGHUP, SIGINT or SIGTERM; True if it was SIGHUP.

    ``spare`` is how many idle processes there are at least and at most, ``most`` how many of all; each ends after
    ``max_requests``, 0 for never.  A request may take ``timeout`` seconds.
    """
    pid = os.getpid()
    before = {number: signal.getsignal(number) for number in (*Arbiter.SIGNALS, signal.SIGCHLD)}
    settings = {
        "mount": mount, "max_requests": max_requests, "timeout": math.ceil(timeout or 0),
        "workers": max(most, spare[1]), "loglevel": logging.getLevelName(level).lower(),
        "pre_fork": _assign, "pre_request": _begin, "post_request": _finish,
    }  # fmt: skip
    arbiter = _Arbiter(_Application(app, sockets, wire, settings), spare=spare)
    try:
        arbiter.run()
    except SystemExit as end:
        if os.getpid() != pid:
            _leave(end)
        if end.code:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return arbiter.hung_up


def _leave(end: SystemExit) -> None:
    """End a worker here: what the script does after ``run()`` is for the master to do."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(end.code if isinstance(end.code, int) else bool(end.code))


class _Application(Application):
    """An application that is there already, on sockets that listen already."""

    def __init__(
        self, app: Callable[..., Any], sockets: list[socket.socket], wire: str, settings: Mapping[str, Any]
    ) -> None:
        self._app = app
        self._settings = settings
        super().__init__("flup", protocol=wire, snippet=lambda *_: "")
        self.inherited = sockets

    def load_config(self) -> None:
        """What the script says, and nothing else."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)
        if "control_socket_disable" in self.cfg.settings:  # not every gunicorn has one
            self.cfg.set("control_socket_disable", True)

    def load(self) -> Any:
        """For a worker."""
        return self._app


class _Arbiter(Arbiter):
    """Looks every second, and whenever a worker ends, how many are idle."""

    hung_up = False

    def __init__(self, app: Any, *, spare: tuple[int, int]) -> None:
        self._spare = spare
        self._most = app.cfg.workers
        self.busy = mmap.mmap(-1, self._most)
        """Shared with the workers: which of them run the application."""
        super().__init__(app)
        del os.environ["SERVER_SOFTWARE"]  # gunicorn's own; scripts take it for a sign of CGI

    def free_slot(self) -> int:
        """A place in ``busy`` that no worker has."""
        taken = {worker.slot for worker in self.WORKERS.values()}
        return next(slot for slot in range(self._most) if slot not in taken)

    def manage_workers(self) -> None:
        """Start and end as many as it takes."""
        fewest, longest = self._spare
        there = len(self.WORKERS)
        idle = there - sum(self.busy[worker.slot] for worker in self.WORKERS.values())
        wanted = there + max(fewest - idle, 0) - max(idle - longest, 0)
        self.num_workers = min(max(wanted, longest), self._most)
        super().manage_workers()

    def handle_hup(self) -> None:
        """SIGHUP: flup's servers stop, and say why."""
        self.hung_up = True
        raise StopIteration


# gunicorn's hooks.


def _assign(server: _Arbiter, worker: Any) -> None:
    worker.slot = server.free_slot()
    worker.busy = server.busy
    worker.busy[worker.slot] = 0


def _begin(worker: Any, request: Any) -> None:
    worker.busy[worker.slot] = 1


def _finish(worker: Any, request: Any, environ: Any, response: Any) -> None:
    worker.busy[worker.slot] = 0
