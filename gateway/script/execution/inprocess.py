"""``inprocess``: a Python script in a thread of this very process: nothing is started, and nothing is kept apart."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import sys
import threading
from contextlib import contextmanager

from gateway.errors import ScriptError
from gateway.script.execution.fork import find_python, open_pipes
from gateway.script.execution.forker import Scripts, flush
from gateway.script.execution.spawn import Spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import IO, TextIO

    from gateway.script.execution import Process
    from gateway.script.execution.forker import Script
    from gateway.script.program import Program
THREAD_NAME = "script"
"""How the names of the threads begin that scripts run in."""


class InProcess:
    """Runs Python scripts in this process, one at a time, with ``sys`` and ``os.environ`` as each expects them.

    The fastest way, for scripts that you know.  Each runs in a ``__main__`` of its own, compiled once and read again
    when it has changed; all else it shares with the server and with the scripts before it:

    * While it runs, ``sys.stdin``, ``sys.stdout``, ``sys.stderr``, ``sys.argv``, ``sys.path``, ``sys.excepthook``,
      ``os.environ``, the directory and the umask are the script's for *all* threads; what another thread prints then,
      the visitor gets.  The environment of a server's own threads is safe only where they do not look at it.
    * A module is imported once, also one that has the same name in another directory.  What a script changes in
      modules stays; its exit handlers run, and its threads end, with the server.
    * The streams speak UTF-8.  ``os.write(1, …)`` and the output of child processes go to the server's stdout.
    * It has no process to signal, no limits of its own, no signal handlers, and no user but the server's.  On a timeout
      SystemExit is raised in it; as long as it does not heed that (it waits in the system, say), all others get a 503.

    The interpreter is ours, whatever the ``#!`` line says.  A program that is no Python script is spawned.
    """

    name = "inprocess"

    def __init__(self) -> None:
        self._scripts = Scripts()
        self._spawn = Spawn()

    def __repr__(self) -> str:
        return "<InProcess>"

    def start(self, program: Program, *, stdin: bool) -> Process:
        """The script in a thread, as soon as no other one runs.  Raises ScriptError."""
        found = find_python(program)
        if found is None:
            return self._spawn.start(program, stdin=stdin)
        if program.user not in (None, os.geteuid()) or program.group not in (None, os.getegid()):
            raise ScriptError(
                f"{program.path}: a script in the server's own process cannot run as another user: choose "
                "execution='fork'",
                status_hint="500 Internal Server Error",
            )
        try:
            script = self._scripts.load(program.path, found[1], executable=not program.interpreter)
            os.stat(os.path.join(program.cwd, "."))
        except Exception:
            return self._spawn.start(program, stdin=stdin)  # which tells what is wrong
        _turn.check(program.path)
        return Inside(script, program, stdin=stdin)

    def close(self) -> None:
        """Forget the compiled scripts."""
        self._scripts = Scripts()


class Turn:
    """Who may change the process: one script at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holder: Inside | None = None

    def check(self, path: str) -> None:
        """Raise ScriptError if the script that runs does not end although it shall."""
        holder = self.holder
        if holder is not None and holder.abandoned:
            raise ScriptError(
                f"{path}: {holder} does not end, and until then no other script can run in this process: restart the "
                "server, and choose execution='fork' for that script",
                status_hint="503 Service Unavailable",
            )


_turn = Turn()


def _begin_anew() -> None:
    global _turn
    _turn = Turn()  # in a fork of this process no script runs, but the lock may be held


os.register_at_fork(after_in_child=_begin_anew)


class Inside:
    """A script that runs, or will run, in this process: a :class:`gateway.script.execution.Process`."""

    pid = 0

    def __init__(self, script: Script, program: Program, *, stdin: bool) -> None:
        self.returncode: int | None = None
        self.abandoned = False
        self._script = script
        self._program = program
        (stdout, stderr, *to_stdin), theirs = open_pipes(stdin=stdin)
        self.stdin: IO[bytes] | None = open(to_stdin[0], "wb", 0) if to_stdin else None
        self.stdout: IO[bytes] | None = open(stdout, "rb", 0)
        self.stderr: IO[bytes] | None = open(stderr, "rb", 0)
        self._streams = (
            open(theirs[2] if stdin else os.devnull, encoding="utf-8", newline="\n"),
            open(theirs[0], "w", encoding="utf-8", newline="\n"),
            open(theirs[1], "w", 1, encoding="utf-8", errors="backslashreplace", newline="\n"),
        )
        self._guard = threading.Lock()  # over the next two, and so over whom an interruption would hit
        self._began = False
        self._ended = False
        self._thread = threading.Thread(target=self._work, name=f"{THREAD_NAME} {program.path}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Inside {self._program.path!r} returncode={self.returncode}>"

    def poll(self) -> int | None:
        """Its returncode once it has ended.  Whoever has closed its stdout by then wants it to end."""
        if self.returncode is None and self.stdout is not None and self.stdout.closed and not self.abandoned:
            self.abandoned = True
            with self._guard:
                if not self._began:
                    self.returncode = -signal.SIGTERM  # and it never will
                elif not self._ended:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(SystemExit)
                    )
        return self.returncode

    def _work(self) -> None:
        status = 1
        try:
            with _turn.lock:
                with self._guard:
                    self._began = not self.abandoned
                if self._began:
                    _turn.holder = self
                    try:
                        status = self._run()
                    finally:
                        _turn.holder = None
        finally:
            self.returncode = -signal.SIGTERM if self.abandoned else status
            for stream in self._streams:
                try:
                    stream.close()
                except (OSError, ValueError):
                    continue  # nobody reads it, or the script has detached it

    def _run(self) -> int:
        module = self._script.new_module()
        with _dressed(self._program, self._script, self._streams):
            status = 1
            try:
                status = self._script.run(module)
                for value in list(vars(module).values()):
                    if issubclass(type(value), io.IOBase):
                        flush(value)  # a file that it left open
                status = flush(sys.stdout) or flush(sys.stderr) or status
            finally:
                with self._guard:
                    self._ended = True
            return status


@contextmanager
def _dressed(program: Program, script: Script, streams: Sequence[TextIO]) -> Iterator[None]:
    """Make this process look like one that was started for the script, for a while."""
    names = ("stdin", "stdout", "stderr", "argv", "path", "excepthook")
    before = [(name, getattr(sys, name)) for name in names]
    main, environ, cwd = sys.modules["__main__"], dict(os.environb), os.getcwd()
    umask = None if program.umask is None else os.umask(program.umask)
    try:
        sys.stdin, sys.stdout, sys.stderr = streams
        sys.argv = [script.path, *map(os.fsdecode, program.args)]
        sys.path = [script.directory, *sys.path]
        sys.excepthook = sys.__excepthook__
        _set_environment(program.env)
        os.chdir(program.cwd)
        yield
    finally:
        for name, value in before:
            setattr(sys, name, value)
        sys.modules["__main__"] = main
        _set_environment(environ)
        os.chdir(cwd)
        if umask is not None:
            os.umask(umask)


def _set_environment(env: Mapping[bytes, bytes]) -> None:
    for name in os.environb.keys() - env.keys():
        del os.environb[name]
    for name, value in env.items():
        if os.environb.get(name) != value:
            os.environb[name] = value
