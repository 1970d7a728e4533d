"""``flup``: its servers, with their signatures, over gateway's pipe.

flup has a class for each pair of a wire and a process model; here they differ by these two words, see ``SERVERS``.
What is better than with flup: the pool of forked processes grows, and all stop on SIGTERM at once; requests are read
before they occupy a thread; a socket file that a running server owns is not taken from it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from contextlib import contextmanager
from inspect import Parameter, Signature
from io import BytesIO

from gateway.address import Address, inherited_sockets, listen, remove
from gateway.compat.flup_client import FCGIApp, SCGIApp
from gateway.compat.lenient import Lenient
from gateway.entry import build_worker
from gateway.environ import is_under
from gateway.errors import ConfigError
from gateway.events import AUTHORIZER, FILTER, RESPONDER, Response, ResponseBody
from gateway.head import ResponseReader
from gateway.limits import Limits
from gateway.protocols import options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from gateway.compat.lenient import Page
    from gateway.environ import Environ

SERVERS = {
    "fcgi": ("fastcgi", "threads"),
    "fcgi_fork": ("fastcgi", "fork"),
    "fcgi_single": ("fastcgi", "single"),
    "scgi": ("scgi", "threads"),
    "scgi_fork": ("scgi", "fork"),
    "ajp": ("ajp", "threads"),
    "ajp_fork": ("ajp", "fork"),
}
"""The modules of ``flup.server``: what each speaks, and how it answers several requests at once."""
THREADS = 50
"""How many threads a server has that was not told.  flup: as many as there are connections; of its forks, 50."""


class NoDefault:
    """``flup.server.NoDefault``: the scriptName that nobody gave."""


# What a constructor takes after the application, in flup's order: the wire's, the model's, the wire's again, the
# model's again; the last ones by their names only.
_FIRST: dict[str, dict[str, Any]] = {
    "fastcgi": {"environ": None},
    "scgi": {"scriptName": NoDefault, "environ": None},
    "ajp": {"scriptName": "", "environ": None},
}
_SECOND: dict[str, dict[str, Any]] = {"threads": {"multithreaded": True, "multiprocess": False}}
_LOGGED: dict[str, Any] = {"allowedServers": None, "loggingLevel": logging.INFO, "debug": False}
_THIRD: dict[str, dict[str, Any]] = {
    "fastcgi": {
        "bindAddress": None, "umask": None, "multiplexed": False, "debug": False, "roles": (RESPONDER,),
        "forceCGI": False,
    },
    "scgi": {"bindAddress": ("localhost", 4000), "umask": None, **_LOGGED},
    "ajp": {"bindAddress": ("localhost", 8009), **_LOGGED},
}  # fmt: skip
_FOURTH: dict[str, dict[str, Any]] = {"fork": {"timeout": None}}
_SPARES = {"minSpare": 1, "maxSpare": 5}
_NAMED: dict[str, dict[str, Any]] = {
    "threads": {**_SPARES, "maxThreads": sys.maxsize},
    "fork": {
        **_SPARES, "maxChildren": 50, "maxRequests": 0, "sockTimeout": 0, "multithreaded": False, "multiprocess": True,
    },
    "single": {"multithreaded": False, "multiprocess": False},
}  # fmt: skip
_DEFAULTS = {
    **_NAMED["fork"], **_NAMED["threads"], **_FIRST["scgi"], **_SECOND["threads"], **_THIRD["scgi"],
    **_THIRD["fastcgi"], **_FOURTH["fork"], "loggingLevel": logging.WARNING,
}  # fmt: skip

_PAGE = b"""<!DOCTYPE html>
<title>Unhandled Exception</title>
<h1>Unhandled Exception</h1>
<p>The application failed on this request.  The log says why.</p>
"""


def signature(wire: str = "fastcgi", model: str = "threads") -> Signature:
    """What a server of flup's is constructed with."""
    positional = _FIRST[wire] | _SECOND.get(model, {}) | _THIRD[wire] | _FOURTH.get(model, {})
    parameters = [Parameter("application", Parameter.POSITIONAL_OR_KEYWORD)]
    for kind, options in (
        (Parameter.POSITIONAL_OR_KEYWORD, positional), (Parameter.KEYWORD_ONLY, _NAMED[model]),
    ):  # fmt: skip
        parameters += [Parameter(name, kind, default=default) for name, default in options.items()]
    return Signature(parameters)


class _Output(BytesIO):
    """Takes text as well."""

    def write(self, data: Any) -> int:
        return super().write(data.encode("latin-1") if isinstance(data, str) else data)


class Request:
    """What an overridden ``error()`` gets: the request, and ``stdout``, where the whole response is written."""

    def __init__(self, server: WSGIServer, environ: Environ) -> None:
        self.server = server
        self.params = self.environ = environ
        self.role: int = environ.get("gateway.role", RESPONDER)
        self.stdin = self.input = environ["wsgi.input"]
        self.stderr = environ["wsgi.errors"]
        self.stdout = _Output()

    def startResponse(self, status: int, reason: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The head of the response, as flup's AJP requests have it."""
        self.write(b"Status: %d %b\r\n" % (status, reason))
        self.stdout.writelines(b"%b: %b\r\n" % header for header in headers)
        self.write(b"\r\n")

    def write(self, data: bytes | str) -> None:
        """Some of its body."""
        self.stdout.write(data)

    def response(self) -> Page:
        """What was written.  Raises RemoteProtocolError if it is no response."""
        reader = ResponseReader(Limits.head_size)
        events = reader.feed(self.stdout.getvalue())
        reader.feed_eof()
        head, *body = events
        assert isinstance(head, Response)
        return head.status, head.headers, b"".join(part.data for part in body if isinstance(part, ResponseBody))


class WSGIServer:
    """A server of flup's: ``run()`` serves the application until a signal ends it.

    ``bindAddress`` None is the socket that the web server hands over, or else CGI.  ``maxThreads`` is the number of
    threads, 50 if it is not given; ``minSpare``, ``maxSpare``, ``maxChildren``, ``maxRequests`` and ``timeout`` are
    as with flup for processes.  ``sockTimeout`` and the spares of threads change nothing: nobody waits for them.
    """

    wire = "fastcgi"
    model = "threads"
    __signature__ = signature()

    def __init__(self, *args: Any, **options: Any) -> None:
        bound = self.__signature__.bind(*args, **options)
        bound.apply_defaults()
        self._given = given = _DEFAULTS | bound.arguments
        if not 1 <= given["minSpare"] <= given["maxSpare"]:
            spares = f"minSpare={given['minSpare']}, maxSpare={given['maxSpare']}"
            raise ValueError(f"{spares}: minSpare is at least 1, and maxSpare at least minSpare")
        if type(self)._isClientAllowed is not WSGIServer._isClientAllowed:
            raise ConfigError(
                f"{type(self).__name__} overrides _isClientAllowed(), which is not asked here: name the web servers in "
                "allowedServers=, or in the environment variable FCGI_WEB_SERVER_ADDRS"
            )
        self.application = given["application"]
        self.environ: dict[str, Any] = given["environ"] or {}
        self.multithreaded: bool = given["multithreaded"]
        self.multiprocess: bool = given["multiprocess"]
        self.debug: bool = given["debug"]
        self.roles: tuple[int, ...] = given["roles"]
        self.forceCGI: bool = given["forceCGI"]
        self.scriptName = given["scriptName"]
        self.logger = logging.getLogger(f"gateway.{self.wire}")
        self.logger.setLevel(given["loggingLevel"])
        self._hup: bool | None = None  # was it SIGHUP that ended run()?  None: nothing has yet
        self._stop: Callable[[], object] = bool
        self._handlers: dict[int, Any] = {}

    def run(self) -> bool:
        """Serve until SIGHUP, SIGINT or SIGTERM; True if it was SIGHUP: flup's users start anew then."""
        bind = self._given["bindAddress"]
        force = self.forceCGI or os.environ.get("FCGI_FORCE_CGI", "").upper().startswith("Y")
        with handed_over(force_cgi=force) if bind is None else self._listening(bind) as sockets:
            if sockets:
                return self.serve(sockets)
        self.run_once()
        sys.exit(0)

    def run_once(self) -> None:
        """Answer the one request of a CGI process."""
        from gateway.workers.once import read_params, run_once

        run_once(self.served, params={"REQUEST_METHOD": "GET"} | read_params(), mount=self._mount)

    def serve(self, sockets: list[socket.socket]) -> bool:
        """As :meth:`run`, on sockets that listen already, and are closed in the end."""
        if self._given["multiplexed"]:
            self.logger.warning("multiplexed=True: the requests of one connection are answered one by one here")
        return self._run_pool(sockets) if self.model == "fork" else self._run_threads(sockets)

    def error(self, req: Any) -> None:
        """Answer a request that the application failed on; to be overridden.  The log has the traceback."""
        page = _PAGE
        if self.debug:
            try:
                import cgitb

                page = cgitb.html(sys.exc_info()).encode("latin-1", "xmlcharrefreplace")
            except ModuleNotFoundError:
                self.logger.warning("debug=True wants cgitb, which Python 3.13 dropped: pip install 'gateway[legacy]'")
        req.startResponse(500, b"Internal Server Error", [(b"Content-Type", b"text/html")])
        req.write(page)

    def shutdown(self) -> None:
        """Nothing is left to wait for once ``run()`` has returned."""

    # -- what flup's users override or call, though its name is not public

    def _isClientAllowed(self, addr: Any) -> Any:
        """Never called: who overrides it is told so."""

    def _mainloopPeriodic(self) -> None:
        """Called about once a second."""

    def _installSignalHandlers(self) -> None:
        """Overridden to do nothing by those who serve from a thread."""
        for name in ("SIGHUP", "SIGINT", "SIGTERM"):
            if number := getattr(signal, name, None):
                self._handlers[number] = signal.signal(number, lambda number, _: self._exit(number == signal.SIGHUP))

    def _restoreSignalHandlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _exit(self, reload: bool = False) -> None:  # noqa: FBT001, FBT002 (flup's signature)
        self._hup = reload
        self._stop()

    # -- the application

    @property
    def served(self) -> Lenient:
        """The application as it is served."""
        return Lenient(self._call, on_error=self._answer_error)

    def _call(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        role = environ.get("gateway.role", RESPONDER)
        if role not in self.roles:
            raise ConfigError(f"the web server asks in role {role}, and roles={self.roles} does not have it")
        if "SCRIPT_NAME" in self.environ:
            _split_anew(environ, self.environ["SCRIPT_NAME"])
        environ.update(self.environ)
        return self.application(environ, start_response)

    def _answer_error(self, environ: Environ) -> Page:
        import traceback

        text = traceback.format_exc()
        environ["wsgi.errors"].write(text)
        if environ["wsgi.errors"] is not sys.stderr:
            self.logger.error("the application failed\n%s", text.rstrip("\n"))
        request = Request(self, environ)
        self.error(request)
        return request.response()

    # -- how it is served

    @property
    def _mount(self) -> str | None:
        return self.scriptName if isinstance(self.scriptName, str) else None

    @contextmanager
    def _listening(self, bind: str | tuple[Any, ...]) -> Iterator[list[socket.socket]]:
        address = parse_address(bind)
        if address.kind == "tcp" and self._given.get("allowedServers"):
            os.environ["FCGI_WEB_SERVER_ADDRS"] = ",".join(self._given["allowedServers"])  # where workers look
        with listen(address, umask=self._given["umask"]) as sock:
            try:
                yield [sock]
            finally:
                remove(address)

    def _run_threads(self, sockets: list[socket.socket]) -> bool:
        most = self._given["maxThreads"] if self.multithreaded and self.model == "threads" else 1
        worker = build_worker(
            self.served, sockets, protocol=self.wire, mount=self._mount, log=self.logger,
            threads=THREADS if most == sys.maxsize else most, multiprocess=self.multiprocess,
            heartbeat=self._mainloopPeriodic,
            wire_options=options_of(self.wire, {"secret": os.environ.get("GATEWAY_SECRET", "")}),
        )  # fmt: skip
        self._stop = worker.stop
        self._installSignalHandlers()
        try:
            if self._hup is not None:  # told to end before there was something to end
                worker.stop()
            worker.run()
        finally:
            self._restoreSignalHandlers()
            hup, self._hup = self._hup, None
        return bool(hup)

    def _run_pool(self, sockets: list[socket.socket]) -> bool:
        from gateway.compat.pool import run_pool

        given = self._given
        return run_pool(
            self.served, sockets, wire=self.wire, mount=self._mount, level=given["loggingLevel"],
            spare=(given["minSpare"], given["maxSpare"]), most=given["maxChildren"],
            max_requests=given["maxRequests"], timeout=given["timeout"],
        )  # fmt: skip


def parse_address(bind: str | tuple[Any, ...]) -> Address:
    """A bindAddress: the path of a unix socket, host and port, or the four fields of an IPv6 address.

    >>> parse_address("/run/app.sock"), parse_address(("", 9000)), parse_address(("::1", 9000, 0, 0))
    (Address('unix:/run/app.sock'), Address('0.0.0.0:9000'), Address('[::1]:9000'))
    """
    if isinstance(bind, str):
        return Address(path=bind)
    host, port = bind[:2]
    return Address(host=host or ("0.0.0.0" if len(bind) == 2 else "::"), port=port)


@contextmanager
def handed_over(*, force_cgi: bool = False) -> Iterator[list[socket.socket]]:
    """The sockets of who started this process: none if that is CGI, or is taken for it.

    Descriptor 0 is put back in the end: ``run()`` may be called once more, or the script be started anew.
    """
    try:
        stdin = os.fstat(0)
    except OSError:
        stdin = None  # it is closed
    taken = [] if force_cgi else inherited_sockets()
    served = [sock.dup() for sock in taken]  # a worker that stops closes them
    try:
        yield served
    finally:
        for sock in taken:
            if stdin and os.path.samestat(stdin, os.fstat(sock.fileno())):
                os.dup2(sock.fileno(), 0)
        for sock in taken + served:
            sock.close()


def _split_anew(environ: Environ, script: str) -> None:
    """The path where somebody states SCRIPT_NAME and the web server sent no PATH_INFO, or one with that in it."""
    whole = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
    if not environ["PATH_INFO"] or (script and is_under(whole, script)):
        environ["PATH_INFO"] = whole.removeprefix(script)


class CGIServer(WSGIServer):
    """``flup.server.cgi.WSGIServer``: CGI and nothing else."""

    __signature__ = Signature([Parameter("application", Parameter.POSITIONAL_OR_KEYWORD)])

    def run(self) -> bool:
        """Answer the one request of this process."""
        self.run_once()
        return False


def server(name: str) -> type[WSGIServer]:
    """The ``WSGIServer`` of a module of ``flup.server``."""
    wire, model = SERVERS[name]
    return type("WSGIServer", (WSGIServer,), {
        "__module__": f"flup.server.{name}", "__doc__": WSGIServer.__doc__, "wire": wire, "model": model,
        "__signature__": signature(wire, model),
    })  # fmt: skip


_ROLES: dict[str, object] = {"FCGI_RESPONDER": RESPONDER, "FCGI_AUTHORIZER": AUTHORIZER, "FCGI_FILTER": FILTER}
MODULES: dict[str, dict[str, object]] = {
    "flup": {},
    "flup.server": {"NoDefault": NoDefault},
    **{f"flup.server.{name}": {"WSGIServer": server(name), **_ROLES} for name in SERVERS},
    "flup.server.cgi": {"WSGIServer": CGIServer},
    "flup.server.fcgi_base": _ROLES,
    "flup.client": {},
    "flup.client.fcgi_app": {"FCGIApp": FCGIApp},
    "flup.client.scgi_app": {"SCGIApp": SCGIApp},
}
"""What is in each module of flup's."""
