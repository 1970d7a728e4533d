"""What is wrong with a CGI program, and what to do about it: the words of ScriptError, and of who looks beforehand."""

from __future__ import annotations

import errno
import signal

from gateway.errors import ScriptError
from gateway.script.diagnosis import first_line as first_line
from gateway.script.diagnosis.crash import find_missing
from gateway.script.diagnosis.start import NO_PROGRAM
from gateway.script.diagnosis.start import diagnose as diagnose
from gateway.script.diagnosis.start import explain_line_ends as explain_line_ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.exchange import Log

_SHORT_OF = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)

NOT_STARTED = (126, 127)
"""The exit statuses of a shell or env that could not start what it was to start (POSIX)."""


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
        what = f"{NO_PROGRAM}: build it for this one, or pass interpreter="
    else:
        what = f"it cannot be started ({error.strerror}): look for a missing loader (file {path})"
    return ScriptError(f"{path}: {what}", status_hint=status)


def explain_import(stderr: bytes, *, python: str = "") -> str:
    """What to install if a program's last words are that something it imports is not there; "" if they are not.

    ``python`` is the path of its interpreter, if that is known.

    >>> explain_import(b"ModuleNotFoundError: No module named 'cgi'")
    'import error: its Python lacks cgi, as 3.13 does: pip install legacy-cgi for that Python'
    >>> explain_import(b"Can't locate CGI/Fast.pm in @INC (you may need to install the CGI::Fast module)")
    'import error: its Perl lacks CGI/Fast.pm: cpan CGI::Fast'
    """
    fault = find_missing(stderr, python=python)
    return f"import error: {fault}" if fault else ""


def name_interpreter(path: str) -> str:
    """What the first line of a program names to run it; "" for one that needs nothing."""
    line = first_line(path)
    return line[2:].decode("utf-8", "backslashreplace").strip() if line.startswith(b"#!") else ""


def describe_exit(returncode: int) -> str:
    """How a process ended.

    >>> describe_exit(-11), describe_exit(3)
    ('died by signal 11 (Segmentation fault)', 'exited with status 3')
    """
    if returncode < 0:
        return f"died by signal {-returncode} ({signal.strsignal(-returncode) or 'unknown'})"
    return f"exited with status {returncode}"
