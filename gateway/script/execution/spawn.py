"""``spawn``: a new process for any program, in whatever language, started by the system (execve(2))."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

from gateway.script.faults import explain_start
from gateway.script.rlimits import limiting_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.script.execution import Process
    from gateway.script.execution.posix_spawn import Spawner
    from gateway.script.program import Program


class Spawn:
    """Starts a process for each request: by posix_spawn(3), or where that cannot do what is wanted by subprocess.

    Resource limits are imposed at once by prlimit(2).  Where that is missing, or for another user, whose processes root
    in a container may not limit, a shell sets them and becomes the program: no Python code may run between fork and
    exec beside threads.
    """

    name = "spawn"

    def __init__(self) -> None:
        self._spawner = _spawner()
        self._impose = _imposer()
        self._found: dict[tuple[str, bytes], str] = {}

    def start(self, program: Program, *, stdin: bool) -> Process:
        """The program in a session, and so a process group, of its own.  Raises ScriptError."""
        argv = program.argv
        try:
            if "/" not in os.fsdecode(argv[0]):
                argv[0] = self._find(os.fsdecode(argv[0]), program.env.get(b"PATH", os.fsencode(os.defpath)))
            if program.rlimits and (self._impose is None or program.changes_identity):
                return self._start(program, [*limiting_command(program.rlimits), *argv], stdin=stdin)
            return self._start(program, argv, stdin=stdin, impose=self._impose)
        except OSError as error:
            raise explain_start(
                error, path=program.path, interpreter=program.interpreter, cwd=program.cwd
            ) from error

    def _start(
        self, program: Program, argv: list[str | bytes], *, stdin: bool, impose: Callable[..., None] | None = None
    ) -> Process:
        def limit(pid: int) -> None:
            if impose is not None and program.rlimits:
                impose(pid, program.rlimits, path=program.path)

        if self._spawner is not None and program.umask is None and not program.changes_identity:
            words, env = [*map(os.fsencode, argv)], [b"%b=%b" % pair for pair in program.env.items()]
            spawned = self._spawner.start(words, env, cwd=os.fsencode(program.cwd), stdin=stdin, started=limit)
            if spawned is not None:
                return spawned
        process = _popen(program, argv, stdin=stdin)
        limit(process.pid)
        return process

    def _find(self, name: str, search: bytes) -> str:
        """An interpreter that is given by its name alone, looked up in the PATH of the program."""
        path = self._found.get((name, search), "")
        if not os.access(path, os.X_OK):
            path = shutil.which(name, path=os.fsdecode(search)) or ""
            if not path:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
            self._found[name, search] = path
        return path

    def close(self) -> None:
        """Nothing is kept."""


def _spawner() -> Spawner | None:
    """posix_spawn(3), where the C library is glibc 2.34 or later."""
    if sys.platform != "linux":
        return None
    try:
        from gateway.script.execution.posix_spawn import Spawner

        return Spawner()
    except (ImportError, AttributeError):
        return None


def _imposer() -> Callable[..., None] | None:
    """prlimit(2), where there is one."""
    try:
        from gateway.script.execution.prlimit import impose
    except ImportError:
        return None
    return impose


def _popen(program: Program, argv: list[str | bytes], *, stdin: bool) -> Process:
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        bufsize=0, cwd=program.cwd, env=program.env, start_new_session=True,
        umask=-1 if program.umask is None else program.umask, user=program.user, group=program.group,
        extra_groups=program.groups,
    )  # fmt: skip
