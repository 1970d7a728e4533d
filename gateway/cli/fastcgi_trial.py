"""One run of a FastCGI program as a process manager runs it (FastCGI 1.0 §2): a listening socket as fd 0, and no more.

It is asked for one page, and ended.  What came is kept as a CGI program would have said it, to be judged as one.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import tempfile
from typing import IO

from gateway.client import Client
from gateway.client.visit import visit
from gateway.errors import ProtocolError
from gateway.script.diagnosis import Patient
from gateway.script.diagnosis.trial import ENVIRONMENT, GRACE, KEPT, Trial, command_for, program_for
from gateway.script.faults import explain_start


def attempt(patient: Patient, *, timeout: float) -> Trial:
    """Start it, as the user whose rights count if we may, and ask for ``/``.  Raises ScriptError if it cannot start."""
    trial = Trial(command_for(patient, ENVIRONMENT), timeout=timeout)
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder, tempfile.TemporaryFile() as log:
        path = os.path.join(folder, "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            process = _start(patient, listener, log)
        try:  # nobody but the program has the socket now: once it has ended, it refuses connections
            _ask(f"fastcgi://unix:{path}", trial)
            if trial.stdout:
                trial.returncode = 0
            elif not trial.timed_out:
                with contextlib.suppress(subprocess.TimeoutExpired):  # it hung up, and stays
                    trial.returncode = process.wait(GRACE)
        finally:
            _end(process)
        log.seek(0)
        trial.stderr += log.read(KEPT)
    return trial


def _start(patient: Patient, listener: socket.socket, log: IO[bytes]) -> subprocess.Popen[bytes]:
    program = program_for(patient, ENVIRONMENT)
    try:
        return subprocess.Popen(
            [*map(os.fsdecode, program.argv)], env=ENVIRONMENT, cwd=program.cwd, stdin=listener.fileno(),
            stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
            user=program.user, group=program.group, extra_groups=program.groups,
        )  # fmt: skip
    except OSError as error:
        raise explain_start(error, path=program.path, interpreter=program.interpreter, cwd=program.cwd) from error


def _ask(url: str, trial: Trial) -> None:
    """Ask for a page, and note what comes."""
    errors = io.StringIO()
    try:
        with Client(url, timeout=trial.timeout, pool_size=0) as client:
            response = client.ask(visit("GET", "/") | {"wsgi.errors": errors})
            lines = [f"Status: {response.response.status}", *map(": ".join, response.response.headers), "", ""]
            trial.stdout = "\n".join(lines).encode("latin-1") + b"".join(response)
    except ProtocolError as error:
        trial.timed_out = error.status_hint.startswith("504")
    trial.stderr = errors.getvalue().encode()


def _end(process: subprocess.Popen[bytes]) -> None:
    """It ends on SIGTERM, as under a process manager, or else it is killed with all that it has started."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
