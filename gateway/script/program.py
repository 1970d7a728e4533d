"""What is to be run for one request, all decided: the value that an execution strategy starts (RFC 3875 §3.4, §4)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Program:
    """One run of a program.  Nothing of it is looked up any more: neither PATH, nor our own environment.

    ``interpreter`` is an argv prefix, empty where the system starts ``path`` by itself; ``args`` follow the path.
    ``user``, ``group`` and ``groups`` are numbers, None where the program stays who we are; ``umask`` is None where it
    keeps ours.  ``rlimits`` are the soft and hard limits to set, by the numbers of :mod:`resource`.
    """

    __slots__ = ("path", "interpreter", "args", "env", "cwd", "umask", "user", "group", "groups", "rlimits")

    def __init__(
        self, path: str, *, env: dict[bytes, bytes], cwd: str, interpreter: Sequence[str] = (),
        args: Sequence[str | bytes] = (), umask: int | None = None, user: int | None = None, group: int | None = None,
        groups: Sequence[int] | None = None, rlimits: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self.interpreter = interpreter
        self.args = args
        self.env = env
        self.cwd = cwd
        self.umask = umask
        self.user = user
        self.group = group
        self.groups = groups
        self.rlimits = rlimits or {}

    def __repr__(self) -> str:
        return f"<Program {' '.join(map(str, self.argv))!r} in {self.cwd!r}>"

    @property
    def argv(self) -> list[str | bytes]:
        """The whole command line."""
        return [*self.interpreter, self.path, *self.args]
