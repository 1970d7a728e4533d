"""Starts the contenders and the nginx in front of them, each in a process group of its own, and ends them again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import nginx
from .contenders import SEARCH_PATH, Contender
from .hello import BODY

SOURCE = Path(__file__).parent
START_TIMEOUT = 20.0
STOP_TIMEOUT = 5.0


class StartError(Exception):
    """A server ended, or did not listen in time; the message is the end of what it said."""


@dataclass(slots=True)
class Stage:
    """What runs: an address for each contender, and its process."""

    port: int
    directory: Path
    pids: dict[Contender, int] = field(default_factory=dict)
    failures: dict[Contender, str] = field(default_factory=dict)

    def url(self, contender: Contender) -> str:
        """Return the address of `contender` at the nginx."""
        return f"http://127.0.0.1:{self.port}/{contender.slug}"


@contextmanager
def behind_nginx(contenders: Sequence[Contender], *, application: str, streaming: bool = False) -> Iterator[Stage]:
    """Start `contenders`, all serving `application`, and one nginx in front; a contender that fails is noted."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        stage = Stage(unused_port(), directory)
        for contender in contenders:
            path = nginx.socket_path(contender, directory)
            command = contender.start_command(application=application, socket=path, build=directory, source=SOURCE)
            try:
                server = stack.enter_context(running(command, address=str(path), log=path.with_suffix(".log")))
            except StartError as error:
                stage.failures[contender] = str(error)
            else:
                stage.pids[contender] = server.pid
        text = nginx.configuration(contenders, directory=directory, port=stage.port, streaming=streaming)
        (directory / "nginx.conf").write_text(text)
        command = ["nginx", "-p", str(directory), "-e", "stderr", "-c", "nginx.conf"]
        stack.enter_context(running(command, address=("127.0.0.1", stage.port), log=directory / "nginx.log"))
        yield stage


def answers_hello(stage: Stage, contender: Contender) -> bool:
    """Check that `contender` answers with the hello application's own bytes; note it as a failure when it does not."""
    try:
        with urllib.request.urlopen(stage.url(contender), timeout=10) as response:
            answer = response.read()
    except OSError as error:
        stage.failures[contender] = str(error)
        return False
    if answer != BODY:
        stage.failures[contender] = f"answered {answer[:60]!r} where {BODY!r} was due"
        return False
    return True


@contextmanager
def running(command: list[str], *, address: str | tuple[str, int], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` until the block ends; enter the block once something listens on `address`."""
    environment = os.environ | {
        "PATH": SEARCH_PATH,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(SOURCE.parent), os.environ.get("PYTHONPATH")])),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until_listening(process, address=address, log=log)
        yield process
    finally:
        stop(process)


def wait_until_listening(process: subprocess.Popen[bytes], *, address: str | tuple[str, int], log: Path) -> None:
    """Return once `address` takes a connection; raise StartError when `process` ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT
    while not listening(address):
        if process.poll() is not None or time.monotonic() > deadline:
            last_words = " ".join(log.read_text(errors="replace").split("\n")[-3:]).strip()
            fate = "did not listen" if process.returncode is None else f"ended with status {process.returncode}"
            raise StartError(f"{fate}: {last_words}")
        time.sleep(0.02)


def listening(address: str | tuple[str, int]) -> bool:
    """Tell whether something takes connections at `address`."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as probe:
        return probe.connect_ex(address) == 0


def stop(process: subprocess.Popen[bytes]) -> None:
    """End `process` by SIGTERM, and after a while whatever is left of its process group by SIGKILL."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing was left, as it should be


def unused_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
