"""What CGIScript and CGIDirectory have in common: one request, one run of a program (RFC 3875 §3).

Everything but :meth:`CGIHost.__call__` and what it does with the body is free of waiting, so that an event loop may
drive the same requests.
"""

from __future__ import annotations

import atexit
import os
import weakref
from abc import ABC, abstractmethod
from functools import cached_property

from gateway.environ import decode_path, is_under, redirected
from gateway.errors import ConfigError, ProtocolError, RequestAborted, ScriptError
from gateway.limits import Limits
from gateway.script.answer import Answer
from gateway.script.body import Body
from gateway.script.children import Children
from gateway.script.execution import Executions
from gateway.script.faults import log
from gateway.script.program import PASS_ENVIRONMENT, Surroundings
from gateway.script.resolve import Script
from gateway.script.run import Run
from gateway.script.static import FileBlocks, answer_plainly
from gateway.script.variables import meta_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import IO, TypeAlias

    from gateway.environ import Environ
    from gateway.events import Headers
    from gateway.script.aio import ScriptDoor
    from gateway.script.aio_run import AioRun
    from gateway.script.execution import Choice
    from gateway.script.resolve import Found

    StartResponse: TypeAlias = Callable[..., object]
    WSGIApplication: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

_RETRY_AFTER = "5"
"""Seconds after which a visitor may find a free child."""


_hosts: weakref.WeakSet[CGIHost] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A server that is stopped does not leave programs behind that talk to nobody."""
    for host in list(_hosts):
        host.close()


class CGIHost(ABC):
    """A WSGI application that runs a CGI program for each request; :meth:`find` says which.

    ``execution`` is how: ``"spawn"`` (a process, any language), ``"fork"``, ``"inprocess"`` (Python scripts), or a
    mapping of patterns of file names to these, the first that fits counts: ``{"*.py": "fork", "*": "spawn"}``.

    ``timeout``: seconds in which the program neither takes input nor gives output before it is ended, 0 for no limit
    (Apache: CGIDScriptTimeout).  Output that nobody reads, the body of an answer to HEAD say, does not count.  One that
    has closed its stdout may go on for as long, unseen by the visitor; ``close()`` of the response waits for it.

    Of our own environment, or else of what a web server says with a request (``fastcgi_param``), the program gets the
    variables that ``pass_environment`` names, then the meta-variables, then ``environment``, which wins.

    ``umask``, and for root ``user`` and ``group`` (names or numbers), are what the program runs with; ``limits`` bounds
    what it may use: ``max_children``, ``request_timeout``, ``head_size``, ``output_size``, ``script_cpu``,
    ``script_memory``, ``script_files``.

    Output that begins with an HTTP status line (RFC 3875 §5, NPH) is understood, whatever the program is called.

    A local redirect (RFC 3875 §6.2.2) to a path that is ours is followed here.  One to another path is handed to
    ``environ["gateway.redirect"]``, a WSGI application that serves the whole site: SCRIPT_NAME is then "".  Without one
    the visitor is sent there by a 302.

    A program at fault before its head is whole gives a 500, 502, 503 or 504 and a line in the log ``gateway.script``;
    one at fault after it raises ScriptError from the body's iterator, so that the server cuts the response visibly.
    """

    def __init__(
        self, name: str, *, execution: Choice = "spawn", timeout: float = 30.0,
        environment: Mapping[str, str] | None = None, pass_environment: Iterable[str] = PASS_ENVIRONMENT,
        umask: int | None = None, user: str | int | None = None, group: str | int | None = None,
        limits: Limits | None = None,
    ) -> None:  # fmt: skip
        if os.name != "posix":
            raise ConfigError("CGI programs need process groups and pipes that can be polled: use a POSIX system")
        self.timeout = timeout
        self.limits = limits or Limits()
        self.executions = Executions(execution)
        self.surroundings = Surroundings(
            environment=environment or {}, pass_environment=pass_environment, umask=umask, user=user, group=group,
            limits=self.limits,
        )  # fmt: skip
        self.children = Children(self.limits)
        self._name = name
        self.runs: set[Run | AioRun] = set()
        """What runs now."""
        _hosts.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}>"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        try:
            found = self.find(environ)
            if not isinstance(found, Script):
                return _send(*answer_plainly(found, environ), environ, start_response)
            run = self._start(environ, found)
            response = run.head()
            onward = self.onward(environ, response.local_redirect, mount=found.mount)
            if onward is not None:
                run.exhaust()
        except (ScriptError, ProtocolError, RequestAborted) as error:
            status, headers, page = self.refuse(error)
            start_response(status, headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [page]
        if onward is not None:
            app, again = onward
            return app(again, start_response)
        try:
            start_response(response.status, response.headers)
        except BaseException:
            run.abort()
            raise
        return run

    @cached_property
    def asgi(self) -> ScriptDoor:
        """The same as an ASGI application, for uvicorn, hypercorn, daphne, and to be mounted in Starlette or FastAPI.

        The programs run in the event loop that calls it, on the same terms, without a thread for any.  A visitor who
        goes away, or a task that is cancelled, takes the program along.  ``scope["gateway.redirect"]`` is an ASGI
        application that serves the whole site.  The server's lifespan ends what still runs, or :meth:`close` does.
        """
        from gateway.script.aio import ScriptDoor

        return ScriptDoor(self)

    def check_model(self, model: str) -> None:
        """Raise ConfigError if a worker of this model cannot keep what a strategy keeps for later requests."""
        if model == "fork" and "fork" in self.executions.names:
            raise ConfigError(
                "worker model fork ends its process with each request, and with it the interpreter that execution fork "
                "keeps warm: use worker model threads, which leaves the scripts as isolated"
            )

    def close(self) -> None:
        """End what still runs, and let go of what the strategies keep for later requests.  Also when Python ends."""
        for run in list(self.runs):
            run.terminate()
        self.executions.close()

    @abstractmethod
    def find(self, environ: Environ) -> Found:
        """What is to be run for a request, or what answers it otherwise.  Raises ProtocolError, ScriptError."""

    def _start(self, environ: Environ, script: Script) -> Run:
        params = self.params(environ, script)
        body = Body(environ, limits=self.limits)
        try:
            if body.announced:
                params["CONTENT_LENGTH"] = str(body.left)
            program = self.surroundings.program(script, params)
            self.children.enter(script.path)
        except BaseException:
            body.close()
            raise
        try:
            process = self.executions.choose(script.path).start(program, stdin=body.left > 0)
        except BaseException:
            self.children.leave()
            body.close()
            raise
        answer = Answer(program, params, errors=environ["wsgi.errors"], limits=self.limits)
        run = Run(process, answer, body, timeout=self.timeout, limits=self.limits, ended=self.ended)
        self.runs.add(run)
        return run

    def ended(self, run: Run | AioRun) -> None:
        """Nothing is left of a run."""
        self.runs.discard(run)
        self.children.leave()

    def params(self, environ: Environ, script: Script) -> dict[str, str]:
        """The meta-variables but CONTENT_LENGTH.  Raises ScriptError on a circle of local redirects."""
        params = meta_variables(environ, script)
        for name in self.surroundings.of_request:
            if isinstance(value := environ.get(name), str):
                params.setdefault(name, value)
        if environ.get("gateway.redirects", 0) > self.limits.local_redirects:
            raise ScriptError(
                f"{script.path}: more than {self.limits.local_redirects} local redirects (limit local_redirects), "
                f"the last to {params['REQUEST_URI']}: the Location of one of them leads back to an earlier one",
                status_hint="500 Internal Server Error",
            )
        return params

    def onward(self, environ: Environ, location: str, *, mount: str) -> tuple[WSGIApplication, Environ] | None:
        """Who answers a local redirect, and what it is asked; None if the visitor is to go there."""
        if not location or "#" in location:  # only the visitor can follow a fragment
            return None
        app: WSGIApplication = self
        if not is_under(decode_path(location), mount):
            if "gateway.redirect" not in environ:
                return None
            app, mount = environ["gateway.redirect"], ""
        onward = redirected(environ, location, mount)
        onward["gateway.redirects"] = environ.get("gateway.redirects", 0) + 1
        return app, onward

    def refuse(self, error: Exception) -> tuple[str, Headers, bytes]:
        """One log line, and a clean page that tells the visitor no more than the status."""
        status = getattr(error, "status_hint", "400 Bad Request")
        if isinstance(error, ScriptError):
            log().error("%s", error)
        elif isinstance(error, ProtocolError):
            log().warning("%s: refused with %s: %s", self._name, status, error)
        else:
            log().info("%s: %s", self._name, error)
        page = f"{status}\n".encode("latin-1")
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(page)))]
        if status[:3] == "503":
            headers.append(("Retry-After", _RETRY_AFTER))
        return status, headers, page


def _send(
    status: str, headers: Headers, file: IO[bytes] | None, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    try:
        start_response(status, headers)
    except BaseException:
        if file is not None:
            file.close()
        raise
    return [] if file is None else environ.get("wsgi.file_wrapper", FileBlocks)(file)
