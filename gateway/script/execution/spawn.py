"""``spawn``: a new process for any program, in whatever language, started by the system (execve(2))."""

from __future__ import annotations

import resource
import subprocess

from gateway.script.faults import explain_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.script.execution import Process
    from gateway.script.program import Program


class Spawn:
    """Starts a process for each request.

    subprocess starts it by vfork(2), in C, whatever else there is in this process.  That takes as long as
    posix_spawn(3), which cannot change the directory.  Resource limits are set by a shell that becomes the program
    (``ulimit``, POSIX): no Python code may run between fork and exec beside threads, and prlimit(2) comes too late.
    """

    name = "spawn"

    def start(self, program: Program, *, stdin: bool) -> Process:
        """The program in a session, and so a process group, of its own.  Raises ScriptError."""
        argv = program.argv
        if program.rlimits:
            argv = ["/bin/sh", "-c", _limiting(program.rlimits), "sh", *argv]
        try:
            return subprocess.Popen(
                argv, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, bufsize=0, cwd=program.cwd, env=program.env, start_new_session=True,
                umask=-1 if program.umask is None else program.umask, user=program.user, group=program.group,
                extra_groups=program.groups,
            )  # fmt: skip
        except OSError as error:
            raise explain_start(
                error, path=program.path, interpreter=program.interpreter, cwd=program.cwd
            ) from error

    def close(self) -> None:
        """Nothing is kept."""


_ULIMIT = {resource.RLIMIT_CPU: ("-t", 1), resource.RLIMIT_AS: ("-v", 1024), resource.RLIMIT_NOFILE: ("-n", 1)}
"""The option of ulimit for a resource, and the bytes of its unit."""


def _limiting(rlimits: Mapping[int, int]) -> str:
    """What a shell does to set limits and become a program.

    >>> _limiting({resource.RLIMIT_CPU: 30, resource.RLIMIT_AS: 1048576})
    'ulimit -t 30 && ulimit -v 1024 && exec "$@"'
    """
    options = ((_ULIMIT[number], value) for number, value in rlimits.items())
    return " && ".join([*(f"ulimit {option} {value // unit}" for (option, unit), value in options), 'exec "$@"'])
