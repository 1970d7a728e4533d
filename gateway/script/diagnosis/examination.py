"""All checks of a program in their order: what its file tells, who may reach it, and then a run of it."""

from __future__ import annotations

from gateway.errors import ScriptError
from gateway.script.diagnosis import Fault, Patient, access, crash, output, start
from gateway.script.diagnosis.trial import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.script.diagnosis.trial import Trial


def examine(
    patient: Patient, *, timeout: float, environment: Mapping[str, str], suexec: bool = False
) -> list[Fault]:
    """What is wrong with a program; it is run only if nothing else is found."""
    faults = look(patient, suexec=suexec)
    if faults:
        return faults
    try:
        trial = attempt(patient, timeout=timeout, environment=environment)
    except ScriptError as error:
        what, _, fix = str(error).removeprefix(f"{patient.path}: ").rpartition(": ")
        return [Fault(what, fix)]
    fault = judge(patient, trial)
    return [fault] if fault else []


def look(patient: Patient, *, suexec: bool = False) -> list[Fault]:
    """What is wrong with a program as it lies there."""
    missing = start.check_file(patient)
    if missing:
        return [missing]
    checks = [*start.CHECKS, *access.CHECKS, *([access.check_suexec] if suexec else [])]
    return [fault for check in checks if (fault := check(patient))]


def judge(patient: Patient, trial: Trial) -> Fault | None:
    """What a run shows: the cause if it is to be seen, else the first thing that is wrong with what came of it."""
    outcome = next((fault for check in output.CHECKS if (fault := check(patient, trial))), None)
    failed = outcome or trial.timed_out or trial.waited_for_input or trial.returncode
    if not failed:
        return None
    cause = next((fault for check in crash.EVIDENCE if (fault := check(patient, trial))), None)
    return cause or outcome or crash.check_exit(patient, trial)
