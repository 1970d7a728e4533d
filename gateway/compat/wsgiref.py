"""``wsgiref.handlers``: its CGI handlers over gateway's pipe, with their hooks.

What changes: the environ is repaired, the response audited, HEAD has no body, what is printed does not get into the
response; and a script that a FastCGI web server starts serves until it is stopped.  ``headers_class``,
``origin_server`` and ``http_version`` have no meaning here.
"""

from __future__ import annotations

import sys
from wsgiref import handlers

from gateway.apps.wsgi import WSGIRunner
from gateway.compat.lenient import Lenient
from gateway.events import APPLICATION, Request
from gateway.exchange import BLOCK, Exchange
from gateway.limits import Limits
from gateway.protocols import connection_class
from gateway.workers.once import StderrLog, run_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gateway.compat.lenient import Page
    from gateway.environ import Environ
    from gateway.events import Connection, Params

__all__ = ["BaseCGIHandler", "CGIHandler", "IISCGIHandler"]

_STATED = ("wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "wsgi.file_wrapper")
"""What the handler says, and not the pipe."""


class BaseCGIHandler(handlers.BaseCGIHandler):
    """One CGI-like request over the streams that are given."""

    environ: dict[str, Any]

    def run(self, application: Callable[..., Any]) -> None:
        """Answer the request."""
        self.setup_environ()
        environ: Environ = dict(self.environ)
        of_wsgi = {name: environ.pop(name) for name in list(environ) if not isinstance(environ[name], str)}
        stated = {name: value for name, value in of_wsgi.items() if name in _STATED or not name.startswith("wsgi.")}

        def call(environ: Environ, start_response: Callable[..., Any]) -> Any:
            environ.update(stated)
            self.environ = environ
            return application(environ, start_response)

        self._answer(Lenient(call, on_error=self._answer_error), environ)

    def _answer(self, app: Lenient, params: Params) -> None:
        connection = connection_class("cgi")(APPLICATION, params=params)
        peer = _Streams(connection, self.get_stdin(), self.stdout)
        request, *rest = connection.events()
        assert isinstance(request, Request)
        peer.exchange = Exchange(request, connection, peer=peer, limits=Limits(), log=StderrLog())
        for event in rest:
            peer.exchange.receive(event)
        WSGIRunner(app, log=StderrLog())(peer.exchange)
        peer.exchange.close()

    def _answer_error(self, environ: Environ) -> Page:
        self.log_exception(sys.exc_info())
        said: list[Any] = []
        start_response: Any = lambda *head: said.append(head)  # noqa: E731
        page = b"".join(self.error_output(environ, start_response))
        return said[-1][0], said[-1][1], page


class _OfProcess(BaseCGIHandler):
    """The request of a CGI process; all requests of one that a FastCGI web server started."""

    def run(self, application: Callable[..., Any]) -> None:
        """Answer the request, or one after the other until a signal ends it."""
        if self._has_streams_of_process() and "REQUEST_METHOD" not in self.base_env:
            from gateway.compat.flup import handed_over, server

            with handed_over() as sockets:
                if sockets:
                    server("fcgi_single")(application).serve(sockets)
                    return
        super().run(application)

    def _has_streams_of_process(self) -> bool:
        ours = [getattr(stream, "buffer", None) for stream in (sys.__stdin__, sys.__stdout__)]
        return self.stdin is ours[0] and self.stdout is ours[1]

    def _answer(self, app: Lenient, params: Params) -> None:
        if self._has_streams_of_process():
            run_once(app, params=params)
        else:
            super()._answer(app, params)


class CGIHandler(_OfProcess, handlers.CGIHandler):
    """``CGIHandler().run(application)``."""


class IISCGIHandler(_OfProcess, handlers.IISCGIHandler):
    """The same for IIS, which may repeat SCRIPT_NAME in PATH_INFO."""


class _Streams:
    """File objects as the peer of one exchange."""

    def __init__(self, connection: Connection, stdin: Any, stdout: Any) -> None:
        self._connection = connection
        self._stdin = stdin
        self._stdout = stdout
        self.exchange: Exchange

    def push(self) -> None:
        """Write what there is."""
        self._stdout.writelines(self._connection.data_to_send())
        self._stdout.flush()

    def pull(self) -> None:
        """Read some, but never beyond the body: the stream may go on with something else."""
        left: int | None = getattr(self._connection, "body_left", None)
        data = self._stdin.read(BLOCK if left is None else min(left, BLOCK))
        if data:
            self._connection.receive_data(data)
        else:
            self._connection.receive_eof()
        for event in self._connection.events():
            self.exchange.receive(event)

    def fileno(self) -> int:
        """What pull() reads."""
        number: int = self._stdin.fileno()
        return number
