"""What is wrong with a CGI program, and what to do about it: the words of ScriptError."""

from __future__ import annotations

import errno
import os
import signal

from gateway.errors import ScriptError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.exchange import Log

_SHORT_OF = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def log() -> Log:
    """Where faults of CGI programs are logged."""
    import logging  # only a fault pays for this import

    return logging.getLogger("gateway.script")


def explain_start(error: OSError, *, path: str, interpreter: Sequence[str], cwd: str) -> ScriptError:
    """Why the system did not start the program at ``path``."""
    status = "500 Internal Server Error"
    if error.errno in _SHORT_OF:
        status = "503 Service Unavailable"
        what = f"it cannot be started now ({error.strerror}): raise the limit of processes, descriptors or memory"
    elif error.errno == errno.E2BIG:
        status = "431 Request Header Fields Too Large"
        what = "the request is longer than the system lets an environment be"
    elif error.filename == cwd:
        what = f"it cannot be started in {cwd} ({error.strerror}): let this user enter that directory, or pass cwd="
    elif interpreter:
        what = f"its interpreter {interpreter[0]} cannot be started ({error.strerror}): install it, or pass another"
    elif error.errno == errno.EACCES and not os.access(path, os.X_OK):
        what = f"it is not executable: chmod +x {path}"
    elif explained := explain_line_ends(path):
        what = explained
    elif error.errno == errno.ENOEXEC:
        what = (
            "it neither begins with #! nor is a program of this machine: make a line such as #!/usr/bin/env python3 "
            "its very first bytes, or pass interpreter="
        )
    elif (line := first_line(path)).startswith(b"#!"):
        named = line[2:].strip().decode("utf-8", "backslashreplace")
        what = f"its interpreter {named} cannot be started ({error.strerror}): install it, or correct the first line"
    else:
        what = f"it cannot be started ({error.strerror}): look for a missing loader (file {path}) or a noexec mount"
    return ScriptError(f"{path}: {what}", status_hint=status)


def explain_line_ends(path: str) -> str:
    r"""What to do if the first line ends in CR LF: the system would look for an interpreter called ``sh\r``."""
    line = first_line(path)
    if line.startswith(b"#!") and line.endswith(b"\r\n"):
        return f"its #! line ends in CR LF, and the CR is taken for a part of the name: sed -i 's/\\r$//' {path}"
    return ""


def first_line(path: str) -> bytes:
    """The first line of a file as far as it tells anything; b"" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.readline(256)
    except OSError:
        return b""


def describe_exit(returncode: int) -> str:
    """How a process ended.

    >>> describe_exit(-11), describe_exit(3)
    ('died by signal 11 (Segmentation fault)', 'exited with status 3')
    """
    if returncode < 0:
        return f"died by signal {-returncode} ({signal.strsignal(-returncode) or 'unknown'})"
    return f"exited with status {returncode}"
