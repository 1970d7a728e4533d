"""The web server's side of a measured request: it starts what is to answer, asks, and hears what that has noted.

A process that stays is started when the first request comes, as systemd and mod_fcgid do it: so that request meets
everything that a CGI request meets each time, and the next one shows what is saved.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from gateway.address import Address, listen
from gateway.client import Client
from gateway.client.visit import visit
from gateway.errors import ConfigError
from gateway.measure import phases_probe
from gateway.measure.phases import MODELS, Timeline
from gateway.measure.phases_child import FOLDER, REQUEST_ID
from gateway.measure.phases_heard import PATIENCE, Ear, Record
from gateway.measure.target import inherited
from gateway.script import CGIScript
from gateway.script.execution.spawn import Spawn
from gateway.script.faults import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Protocol

    from gateway.client.upstream import Tap
    from gateway.environ import Environ
    from gateway.events import Side
    from gateway.script.program import Program

    class Model(Protocol):
        """How the target is run: ``app`` is the web server's way to it, a WSGI application."""

        @property
        def app(self) -> Callable[..., Iterable[bytes]]: ...

        @property
        def pid(self) -> int | None:
            """The process that stays; None if there is none."""

        def prepare(self, record: Record) -> None:
            """See that somebody is there to answer.  Raises ConfigError."""

        def settle(self, record: Record) -> None:
            """The response is over: wait for what is still to be told of it."""

        def close(self) -> None:
            """End what was started."""


START_WITHIN = 60.0
"""Seconds in which a worker is ready: an application may take its time to be imported."""
STOP_WITHIN = 5.0


class NotedSpawn:
    """``spawn``, of which is noted when a program was started, and when it was known to have ended."""

    name = Spawn.name

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._spawn = Spawn()

    def start(self, program: Program, *, stdin: bool) -> Any:
        """The program, in a process of its own."""
        record = self._ear.find(os.fsdecode(program.env[os.fsencode(REQUEST_ID)]))
        record.note("spawning")
        process = self._spawn.start(program, stdin=stdin)
        record.note("spawned")
        record.pid = process.pid
        return _NotedProcess(process, record)

    def close(self) -> None:
        """Nothing is kept."""


class _NotedProcess:
    def __init__(self, process: Any, record: Record) -> None:
        self._process = process
        self._record = record

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def poll(self) -> int | None:
        known = self._process.returncode
        status: int | None = self._process.poll()
        if known is None and status is not None:
            self._record.note("reaped")
        return status


class Programs:
    """CGI: a process for each request."""

    pid = None

    def __init__(self, target: str, *, interface: str, folder: str, ear: Ear) -> None:
        self._ear = ear
        self.app = CGIScript(
            phases_probe.__file__, interpreter=[sys.executable], args=["cgi", target, interface], cwd=folder,
            execution=NotedSpawn(ear), environment=inherited() | {FOLDER: ear.folder}, pass_environment=(),
        )  # fmt: skip

    def prepare(self, record: Record) -> None:
        """It is started once the request is there."""

    def settle(self, record: Record) -> None:
        """It has ended, and so has told all."""
        self._ear.catch_up()

    def close(self) -> None:
        """End what still runs."""
        self.app.close()


class Worker:
    """A process that stays, started when the first request comes, and again should it end."""

    def __init__(self, model: str, target: str, *, interface: str, folder: str, ear: Ear, tap: Tap) -> None:
        self._model = model
        self._arguments = [model, target, interface]
        self._folder = folder
        self._ear = ear
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        path, wire = os.path.join(ear.folder, "socket"), "fastcgi" if model == "fork" else model
        self._address = Address(path=path, protocol=wire)
        self.app = Client(str(self._address), tap=tap)

    @property
    def pid(self) -> int | None:
        """The process that runs now, if it was started."""
        return None if self._process is None else self._process.pid

    def prepare(self, record: Record) -> None:
        """Start the process unless it runs, and wait until it is ready."""
        with self._lock:
            if self._process is None or not self._alive():
                self._process = self._start(record)
            record.pid = self._process.pid
        record.note("connecting")

    def _start(self, record: Record) -> subprocess.Popen[bytes]:
        with listen(self._address) as listener:  # then it is the worker's alone: who connects to a dead one is refused
            fd = listener.fileno()
            record.note("spawning")
            process = self._process = subprocess.Popen(
                [sys.executable, phases_probe.__file__, *self._arguments, str(fd)], pass_fds=[fd],
                cwd=self._folder, env=inherited() | {FOLDER: self._ear.folder}, stdin=subprocess.DEVNULL, stdout=2,
            )  # fmt: skip
            record.note("spawned")
        if not self._ear.wait(lambda: self._ear.is_ready(process.pid), START_WITHIN, alive=self._alive):
            ended = process.poll()
            how = f"was not ready after {START_WITHIN:g} s" if ended is None else describe_exit(ended)
            raise ConfigError(f"{self._model}: the process {how}, and serves nothing; look at what it said above")
        self._ear.note_start(process.pid, record)
        return process

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def settle(self, record: Record) -> None:
        """What it notes last may come after the response."""
        last = "reaped" if self._model == "fork" else "written"
        self._ear.wait(lambda: last in record.moments, PATIENCE, alive=self._alive)

    def close(self) -> None:
        """End the process."""
        self.app.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Answer:
    """A response, as the iterable that PEP 3333 wants; ``close()`` completes the :attr:`timeline` of its request."""

    timeline: Timeline

    def __init__(self, result: Iterable[bytes], record: Record, finish: Callable[[Record], Timeline]) -> None:
        self._result = result
        self._record = record
        self._finish: Callable[[Record], Timeline] | None = finish

    def __iter__(self) -> Iterator[bytes]:
        for block in self._result:
            self._record.size += len(block)
            self._record.note("last_byte")
            yield block

    def close(self) -> None:
        """The response is over, read or not."""
        finish, self._finish = self._finish, None
        if finish is None:
            return
        try:
            close = getattr(self._result, "close", None)
            if close is not None:
                close()
        finally:
            self._record.note("closed")
            self.timeline = finish(self._record)


class Measured:
    """``target`` served under one of :data:`MODELS`, each request measured: a WSGI application for any threads.

    ``target`` is as in :func:`gateway.loader.load`, and loaded in ``folder``.  ``seen(timeline)`` is called once all is
    known of a request, by the thread that closes its response.  Raises ConfigError.

        with Measured("cgi", "hello:application") as measured:
            print(measured.ask("/").took("imports"))
    """

    def __init__(
        self, model: str, target: str, *, interface: str = "auto", folder: str = ".",
        seen: Callable[[Timeline], object] | None = None,
    ) -> None:  # fmt: skip
        if model not in MODELS:
            raise ConfigError(f"no model is called {model!r}; there are: {', '.join(MODELS)}")
        self.model = model
        self._seen = seen
        self._asking = threading.local()
        self._ear = Ear()
        self._served_by: Model
        if model == "cgi":
            self._served_by = Programs(target, interface=interface, folder=folder, ear=self._ear)
        else:
            self._served_by = Worker(
                model, target, interface=interface, folder=folder, ear=self._ear, tap=self._tap
            )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Measured {self.model}>"

    def __enter__(self) -> Measured:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The root of the process tree that serves; None where each request starts its own."""
        return self._served_by.pid

    def close(self) -> None:
        """End what serves."""
        self._served_by.close()
        self._ear.close()

    def ask(self, path: str = "/", method: str = "GET", **options: Any) -> Timeline:
        """One request, read to its end; ``options`` are those of :func:`gateway.client.visit.visit`."""
        answer = self(visit(method, path, **options), lambda status, headers: None)
        try:
            for _ in answer:
                pass
        finally:
            answer.close()
        return answer.timeline

    def __call__(self, environ: Environ, start_response: Callable[..., object]) -> Answer:
        """One request (PEP 3333), to be read by the thread that calls."""
        record = self._asking.record = self._ear.open()

        def started(status: str, headers: Any, exc_info: Any = None) -> object:
            record.status = status
            record.note("first_byte")
            record.note("last_byte")
            return start_response(status, headers)

        try:
            self._served_by.prepare(record)
            result = self._served_by.app(environ | {REQUEST_ID: record.id}, started)
        except BaseException:
            self._ear.forget(record)
            raise
        return Answer(result, record, self._finish)

    def _tap(self, side: Side, data: bytes) -> None:
        self._asking.record.wire.append((side, data))

    def _finish(self, record: Record) -> Timeline:
        self._served_by.settle(record)
        timeline = Timeline(
            self.model, record.status, record.moments, pid=record.pid, served=record.served, born=record.born,
            size=record.size, environ=self._ear.forget(record), wire=tuple(record.wire),
        )  # fmt: skip
        if self._seen is not None:
            self._seen(timeline)
        return timeline


def measure(model: str, target: str, path: str = "/", *, requests: int = 2, **options: Any) -> list[Timeline]:
    """One request after the other: the first one is cold.  Raises ConfigError."""
    with Measured(model, target, **options) as measured:
        return [measured.ask(path) for _ in range(requests)]
