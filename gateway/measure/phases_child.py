"""What a process that is measured notes of itself: when it began, imported, was asked, answered and wrote.

It serves by the code that serves always, and notes from outside: by a wrapper around the application, the hooks of its
runner and of fork(2), and a subclass of its worker.  A CGI process pays for what this file imports, as it would for
``cgi-run``: next to nothing beyond what serves.

What it notes goes as a line into a FIFO once a response is out, in one write(2), so that processes do not mix theirs.
"""

from __future__ import annotations

import os
import time
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from gateway.environ import Environ
    from gateway.exchange import Exchange
    from gateway.workers.threads import ThreadsWorker

FOLDER = "GATEWAY_PHASES"
"""The environment variable that names the folder of the FIFO.  It is gone before the application is loaded."""
FIFO = "told"
STAT = "/proc/self/stat"
REQUEST_ID = "HTTP_X_REQUEST_ID"
"""Which request a process tells of: a header, because every wire carries those."""


class Notes:
    """What this process notes of itself, and of the requests that it serves."""

    def __init__(self, folder: str, *, first_line: int) -> None:
        self.served = 0
        self._folder = folder
        self.fifo = os.open(os.path.join(folder, FIFO), os.O_WRONLY)
        self._own = {"first_line": first_line}
        self._accepted: dict[int, int] = {}
        self._calls: dict[str, Call] = {}

    def __repr__(self) -> str:
        return f"<Notes served={self.served} open={len(self._calls)}>"

    def tell(self, **values: object) -> None:
        """Say something to who measures."""
        os.write(self.fifo, f"{values}\n".encode())

    # -- of the process

    def loaded(self, request: str = "") -> None:
        """The application is there: tell it now, should it be all that is told; ``request`` is what waits for it."""
        self._own["loaded"] = monotonic_ns()
        self.tell(request=request, pid=os.getpid(), moments=self._own)

    def accepted(self, fd: int) -> None:
        """accept(2) has returned this descriptor."""
        self._accepted[fd] = monotonic_ns()

    def watch_forks(self) -> None:
        """Note when this process forks; its children serve, and note the rest."""
        parent = os.getpid()

        def before() -> None:
            if os.getpid() == parent:  # and not an application, in a child
                self._own["forking"] = monotonic_ns()

        def after() -> None:
            if os.getppid() == parent:
                self._own["forked"] = monotonic_ns()
                self.served = 0

        os.register_at_fork(before=before, after_in_child=after)

    # -- of a request

    def called(self, environ: Environ) -> Call:
        """The application is called."""
        self.served += 1
        call = self._calls[environ.get(REQUEST_ID, "")] = Call(environ, number=self.served)
        return call

    def written(self, environ: Mapping[str, Any], exchange: Exchange | None = None) -> None:
        """The response is out: tell of the request, if it is one of those that are measured."""
        now = monotonic_ns()
        request = environ.get(REQUEST_ID, "")
        call = self._calls.pop(request, None)
        if call is None or not request.isalnum():
            return
        moments = {"written": now} | self._own | call.moments
        accepted = self._accepted.get(exchange.peer.fileno()) if exchange is not None else None
        if accepted is not None:
            moments["accepted"] = accepted
        with open(os.path.join(self._folder, request), "w", encoding="utf-8") as file:
            file.write(repr(call.environ))
        self.tell(request=request, pid=os.getpid(), served=call.number, born=_born(), moments=moments)


class Call:
    """A call of the application: what it was given, as far as that can be told, and the moments of it.

    ``number`` is which one of its process it is: others may have begun before it ends.
    """

    __slots__ = ("environ", "moments", "number")

    def __init__(self, environ: Environ, *, number: int) -> None:
        self.number = number
        self.environ = {name: _told(value) for name, value in environ.items()}
        self.moments = {"called": monotonic_ns()}

    def note(self, moment: str) -> None:
        """It happens now, once more perhaps."""
        self.moments[moment] = monotonic_ns()


def _told(value: object) -> str:
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, (bool, tuple)) else f"<{type(value).__name__}>"


def _born() -> int:
    """When this process was forked, as the kernel has it (proc(5), starttime): of CLOCK_MONOTONIC, to 10 ms or so.

    0 where the kernel does not tell.
    """
    try:
        with open(STAT, "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
    except OSError:
        return 0
    slept = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - monotonic_ns()
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK") - slept


def observe(app: Callable[..., Any], notes: Notes, *, interface: str) -> Callable[..., Any]:
    """The same application; when it is called, and when it has given its last byte, is noted."""
    return _observe_asgi(app, notes) if interface == "asgi" else _observe_wsgi(app, notes)


def _observe_wsgi(app: Callable[..., Any], notes: Notes) -> Callable[..., Any]:
    def application(environ: Environ, start_response: Callable[..., object]) -> Any:
        call = notes.called(environ)
        try:
            result = app(environ, start_response)
        finally:
            call.note("answered")
        # What the runner treats as a whole, or refuses, it shall see as it is.
        return result if result is None or isinstance(result, (list, tuple, str, bytes)) else _Blocks(result, call)

    return application


class _Blocks:
    """A body that comes bit by bit; what the application does between them is its time."""

    def __init__(self, result: Iterable[bytes], call: Call) -> None:
        self._result = result
        self._blocks = iter(result)
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._blocks)
        finally:
            self._call.note("answered")

    def close(self) -> None:
        """Likewise the application's."""
        close = getattr(self._result, "close", None)
        if close is not None:
            close()


def _observe_asgi(app: Callable[..., Any], notes: Notes) -> Callable[..., Any]:
    from gateway.apps import as_single_callable

    call_app = as_single_callable(app)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await call_app(scope, receive, send)
            return
        call = notes.called(scope["gateway.environ"])

        async def note(message: Any) -> None:
            call.note("answered")
            await send(message)
            call.note("written")

        await call_app(scope, receive, note)

    return application


def _observed(worker: ThreadsWorker, notes: Notes) -> ThreadsWorker:
    """The same worker; when it accepts, and when a child of it has ended, is noted."""

    class Observed(type(worker)):  # type: ignore[misc]
        def _admit(self, listener: Any, sock: Any, name: object) -> Any:
            notes.accepted(sock.fileno())
            return super()._admit(listener, sock, name)

        def _reap(self, child: Any, status: int) -> None:
            now = monotonic_ns()
            request = child.exchange.request.params.get(REQUEST_ID, "")
            notes.tell(request=request, pid=child.pid, moments={"reaped": now})
            super()._reap(child, status)

    worker.__class__ = Observed
    return worker


def main(arguments: Sequence[str], *, first_line: int) -> int:
    """Serve one CGI request, or whoever connects: MODEL TARGET INTERFACE [DESCRIPTOR].  The exit status of cgi-run."""
    model, target, interface, *rest = arguments
    notes = Notes(os.environ.pop(FOLDER), first_line=first_line)
    return _serve_once(target, interface, notes) if model == "cgi" else _serve(model, target, interface, notes, *rest)


def _serve_once(target: str, interface: str, notes: Notes) -> int:
    """As cgi-run does it."""
    from gateway.apps import interface_of
    from gateway.loader import load_or_exit
    from gateway.workers.once import run_once

    app = load_or_exit(target)
    interface = interface_of(app, named=interface)
    if interface == "asgi":
        import gateway.apps.solo  # noqa: F401  # which run_once() would import while the request waits
    notes.loaded(os.environ.get(REQUEST_ID, ""))
    try:
        return 0 if run_once(observe(app, notes, interface=interface), interface=interface) else 1
    finally:
        notes.written(os.environ)


def _serve(model: str, target: str, interface: str, notes: Notes, descriptor: str) -> int:
    """As fcgi-run does it, with one process and one thread, without gunicorn."""
    import logging
    import signal
    import socket

    from gateway.apps import interface_of
    from gateway.entry import build_worker
    from gateway.loader import load_or_exit

    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    parent = os.getppid()
    app = load_or_exit(target)
    interface = interface_of(app, named=interface)

    def look_up() -> None:
        if os.getppid() != parent:
            worker.stop()

    forks = model == "fork"
    worker = build_worker(
        observe(app, notes, interface=interface), [socket.socket(fileno=int(descriptor))],
        protocol="fastcgi" if forks else model, worker_model="fork" if forks else "auto", interface=interface,
        after=notes.written, heartbeat=look_up,
    )  # fmt: skip
    if forks:
        notes.watch_forks()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who measures hears of it, and ends us
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    notes.loaded()
    _observed(worker, notes).run()
    return 0
