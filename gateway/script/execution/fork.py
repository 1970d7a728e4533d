"""``fork``: a Python script without the start of an interpreter: one that is warm forks for each request.

This is the server's side; the warm interpreter runs :mod:`gateway.script.execution.forker`.
"""

from __future__ import annotations

import marshal
import os
import re
import select
import signal
import socket
import subprocess
import threading
import weakref
from functools import lru_cache

from gateway.errors import ConfigError, ScriptError
from gateway.script.execution import forker
from gateway.script.execution.spawn import Spawn
from gateway.script.faults import describe_exit, explain_import, first_line, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO, TypeAlias

    from gateway.script.execution import Process
    from gateway.script.program import Program

    Version: TypeAlias = tuple[int, ...]
    Environment: TypeAlias = dict[bytes, bytes]
    Key: TypeAlias = tuple[
        tuple[str, ...], frozenset[tuple[bytes, bytes]], int | None, int | None, tuple[int, ...] | None
    ]

START_WITHIN = 30.0
"""Seconds for an interpreter to start and to preload its modules, and for a script to begin."""

_PYTHON = re.compile(r"(.*/)?python3?(\.\d+)?")
_PLAIN_OPTIONS = re.compile(r"-[bBdEIOPqRsSuv]+")
_AT_START = {b"PATH", b"HOME", b"TZ", b"LANG", b"LANGUAGE", b"GLIBC_TUNABLES"}
_AT_START_PREFIXES = (b"PYTHON", b"LC_", b"LD_", b"DYLD_", b"MALLOC_", b"COVERAGE_")


class Fork:
    """Runs each request of a Python script in a child of an interpreter that has started already.

    The script finds what it would find after ``python script``: the interpreter that its ``#!`` line names (or
    ``interpreter=``), a ``__main__`` in which nothing has run, its arguments, environment, directory, umask, limits and
    standard streams, no other descriptor, and no signal handled.  It also ends as the interpreter would end it, and is
    read again when it has changed.  What differs: the modules ``preload`` are imported, and all share one hash seed.

    Preload what your scripts import, ``("cgi", "json")`` say: these imports are what takes time now.  What a module
    opens while it is imported is open in all children; threads that it starts are in none.

    One interpreter is kept warm for each set of what matters when Python starts: the command, the user, and variables
    such as ``PYTHON*``, ``LC_*``, ``PATH``, ``HOME`` and ``TZ``.  The oldest of ``interpreters`` ends when one more is
    needed, and all end with us.

    A program that is no Python script is spawned, and so are one for a Python before 3.10, and one with a SyntaxError.
    """

    name = "fork"

    def __init__(self, *, preload: Sequence[str] = (), interpreters: int = 16) -> None:
        if isinstance(preload, str):
            raise ConfigError(f"preload={preload!r} is one name where several belong: write preload=({preload!r},)")
        self._preload = tuple(preload)
        self._most = interpreters
        self._spawn = Spawn()
        self._begin_anew()
        _alive.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._warm: dict[Key, Interpreter | None] = {}  # None: this one cannot be kept warm

    def __repr__(self) -> str:
        return f"<Fork preload={self._preload!r} interpreters={len(self._warm)}>"

    def start(self, program: Program, *, stdin: bool) -> Process:
        """The script in a session, and so a process group, of its own.  Raises ScriptError."""
        python = find_python(program)
        process = self._fork(program, *python, stdin=stdin) if python else None
        if process is None:
            return self._spawn.start(program, stdin=stdin)  # which tells why, if the script cannot be started at all
        return process

    def _fork(self, program: Program, command: tuple[str, ...], version: Version, *, stdin: bool) -> Process | None:
        """The script in a child of a warm interpreter; None if it cannot begin there."""
        at_start, later = _split(program.env)
        groups = None if program.groups is None else tuple(program.groups)
        key = command, frozenset(at_start.items()), program.user, program.group, groups
        umask = -1 if program.umask is None else program.umask
        rest = list(map(os.fsdecode, program.args)), later, program.cwd, umask, dict(program.rlimits)
        request = program.path, version, not program.interpreter, marshal.dumps(rest, 2)
        for _ in range(2):
            interpreter = self._interpreter(key)
            if interpreter is None:
                return None
            try:
                return interpreter.fork(request, stdin=stdin)
            except EOFError:
                self._bury(key, interpreter)
            except OSError:
                return None
        return None

    def _interpreter(self, key: Key) -> Interpreter | None:
        """The one that is warm, or that is now; None if there can be none."""
        with self._lock:
            if key not in self._warm:
                while len(self._warm) >= self._most:
                    self._drop(next(iter(self._warm)))
                try:
                    self._warm[key] = Interpreter(key, preload=self._preload)
                except (OSError, EOFError) as error:
                    self._warm[key] = None
                    command = " ".join(key[0])
                    log().warning("%s cannot be kept warm, and its scripts are spawned: %s", command, error)
            return self._warm[key]

    def _bury(self, key: Key, interpreter: Interpreter) -> None:
        """One is dead; the next request starts another."""
        with self._lock:
            if self._warm.get(key) is interpreter:
                del self._warm[key]
                log().error("%s %s; a new one is started", interpreter, describe_exit(interpreter.kill()))

    def _drop(self, key: Key) -> None:
        interpreter = self._warm.pop(key)
        if interpreter is not None:
            interpreter.close()

    def close(self) -> None:
        """End the warm interpreters; one whose children still run ends with the last of them."""
        with self._lock:
            for key in list(self._warm):
                self._drop(key)

    def forget(self) -> None:
        """In a fork of our own process: the interpreters are our parent's, and a thread of its may hold the lock."""
        for interpreter in filter(None, self._warm.values()):
            interpreter.forget()
        self._begin_anew()


_alive: weakref.WeakSet[Fork] = weakref.WeakSet()


def _forget_all() -> None:
    for fork in _alive:
        fork.forget()


os.register_at_fork(after_in_child=_forget_all)


class Interpreter:
    """One that has started, with its modules.  Raises OSError or EOFError if there can be none."""

    def __init__(self, key: Key, *, preload: Sequence[str]) -> None:
        command, environment, user, group, groups = key
        self._command = " ".join(command)
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(START_WITHIN)
        try:
            with theirs, open(forker.__file__, "rb") as source:  # the file, because another user might not reach it
                load = f"exec(compile(open(0, 'rb', closefd=False).read(), {forker.__file__!r}, 'exec'))"
                self._process = subprocess.Popen(
                    [*command, "-c", load, str(theirs.fileno()), *preload], stdin=source, stdout=subprocess.DEVNULL,
                    env=dict([forker.LINK_AT_START, *environment]), cwd="/", user=user, group=group,
                    extra_groups=groups, pass_fds=[theirs.fileno()], start_new_session=True,
                )  # fmt: skip
        except BaseException:
            self._control.close()
            raise
        try:
            (version, failed), _ = forker.receive(self._control)
        except (OSError, EOFError) as error:
            raise EOFError(f"it {describe_exit(self.kill())} instead of getting ready: {error}") from error
        for module, why in failed:
            advice = explain_import(why.encode())
            log().warning("%s (%s) cannot preload %s: %s", self._command, version, module, advice or why)

    def __repr__(self) -> str:
        return f"<Interpreter {self._command!r} pid={self._process.pid}>"

    def fork(self, request: tuple[object, ...], *, stdin: bool) -> Child:
        """A child that has begun to run a script.

        Raises EOFError if it has not begun because the interpreter is dead, OSError if it cannot begin, ScriptError.
        """
        lease, their_lease = socket.socketpair()
        ours: list[int] = []
        try:
            with their_lease:
                ours, theirs = open_pipes(stdin=stdin)
                try:
                    self._send(request, [their_lease.fileno(), *theirs])
                finally:
                    for fd in theirs:
                        os.close(fd)
            pid = self._wait_for_begin(lease)
        except BaseException as error:
            lease.close()
            for fd in ours:
                os.close(fd)
            if isinstance(error, TimeoutError):
                self._process.kill()  # the next request will notice
                raise ScriptError(
                    f"{request[0]}: {self} did not begin to run it within {START_WITHIN:g} s and was ended: try again "
                    "when the machine is less busy",
                    status_hint="503 Service Unavailable",
                ) from error
            raise
        return Child(pid, lease, *ours)

    def _send(self, request: tuple[object, ...], fds: Sequence[int]) -> None:
        message = forker.encode(request)
        try:
            with self._lock:
                sent = socket.send_fds(self._control, [message], fds)
                if sent < len(message):
                    self._control.sendall(message[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EOFError from error

    def _wait_for_begin(self, lease: socket.socket) -> int:
        """The child's number, which is not the first that the lease says if the child could not begin."""
        lease.settimeout(START_WITHIN)
        try:
            said, _ = forker.receive(lease)
        except (EOFError, ConnectionResetError) as error:
            poller = select.poll()
            poller.register(self._control, select.POLLIN)
            if poller.poll(0):
                raise EOFError from error
            raise OSError from error
        if not isinstance(said, int):
            raise OSError
        lease.setblocking(False)
        return said

    def kill(self) -> int:
        """End it now; its returncode, which may be an older one."""
        self._process.kill()
        self._control.close()
        return self._process.wait()

    def close(self) -> None:
        """Let it end, at once or with the last of its children, and see that it is reaped."""
        self._control.close()
        waiting = threading.Thread(target=self._process.wait, name=repr(self), daemon=True)
        waiting.start()
        waiting.join(0.2)

    def forget(self) -> None:
        """It is another process's: neither talk to it nor wait for it."""
        self._control.close()
        self._process.returncode = 0


class Child:
    """A script that runs: a :class:`gateway.script.execution.Process`."""

    def __init__(self, pid: int, lease: socket.socket, stdout: int, stderr: int, stdin: int = -1) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: IO[bytes] | None = open(stdin, "wb", 0) if stdin >= 0 else None
        self.stdout: IO[bytes] | None = open(stdout, "rb", 0)
        self.stderr: IO[bytes] | None = open(stderr, "rb", 0)
        self._lease = lease

    def __repr__(self) -> str:
        return f"<Child pid={self.pid} returncode={self.returncode}>"

    def fileno(self) -> int:
        """What becomes readable when it has ended."""
        return self._lease.fileno()

    def poll(self) -> int | None:
        """Its returncode once it has ended; its number may then be another's."""
        if self.returncode is None:
            try:
                (self.returncode,), _ = forker.receive(self._lease)
            except BlockingIOError:
                return None
            except (EOFError, ConnectionResetError):
                self.returncode = self._end_orphan()
            try:
                self._lease.shutdown(socket.SHUT_RDWR)  # close() alone says nothing while a fork of ours has it, too
            except OSError:
                pass  # the interpreter is gone
            self._lease.close()
        return self.returncode

    def _end_orphan(self) -> int:
        """The interpreter is dead, and so nobody will know how the script ends."""
        log().error("%s is ended, because its interpreter is dead", self)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # it has ended already, or it has become another user's
        return -signal.SIGKILL


def open_pipes(*, stdin: bool) -> tuple[list[int], list[int]]:
    """Our ends and the script's of stdout, stderr, and stdin if it has one.  Raises OSError."""
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for name in ("stdout", "stderr", "stdin")[: 2 + stdin]:
            reader, writer = os.pipe()
            ours.append(writer if name == "stdin" else reader)
            theirs.append(reader if name == "stdin" else writer)
    except OSError:
        for fd in ours + theirs:
            os.close(fd)
        raise
    return ours, theirs


def _split(env: Environment) -> tuple[Environment, Environment]:
    """What matters when Python starts, and what a running one can be told."""
    at_start: Environment = {}
    later: Environment = {}
    for name, value in env.items():
        (at_start if name in _AT_START or name.startswith(_AT_START_PREFIXES) else later)[name] = value
    return at_start, later


def find_python(program: Program) -> tuple[tuple[str, ...], Version] | None:
    """The command that runs a Python script, and the version of its file; None if it is no Python script."""
    try:
        stat = os.stat(program.path)
    except OSError:
        return None
    version = stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino, stat.st_dev
    command = tuple(program.interpreter) or _named_interpreter(program.path, version)
    first, *rest = command[1:] if os.path.basename(command[0]) == "env" else command
    if _PYTHON.fullmatch(first) and all(map(_PLAIN_OPTIONS.fullmatch, rest)):
        return command, version
    return None


@lru_cache(maxsize=1024)
def _named_interpreter(path: str, version: Version) -> tuple[str, ...]:
    """What the ``#!`` line names, as Linux cuts it: the interpreter and one argument."""
    line = first_line(path)
    if not line.startswith(b"#!"):
        return ("",)
    return tuple(re.split(r"[ \t]+", os.fsdecode(line[2:].rstrip(b"\n").strip(b" \t")), maxsplit=1))
