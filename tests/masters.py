"""An ``fcgi-run`` (or gunicorn) of its own for a test: started, watched through its log, and ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.client import Client
from tests.house import ROOT

FCGI_RUN = ("-m", "gateway.cli.fcgi_run")
PATIENCE = 40.0
"""Seconds after which what a test waits for will not come."""

TELLING = """\
import json, os, sys, time

VERSION = "one"

def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0))
    told = {
        "version": VERSION, "pid": os.getpid(), "parent": os.getppid(), "cwd": os.getcwd(), "uid": os.getuid(),
        "mount": environ["SCRIPT_NAME"], "path": environ["PATH_INFO"], "body": len(environ["wsgi.input"].read()),
        "process": dict(os.environ), "multithread": environ["wsgi.multithread"],
    }
    start_response("200 OK", [("Content-Type", "application/json"), ("X-Kind", "telling")])
    return [json.dumps(told).encode()]
"""
"""An application that tells who answers; the query string says for how many seconds it sleeps."""


def wait_for(condition: Callable[[], Any], *, otherwise: Callable[[], str]) -> Any:
    """Poll until the condition is true, and give its value."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(") ")[2][0] != "Z"


class Master:
    """A server that runs ``app:application`` of ``folder``, or what the ``words`` of its command line say instead.

    ``stdin`` may be a listening socket; ``program`` is what Python runs.  Coverage is ``measured``, for which each
    fork pays.
    """

    def __init__(
        self, folder: Path, *words: str, app: str | None = "app", env: dict[str, str] | None = None,
        program: tuple[str, ...] = FCGI_RUN, stdin: Any = subprocess.DEVNULL, measured: bool = True, **options: Any,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.socket = folder / "s"
        self._log = folder / "log"
        if app is not None and not (folder / "app.py").exists():
            (folder / "app.py").write_text(TELLING)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, *words, *([app] if app else [])], cwd=folder, stdin=stdin, stdout=log,
                stderr=log, env=environment(folder, measured=measured) | (env or {}), **options,
            )  # fmt: skip
        self.pid = self.process.pid
        self._pids = {self.pid}

    def __enter__(self) -> Master:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._pids |= {int(pid) for pid in re.findall(r"\] \[(\d+)\] \[", self.log())}
        self.stop()
        for pid in self._pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def log(self) -> str:
        """All that it said so far."""
        return self._log.read_text("utf-8", "replace")

    def wait_log(self, pattern: str, *, times: int = 1) -> str:
        """Wait until it has said that so often; the last match, or its first group."""

        def found() -> list[str]:
            return re.findall(pattern, self.log())

        matches: list[str] = wait_for(
            lambda: len(found()) >= times and found(), otherwise=lambda: f"no {pattern!r} ({times}) in:\n{self.log()}"
        )
        return matches[-1]

    def ready(self, *, workers: int = 1) -> Master:
        """Wait until so many workers were started."""
        self.wait_log(r"Booting worker with pid: (\d+)", times=workers)
        return self

    def workers(self) -> list[int]:
        """The workers that run, oldest first."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.log()) if is_alive(int(pid))]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"fastcgi://{self.socket}"

    def ask(self, path: str = "/", *, method: str = "GET", url: str = "", body: bytes = b"") -> Any:
        """What the application tells on one request over a connection of its own."""
        import json

        with Client(url or self.url, pool_size=0, timeout=PATIENCE) as client:
            status, _, answer = client.request(method, path, body=body)
        assert status == "200 OK", f"{status}\n{self.log()}"
        return json.loads(answer)

    def send(self, number: int) -> None:
        """Send the master a signal."""
        os.kill(self.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it, and give its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        if self.pid != self.process.pid and is_alive(self.pid):  # after USR2
            os.kill(self.pid, number)
            wait_for(lambda: not is_alive(self.pid), otherwise=self.log)
        return self.process.wait(PATIENCE)


def environment(folder: Path, *, measured: bool = True) -> dict[str, str]:
    """The environment of a server under test: nothing of ours but what measures coverage, and a home of its own."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_") and measured}
    return kept | {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}


def run_to_end(
    folder: Path, *words: str, env: dict[str, str] | None = None, user: int | None = None
) -> tuple[int, str, str]:  # fmt: skip
    """The exit status, stdout and stderr of an ``fcgi-run`` that ends by itself."""
    done = subprocess.run(
        [sys.executable, *FCGI_RUN, *words], cwd=folder, env=environment(folder) | (env or {}), capture_output=True,
        text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, user=user, group=user, extra_groups=[] if user else None,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr
