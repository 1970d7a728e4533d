"""One run of a program by an execution strategy, without a web server around it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.script.program import Program

if TYPE_CHECKING:
    from gateway.script.execution import Execution, Process

PATIENCE = 20.0
"""Seconds until a program that should end is taken not to."""

ENV = {"LANG": "C.UTF-8", "PATH": os.defpath, "QUERY_STRING": "q=1"}


class Ended(NamedTuple):
    """What a program said, and how it ended."""

    returncode: int
    stdout: bytes
    stderr: bytes


def program(
    path: Path, *args: str, env: Mapping[str, str] = ENV, interpreter: Sequence[str] = (sys.executable,),
    cwd: Path | None = None, **options: Any,
) -> Program:  # fmt: skip
    """What runs the file at ``path``, by this Python if nothing else is said."""
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    encoded = {name.encode(): os.fsencode(value) for name, value in {**coverage, **env}.items()}
    directory = str(cwd or path.parent)
    return Program(str(path), args=args, env=encoded, interpreter=interpreter, cwd=directory, **options)


def execute(execution: Execution, program: Program, *, stdin: bytes | None = None) -> Ended:
    """Run it to its end."""
    return communicate(execution.start(program, stdin=stdin is not None), stdin or b"")


def communicate(process: Process, stdin: bytes = b"") -> Ended:
    """Feed and read a process to its end."""
    read: dict[str, bytes] = {}
    threads = [threading.Thread(target=_feed, args=(process, stdin))]
    for name in ("stdout", "stderr"):
        threads.append(threading.Thread(target=lambda name=name: read.update({name: _read(getattr(process, name))})))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{process} goes on"
    return Ended(wait(process), read["stdout"], read["stderr"])


def wait(process: Process) -> int:
    """Its returncode, once it has ended."""
    deadline = time.monotonic() + PATIENCE
    while (returncode := process.poll()) is None:
        assert time.monotonic() < deadline, f"{process} goes on"
        time.sleep(0.001)
    return returncode


def is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _feed(process: Process, stdin: bytes) -> None:
    if process.stdin is not None:
        rest = memoryview(stdin)
        try:
            while rest:
                rest = rest[os.write(process.stdin.fileno(), rest) :]
        except BrokenPipeError:
            pass  # it does not want all of it
        process.stdin.close()


def _read(pipe: Any) -> bytes:
    parts = []
    while data := os.read(pipe.fileno(), 65536):
        parts.append(data)
    pipe.close()
    return b"".join(parts)
