"""The processes of ``gateway demo``: an HTTP server, behind it by FastCGI the page and the lanes, and who starts both.

This process listens on every socket, starts a process for each server, and then only waits for signals.  A server gets
its socket as a descriptor: a connection that comes before it is ready, or while it is replaced, waits in the queue.
What serves in the lanes is started by the page's server, request by request.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from gateway.address import Address, bound_address, listen
from gateway.cli.ports import listen_nearby
from gateway.client import Client
from gateway.entry import build_worker
from gateway.errors import ConfigError
from gateway.limits import Limits

GRACE = 1
"""Seconds a server has to finish what it is doing when the demo stops."""

_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD}
_FORK = multiprocessing.get_context("fork")


class Server:
    """A process that serves on one listening socket: ``work(fd)`` is what it does, to its end."""

    def __init__(self, name: str, listener: socket.socket, work: Callable[[int], None]) -> None:
        self.name = name
        self._listener = listener
        self._work = work

    def __repr__(self) -> str:
        return f"<Server {self.name!r} pid={self.process.pid} exitcode={self.process.exitcode}>"

    def start(self) -> None:
        """Start a process, the first or one that takes the place of another."""
        self.process = _FORK.Process(target=self._main, daemon=True)
        self.process.start()
        self._started = time.monotonic()

    def _main(self) -> None:
        # A group of its own: Ctrl-C reaches the demo alone, which stops its servers one after the other.
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        _end_with(os.getppid())
        self._work(self._listener.detach())

    def replace(self) -> str:
        """Start another process if this one has ended, and say so; "" if it has not.  Raises ConfigError."""
        if self.process.is_alive():
            return ""
        from gateway.script.faults import describe_exit

        ended = f"the {self.name}, process {self.process.pid}, {describe_exit(self.process.exitcode or 0)}"
        if time.monotonic() - self._started < GRACE:
            raise ConfigError(f"{ended} as soon as it was started; look at what it said above")
        self.start()
        return f"{ended}; process {self.process.pid} takes its place"

    def stop(self) -> None:
        """End the process, and its children should it be stuck."""
        self.process.terminate()
        self.process.join(2 * GRACE)
        if self.process.is_alive():
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.join()


def _end_with(parent: int) -> None:
    """Stop when the demo is gone, even by SIGKILL: look once a second.  Forked children do not inherit the timer."""

    def look(*_: object) -> None:
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)


@contextmanager
def running(port: int) -> Iterator[tuple[int, list[Server]]]:
    """The demo's servers and the port of its front door, ``port`` or the next free one.  Raises ConfigError."""
    with ExitStack() as stack:
        door = stack.enter_context(listen_nearby(port))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-demo-"))
        page = Address(path=f"{folder}/page.sock", protocol="fastcgi")
        servers = [
            Server("HTTP server", door, lambda fd: _serve_http(fd, str(page))),
            Server("server of the page", stack.enter_context(listen(page)), _serve_page),
        ]
        for server in servers:
            stack.callback(server.stop)  # the last one first: it ends the stream of events
            server.start()
        yield bound_address(door).port, servers


def _serve_http(fd: int, upstream: str) -> None:
    with Client(upstream) as client:
        _serve(client.asgi, fd, protocol="http", stop=lambda: None)


def _serve_page(fd: int) -> None:
    # Loaded only here: no other process of the demo needs it.
    from gateway.cli.demo.door import DemoDoor

    door = DemoDoor()
    _serve(door, fd, protocol="fastcgi", stop=door.stream.end)


def _serve(app: Any, fd: int, *, protocol: str, stop: Callable[[], object]) -> None:
    """Serve until SIGTERM; ``stop`` is called then, in the event loop."""
    with socket.socket(fileno=fd) as listener:
        worker: Any = build_worker(app, [listener], protocol=protocol, limits=Limits(graceful_timeout=GRACE))

        def end(*_: object) -> None:
            worker.stop()
            if worker.peers:
                worker.loop.call_soon_threadsafe(stop)

        signal.signal(signal.SIGTERM, end)
        worker.run()


def browse(url: str) -> None:
    """Open the page in the user's browser, from a process that may take its time."""

    def open_page() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        webbrowser.open(url)

    _FORK.Process(target=open_page, daemon=True).start()


def run(port: int, *, started: Callable[[int], None], say: Callable[[str], None]) -> None:
    """Run the demo until a signal such as SIGINT ends it; nothing of it is left then.  Raises ConfigError.

    ``started(port)`` is called once it answers; ``say`` gets a line when a server had to be replaced.
    """
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    # By default SIGCHLD is ignored, and then sigwait() need not see it.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    with running(port) as (actual, servers):
        started(actual)
        while signal.sigwait(_SIGNALS) == signal.SIGCHLD:
            for line in filter(None, [server.replace() for server in servers]):
                say(line)
