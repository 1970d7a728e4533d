"""Which file below a directory a path means, and what of the path is left to the script (RFC 3875 §4.1.5, §4.1.13).

The path is walked from the root, a segment at a time, as web servers do it; nothing is read but the file system's
entries.  What is refused is refused with a reason for the log: 404 where the visitor should not learn that there is
something, 403 where the operator made a mistake.
"""

from __future__ import annotations

import os
import stat

from gateway.errors import RemoteProtocolError, ScriptError
from gateway.script.faults import first_line
from gateway.script.owner import check_owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    Found: TypeAlias = "Script | StaticFile | Folder"

BACKUPS = (
    "~", "#", ".bak", ".old", ".orig", ".rej", ".save", ".swp", ".tmp", ".dpkg-dist", ".dpkg-old", ".rpmnew", ".rpmsave"
)  # fmt: skip
"""How the names end of what editors and package managers leave: an older program, with the faults of then."""

SOURCES = (".cgi", ".fcgi", ".inc", ".lua", ".php", ".phtml", ".pl", ".pm", ".py", ".pyc", ".rb", ".sh", ".tcl")
"""How the names of programs end.  They hold secrets, and are never served as files."""


class Script:
    """A program to run, and how the request's path divides.

    ``mount`` is the path below which a local redirect stays with us; ``root`` the document root that goes with it, ""
    if we do not know.
    """

    __slots__ = ("path", "script_name", "path_info", "mount", "interpreter", "args", "cwd", "root")

    def __init__(
        self, path: str, *, script_name: str, path_info: str, mount: str, interpreter: Sequence[str] = (),
        args: Sequence[str] = (), cwd: str = "", root: str = "",
    ) -> None:  # fmt: skip
        self.path = path
        self.script_name = script_name
        self.path_info = path_info
        self.mount = mount
        self.interpreter = interpreter
        self.args = args
        self.cwd = cwd or os.path.dirname(path)  # RFC 3875 §7.2
        self.root = root

    def __repr__(self) -> str:
        return f"<Script {self.path!r} SCRIPT_NAME={self.script_name!r} PATH_INFO={self.path_info!r}>"


class StaticFile:
    """A file that is no program, to be served as it is."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<StaticFile {self.path!r}>"


class Folder:
    """A directory that was asked for without its closing slash: relative links would lead astray from here."""

    __slots__ = ("url",)

    def __init__(self, url: str) -> None:
        self.url = url
        """Its path in the site, decoded, closing slash included."""

    def __repr__(self) -> str:
        return f"<Folder {self.url!r}>"


class Tree:
    """A directory of programs: :meth:`find` divides a path.  Options are those of CGIDirectory."""

    def __init__(
        self, root: str, *, index: Sequence[str], interpreters: Mapping[str, Sequence[str]], static: bool,
        follow_symlinks: bool, owners: frozenset[int] | None,
    ) -> None:  # fmt: skip
        self.root = root
        self.index = index
        self.interpreters = interpreters
        self.static = static
        self.follow_symlinks = follow_symlinks
        self.owners = owners
        """The users to whom all files must belong; None: it does not matter."""

    def __repr__(self) -> str:
        return f"<Tree {self.root!r}>"

    def find(self, path: str, *, mount: str) -> Found:
        """What ``path``, the rest of the URL's path below ``mount``, means.  Raises RemoteProtocolError, ScriptError.

        Both are decoded and native strings (PEP 3333), so that nothing is decoded twice here.
        """
        segments = path.split("/")
        if ".." in segments or "\0" in path:
            # Front ends resolve dots, so that this is no visitor's slip; a program may trust its PATH_INFO.
            raise _not_found(f"{path[:200]!r} holds '..' or NUL")
        file, url = self.root, mount
        for position, segment in enumerate(segments, 1):
            if not segment:
                continue
            if segment[0] == "." and segment != ".well-known":  # RFC 8615
                raise _not_found(f"{segment[:200]!r} is hidden: it begins with a dot")
            file, url = f"{file}/{_decode(segment)}", f"{url}/{segment}"
            mode = self._mode(file)
            if not stat.S_ISDIR(mode):
                rest = "/".join(["", *segments[position:]])
                return self._file(file, mode, url=url, path_info=rest, mount=mount)
        found = self._find_index(file, url, mount)
        return found if path[-1:] == "/" or not url else Folder(f"{url}/")

    def _find_index(self, folder: str, url: str, mount: str) -> Found:
        for name in self.index:
            file = f"{folder}/{name}"
            if os.path.lexists(file):
                return self._file(file, self._mode(file), url=f"{url}/{name}", path_info="", mount=mount)
        raise _not_found(f"{folder} is a directory, and holds none of {', '.join(self.index) or 'index=(), no name'}")

    def _mode(self, file: str) -> int:
        """The mode of what a path leads to without leaving the root."""
        try:
            mode = os.lstat(file).st_mode
            if stat.S_ISLNK(mode):
                mode = os.stat(file).st_mode
                self._check_link(file)
            return mode
        except PermissionError as error:
            raise ScriptError(
                f"{file}: this user may not enter its directory: chmod +x {os.path.dirname(file)}",
                status_hint="403 Forbidden",
            ) from error
        except OSError as error:
            raise _not_found(f"{file}: {error.strerror}") from error

    def _check_link(self, file: str) -> None:
        target, root = os.path.realpath(file), os.path.realpath(self.root)
        if not self.follow_symlinks and os.path.commonpath([target, root]) != root:
            raise ScriptError(
                f"{file}: it leads out of {self.root}, to {target}: put a copy there instead, or pass "
                "follow_symlinks=True",
                status_hint="403 Forbidden",
            )

    def _file(self, file: str, mode: int, *, url: str, path_info: str, mount: str) -> Script | StaticFile:
        if not stat.S_ISREG(mode):
            raise _not_found(f"{file} is neither a file nor a directory")
        name = file.lower()  # where the file system takes .PHP for .php, so do we
        if name.endswith(BACKUPS):
            raise _not_found(f"{file} is a backup or temporary file, by its name")
        interpreter = self.interpreters.get(os.path.splitext(name)[1])
        if interpreter is not None or mode & 0o111:
            if self.owners is not None:
                check_owner(file, root=self.root, owners=self.owners)
            root = "" if mount else self.root
            return Script(
                file, script_name=url, path_info=path_info, mount=mount, interpreter=interpreter or (), root=root
            )
        if name.endswith(SOURCES) or first_line(file).startswith(b"#!"):
            raise ScriptError(f"{file}: it is not executable: chmod +x {file}", status_hint="403 Forbidden")
        if not self.static:
            raise _not_found(f"{file} is no program; to serve such files pass static=True")
        if path_info:
            raise _not_found(f"{file} is a file, and {path_info[:200]!r} cannot be below it")
        return StaticFile(file)


def _decode(segment: str) -> str:
    """A segment of a native string as a file's name."""
    if segment.isascii():
        return segment
    try:
        return os.fsdecode(segment.encode("latin-1"))
    except UnicodeEncodeError as error:
        raise _not_found(f"{segment[:200]!r} is no native string (PEP 3333)") from error


def _not_found(reason: str) -> RemoteProtocolError:
    return RemoteProtocolError(reason, status_hint="404 Not Found")
