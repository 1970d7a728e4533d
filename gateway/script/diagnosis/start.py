"""What keeps the system from starting a program (execve(2)), as far as its file tells.  Nothing is started."""

from __future__ import annotations

import os
import re
import shlex
import stat

from gateway.script.diagnosis import Fault, Patient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BINARIES = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""How programs begin that need no interpreter: Linux and BSD; macOS, for one kind of processor and for several."""

_BOM = b"\xef\xbb\xbf"

_NOEXEC = getattr(os, "ST_NOEXEC", 0)  # Linux

NO_PROGRAM = "it neither begins with #! nor is a program of this machine"

_USUAL = {
    ".lua": "/usr/bin/env lua", ".php": "/usr/bin/env php-cgi", ".pl": "/usr/bin/env perl",
    ".py": "/usr/bin/env python3", ".rb": "/usr/bin/env ruby", ".sh": "/bin/sh", ".tcl": "/usr/bin/env tclsh",
}  # fmt: skip
"""What a file's #! line usually names, by its extension."""


def diagnose(path: str, *, interpreter: Sequence[str] = (), search: str | None = None) -> str:
    """Why a program cannot be started, and what to do about it, as far as its file tells; "" if nothing is to be seen.

    ``search`` is the PATH that it will get, ours if not given.
    """
    patient = Patient(path, interpreter=interpreter, search=search)
    return next((str(fault) for check in CHECKS if (fault := check(patient))), "")


def explain_line_ends(path: str) -> str:
    """What to do if the first line ends in CR LF, which env(1) and shells do not tell; "" if it does not."""
    return str(check_line_ends(Patient(path)) or "")


def check_file(patient: Patient) -> Fault | None:
    """There is a file."""
    if os.path.isfile(patient.path):
        return None
    return Fault("there is no such file, or this user may not reach it", "correct the path")


def check_mount(patient: Patient) -> Fault | None:
    """It lies where programs may be executed, and so does its interpreter."""
    if not patient.interpreter and (mount := forbidding_mount(patient.path)):
        return Fault(f"it lies on {mount}, which is mounted noexec", _remount(mount))
    program = patient.runs_by or next(iter(patient.words), "")
    if mount := forbidding_mount(program):
        return Fault(f"its interpreter {program} lies on {mount}, which is mounted noexec", _remount(mount))
    return None


def _remount(mount: str) -> str:
    return f"mount -o remount,exec {shlex.quote(mount)}, and without noexec in /etc/fstab"


def forbidding_mount(path: str) -> str:
    """Where the file system is mounted on which nothing can be executed (mount(8): noexec); "" if all is well."""
    path = os.path.realpath(path)
    try:
        if not os.statvfs(path).f_flag & _NOEXEC:
            return ""
    except OSError:
        return ""  # it is not there, which others say
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def check_executable(patient: Patient) -> Fault | None:
    """It is executable, unless an interpreter is named for it."""
    if patient.interpreter or patient.identity.may_execute(patient.path):
        return None
    if forbidding_mount(patient.path) and os.stat(patient.path).st_mode & 0o111:
        return None  # that is why
    for_whom = f" for {patient.identity}" if os.stat(patient.path).st_mode & 0o111 else ""
    return Fault(
        f"it is not executable{for_whom}", f"chmod +x {patient.quoted}", lambda: _make_executable(patient.path)
    )


def _make_executable(path: str) -> str:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    os.chmod(path, mode | 0o111)
    return f"its mode was {mode:o}, and is {mode | 0o111:o}"


def check_bom(patient: Patient) -> Fault | None:
    """No byte order mark hides its #! from the system."""
    if patient.interpreter or not patient.line.startswith(_BOM + b"#!"):
        return None
    return Fault(
        "a byte order mark stands before its #!, which must be its very first bytes",
        rf"sed -i '1s/^\xef\xbb\xbf//' {patient.quoted}",
        lambda: _rewrite(patient.path, lambda text: text.removeprefix(_BOM), "the byte order mark is gone"),
    )


def check_line_ends(patient: Patient) -> Fault | None:
    r"""Its #! line does not end in CR LF: the system would look for an interpreter called ``sh\r``."""
    if not re.match(rb"(\xef\xbb\xbf)?#!.*\r\n$", patient.line) or patient.interpreter:
        return None
    return Fault(
        "its #! line ends in CR LF, and the CR is taken for a part of the name",
        rf"sed -i 's/\r$//' {patient.quoted}",
        lambda: _rewrite(patient.path, lambda text: text.replace(b"\r\n", b"\n"), "its lines end in LF now"),
    )


def _rewrite(path: str, change: Callable[[bytes], bytes], done: str) -> str:
    """Change what a file holds, and nothing else about it: owner, mode, links."""
    with open(path, "r+b") as file:
        text = change(file.read())
        file.seek(0)
        file.write(text)
        file.truncate()
    return done


def check_first_line(patient: Patient) -> Fault | None:
    """It begins with #!, or is a program of this machine."""
    line = patient.line
    if patient.interpreter or line.startswith((b"#!", _BOM + b"#!", *_BINARIES)):
        return None
    path = patient.quoted
    if re.match(rb"\s+#!", patient.start):
        what = "space stands before its #!, which must be its very first bytes"
        return Fault(what, rf"sed -i '/\S/,$!d;s/^\s*#!/#!/' {path}")
    usual = f"#!{_USUAL.get(os.path.splitext(patient.path)[1].lower(), '/usr/bin/env python3')}"
    meant = re.match(rb"(?:#\s+!|!#|#(?=/)|!(?=/)|//!)\s*(/\S+(?: \S+)*)", line)
    if meant:
        shown = line.decode("utf-8", "backslashreplace").strip()
        return Fault(f"its first line {shown!r} is no #! line", patient.edit(".*", f"#!{meant[1].decode()}"))
    return Fault(
        NO_PROGRAM,
        f"make {usual} its very first bytes (sed -i '1i {usual}' {path}), or name an interpreter for it",
    )


def check_env_words(patient: Patient) -> Fault | None:
    """What env is given has no space in it: Linux passes all the rest of a #! line as one word."""
    words = patient.words
    if not patient.by_env or len(words) == 2 or words[1].startswith(("-S", "-vS", "--split")):
        return None
    rest = " ".join(words[1:])
    return Fault(f"env gets {rest!r} as the name of one program", patient.edit("env ", "env -S "))


def check_interpreter(patient: Patient) -> Fault | None:
    """Its interpreter is there."""
    if patient.interpreter:
        name = patient.interpreter[0]
        return None if patient.find(name) else _lacks(name, "install it, or pass another")
    words = patient.words
    if words and forbidding_mount(words[0]):
        return None  # it is there
    if not words:
        if patient.line.startswith(b"#!"):
            return Fault("its first line names no interpreter after #!", "write for example #!/bin/sh")
        return None
    if not os.access(words[0], os.X_OK):
        return _explain_venv(words[0]) or _replace(patient, words[0], "install it, or correct the first line")
    if patient.by_env and not patient.find(patient.by_env):
        return _replace(patient, patient.by_env, "install it, or add its directory to PATH with environment=")
    return None


def _explain_venv(name: str) -> Fault | None:
    """A virtual environment outlives the Python that it was made of, or is moved."""
    venv = os.path.dirname(os.path.dirname(name))
    if os.path.islink(name) and os.path.basename(name).startswith("python"):
        target = os.path.realpath(name)
        what = f"its virtual environment {venv} is made of {target}, which is gone"
        return Fault(what, f"python3 -m venv --clear {venv}, and install there again what it had")
    if os.path.basename(os.path.dirname(name)) == "bin" and re.search(r"/\.?v?env[\w.-]*/bin/python", name):
        what = f"its virtual environment {venv} is gone"
        return Fault(what, f"python3 -m venv {venv}, and install there what it needs")
    return None


def _replace(patient: Patient, name: str, otherwise: str) -> Fault:
    """Name the interpreter that is there in place of the one that is not, if they are alike."""
    alike = os.path.basename(name)
    plain = alike.rstrip("0123456789.")
    candidates = [alike, plain, f"{plain}3"] if "python2" not in alike else [alike]
    for candidate in candidates:
        found = patient.find(candidate)
        if found and os.path.basename(name) != name:
            return _lacks(" ".join(patient.words), patient.edit(name, found))
        if found:
            return _lacks(name, patient.edit(rf"\b{name}\b", candidate))
    return _lacks(name if name == alike else " ".join(patient.words), otherwise)


def _lacks(name: str, fix: str) -> Fault:
    return Fault(f"its interpreter {name} is missing or not executable", fix)


CHECKS = (
    check_file, check_mount, check_executable, check_bom, check_line_ends, check_first_line, check_env_words,
    check_interpreter,
)  # fmt: skip
