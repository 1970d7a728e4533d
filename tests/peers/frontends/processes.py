"""Starts a server as a child process in the foreground, waits until it listens, shows what it said, and ends it."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.house import ROOT
from tests.requirements import require

START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0
_given: set[int] = set()
"""The ports that unused_port() gave."""

Address = str | tuple[str, int]
"""The path of a unix socket, or host and port."""


class Process:
    """A server that runs: its process id, and its log."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.log = log

    def said(self) -> str:
        """All that it wrote on stdout and stderr so far."""
        return self.log.read_text("utf-8", errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal to it, not to its children."""
        self.popen.send_signal(number)


@contextmanager
def running(
    command: Sequence[str], *, directory: Path, name: str, listens: Sequence[Address],
    environ: Mapping[str, str] | None = None,
) -> Iterator[Process]:  # fmt: skip
    """Run ``command`` in ``directory`` while the block runs, once it takes connections on every address of ``listens``.

    Its log is ``name``.log.  At the end it gets SIGTERM, and must leave no process behind.
    """
    log = directory / f"{name}.log"
    with log.open("ab") as output:
        popen = subprocess.Popen(
            command, cwd=directory, env=child_environ(directory) | dict(environ or {}), stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    process = Process(popen, log)
    try:
        wait_for(
            lambda: popen.poll() is not None or all(map(takes_connections, listens)),
            timeout=START_TIMEOUT,
            otherwise=lambda: f"{name} does not listen on each of {listens}:\n{process.said()}",
        )
        assert popen.poll() is None, f"{name} ended with status {popen.returncode}:\n{process.said()}"
        yield process
    finally:
        _stop(process, name)


def child_environ(directory: Path) -> dict[str, str]:
    """The environment of a server: ``#!/usr/bin/env python3`` finds this Python, which finds this package."""
    folders = [os.path.dirname(sys.executable), *os.get_exec_path(), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FCGI_", "GATEWAY_"))}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a CGI program would be compiled again for every request
    return environ | {"PATH": os.pathsep.join(folders), "PYTHONPATH": str(ROOT), "HOME": str(directory)}


def _stop(process: Process, name: str) -> None:
    process.popen.terminate()
    try:
        process.popen.wait(STOP_TIMEOUT)
        wait_for(lambda: not _is_alive(process.pid), timeout=STOP_TIMEOUT)
    except (subprocess.TimeoutExpired, AssertionError):
        os.killpg(process.pid, signal.SIGKILL)
        process.popen.wait()
        raise AssertionError(f"{name} or a child of it ignored SIGTERM:\n{process.said()}") from None


def _is_alive(group: int) -> bool:
    """Is anything left of the process group?"""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def unprivileged() -> list[str]:
    """What comes before a web server's command so that it does not run as root; nothing if nobody here is root.

    Apache refuses to serve as root, and would run CGI programs as www-data, who may not read a Python or a checkout
    below /root.  So root starts it as nobody, but with root's right to files (CAP_DAC_OVERRIDE, capabilities(7)).
    """
    if os.geteuid() != 0:
        return []
    setpriv = require("setpriv", package="util-linux")
    rights = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [setpriv, "--reuid=nobody", "--regid=nogroup", "--clear-groups", *rights]


def wait_for(
    condition: Callable[[], object], *, timeout: float = 10.0, otherwise: Callable[[], str] = lambda: "it stayed untrue"
) -> None:
    """Return once ``condition`` holds; fail with what ``otherwise`` says if it does not in ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.01)


def takes_connections(address: Address) -> bool:
    """Does somebody listen there?"""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as probe:
        return probe.connect_ex(address) == 0


def unused_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, another one each time.

    It is none that the kernel gives to whoever connects, or asks for any port, before the server of it has started.
    """
    while True:
        port = 10_000 + secrets.randbelow(22_768)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        if port not in _given:
            _given.add(port)
            return port


@contextmanager
def reserved_ports(count: int, *, host: str = "127.0.0.1") -> Iterator[list[int]]:
    """TCP ports of this machine that nobody gets while the block runs, but for servers that ask for them by number.

    They have to set SO_REUSEADDR, as every web server does.
    """
    with ExitStack() as stack:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        probes = [stack.enter_context(socket.socket(family)) for _ in range(count)]
        for probe in probes:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, 0))
        yield [probe.getsockname()[1] for probe in probes]
