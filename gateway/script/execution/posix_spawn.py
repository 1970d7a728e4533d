"""posix_spawn(3) of the C library, called so that other threads go on meanwhile.

Python's own ``os.posix_spawn`` can neither change the directory nor close descriptors, and like :mod:`subprocess` it
keeps the interpreter's lock until the child has become the program.  Four threads on two cores start 600 programs a
second by these, and 1700 by this.
"""

from __future__ import annotations

import ctypes
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80  # <spawn.h> of glibc
_ROOM = 512
"""Bytes for a structure of the C library; of glibc's the largest, posix_spawnattr_t, has 336."""
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores, and its children should not (as subprocess has it)."""


class Pipe:
    """Our end of a pipe.  A file object would ask the system for more, and let go of the interpreter's lock for it."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor, -1 once it is closed."""
        return self._descriptor

    def close(self) -> None:
        """Close it, once."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class Spawned:
    """A process that was started."""

    __slots__ = ("pid", "stdin", "stdout", "stderr", "returncode")

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.stdin = Pipe(stdin) if stdin >= 0 else None
        self.stdout = Pipe(stdout)
        self.stderr = Pipe(stderr)
        self.returncode: int | None = None

    def __repr__(self) -> str:
        return f"<Spawned pid={self.pid} returncode={self.returncode}>"

    def poll(self) -> int | None:
        """Reap it if it has ended; its returncode."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0  # whoever ignores SIGCHLD wants to know nothing, and nobody knows more
            else:
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class Spawner:
    """The C library's functions, and what all calls have in common.  Raises AttributeError where they are not."""

    def __init__(self) -> None:
        self._spawn = ctypes.CDLL(None).posix_spawn
        library = ctypes.PyDLL(None)  # keeps the lock: these take no time, and to get it back may take some
        self._init = library.posix_spawn_file_actions_init
        self._dup2 = library.posix_spawn_file_actions_adddup2
        self._open = library.posix_spawn_file_actions_addopen
        self._chdir = library.posix_spawn_file_actions_addchdir_np  # glibc 2.29
        self._close_from = library.posix_spawn_file_actions_addclosefrom_np  # glibc 2.34
        self._destroy = library.posix_spawn_file_actions_destroy
        self._attributes = ctypes.create_string_buffer(_ROOM)
        signals = ctypes.create_string_buffer(_ROOM)
        library.posix_spawnattr_init(self._attributes)
        flags = ctypes.c_short(_SETSID | _SETSIGMASK | _SETSIGDEF)
        library.posix_spawnattr_setflags(self._attributes, flags)
        library.sigemptyset(signals)
        library.posix_spawnattr_setsigmask(self._attributes, signals)
        for number in _RESTORED:
            library.sigaddset(signals, int(number))
        library.posix_spawnattr_setsigdefault(self._attributes, signals)

    def start(
        self, argv: list[bytes], env: Iterable[bytes], *, cwd: bytes, stdin: bool, started: Callable[[int], object]
    ) -> Spawned | None:
        """The program ``argv[0]``, a path, in a session of its own, with three pipes and no other descriptor.

        ``started(pid)`` is called at once.  None if our own standard streams are closed, and pipes would take their
        place.  Raises OSError.
        """
        pipes: list[int] = []
        try:
            for _ in range(2 + stdin):
                pipes += os.pipe()
            if min(pipes) <= 2:
                return None
            pid = self._start(argv, env, cwd=cwd, pipes=pipes)
            started(pid)  # before anything that lets go of the interpreter's lock
            stdout, stderr, *to_stdin = pipes[0], pipes[2], *pipes[5:]
            kept = {stdout, stderr, *to_stdin}
            pipes = [pipe for pipe in pipes if pipe not in kept]
            return Spawned(pid, to_stdin[0] if to_stdin else -1, stdout, stderr)
        finally:
            for pipe in pipes:
                os.close(pipe)

    def _start(self, argv: list[bytes], env: Iterable[bytes], *, cwd: bytes, pipes: list[int]) -> int:
        pid = ctypes.c_int()
        actions = ctypes.create_string_buffer(_ROOM)
        self._init(actions)
        try:
            if len(pipes) > 4:
                self._dup2(actions, pipes[4], 0)
            else:
                self._open(actions, 0, b"/dev/null", os.O_RDONLY, 0)
            self._dup2(actions, pipes[1], 1)
            self._dup2(actions, pipes[3], 2)
            self._chdir(actions, cwd)
            self._close_from(actions, 3)
            number: int = self._spawn(
                ctypes.byref(pid), argv[0], actions, self._attributes, _strings(argv), _strings(env)
            )  # fmt: skip
        finally:
            self._destroy(actions)
        if number:
            raise OSError(number, os.strerror(number), os.fsdecode(argv[0] if os.access(cwd, os.X_OK) else cwd))
        return pid.value


def _strings(values: Iterable[bytes]) -> Any:
    """A ``char *[]`` with NULL at its end."""
    listed = [*values, None]
    return (ctypes.c_char_p * len(listed))(*listed)
