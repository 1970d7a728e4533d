"""A ``gateway demo`` for tests: in a session and a temporary directory of its own.

By these all that it starts can be told from everything else.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.house import ROOT

PATIENCE = 20.0


def wait_until(condition: Callable[[], Any], *, what: str) -> Any:
    """The first true value of ``condition``."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.01)
    return value


class Demo:
    """A demo whose temporary directory is ``folder``; unlike pytest's, its name must be short: it holds sockets."""

    def __init__(self, folder: str, *arguments: str, **environ: str) -> None:
        self.folder = folder
        self._output = Path(folder, "output")
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "demo", *(arguments or ("--port", "0"))], cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": folder, **environ},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_until(lambda: "curl" in self.output or self.process.poll() is not None, what="the demo to start")
        found = re.search(r"http://127\.0\.0\.1:(\d+)/ ", self.output)
        assert found, self.output
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.get("/numbers")  # now it has all its servers
        self.began = time.monotonic()

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._output.read_text()

    def get(
        self, path: str, *, method: str = "GET", body: str = "", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:  # fmt: skip
        """Status, headers with names in lower case, and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body or None, headers or {})
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return response.status, told, response.read().decode()
        finally:
            connection.close()

    def ask(self, model: str) -> dict[str, int]:
        """What the application answers in a lane."""
        status, _, body = self.get(f"/{model}/")
        assert status == 200, self.output
        answer: dict[str, int] = json.loads(body)
        return answer

    def numbers(self) -> dict[str, Any]:
        """What the server itself has counted."""
        return dict(json.loads(self.get("/numbers")[2]))

    def processes(self) -> list[int]:
        """Every living process that has inherited this demo's temporary directory, a CGI program too."""
        mark, found = f"TMPDIR={self.folder}\0".encode(), []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                if mark in Path("/proc", name, "environ").read_bytes():
                    found.append(int(name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it ended just now, or is none of ours
        return found

    def left(self) -> list[str]:
        """What is in its directory beside what it printed: sockets, folders."""
        return [path.name for path in Path(self.folder).rglob("*") if path != self._output]

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self.process.terminate()
        self.process.wait(PATIENCE)
