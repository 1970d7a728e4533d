"""Why a program failed, by what it said to stderr and how it ended."""

from __future__ import annotations

import re
import shlex
import signal

from gateway.script.diagnosis import Fault, Patient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.limits import Limits
    from gateway.script.diagnosis.trial import Trial

_MISSING = (
    # What the message says before and after the name, and the language.
    (b"ModuleNotFoundError: No module named '", b"'", "Python"),
    (b"Can't locate ", b" in @INC", "Perl"),
    (b"cannot load such file -- ", b" (LoadError)", "Ruby"),
    (b"error while loading shared libraries: ", b":", "loader"),
)
_LEGACY = ("cgi", "cgitb")
"""Modules that Python 3.13 has no more (PEP 594)."""

_PACKAGES = {
    "MySQLdb": "mysqlclient", "PIL": "Pillow", "bs4": "beautifulsoup4", "cgi": "legacy-cgi", "cgitb": "legacy-cgi",
    "cv2": "opencv-python", "dateutil": "python-dateutil", "docx": "python-docx", "dotenv": "python-dotenv",
    "ldap": "python-ldap", "psycopg2": "psycopg2-binary", "serial": "pyserial", "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}  # fmt: skip
"""Packages that are not called like the module they bring."""

_PYTHON_2 = (
    "Missing parentheses in call to", "multiple exception types must be parenthesized", "leading zeros in decimal",
    "inconsistent use of tabs", "Did you mean print(", "invalid decimal literal", "(unicode error)",
)  # fmt: skip
"""What Python 3 says to a program that was written for Python 2."""


_WANTED = {"script_cpu": "processor time", "script_memory": "memory", "script_files": "open files"}
_SHORTAGES = {
    "script_memory": re.compile(rb"MemoryError|[Oo]ut of memory|Cannot allocate memory|emory exhausted|bad_alloc"),
    "script_files": re.compile(rb"Too many open files"),
}
"""What programs say that get no more of something."""
_OF_A_SHELL = 128
"""What a shell's exit status has beyond the number of the signal that ended its last command."""


def find_missing(stderr: bytes, *, python: str = "") -> Fault | None:
    """What to install if a program's last words are that something it imports is not there.

    ``python`` is the path of its interpreter, if that is known.
    """
    for before, after, language in _MISSING:
        _, found, rest = stderr.rpartition(before)
        name, ended, _ = rest.partition(after)
        if found and ended:
            shown = name.decode("utf-8", "backslashreplace")
            removed = ", as 3.13 does" if language == "Python" and shown in _LEGACY else ""
            return Fault(f"its {language} lacks {shown}{removed}", _install(shown, language, python))
    return None


def _install(name: str, language: str, python: str) -> str:
    if language == "Python":
        module = name.partition(".")[0]
        package = _PACKAGES.get(module, module)
        return f"{python} -m pip install {package}" if python else f"pip install {package} for that Python"
    if language == "Perl":
        return f"cpan {name.removesuffix('.pm').replace('/', '::')}"
    if language == "Ruby":
        return f"gem install {name}"
    return f"install the package that brings {name}, then ldconfig"


def find_shortage(stderr: bytes, returncode: int | None, limits: Limits) -> Fault | None:
    """Which limit a program that failed has met, if its end or its last words tell."""
    if returncode in (-signal.SIGXCPU, _OF_A_SHELL + signal.SIGXCPU):
        name = "script_cpu"
    else:
        name = next((name for name, words in _SHORTAGES.items() if words.search(stderr)), "")
    if not name:
        return None
    value = getattr(limits, name)
    allows = f"limit {name}={value}" if value else "the system"
    return Fault(f"it wanted more {_WANTED[name]} than {allows} allows", "let it take less, or raise that")


def check_limits(patient: Patient, trial: Trial) -> Fault | None:
    """It got along with what it may use."""
    return find_shortage(trial.stderr, trial.returncode, trial.limits) if trial.returncode else None


def check_import(patient: Patient, trial: Trial) -> Fault | None:
    """It found what it imports."""
    return find_missing(trial.complaint, python=patient.python)


def check_syntax(patient: Patient, trial: Trial) -> Fault | None:
    """Its interpreter can read it."""
    found = re.search(rb'line (\d+)\n(?:.*\n){0,4}?(?:Syntax|Indentation|Tab)Error: (.*)', trial.complaint)
    if not found:
        return None
    line, said = found[1].decode(), found[2].decode("utf-8", "backslashreplace").strip()
    python = patient.runs_by or "Python"
    what = f"{python} cannot read its line {line} ({said})"
    if not said.startswith(_PYTHON_2):
        return Fault(what, "correct that line, or name the Python that it was written for after #!")
    if patient.find("python2"):
        return Fault(f"it is written for Python 2: {what}", patient.edit(".*", "#!/usr/bin/env python2"))
    return Fault(f"it is written for Python 2: {what}", f"2to3 -w {patient.quoted}")


def check_encoding(patient: Patient, trial: Trial) -> Fault | None:
    """It can say, and read, what is not ASCII in the locale of a web server."""
    found = re.search(rb"Unicode(En|De)codeError: '([\w-]+)' codec", trial.complaint)
    if not found:
        return None
    codec = found[2].decode()
    if found[1] == b"En":
        what = f"it writes letters that {codec}, the encoding of a web server's locale, does not have"
        return Fault(what, 'sys.stdout.reconfigure(encoding="utf-8") after its imports, or PYTHONUTF8=1 around it')
    what = f"it reads bytes that are not {codec}"
    return Fault(what, 'name the encoding where it opens the file: open(…, encoding="…")')


def check_permission(patient: Patient, trial: Trial) -> Fault | None:
    """It may open what it opens."""
    found = re.search(rb"PermissionError: \[Errno 13\] [\w ]+: '([^']+)'", trial.complaint)
    if not found:
        return None
    name = found[1].decode("utf-8", "backslashreplace")
    user = patient.identity.name if patient.identity.uid is not None else "USER"
    return Fault(f"{patient.identity} may not use {name}", f"chown {user} {shlex.quote(name)}")


def check_stdin(patient: Patient, trial: Trial) -> Fault | None:
    """It takes no more from stdin than there is: CONTENT_LENGTH bytes (RFC 3875 §4.2)."""
    if not trial.waited_for_input:
        return None
    what = "it reads stdin until its end, which need not come, though the request has no body"
    return Fault(what, _READING.get(patient.language, "let it read CONTENT_LENGTH bytes and no more"))


_READING = {
    "python": 'sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0))',
    "perl": "read(STDIN, my $body, $ENV{CONTENT_LENGTH} || 0);",
    "sh": 'head -c "${CONTENT_LENGTH:-0}"',
    "bash": 'head -c "${CONTENT_LENGTH:-0}"',
}
"""How to read a request's body."""


def check_time(patient: Patient, trial: Trial) -> Fault | None:
    """It ends before the visitor does."""
    if not trial.timed_out:
        return None
    if trial.returncode is not None:
        what = "it has ended, but something that it started holds its output open, and the visitor waits"
        return Fault(what, "start that with </dev/null >/dev/null 2>&1 &")
    done = "has said nothing" if not trial.stdout else "has not ended"
    return Fault(
        f"it {done} within {trial.timeout:g} s, and was ended",
        "find out what it waits for, or give it longer (--timeout)",
    )


def check_signal(patient: Patient, trial: Trial) -> Fault | None:
    """It was not killed."""
    code = trial.returncode or 0
    if code >= 0:
        return None
    number = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    what = f"it died by signal {-code} ({signal.strsignal(-code) or 'unknown'})"
    if number in ("SIGKILL", "SIGXFSZ"):
        return Fault(what, "raise the limit that it met: ulimit -a shows them, dmesg the memory's end")
    if patient.language == "python":
        return Fault(what, "see where: PYTHONFAULTHANDLER=1 in its environment")
    return Fault(what, f"see where: {trial.command}")


def check_crash(patient: Patient, trial: Trial) -> Fault | None:
    """It did not give up before it said anything."""
    return None if trial.stdout else check_exit(patient, trial)


def check_exit(patient: Patient, trial: Trial) -> Fault | None:
    """It exited with status 0."""
    if not trial.returncode:
        return None
    return Fault(f"it exited with status {trial.returncode}{trial.last_words}", f"see for yourself: {trial.command}")


EVIDENCE = (
    check_import, check_syntax, check_encoding, check_permission, check_limits, check_stdin, check_time, check_signal,
    check_crash,
)  # fmt: skip
"""In this order before a look at the output, and :func:`check_exit` after it."""
