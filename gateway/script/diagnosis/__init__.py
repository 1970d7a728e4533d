"""What is wrong with a CGI program: checks that look at one thing each, and name the line that mends it.

``start`` holds what keeps the system from starting it, ``access`` what keeps a user from it, ``crash`` and ``output``
what a run of it (``trial``) shows, and ``examination`` the order of them all.
"""

from __future__ import annotations

import os
import shlex

from gateway.script.diagnosis.identity import Identity, ourselves

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Fault:
    """What is wrong, and the line that mends it: a command, or what to write.

    ``mend`` does that, and says what it did, where nothing can be lost by it.
    """

    __slots__ = ("what", "fix", "mend")

    def __init__(self, what: str, fix: str, mend: Callable[[], str] | None = None) -> None:
        self.what = what
        self.fix = fix
        self.mend = mend

    def __repr__(self) -> str:
        return f"<Fault {str(self)!r}{' safe to mend' if self.mend else ''}>"

    def __str__(self) -> str:
        return f"{self.what}: {self.fix}"


class Patient:
    """A program that is looked at.

    ``interpreter`` is an argv prefix for a program that needs no ``#!`` line; ``search`` the PATH that it will get;
    ``identity`` whose rights count.  Both are ours if not given.
    """

    __slots__ = ("path", "interpreter", "search", "identity", "start", "line")

    def __init__(
        self, path: str, *, interpreter: Sequence[str] = (), search: str | None = None, identity: Identity | None = None
    ) -> None:
        self.path = path
        self.interpreter = interpreter
        self.search = search
        self.identity = identity or ourselves()
        self.start = read_start(path)
        self.line = _first_line(self.start)

    def __repr__(self) -> str:
        return f"<Patient {self.path!r} {self.line!r}>"

    @property
    def quoted(self) -> str:
        """Its path as a word for a shell."""
        return shlex.quote(self.path)

    @property
    def words(self) -> list[str]:
        """What stands after ``#!``; [] for a program that has no such line, or needs none."""
        named = self.line.startswith(b"#!") and not self.interpreter
        return self.line[2:].decode("utf-8", "backslashreplace").split() if named else []

    @property
    def by_env(self) -> str:
        """The program that env(1) is to look up; "" if the ``#!`` line names another than env."""
        words = self.words
        if not words or os.path.basename(words[0]) != "env":
            return ""
        return next((word for word in words[1:] if word[0] != "-" and "=" not in word), "")

    @property
    def runs_by(self) -> str:
        """The path of the interpreter, as far as it is there; "" for a program that needs none."""
        name = self.by_env or next(iter(self.interpreter or self.words), "")
        return (self.find(name) or "") if name else ""

    @property
    def language(self) -> str:
        """The name of its interpreter without a version, ``python`` say; "" for a program that needs none."""
        return os.path.basename(self.runs_by).rstrip("0123456789.")

    @property
    def python(self) -> str:
        """The path of the Python that runs it; "" if none does."""
        return self.runs_by if self.language == "python" else ""

    def find(self, program: str) -> str | None:
        """A program by its name, where this one will look for it."""
        import shutil  # only a fault pays for this import

        return shutil.which(program, path=self.search)

    def edit(self, old: str, new: str) -> str:
        """The command that replaces some words of the first line."""
        return f"sed -i '1s|{old}|{new}|' {self.quoted}"


def read_start(path: str) -> bytes:
    """As much of a file as tells what runs it; b"" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(256)
    except OSError:
        return b""


def first_line(path: str) -> bytes:
    """The first line of a file as far as it tells anything; b"" if it cannot be read."""
    return _first_line(read_start(path))


def _first_line(start: bytes) -> bytes:
    return start[: start.find(b"\n") + 1] or start
