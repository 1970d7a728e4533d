"""What the system lets a program use (setrlimit(2)): how our limits become the system's, and are put upon a program."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from gateway.limits import Limits

    Rlimits: TypeAlias = Mapping[int, tuple[int, int]]
    """Soft and hard limits by the numbers of :mod:`resource`."""

_RESOURCES = {
    # Memory is what a program can write.  RLIMIT_AS would count all that it maps, too: interpreters reserve, and git
    # maps, many times what they use.
    "script_cpu": ("RLIMIT_CPU", "t", 1),
    "script_memory": ("RLIMIT_DATA", "d", 1024),
    "script_files": ("RLIMIT_NOFILE", "n", 1),
}
"""For each limit of ours the system's, the option of a shell's ulimit, and the bytes of its unit."""

CPU_GRACE = 5
"""Seconds of processor time from SIGXCPU, which tells why a program dies, to SIGKILL, for one that ignores it."""


def choose_rlimits(limits: Limits) -> dict[int, tuple[int, int]]:
    """What to put upon programs; none of it is more than we may use ourselves."""
    import resource  # there is none on Windows, where CGIHost says so

    chosen = {}
    for name, (rlimit, _, _) in _RESOURCES.items():
        if wanted := getattr(limits, name):
            number = getattr(resource, rlimit)
            ours = resource.getrlimit(number)[1]
            grace = CPU_GRACE if name == "script_cpu" else 0
            soft, hard = (
                value if ours == resource.RLIM_INFINITY else min(value, ours) for value in (wanted, wanted + grace)
            )
            chosen[number] = soft, hard
    return chosen


def limiting_command(rlimits: Rlimits) -> list[str]:
    """The command line of a shell that limits itself and becomes the program whose command line follows (POSIX).

    >>> import resource
    >>> limiting_command({resource.RLIMIT_CPU: (30, 35), resource.RLIMIT_DATA: (1048576, 1048576)})[2]
    'ulimit -S -t 30 && ulimit -H -t 35 && ulimit -S -d 1024 && ulimit -H -d 1024 && exec "$@"'
    """
    import resource

    options = {getattr(resource, rlimit): (option, unit) for rlimit, option, unit in _RESOURCES.values()}
    words = []
    for number, pair in rlimits.items():
        option, unit = options[number]
        words += [f"ulimit -{kind} -{option} {value // unit}" for kind, value in zip("SH", pair, strict=True)]
    return ["/bin/sh", "-c", " && ".join([*words, 'exec "$@"']), "sh"]
