"""Application adapters: how an exchange is put to a WSGI or an ASGI application.

This page holds what both do: recognise the application, make its environ, report what it does wrong.
"""

from __future__ import annotations

from gateway.environ import ADVICE, base_environ, build_environ, check_mount, needs_advice
from gateway.errors import ConfigError, RemoteProtocolError, RequestAborted
from gateway.events import AUTHORIZER, FILTER, RESPONDER
from gateway.exchange import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from typing import Any, TypeAlias

    from gateway.apps.wsgi import WSGIApplication
    from gateway.environ import Environ
    from gateway.exchange import Exchange, Log
    from gateway.scope import ASGIApplication, Receive, Scope, Send

    Application: TypeAlias = WSGIApplication | ASGIApplication

INTERFACES = ("wsgi", "asgi")
"""The kinds of application."""
AUTO = "auto"
_VARARGS, _COROUTINE = 0x04, 0x80  # inspect.CO_…, whose import a CGI process would pay for
_MARKS = ("_is_coroutine_mark", "_is_coroutine_marker", "_is_coroutine")  # inspect's (3.12), asgiref's, asyncio's


def interface_of(app: Any, *, named: str = AUTO) -> str:
    """``"wsgi"`` or ``"asgi"``: what ``app`` is, unless somebody has named it.  Raises ConfigError.

    An ASGI application is a coroutine function, an object or class with an asynchronous ``__call__``, or takes three
    arguments, or one (ASGI 2), where WSGI takes two.

    >>> async def application(scope, receive, send): ...
    >>> interface_of(application), interface_of(lambda environ, start_response: [])
    ('asgi', 'wsgi')
    """
    if named != AUTO:
        if named not in INTERFACES:
            raise ConfigError(f"no interface is called {named!r}; there are: {', '.join(INTERFACES)}, {AUTO}")
        return named
    flags, fewest, most = _signature(app)
    if flags & _COROUTINE or (_kind(app) == "builtins.function" and any(map(app.__dict__.get, _MARKS))):
        return "asgi"
    if isinstance(app, type) or (flags & _VARARGS and most < 3):
        return "wsgi"
    return "asgi" if fewest == 3 or most == 1 else "wsgi"


def as_single_callable(app: Callable[..., Any]) -> ASGIApplication:
    """An application of ASGI 3, also of one of ASGI 2: that is called with the scope, and then with the rest."""
    if not isinstance(app, type) and _signature(app)[2] != 1:
        return app

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope)(receive, send)

    return application


def _kind(app: object) -> str:
    return f"{type(app).__module__}.{type(app).__qualname__}"


def _signature(app: Any) -> tuple[int, int, int]:
    """Of what runs when ``app`` is called (a class: when its instances are): flags, fewest and most arguments.

    Asks types only: a proxy may have every attribute that it is asked for.  Zeros if it is nothing of Python's.
    """
    given = 0
    while _kind(app) == "functools.partial":
        app, given = app.func, given + len(app.args)
    if _kind(app) != "builtins.function":
        given += 1  # self
        if _kind(app) != "builtins.method":
            app = getattr(app if isinstance(app, type) else type(app), "__call__", None)  # noqa: B004
    code = getattr(app, "__code__", None)
    if code is None:
        return 0, 0, 0
    if not code.co_argcount and hasattr(app, "__wrapped__"):
        return _signature(app.__wrapped__)  # a decorator's def wrapper(*args, **kwargs)
    most = code.co_argcount - given
    return code.co_flags, most - len(app.__defaults__ or ()), most


TOO_LARGE = "413 Content Too Large"
_KINDS = list(ADVICE)


class Runner:
    """What runs one application for one exchange after the other, whatever its kind.

    ``mount`` is as in :func:`gateway.environ.build_environ`.  ``before(environ)`` and ``after(environ, exchange)`` are
    called around each run if given: access logs, hooks.
    """

    def __init__(
        self, app: Callable[..., Any], *, log: Log, mount: str | None = None, multithread: bool = False,
        multiprocess: bool = False, run_once: bool = False, before: Callable[[Environ], None] | None = None,
        after: Callable[[Environ, Exchange], None] | None = None,
    ) -> None:  # fmt: skip
        self.app = app
        self._log = log
        self._mount = None if mount is None else check_mount(mount)
        self._base = base_environ(multithread=multithread, multiprocess=multiprocess, run_once=run_once)
        self._advised: bytearray | mmap = bytearray(len(ADVICE))  # which repairs were advised on
        if multiprocess and not run_once:
            from mmap import mmap  # shared with the children that a worker forks

            self._advised = mmap(-1, len(ADVICE))
        self._before = before
        self._after = after

    def environ(self, exchange: Exchange) -> Environ:
        """The environ of a request, but for its body.  Raises RemoteProtocolError on a request that is at fault."""
        request = exchange.request
        environ = build_environ(request.params, self._base, self._mount, repeated=request.repeated)
        if exchange.too_large:
            raise RemoteProtocolError(
                f"the request body is longer than limit body_size={exchange.limits.body_size}", status_hint=TOO_LARGE
            )
        length = environ.get("CONTENT_LENGTH")
        if length is not None and request.role != AUTHORIZER:
            exchange.expected = int(length)
            size = exchange.body_size
            if size > exchange.expected or (size < exchange.expected and exchange.complete and not exchange.aborted):
                raise RemoteProtocolError(f"the body has {size} bytes, CONTENT_LENGTH says {length}")
        elif exchange.complete and exchange.body is not None:
            # A chunked upload arrived whole: applications that look for a length find it.
            environ["CONTENT_LENGTH"] = str(exchange.body_size)
        exchange.is_head = environ["REQUEST_METHOD"] == "HEAD"
        if request.role != RESPONDER:
            environ["gateway.role"] = request.role
        if request.role == FILTER:
            environ["gateway.filter_data"] = (exchange.filter_data or Spool(0)).open()
        if exchange.repairs:
            environ["gateway.repairs"] += exchange.repairs
        if environ["gateway.repairs"]:
            self._advise(environ["gateway.repairs"])
        return environ

    def _advise(self, repairs: tuple[str, ...]) -> None:
        """The first time something had to be repaired, say which line the front end's configuration lacks."""
        for repair in repairs:
            kind = _KINDS.index(repair)
            if not self._advised[kind]:
                self._advised[kind] = 1
                if needs_advice(repair):
                    self._log.warning("environ repaired (%s): %s", repair, ADVICE[repair])

    def refuse(self, exchange: Exchange, error: RemoteProtocolError) -> None:
        """The request itself is at fault."""
        self._say(exchange, exchange.refuse, error)

    def give_up(self, exchange: Exchange, environ: Environ, error: object) -> None:
        """The web server no longer wants an answer, or cannot be given one."""
        self._log.info("%s %s: %s", environ.get("REQUEST_METHOD"), environ.get("REQUEST_URI", ""), error)
        self.end(exchange, TOO_LARGE if exchange.too_large else "400 Bad Request")

    def fail(self, exchange: Exchange, environ: Environ, error: BaseException) -> None:
        """The application failed, or broke a rule of its interface."""
        self.report(exchange, environ, error)
        self.end(exchange, "500 Internal Server Error")

    def end(self, exchange: Exchange, status: str) -> None:
        """End a response that is not whole: with an error page, or visibly cut."""
        self._say(exchange, exchange.fail, status)

    def _guard(self, exchange: Exchange, environ: Environ, call: Callable[..., object], *arguments: object) -> None:
        """Call what must not harm the worker when the response is over."""
        try:
            call(*arguments)
        except Exception as error:
            self.report(exchange, environ, error)

    def _say(self, exchange: Exchange, how: Callable[[Any], None], why: object) -> None:
        """Say a last word to a web server that may no longer listen."""
        try:
            how(why)
        except RequestAborted:
            return  # and the log says why there was one

    def report(self, exchange: Exchange, environ: Environ, error: BaseException) -> None:
        """The traceback goes to the web server's error log and to ours, never to the visitor."""
        import traceback  # only a failing application pays for this import

        what = f"{environ.get('REQUEST_METHOD')} {environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._log.error("the application failed on %s\n%s", what, text.rstrip("\n"))
        if exchange.connection.error_channel and not exchange.ended:
            exchange.report(f"{what}: {text}")
