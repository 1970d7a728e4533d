"""Whose rights count where a program is looked at: a user's, or those of anybody else."""

from __future__ import annotations

import os
import stat

from gateway.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


class Identity:
    """A user; without a number, anybody who is neither the owner nor in the group of anything."""

    __slots__ = ("name", "uid", "gids")

    def __init__(self, name: str, uid: int | None = None, gids: Collection[int] = ()) -> None:
        self.name = name
        self.uid = uid
        self.gids = gids

    def __repr__(self) -> str:
        return f"<Identity {self.name!r} uid={self.uid}>"

    def __str__(self) -> str:
        return self.name

    def may_execute(self, path: str) -> bool:
        """Whether it may execute a file, or enter a directory."""
        if self.uid == os.geteuid():
            return os.access(path, os.X_OK)
        status = os.stat(path)
        if self.uid == 0:
            return stat.S_ISDIR(status.st_mode) or bool(status.st_mode & 0o111)
        return bool(status.st_mode >> self._shift(status) & 1)

    def may_read(self, path: str) -> bool:
        """Whether it may read a file."""
        if self.uid in (0, os.geteuid()):
            return os.access(path, os.R_OK)
        status = os.stat(path)
        return bool(status.st_mode >> self._shift(status) & 4)

    def _shift(self, status: os.stat_result) -> int:
        return 6 if status.st_uid == self.uid else 3 if status.st_gid in self.gids else 0

    def letter(self, path: str) -> str:
        """Its place in the words of chmod(1)."""
        return {6: "u", 3: "g", 0: "o"}[self._shift(os.stat(path))]


def ourselves() -> Identity:
    """Who runs this."""
    return Identity("this user", os.geteuid(), os.getgroups())


def find_user(name: str) -> Identity:
    """A user of this machine; without a name, what any web server may be sure of.  Raises ConfigError.

    >>> str(find_user("")), find_user("root").uid
    ('a web server', 0)
    """
    if not name:
        return Identity("a web server")
    import pwd

    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise ConfigError(f"there is no user {name!r}: name the one that the web server runs as") from error
    return Identity(name, entry.pw_uid, os.getgrouplist(name, entry.pw_gid))
