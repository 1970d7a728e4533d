"""The warm interpreter of ``execution="fork"``: it forks once for each request (RFC 3875 §3.4, from the script's side).

:mod:`gateway.script.execution.fork` runs this file by the Python that a script's ``#!`` line names, and talks to it by
a socket: so it imports nothing of this package, and little else, because each script has it in its memory.  A message
is four bytes of length and a value in marshal's format 2, which all Pythons share.

Each request comes with descriptors: its lease, stdout, stderr, and stdin if there is a body.  Over the lease the child
says its number when it begins, and this process its status in a list when it has ended; a lease that the other side
gives up ends the script.  A child is reaped only then, so that nobody can signal another one that got its number.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the C half: the other one brings enum along, and functools
import _socket as socket  # likewise
import atexit
import gc
import io
import marshal
import os
import resource
import select
import sys
import time
from itertools import takewhile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any, NoReturn

LINK_AT_START = (b"LD_BIND_NOW", b"forker")
"""A variable that makes ld.so(8) find all functions at once, which each child would do again, and a value for it."""

KILL_AFTER = 1.0
"""Seconds from SIGTERM to SIGKILL for a script whose request was given up."""


class Script:
    """A Python script as it was read at one time.  Raises whatever keeps it from being run, a SyntaxError say."""

    def __init__(self, path: str, *, executable: bool = False) -> None:
        if executable and not os.access(path, os.X_OK):
            raise PermissionError(path)
        self.path = path
        self.directory = os.path.dirname(os.path.realpath(path))
        with open(path, "rb") as file:
            self._code = compile(file.read(), path, "exec", dont_inherit=True)

    def run(self, module: ModuleType) -> int:
        """Run it in the module, which becomes ``__main__``; its exit status, negative if it is to die by a signal.

        What it raises is reported on stderr, without the frames that are not its own.
        """
        sys.modules["__main__"] = module
        try:
            exec(self._code, vars(module))
        except SystemExit as end:
            return exit_status(end)
        except BaseException as error:
            ours = error.__traceback__
            uncaught = error.with_traceback(ours and ours.tb_next)
        else:
            return 0
        return report(uncaught)  # here, where no exception is being handled, as the interpreter does

    def new_module(self) -> ModuleType:
        """A ``__main__`` in which nothing has run."""
        module = type(sys)("__main__")
        machinery: Any = sys.modules["_frozen_importlib_external"]
        module.__dict__.update(
            __annotations__={}, __builtins__=sys.modules["builtins"], __cached__=None, __file__=self.path,
            __loader__=machinery.SourceFileLoader("__main__", self.path),
        )  # fmt: skip
        return module


class Scripts:
    """The scripts that were compiled; the oldest of ``most`` makes room for one more."""

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._known: dict[str, tuple[object, Script]] = {}

    def load(self, path: str, version: object, *, executable: bool) -> Script:
        """The script in this version; read anew if the last one was another.  Raises what :class:`Script` raises."""
        known = self._known.get(path)
        if known is None or known[0] != version:
            self._known.pop(path, None)
            while len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[path] = known = version, Script(path, executable=executable)
        return known[1]


def exit_status(end: SystemExit) -> int:
    """What ``sys.exit(…)`` asks for; a message goes to stderr.

    >>> exit_status(SystemExit()), exit_status(SystemExit(3)), exit_status(SystemExit(-1))
    (0, 3, 255)
    """
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def report(error: BaseException) -> int:
    """Show an uncaught exception in the way the script chose (cgitb does); the exit status."""
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as end:
        return exit_status(end)
    except BaseException as another:
        print("Error in sys.excepthook:", file=sys.stderr)
        ours = another.__traceback__
        sys.__excepthook__(type(another), another.with_traceback(ours and ours.tb_next), None)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)
    return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def text_stream(fd: int, name: str, *, like: Any) -> io.TextIOWrapper:
    """A new ``sys.stdin``, ``sys.stdout`` or ``sys.stderr`` over a descriptor, with the properties of another one."""
    mode = "r" if name == "<stdin>" else "w"
    unbuffered = like.write_through and mode == "w"
    binary: Any = open(fd, mode + "b", 0 if unbuffered else -1, closefd=False)
    getattr(binary, "raw", binary).name = name
    text = io.TextIOWrapper(binary, like.encoding, like.errors, "\n", like.line_buffering, like.write_through)
    text.mode = mode  # type: ignore[misc]
    return text


def renew_streams(pipe: int) -> None:
    """Make the standard streams what they are over pipes; the descriptors are what they were before.

    A stream asks its descriptor once whether it is a terminal and can seek.  Made here, it costs the children nothing.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        was = os.dup(fd)
        os.dup2(pipe, fd)
        stream = text_stream(fd, f"<{name}>", like=getattr(sys, name))
        os.dup2(was, fd)
        os.close(was)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def flush(stream: Any) -> int:
    """Write what is buffered; 0, or 120 as the exit status of an interpreter that could not."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except ValueError:
        return 0  # detached: whoever has the buffer now flushes it
    except Exception as error:
        if stream is not sys.stderr:
            name = getattr(stream, "name", stream)
            print(f"Exception ignored on flushing {name}:\n{type(error).__name__}: {error}", file=sys.stderr)
        return 120
    return 0


def finish(kept: set[str]) -> int:
    """End as the interpreter does, but take down only what the script made; 120 if output was lost, else 0.

    Threads are waited for, exit handlers run, files left open are written, objects go.  ``kept`` are the modules that
    were there before the script.
    """
    threading: Any = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    status = flush(sys.stdout) or flush(sys.stderr)
    if threading is not None:
        threading.excepthook = lambda args: None  # daemon threads see their world end
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    sys.modules.pop("__main__", None)
    for name in list(takewhile(lambda name: name not in kept, reversed(sys.modules))):  # the new ones are the last
        del sys.modules[name]
    for stream in [thing for thing in gc.get_objects() if issubclass(type(thing), io.TextIOWrapper)]:
        flush(stream)  # the collector may take its buffer first
    gc.collect()
    return status or flush(sys.stdout)


def encode(value: Any) -> bytes:
    """A message."""
    data = marshal.dumps(value, 2)
    return len(data).to_bytes(4, "little") + data


def receive(sock: Any) -> tuple[Any, list[int]]:
    """The next message, and the descriptors that came with it: none if we are short of some.  Raises EOFError."""
    head, ancillary, flags, _ = sock.recvmsg(4, socket.CMSG_SPACE(4 * 4))
    fds: list[int] = []
    for _, _, data in ancillary:
        fds += memoryview(data).cast("i").tolist()
    if flags & socket.MSG_CTRUNC:
        while fds:
            os.close(fds.pop())
    left, parts = int.from_bytes(head, "little"), [b""]
    while left:
        parts.append(sock.recv(left))
        if not parts[-1]:
            break
        left -= len(parts[-1])
    if left or not head:
        raise EOFError
    return marshal.loads(b"".join(parts)), fds


class Run:
    """One script that runs."""

    def __init__(self, pid: int, lease: int) -> None:
        self.pid = pid
        self.lease = lease
        self.ended = False
        self.kill_at = 0.0

    def signal_group(self, number: int) -> None:
        """Signal the script and its children."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # there is nobody left, or the script has become another user's


class Forker:
    """Takes requests from a socket until that is closed, and stays until the last script has ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._scripts = Scripts()
        self._runs: dict[int, Run] = {}
        self._given_up: list[Run] = []
        self._child_ended, self._waker = os.pipe()
        os.set_blocking(self._child_ended, False)
        os.set_blocking(self._waker, False)
        self._poll = select.poll()
        self._modules: set[str] = set()
        # Of ``python -c`` this is the current directory; with -I or -P it is missing.
        self._path_has_directory = sys.path[:1] == [""]

    def preload(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Import modules for all scripts: which could not be, and why."""
        del sys.path[: int(self._path_has_directory)]
        failed = []
        for name in names:
            try:
                __import__(name)
            except Exception as error:
                failed.append((name, f"{type(error).__name__}: {error}"))
        sys.stdout.flush()  # what is buffered now would be written by each child
        sys.stderr.flush()
        self._modules = set(sys.modules)
        return failed

    def rehearse(self) -> None:
        """Do here what each child will do: code that has run before is linked and specialized in all of them."""
        main = sys.modules["__main__"]
        for _ in range(3):
            script = Script(os.devnull)
            script.run(script.new_module())
            os.environb.update({b"GATEWAY_REHEARSAL": b""})
            del os.environb[b"GATEWAY_REHEARSAL"]
        sys.modules["__main__"] = main

    def serve(self) -> None:
        """Until the socket is closed and nothing runs."""
        # A wake-up descriptor is written to only for signals that have a handler.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._child_ended, select.POLLIN)
        requests = True
        while requests or self._runs or self._given_up:
            for fd, _ in self._poll.poll(100 if self._given_up else None):
                if fd in self._runs:
                    self._release(fd)
                elif fd == self._child_ended:
                    self._tell_ends()
                else:
                    requests = self._take()
            self._bury()

    def _take(self) -> bool:
        """Start what the next message asks for; False if there will be none."""
        try:
            (path, version, executable, rest), fds = receive(self._control)
        except (EOFError, ConnectionResetError):
            self._poll.unregister(self._control)
            return False
        pid = -1
        try:
            if fds:
                script = self._scripts.load(path, version, executable=executable)
                gc.freeze()  # a child's collector shall not write to what all share
                pid = os.fork()
        except Exception:
            pid = -1  # nobody says that it has begun, so it is spawned, and the interpreter reports what is wrong
        if pid == 0:
            self._be_child(script, fds, rest)
        if pid > 0:
            lease = fds.pop(0)
            self._runs[lease] = Run(pid, lease)
            self._poll.register(lease, select.POLLIN)
        for fd in fds:
            os.close(fd)
        return True

    def _tell_ends(self) -> None:
        """Say how the children ended that have."""
        os.read(self._child_ended, 4096)
        for run in self._runs.values():
            if not run.ended and (end := os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
                run.ended = True
                try:
                    os.write(run.lease, encode([end.si_status if end.si_code == os.CLD_EXITED else -end.si_status]))
                except OSError:
                    continue  # the lease is given up, which we shall read next

    def _release(self, fd: int) -> None:
        """Nobody wants to know of the script any more: reap it, or end it."""
        run = self._runs.pop(fd)
        self._poll.unregister(fd)
        os.close(fd)
        if run.ended:
            os.waitpid(run.pid, 0)
        else:
            run.signal_group(signal.SIGTERM)
            run.kill_at = time.monotonic() + KILL_AFTER
            self._given_up.append(run)

    def _bury(self) -> None:
        for run in self._given_up.copy():
            if time.monotonic() > run.kill_at:
                run.signal_group(signal.SIGKILL)
            if os.waitpid(run.pid, os.WNOHANG)[0]:
                self._given_up.remove(run)

    def _be_child(self, script: Script, fds: list[int], rest: bytes) -> NoReturn:
        """Everything that a child does."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            lease, *streams = fds
            for fd, target in zip(streams, (1, 2, 0), strict=False):  # without a body stdin stays /dev/null
                os.dup2(fd, target)
            for fd in (*streams, *self._runs, self._control.fileno(), self._child_ended, self._waker):
                os.close(fd)
            args, env, cwd, umask, rlimits = marshal.loads(rest)  # not earlier: what both touch is copied
            begin(cwd, umask, rlimits)
            os.write(lease, encode(os.getpid()))
            os.close(lease)
            self._dress(script, args, env)
            status = script.run(script.new_module())
            status = finish(self._modules) or status
            if status < 0:
                signal.signal(-status, signal.SIG_DFL)
                os.kill(os.getpid(), -status)
        except BaseException as error:
            status = report(error)
        finally:
            os._exit(status)

    def _dress(self, script: Script, args: list[str], env: dict[bytes, bytes]) -> None:
        """Make this interpreter look like one that was started for the script."""
        os.environb.update(env)
        sys.argv = [script.path, *args]
        sys.orig_argv[sys.orig_argv.index("-c") :] = sys.argv
        if self._path_has_directory:
            sys.path.insert(0, script.directory)
        gc.enable()


def begin(cwd: str, umask: int, rlimits: dict[int, tuple[int, int]]) -> None:
    """Become the process that the script expects, in a session of its own.  Raises OSError."""
    os.setsid()
    os.chdir(cwd)
    if umask >= 0:
        os.umask(umask)
    for number, pair in rlimits.items():
        resource.setrlimit(number, pair)


def main() -> None:
    """``python -c … FD MODULE…``: the socket is descriptor FD, stdin is this file."""
    if sys.version_info < (3, 10) or not hasattr(os, "waitid"):  # whatever Python the script names
        sys.exit("execution='fork' needs Python 3.10 or later, and waitid(2)")
    gc.disable()
    control = socket.socket(fileno=int(sys.argv[1]))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    name, value = LINK_AT_START
    if os.environb.get(name) == value:
        del os.environb[name]
    renew_streams(control.fileno())
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # which each Python ignores
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    forker = Forker(control)
    failed = forker.preload(sys.argv[2:])
    forker.rehearse()
    control.sendall(encode((sys.version.partition(" ")[0], failed)))
    gc.collect()
    forker.serve()


if __name__ == "__main__":
    main()
