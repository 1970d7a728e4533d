"""CGI programs as WSGI applications: the web server's side of RFC 3875, one run of a program for each request.

``CGIScript(path)`` is one program, ``CGIDirectory(root)`` a directory of them, a ``cgi-bin``.  A WSGI request becomes
meta-variables, arguments and input; the program's response goes to whatever WSGI server asked.
"""

from __future__ import annotations

import os

from gateway.environ import check_mount, is_under
from gateway.errors import RemoteProtocolError, ScriptError
from gateway.script.directory import CGIDirectory as CGIDirectory
from gateway.script.faults import diagnose
from gateway.script.host import CGIHost
from gateway.script.resolve import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from gateway.environ import Environ


class CGIScript(CGIHost):
    """A WSGI application that runs the CGI program at ``path`` for each request.

    ``interpreter`` is an argv prefix for a program that has no ``#!`` line, ``["perl"]`` say; ``args`` follow the path,
    and the words of an indexed query (RFC 3875 §4.4) follow them.  ``cwd`` is the script's directory if not given.

    ``script_name`` states at which path the program lives, for a WSGI server that puts the whole path into PATH_INFO.

    ``options`` are those of :class:`gateway.script.host.CGIHost`: ``execution``, ``timeout``, ``environment``,
    ``pass_environment``, ``umask``, ``user``, ``group``, ``limits``.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, interpreter: Sequence[str] = (), args: Sequence[str] = (),
        cwd: str | os.PathLike[str] | None = None, script_name: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.path = os.path.abspath(path)
        super().__init__(self.path, **options)
        self.interpreter = list(interpreter)
        self.args = list(args)
        self.cwd = os.path.abspath(cwd) if cwd else os.path.dirname(self.path)
        self._script_name = None if script_name is None else check_mount(script_name)

    def find(self, environ: Environ) -> Script:
        """The program, and how the path divides."""
        name, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
        if self._script_name is not None:
            whole = name + path
            if not is_under(whole, self._script_name):
                raise RemoteProtocolError(
                    f"the path {whole[:200]!r} is outside script_name={self._script_name!r}: correct it, or let the "
                    "server send here only what is under it",
                    status_hint="404 Not Found",
                )
            name, path = self._script_name, whole[len(self._script_name) :]
        if not os.path.isfile(self.path):
            raise ScriptError(
                f"{self.path}: there is no such file, or this user may not reach it: correct the path",
                status_hint="404 Not Found",
            )
        return Script(
            self.path, script_name=name, path_info=path, mount=name, interpreter=self.interpreter, args=self.args,
            cwd=self.cwd,
        )  # fmt: skip

    def problem(self) -> str:
        """What keeps the program from being started, as far as its file tells; "" if nothing does."""
        return diagnose(self.path, interpreter=self.interpreter, search=self.surroundings.search_path)
