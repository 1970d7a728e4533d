"""One run of a program as a web server runs it: a GET without a body, a bare environment, no terminal.

Unlike :mod:`gateway.script.run` it keeps what the program says as it is, right or wrong, and leaves its stdin open: a
program that waits for the end of a body that was never announced is found by that it ends once stdin does.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import time

from gateway.exchange import BLOCK
from gateway.limits import Limits
from gateway.script.execution.spawn import Spawn
from gateway.script.program import Surroundings
from gateway.script.resolve import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.script.diagnosis import Patient
    from gateway.script.execution import Process
    from gateway.script.program import Program

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of a daemon; that of whoever logs in has more."""

ENVIRONMENT = {"PATH": SEARCH, "LANG": "C"}

NOBODY = "nobody"
"""As whom root runs a program of which he does not know who will."""

LIMITS = Limits(script_cpu=0, script_memory=0, script_files=0)
"""A program may use what we may: to set limits might take a shell, which tells less of what cannot be started."""

KEPT = 1024 * 1024
"""Bytes of output that are looked at."""

PAUSE = 0.01
"""Seconds between two looks whether it has ended, while it says nothing."""

GRACE = 1.0
"""Seconds that a program has to end once its stdin has."""


class Trial:
    """What a run showed.

    ``returncode`` is None if it had to be ended; ``waited_for_input`` if it ended when its stdin did.
    """

    __slots__ = (
        "command", "timeout", "limits", "stdout", "stderr", "returncode", "timed_out", "waited_for_input", "cut"
    )  # fmt: skip

    def __init__(self, command: str, *, timeout: float) -> None:
        self.command = command
        """What shows the same in a shell."""
        self.timeout = timeout
        self.limits = LIMITS
        self.stdout = b""
        self.stderr = b""
        self.returncode: int | None = None
        self.timed_out = False
        self.waited_for_input = False
        self.cut = False
        """Whether there was more output than is looked at."""

    def __repr__(self) -> str:
        return f"<Trial returncode={self.returncode} stdout={self.stdout[:40]!r} stderr={self.stderr[-40:]!r}>"

    @property
    def last_words(self) -> str:
        """The last line of its stderr, as the rest of a sentence."""
        last = self.stderr.rstrip().rpartition(b"\n")[2][-200:].decode("utf-8", "backslashreplace")
        return f", saying {last!r}" if last else ""

    @property
    def complaint(self) -> bytes:
        """Where it may have said what is wrong; cgitb and others tell the visitor."""
        return self.stderr if not self.returncode else self.stdout + b"\n" + self.stderr


def attempt(
    patient: Patient, *, timeout: float, environment: Mapping[str, str], path_info: str = ""
) -> Trial:
    """Run it, as the user whose rights count if we may.  Raises ScriptError if it cannot be started."""
    given = {**ENVIRONMENT, **environment}
    trial = Trial(command_for(patient, given), timeout=timeout)
    _follow(Spawn().start(program_for(patient, given, path_info=path_info), stdin=True), trial)
    return trial


def program_for(patient: Patient, environment: Mapping[str, str], *, path_info: str = "") -> Program:
    """It as a CGI program of a request without a body.  Raises ScriptError."""
    user: str | int | None = None
    if os.geteuid() == 0 and patient.identity.uid != 0:  # nobody else may become another
        user = NOBODY if patient.identity.uid is None else patient.identity.uid
    surroundings = Surroundings(
        environment=environment, pass_environment=(), umask=None, user=user, group=None, limits=LIMITS
    )  # fmt: skip
    path = os.path.abspath(patient.path)
    name = f"/cgi-bin/{os.path.basename(path)}"
    script = Script(path, script_name=name, path_info=path_info, mount="", interpreter=patient.interpreter)
    return surroundings.program(script, _params(name, path, path_info))


def command_for(patient: Patient, environment: Mapping[str, str]) -> str:
    """What shows in a shell what a run shows."""
    words = ["env", "-i", *map("=".join, environment.items()), "REQUEST_METHOD=GET", "QUERY_STRING="]
    named = patient.path if "/" in patient.path else f"./{patient.path}"
    return shlex.join([*words, *patient.interpreter, named])


def _params(name: str, path: str, path_info: str) -> dict[str, str]:
    return {
        "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "QUERY_STRING": "", "SCRIPT_NAME": name,
        "PATH_INFO": path_info, "REQUEST_URI": name + path_info, "SCRIPT_FILENAME": path, "REDIRECT_STATUS": "200",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_SOFTWARE": "gateway",
        "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost", "HTTP_ACCEPT": "*/*",
    }  # fmt: skip


def _follow(process: Process, trial: Trial) -> None:
    """Take what it says until it ends, or until its time is over."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # they were wanted
    said = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    stdout, stderr = said.values()
    try:
        if not _listen(process, said, trial.timeout):
            process.stdin.close()
            trial.waited_for_input = _listen(process, said, GRACE)
            trial.timed_out = not trial.waited_for_input
        trial.returncode = process.returncode
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
        if process.returncode is None or trial.timed_out:
            _end(process)
    trial.cut = len(stdout) > KEPT
    trial.stdout, trial.stderr = bytes(stdout[:KEPT]), bytes(stderr[-KEPT:])


def _listen(process: Process, said: dict[int, bytearray], seconds: float) -> bool:
    """Whether it ends within some seconds, and nobody else holds its output open."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    open_ones = set(said)
    for descriptor in said:
        poll.register(descriptor, select.POLLIN)
    while process.poll() is None or open_ones:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        for descriptor, _ in poll.poll(1000 * min(left, PAUSE)):
            data = os.read(descriptor, BLOCK)
            if not data:
                poll.unregister(descriptor)
                open_ones.discard(descriptor)
            elif len(said[descriptor]) <= KEPT:
                said[descriptor] += data
    return True


def _end(process: Process) -> None:
    """Nothing of it is left, nor of what it has started and did not let go."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended meanwhile, or become another user's
    while process.poll() is None:
        time.sleep(0.005)
