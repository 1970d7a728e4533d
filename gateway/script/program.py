"""What is to be run for one request, all decided: the value that an execution strategy starts (RFC 3875 §3.4, §4)."""

from __future__ import annotations

import os
import posixpath

from gateway.errors import ConfigError, RemoteProtocolError
from gateway.script.rlimits import choose_rlimits
from gateway.script.variables import search_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.limits import Limits
    from gateway.script.resolve import Script
    from gateway.script.rlimits import Rlimits

PASS_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
"""What a program gets of our own environment.  Apache: PATH, LD_LIBRARY_PATH, and what PassEnv names."""


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
        groups: Sequence[int] | None = None, rlimits: Rlimits | None = None,
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
        return f"<Program {' '.join(map(os.fsdecode, self.argv))!r} in {self.cwd!r}>"

    @property
    def changes_identity(self) -> bool:
        """Whether it runs as another user or group than we do."""
        return not self.user is self.group is None

    @property
    def argv(self) -> list[str | bytes]:
        """The whole command line."""
        return [*self.interpreter, self.path, *self.args]


class Surroundings:
    """What the operator gives to every program alike: environment, umask, identity, resource limits.

    Raises ConfigError for what cannot work.
    """

    def __init__(
        self, *, environment: Mapping[str, str], pass_environment: Iterable[str], umask: int | None,
        user: str | int | None, group: str | int | None, limits: Limits,
    ) -> None:  # fmt: skip
        passed = set(pass_environment)
        self.of_request = sorted(passed - os.environ.keys())
        """The names of variables that are passed, but that only the web server can tell, with each request."""
        if "HTTP_PROXY" in passed or "HTTP_PROXY" in environment:
            raise ConfigError("HTTP_PROXY looks like a visitor's Proxy header (httpoxy): pass http_proxy instead")
        self._passed = {name: value for name, value in os.environb.items() if os.fsdecode(name) in passed}
        self._added = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
        self.umask = umask
        self.user, self.group, self.groups = _identity(user, group)
        self.rlimits = choose_rlimits(limits)

    @property
    def search_path(self) -> str | None:
        """The PATH that every program gets."""
        search = self._added.get(b"PATH", self._passed.get(b"PATH"))
        return None if search is None else os.fsdecode(search)

    def program(self, script: Script, params: Mapping[str, str]) -> Program:
        """The run of a script for a request with these meta-variables.  Raises RemoteProtocolError."""
        return Program(
            script.path, interpreter=script.interpreter, args=[*script.args, *search_words(params)],
            env=self._environment(params), cwd=script.cwd, umask=self.umask, user=self.user, group=self.group,
            groups=self.groups, rlimits=self.rlimits,
        )  # fmt: skip

    def _environment(self, params: Mapping[str, str]) -> dict[bytes, bytes]:
        """The whole environment of the program: what is passed, the meta-variables, what is added, which wins."""
        env = self._passed.copy()
        for name, value in params.items():
            if "\0" in value or "\0" in name or "=" in name:
                raise RemoteProtocolError(f"{name!r} cannot be an environment variable: {value[:200]!r}")
            env[name.encode("latin-1")] = value.encode("latin-1")
        env.update(self._added)
        root, path = env.get(b"DOCUMENT_ROOT"), env[b"PATH_INFO"]
        if root and path:
            # §4.1.6: what the server would serve for a request of that path; never outside the root.
            translated = root.rstrip(b"/") + posixpath.normpath(b"/" + path.lstrip(b"/"))
            env.setdefault(b"PATH_TRANSLATED", translated)
        return env


def _identity(
    user: str | int | None, group: str | int | None
) -> tuple[int | None, int | None, Sequence[int] | None]:
    """User, group and supplementary groups as numbers; None, all three, where nothing changes."""
    if user is None and group is None:
        return None, None, None
    if os.geteuid() != 0:
        raise ConfigError("only root may run programs as another user= or group=; leave them out, or start as root")
    import grp
    import pwd

    try:
        gid = grp.getgrnam(group).gr_gid if isinstance(group, str) else group
        if user is None:
            return None, gid, []
        entry = pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError as error:
        raise ConfigError(f"user={user!r}, group={group!r}: {error.args[0]}; create it, or name another") from error
    gid = entry.pw_gid if gid is None else gid
    return entry.pw_uid, gid, os.getgrouplist(entry.pw_name, gid)
