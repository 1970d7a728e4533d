"""What keeps a user from a program: the rights of files and directories, and the rules of Apache's suexec."""

from __future__ import annotations

import os
import shlex
import stat

from gateway.script.diagnosis import Fault, Patient
from gateway.script.owner import find_stranger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def check_directories(patient: Patient) -> Fault | None:
    """Every directory on the way to the program can be entered."""
    closed = _closed(patient, patient.path)
    return Fault(f"{patient.identity} may not enter {closed}", _let_in(patient, closed)) if closed else None


def check_interpreters_directories(patient: Patient) -> Fault | None:
    """Every directory on the way to its interpreter can be entered, where that is a link, too."""
    program = patient.runs_by
    for path in (program, os.path.realpath(program)) if program else ():
        closed = _closed(patient, path)
        if closed:
            what = f"{patient.identity} may not enter {closed}, where its interpreter {program} is"
            return Fault(what, f"{_let_in(patient, closed)}, or put an interpreter elsewhere")
    return None


def _let_in(patient: Patient, directory: str) -> str:
    return f"chmod {patient.identity.letter(directory)}+x {shlex.quote(directory)}"


def _closed(patient: Patient, path: str) -> str:
    """The first directory on the way to a file that cannot be entered; "" if there is none."""
    return next((directory for directory in _ways(path) if not patient.identity.may_execute(directory)), "")


def _ways(path: str) -> Iterator[str]:
    """The directories on the way to a file, from the root."""
    above = os.path.dirname(os.path.abspath(path))
    if above != os.path.dirname(above):
        yield from _ways(above)
    yield above


def check_readable(patient: Patient) -> Fault | None:
    """Its interpreter can read it, and what it needs of its virtual environment."""
    identity = patient.identity
    if not patient.runs_by:
        return None
    if not identity.may_read(patient.path):
        letter = identity.letter(patient.path)
        return Fault(f"{identity} may not read it, and so its interpreter cannot", f"chmod {letter}+r {patient.quoted}")
    venv = os.path.dirname(os.path.dirname(patient.runs_by))
    configuration = os.path.join(venv, "pyvenv.cfg")
    if os.path.isfile(configuration) and not identity.may_read(configuration):
        return Fault(f"{identity} may not read its virtual environment {venv}", f"chmod -R o+rX {shlex.quote(venv)}")
    return None


def check_world(patient: Patient) -> Fault | None:
    """Not everybody decides what it does."""
    if not os.stat(patient.path).st_mode & stat.S_IWOTH:
        return None
    return Fault("everybody may write it, and so have the web server run anything", f"chmod o-w {patient.quoted}")


def check_suexec(patient: Patient) -> Fault | None:
    """Only its owner may write it and its directory, and that is who runs it."""
    path = os.path.abspath(patient.path)
    folder = os.path.dirname(path)
    runs_as = patient.identity.uid
    owner = os.stat(folder).st_uid if runs_as is None else runs_as
    fault = find_stranger(path, root=folder, owners=frozenset((0, owner)))
    return fault and Fault(f"suexec refuses it: {fault.what}", fault.fix)


CHECKS = (check_directories, check_readable, check_interpreters_directories, check_world)
