"""``spawn``: a new process for any program, in whatever language, started by the system (execve(2))."""

from __future__ import annotations

import subprocess

from gateway.script.faults import explain_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.script.execution import Process
    from gateway.script.program import Program


class Spawn:
    """Starts a process for each request."""

    name = "spawn"

    def start(self, program: Program, *, stdin: bool) -> Process:
        """The program in a session, and so a process group, of its own.  Raises ScriptError."""
        try:
            return subprocess.Popen(
                program.argv, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE,
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
