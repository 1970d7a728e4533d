"""``spawn``: a new process for any program, in whatever language, started by the system (execve(2))."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

from gateway.script.faults import explain_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.script.execution import Process
    from gateway.script.execution.posix_spawn import Spawner
    from gateway.script.program import Program


class Spawn:
    """Starts a process for each request: by posix_spawn(3), or where that cannot do what is wanted by subprocess.

    Resource limits are set by a shell that becomes the program (``ulimit``, POSIX): no Python code may run between fork
    and exec beside threads, and prlimit(2) from here comes too late.
    """

    name = "spawn"

    def __init__(self) -> None:
        self._spawner = _spawner()
        self._found: dict[tuple[str, bytes], str] = {}

    def start(self, program: Program, *, stdin: bool) -> Process:
        """The program in a session, and so a process group, of its own.  Raises ScriptError."""
        argv = program.argv
        try:
            if "/" not in os.fsdecode(argv[0]):
                argv[0] = self._find(os.fsdecode(argv[0]), program.env.get(b"PATH", os.fsencode(os.defpath)))
            if program.rlimits:
                argv = ["/bin/sh", "-c", _limiting(program.rlimits), "sh", *argv]
            if self._spawner is not None and program.umask is program.user is program.group is None:
                words, env = [*map(os.fsencode, argv)], [b"%b=%b" % pair for pair in program.env.items()]
                process = self._spawner.start(words, env, cwd=os.fsencode(program.cwd), stdin=stdin)
                if process is not None:
                    return process
            return _popen(program, argv, stdin=stdin)
        except OSError as error:
            raise explain_start(
                error, path=program.path, interpreter=program.interpreter, cwd=program.cwd
            ) from error

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


def _popen(program: Program, argv: list[str | bytes], *, stdin: bool) -> Process:
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        bufsize=0, cwd=program.cwd, env=program.env, start_new_session=True,
        umask=-1 if program.umask is None else program.umask, user=program.user, group=program.group,
        extra_groups=program.groups,
    )  # fmt: skip


def _limiting(rlimits: Mapping[int, int]) -> str:
    """What a shell does to set limits and become a program.

    >>> import resource
    >>> _limiting({resource.RLIMIT_CPU: 30, resource.RLIMIT_AS: 1048576})
    'ulimit -t 30 && ulimit -v 1024 && exec "$@"'
    """
    import resource

    # The option of ulimit, and the bytes of its unit.
    options = {resource.RLIMIT_CPU: ("-t", 1), resource.RLIMIT_AS: ("-v", 1024), resource.RLIMIT_NOFILE: ("-n", 1)}
    words = [f"ulimit {options[number][0]} {value // options[number][1]}" for number, value in rlimits.items()]
    return " && ".join([*words, 'exec "$@"'])
