"""A directory of CGI programs, a ``cgi-bin``, as one WSGI application: the heir of a web server's ScriptAlias."""

from __future__ import annotations

import os

from gateway.errors import ConfigError, RemoteProtocolError, ScriptError
from gateway.script.faults import diagnose, name_interpreter
from gateway.script.host import CGIHost
from gateway.script.resolve import Script, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from gateway.environ import Environ
    from gateway.script.resolve import Found

INDEX = ("index.cgi", "index.pl", "index.py", "index.php", "index.sh", "index.html")
"""What a directory answers with.  Apache: DirectoryIndex."""


class CGIDirectory(CGIHost):
    """A WSGI application that runs the CGI programs in the directory ``root`` and below.

    The path is walked to the first file: what is before is SCRIPT_NAME, what follows PATH_INFO.  A file is a program if
    it is executable, or if ``interpreters`` maps its extension to an argv prefix: ``{".php": ["php-cgi"]}``.  Hidden
    and backup files do not exist for visitors, nor does anything outside ``root``, wherever symbolic links lead, unless
    ``follow_symlinks``.  A directory answers with the first of ``index`` that it holds.

    Other files are a 404, or with ``static=True`` are served, but none that looks like a program.  ``check_owner``
    refuses programs that another user than the one who runs them, or root, could have written, as suexec does.

    ``options`` are those of :class:`gateway.script.host.CGIHost`: ``execution``, ``timeout``, ``environment``,
    ``pass_environment``, ``umask``, ``user``, ``group``, ``limits``.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, interpreters: Mapping[str, Sequence[str]] | None = None,
        index: Sequence[str] = INDEX, static: bool = False, follow_symlinks: bool = False, check_owner: bool = False,
        **options: Any,
    ) -> None:  # fmt: skip
        self.root = os.path.abspath(root)
        if not os.path.isdir(self.root):
            raise ConfigError(f"{self.root} is no directory, or this user may not enter it: correct the path")
        for extension in interpreters or ():
            if extension[:1] != ".":
                raise ConfigError(f"interpreters={{{extension!r}: …}} is no extension: write {'.' + extension!r}")
        super().__init__(self.root, **options)
        runs_as = os.geteuid() if self.surroundings.user is None else self.surroundings.user
        self._tree = Tree(
            self.root, index=index, static=static, follow_symlinks=follow_symlinks,
            interpreters={extension.lower(): command for extension, command in (interpreters or {}).items()},
            owners=frozenset((0, runs_as)) if check_owner else None,
        )  # fmt: skip

    def find(self, environ: Environ) -> Found:
        """The program that a request is for, or the file or the redirect.  Raises ProtocolError, ScriptError."""
        return self._tree.find(environ.get("PATH_INFO", ""), mount=environ.get("SCRIPT_NAME", ""))

    def inspect(self) -> Iterator[Inspected]:
        """Every program that visitors can reach, or could if something were mended; nothing is started."""
        search = self.surroundings.search_path
        for folder, folders, files in os.walk(self.root, followlinks=self._tree.follow_symlinks):
            folders[:] = sorted(name for name in folders if name[0] != ".")
            for name in sorted(files):
                file = os.path.join(folder, name)
                url = os.fsencode(file[len(self.root) :]).decode("latin-1")
                try:
                    found = self._tree.find(url, mount="")
                except RemoteProtocolError:
                    continue
                except ScriptError as error:
                    yield Inspected(url, "", "", str(error).removeprefix(f"{file}: "))
                    continue
                if isinstance(found, Script):
                    yield Inspected(
                        url, " ".join(found.interpreter) or name_interpreter(file), self.executions.choose(file).name,
                        diagnose(file, interpreter=found.interpreter, search=search),
                    )  # fmt: skip


class Inspected:
    """A program as :meth:`CGIDirectory.inspect` saw it; ``problem`` is "" if it can be started."""

    __slots__ = ("url", "interpreter", "execution", "problem")

    def __init__(self, url: str, interpreter: str, execution: str, problem: str) -> None:
        self.url = url
        self.interpreter = interpreter
        self.execution = execution
        self.problem = problem

    def __repr__(self) -> str:
        return f"<Inspected {self.url!r} {self.interpreter!r} {self.execution!r} {self.problem!r}>"
