"""Which files of a folder may hold old code, and what reads each."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON, COMMANDS, WEB_CONFIG = "Python", "commands", "web.config"
"""What a file is read as."""

_BY_SUFFIX = {".py": PYTHON, ".pyw": PYTHON, ".wsgi": PYTHON} | dict.fromkeys(
    (".bash", ".cfg", ".conf", ".ini", ".service", ".sh"), COMMANDS
)
_BY_NAME = {"Makefile": COMMANDS, "Procfile": COMMANDS, "web.config": WEB_CONFIG}


def kind_of(path: str) -> str:
    """What a file is to be read as; "" if it cannot be told, or is none of these.

    The interpreter that a script names counts more than how the file is called.
    """
    name = os.path.basename(path)
    try:
        with open(path, "rb") as file:
            start = file.readline(256)
    except OSError:
        start = b""
    words = start.removeprefix(b"\xef\xbb\xbf").removeprefix(b"#!").split() if b"#!" in start[:5] else []
    programs = [os.path.basename(word) for word in words]
    if any(program.startswith((b"python", b"jython", b"pypy")) for program in programs):
        return PYTHON
    if any(program in (b"sh", b"bash", b"dash", b"ksh", b"zsh") for program in programs):
        return COMMANDS
    return "" if programs else _BY_NAME.get(name, _BY_SUFFIX.get(os.path.splitext(name)[1].lower(), ""))


def find(folder: str) -> Iterator[tuple[str, str]]:
    """The files below a folder, each with what it is read as; none that is hidden, or of a virtual environment."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_left_out(os.path.join(where, name)))
        for name in sorted(names):
            path = os.path.join(where, name)
            kind = "" if os.path.islink(path) or name.startswith(".") else kind_of(path)
            if kind:
                yield path, kind


def _is_left_out(folder: str) -> bool:
    name = os.path.basename(folder)
    venv = os.path.isfile(os.path.join(folder, "pyvenv.cfg"))
    return venv or name.startswith(".") or name in ("__pycache__", "node_modules", "site-packages")
