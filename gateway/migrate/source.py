"""A file of source code: its text, and the bytes that keep everything about it that an edit does not touch.

The text has LF for every line end, and no byte order mark; what is written back has what the file had.
"""

from __future__ import annotations

import difflib
import io
import os
import shutil
import stat
import tokenize

from gateway.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BACKUP = ".orig"
"""What a backup's name ends in."""


class Source:
    """A file as it was read."""

    __slots__ = ("path", "encoding", "text", "_lines")

    def __init__(self, path: str, *, encoding: str, lines: list[str]) -> None:
        self.path = path
        self.encoding = encoding
        self.text = "".join(map(_plain, lines))
        self._lines = lines

    def __repr__(self) -> str:
        return f"<Source {self.path!r} {self.encoding}, {len(self._lines)} lines>"

    def rejoin(self, text: str) -> bytes:
        """Another text as bytes of this file: lines that stayed are as they were, others end as those they replace."""
        ends = [line[len(line.rstrip("\r\n")) :] or "\n" for line in self._lines] or ["\n"]
        said: list[str] = []
        for kept, old, new in compare(self.text, text):
            if kept:
                said += self._lines[old.start : old.stop]
                continue
            for number, line in enumerate(_split(text)[new.start : new.stop], old.start):
                end = ends[min(number, len(ends) - 1)]
                said.append(line[:-1] + end if line.endswith("\n") else line)
        return "".join(said).encode(self.encoding)

    def write(self, text: str, *, backup: bool = False) -> None:
        """Put another text into the file, whose mode, owner and links stay.  Raises ConfigError."""
        data = self.rejoin(text)
        try:
            if not os.stat(self.path).st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
                raise PermissionError(0, "it is read-only")  # root could write it, and should not
            if backup:
                shutil.copy2(self.path, self.path + BACKUP)
            with open(self.path, "r+b") as file:
                file.write(data)
                file.truncate()
        except OSError as error:
            raise ConfigError(f"not written: {error.strerror}; have it writable, chmod u+w say, and repeat") from error


def read(path: str) -> Source:
    """Read a file.  Raises ConfigError for one that cannot be read, and says why."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ConfigError(f"not read: {error.strerror}; let this user read it") from error
    if b"\0" in data:
        raise ConfigError("not read: it has NUL bytes, and so is no source code; leave it out")
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        what = str(error)
        if isinstance(error, UnicodeDecodeError):
            what = f"line {data.count(10, 0, error.start) + 1} is not in {error.encoding}"
        raise ConfigError(
            f"not read: {what}; name its encoding in a comment in line 1 or 2, such as # -*- coding: latin-1 -*-"
        ) from error
    return Source(path, encoding=encoding, lines=list(io.StringIO(text, newline="")))


def lies_beside(path: str, module: str) -> bool:
    """Whether a file that imports a module gets one of its own folder."""
    place = os.path.join(os.path.dirname(path), module)
    return os.path.isfile(f"{place}.py") or os.path.isdir(place)


def compare(old: str, new: str) -> Iterator[tuple[bool, slice, slice]]:
    """What of a text stayed: whether it did, which lines of the old text these are, and which of the new one.

    >>> [(kept, old.start, new.start) for kept, old, new in compare("a\\nb\\n", "a\\nB\\nb\\n")]
    [(True, 0, 0), (False, 1, 1), (True, 1, 2)]
    """
    before, after = _split(old), _split(new)
    for tag, start, stop, new_start, new_stop in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
        yield tag == "equal", slice(start, stop), slice(new_start, new_stop)


def diff(path: str, old: str, new: str) -> str:
    """The difference between two texts, as patch(1) takes it."""
    before, after = (text if text.endswith("\n") else f"{text}\n" for text in (old, new))
    return "".join(difflib.unified_diff(_split(before), _split(after), path, path))


def _split(text: str) -> list[str]:
    """The lines of a text; str.splitlines would cut at form feeds as well."""
    return list(io.StringIO(text))


def _plain(line: str) -> str:
    return line.rstrip("\r\n") + "\n" if line.endswith(("\r", "\n")) else line
