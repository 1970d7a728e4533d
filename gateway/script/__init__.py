"""CGI programs as WSGI applications: the web server's side of RFC 3875, one process for each request.

``CGIScript(path)`` turns a WSGI request into the meta-variables, the arguments and the input of a program, starts it,
and hands its response to whatever WSGI server asked.
"""

from __future__ import annotations

import os
import posixpath
import subprocess
from urllib.parse import unquote_to_bytes

from gateway.environ import build_params, check_mount, decode_path, is_under, redirected
from gateway.errors import ConfigError, ProtocolError, RemoteProtocolError, RequestAborted, ScriptError
from gateway.limits import Limits
from gateway.script.body import Body
from gateway.script.faults import explain_start, log
from gateway.script.run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from gateway.environ import Environ

    StartResponse: TypeAlias = Callable[..., object]
    WSGIApplication: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

PASS_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
"""What a program gets of our own environment.  Apache: PATH, LD_LIBRARY_PATH, and what PassEnv names."""


class CGIScript:
    """A WSGI application that runs the CGI program at ``path`` for each request.

    ``interpreter`` is an argv prefix for a program that has no ``#!`` line, ``["perl"]`` say; ``args`` follow the path,
    and the words of an indexed query (RFC 3875 §4.4) follow them.

    ``timeout``: seconds in which the program neither takes input nor gives output before it is ended, 0 for no limit
    (Apache: CGIDScriptTimeout).  Output that nobody reads, the body of an answer to HEAD say, does not count.  One that
    has closed its stdout may go on for as long, unseen by the visitor; ``close()`` of the response waits for it.

    Of our own environment the program gets the variables that ``pass_environment`` names, then the meta-variables, then
    ``environment``, which wins.  ``cwd`` is the script's directory if not given (RFC 3875 §7.2).

    ``script_name`` states at which path the program lives, for a WSGI server that puts the whole path into PATH_INFO.

    Output that begins with an HTTP status line (RFC 3875 §5, NPH) is understood, whatever the program is called.

    A local redirect (RFC 3875 §6.2.2) to a path below the program's own runs it again.  One to another path is handed
    to ``environ["gateway.redirect"]``, a WSGI application that serves the whole site: SCRIPT_NAME is then "".  Without
    one the visitor is sent there by a 302.

    A program at fault before its head is whole gives a 500, 502 or 504 and a line in the log ``gateway.script``; one at
    fault after it raises ScriptError from the body's iterator, so that the server cuts the response visibly.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, interpreter: Sequence[str] = (), args: Sequence[str] = (),
        timeout: float = 30.0, environment: Mapping[str, str] | None = None,
        pass_environment: Iterable[str] = PASS_ENVIRONMENT, cwd: str | os.PathLike[str] | None = None,
        script_name: str | None = None, limits: Limits | None = None,
    ) -> None:  # fmt: skip
        if os.name != "posix":
            raise ConfigError("CGIScript needs process groups and pipes that can be polled: run it on a POSIX system")
        passed, added = set(pass_environment), environment or {}
        if "HTTP_PROXY" in passed or "HTTP_PROXY" in added:
            raise ConfigError("HTTP_PROXY looks like a visitor's Proxy header (httpoxy): pass http_proxy instead")
        self.path = os.path.abspath(path)
        self.cwd = os.path.abspath(cwd) if cwd else os.path.dirname(self.path)
        self.interpreter = list(interpreter)
        self.timeout = timeout
        self.limits = limits or Limits()
        self._args = list(args)
        self._script_name = None if script_name is None else check_mount(script_name)
        self._passed = {name: value for name, value in os.environb.items() if os.fsdecode(name) in passed}
        self._added = {os.fsencode(name): os.fsencode(value) for name, value in added.items()}

    def __repr__(self) -> str:
        return f"<CGIScript {self.path!r}>"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request, one process."""
        try:
            params, body = self._request(environ)
            run = self._start(params, body, environ)
            response = run.head()
            onward = self._onward(environ, response.local_redirect, params["SCRIPT_NAME"])
            if onward is not None:
                run.exhaust()
        except (ScriptError, ProtocolError, RequestAborted) as error:
            return self._refuse(error, environ, start_response)
        if onward is not None:
            app, redirected = onward
            return app(redirected, start_response)
        try:
            start_response(response.status, response.headers)
        except BaseException:
            run.abort()
            raise
        return run

    # What the program is told.

    def _request(self, environ: Environ) -> tuple[dict[str, str], Body]:
        """The meta-variables (RFC 3875 §4.1) and the body."""
        params = build_params(environ)
        if self._script_name is not None:
            whole = params["SCRIPT_NAME"] + params["PATH_INFO"]
            if not is_under(whole, self._script_name):
                raise RemoteProtocolError(
                    f"the path {whole[:200]!r} is outside script_name={self._script_name!r}: correct it, or let the "
                    "server send here only what is under it",
                    status_hint="404 Not Found",
                )
            params["SCRIPT_NAME"], params["PATH_INFO"] = self._script_name, whole[len(self._script_name) :]
        # The server has taken the transfer coding off (§4.2), and translated what may be another path now.
        for name in ("HTTP_TRANSFER_ENCODING", "PATH_TRANSLATED", "CONTENT_LENGTH"):
            params.pop(name, None)
        if not params.get("CONTENT_TYPE"):
            params.pop("CONTENT_TYPE", None)
        params.setdefault("SERVER_SOFTWARE", "gateway")
        params["SCRIPT_FILENAME"] = os.fsencode(self.path).decode("latin-1")
        params["REDIRECT_STATUS"] = "200"  # php-cgi: this comes from a web server (cgi.force_redirect)
        body = Body(environ, limits=self.limits)
        if body.announced:
            params["CONTENT_LENGTH"] = str(body.left)
        return params, body

    def _environment(self, params: dict[str, str]) -> dict[bytes, bytes]:
        """The whole environment of the program."""
        env = self._passed.copy()
        for name, value in params.items():
            if "\0" in name + value or "=" in name:
                raise RemoteProtocolError(f"{name!r} cannot be an environment variable: {value[:200]!r}")
            env[name.encode("latin-1")] = value.encode("latin-1")
        env.update(self._added)
        root, path = env.get(b"DOCUMENT_ROOT"), env[b"PATH_INFO"]
        if root and path:
            # §4.1.6: what the server would serve for a request of that path; never outside the root.
            translated = root.rstrip(b"/") + posixpath.normpath(b"/" + path.lstrip(b"/"))
            env.setdefault(b"PATH_TRANSLATED", translated)
        return env

    def _start(self, params: dict[str, str], body: Body, environ: Environ) -> Run:
        try:
            if environ.get("gateway.redirects", 0) > self.limits.local_redirects:
                raise ScriptError(
                    f"{self.path}: more than {self.limits.local_redirects} local redirects (limit local_redirects), "
                    f"the last to {params['REQUEST_URI']}: the Location of one of them leads back to an earlier one",
                    status_hint="500 Internal Server Error",
                )
            process = self._spawn(params, stdin=subprocess.PIPE if body.left else subprocess.DEVNULL)
        except BaseException:
            body.close()
            raise
        return Run(
            process, path=self.path, params=params, body=body, errors=environ["wsgi.errors"], timeout=self.timeout,
            limits=self.limits,
        )  # fmt: skip

    def _spawn(self, params: dict[str, str], *, stdin: int) -> subprocess.Popen[bytes]:
        """The program in a session, and so a process group, of its own."""
        if not os.path.isfile(self.path):
            raise ScriptError(
                f"{self.path}: there is no such file, or this user may not reach it: correct the path",
                status_hint="404 Not Found",
            )
        argv: list[str | bytes] = [*self.interpreter, self.path, *self._args, *search_words(params)]
        try:
            return subprocess.Popen(
                argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, cwd=self.cwd,
                env=self._environment(params), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise explain_start(error, path=self.path, interpreter=self.interpreter, cwd=self.cwd) from error

    # What becomes of the answer.

    def _onward(self, environ: Environ, location: str, script_name: str) -> tuple[WSGIApplication, Environ] | None:
        """Who answers a local redirect, and what it is asked; None if the visitor is to go there."""
        if not location or "#" in location:  # only the visitor can follow a fragment
            return None
        app: WSGIApplication = self
        if not is_under(decode_path(location), script_name):
            if "gateway.redirect" not in environ:
                return None
            app, script_name = environ["gateway.redirect"], ""
        onward = redirected(environ, location, script_name)
        onward["gateway.redirects"] = environ.get("gateway.redirects", 0) + 1
        return app, onward

    def _refuse(self, error: Exception, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One log line, and a clean page that tells the visitor no more than the status."""
        if isinstance(error, ScriptError):
            status = error.status_hint
            log().error("%s", error)
        elif isinstance(error, ProtocolError):
            status = error.status_hint
            log().warning("%s: refused with %s: %s", self.path, status, error)
        else:
            status = "400 Bad Request"
            log().info("%s: %s", self.path, error)
        page = f"{status}\n".encode("latin-1")
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(page)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [page]


def search_words(params: Mapping[str, str]) -> list[bytes]:
    """The command line of an indexed query (RFC 3875 §4.4): its words decoded, or none of them.

    None if one could be taken for an option (CVE-2012-1823), is empty, or cannot be an argument.

    >>> search_words({"REQUEST_METHOD": "GET", "QUERY_STRING": "two+w%6Frds"})
    [b'two', b'words']
    >>> search_words({"REQUEST_METHOD": "GET", "QUERY_STRING": "-d+allow_url_include%3Don"})
    []
    """
    query = params["QUERY_STRING"]
    if not query or "=" in query or params["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return []
    words = [unquote_to_bytes(word.encode("latin-1")) for word in query.split("+")]
    usable = all(word and b"\0" not in word and not word.lstrip().startswith(b"-") for word in words)
    return words if usable else []
