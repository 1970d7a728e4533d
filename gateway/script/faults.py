"""What is wrong with a CGI program, and what to do about it: the words of ScriptError, and of who looks beforehand."""

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
_BINARIES = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""How programs begin that need no interpreter: Linux and BSD; macOS, for one kind of processor and for several."""

NOT_STARTED = (126, 127)
"""The exit statuses of a shell or env that could not start what it was to start (POSIX)."""

_NO_PROGRAM = (
    "it neither begins with #! nor is a program of this machine: make a line such as #!/usr/bin/env python3 its very "
    "first bytes, or pass interpreter="
)


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
    elif what := diagnose(path, interpreter=interpreter):
        pass  # the file itself tells
    elif error.errno == errno.ENOEXEC:
        what = _NO_PROGRAM
    else:
        what = f"it cannot be started ({error.strerror}): look for a missing loader (file {path}) or a noexec mount"
    return ScriptError(f"{path}: {what}", status_hint=status)


def diagnose(path: str, *, interpreter: Sequence[str] = (), search: str | None = None) -> str:
    """Why a program cannot be started, as far as its file tells; "" if nothing is to be seen.

    ``search`` is the PATH that it will get, ours if not given.  Nothing is started.
    """
    if not os.path.isfile(path):
        return "there is no such file, or this user may not reach it: correct the path"
    if interpreter:
        return "" if _find(interpreter[0], search) else _lacks_interpreter(interpreter[0], "or pass another")
    if not os.access(path, os.X_OK):
        return f"it is not executable: chmod +x {path}"
    line = first_line(path)
    if line.startswith(_BINARIES):
        return ""
    if not line.startswith(b"#!"):
        return _NO_PROGRAM
    return explain_line_ends(path) or _diagnose_first_line(line, search)


def _diagnose_first_line(line: bytes, search: str | None) -> str:
    words = line[2:].decode("utf-8", "backslashreplace").split()
    if not words:
        return "its first line names no interpreter after #!: write for example #!/bin/sh"
    if not os.access(words[0], os.X_OK):
        return _lacks_interpreter(" ".join(words), "or correct the first line")
    if os.path.basename(words[0]) == "env":
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        if named and not _find(named[0], search):
            return _lacks_interpreter(named[0], "or add its directory to PATH with environment=")
    return ""


def _lacks_interpreter(name: str, otherwise: str) -> str:
    return f"its interpreter {name} is missing or not executable: install it, {otherwise}"


def _find(program: str, search: str | None) -> str | None:
    import shutil  # only a fault pays for this import

    return shutil.which(program, path=search)


def explain_line_ends(path: str) -> str:
    r"""What to do if the first line ends in CR LF: the system would look for an interpreter called ``sh\r``."""
    line = first_line(path)
    if line.startswith(b"#!") and line.endswith(b"\r\n"):
        return f"its #! line ends in CR LF, and the CR is taken for a part of the name: sed -i 's/\\r$//' {path}"
    return ""


_MISSING = (
    # What the message says before and after the name, and the language.
    (b"ModuleNotFoundError: No module named '", b"'", "Python"),
    (b"Can't locate ", b" in @INC", "Perl"),
    (b"cannot load such file -- ", b" (LoadError)", "Ruby"),
    (b"error while loading shared libraries: ", b":", "loader"),
)
_LEGACY = ("cgi", "cgitb")
"""Modules that Python 3.13 has no more (PEP 594)."""


def explain_import(stderr: bytes) -> str:
    """What to install if a program's last words are that something it imports is not there; "" if they are not.

    >>> explain_import(b"ModuleNotFoundError: No module named 'cgi'")
    'import error: its Python lacks cgi, as 3.13 does: pip install legacy-cgi for that Python'
    >>> explain_import(b"Can't locate CGI/Fast.pm in @INC (you may need to install the CGI::Fast module)")
    'import error: its Perl lacks CGI/Fast.pm: install it where that Perl looks'
    """
    for before, after, language in _MISSING:
        _, found, rest = stderr.rpartition(before)
        name, ended, _ = rest.partition(after)
        if not found or not ended:
            continue
        shown = name.decode("utf-8", "backslashreplace")
        if language == "Python" and shown in _LEGACY:
            return f"import error: its Python lacks {shown}, as 3.13 does: pip install legacy-cgi for that Python"
        return f"import error: its {language} lacks {shown}: install it where that {language} looks"
    return ""


def name_interpreter(path: str) -> str:
    """What the first line of a program names to run it; "" for one that needs nothing."""
    line = first_line(path)
    return line[2:].decode("utf-8", "backslashreplace").strip() if line.startswith(b"#!") else ""


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
