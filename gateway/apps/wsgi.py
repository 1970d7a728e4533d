"""A WSGI application at the end of an exchange: the one ``start_response`` (PEP 3333)."""

from __future__ import annotations

import sys

from gateway.environ import ADVICE, base_environ, build_environ, check_mount, needs_advice
from gateway.errors import ApplicationError, RemoteProtocolError, RequestAborted
from gateway.events import AUTHORIZER, FILTER, RESPONDER
from gateway.exchange import BLOCK, ErrorStream, Spool
from gateway.head import is_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from mmap import mmap
    from types import TracebackType
    from typing import IO, Any, TypeAlias

    from gateway.environ import Environ
    from gateway.events import Headers
    from gateway.exchange import Exchange, Log

    ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    WSGIApplication: TypeAlias = Callable[[Environ, Callable[..., Callable[[bytes], None]]], Iterable[bytes]]


class FileWrapper:
    """``wsgi.file_wrapper``: a file as an iterable of blocks (PEP 3333, optional platform-specific file handling)."""

    def __init__(self, file: IO[bytes], block_size: int = BLOCK) -> None:
        self._read = file.read
        self._size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._read(self._size), b"")


class _Call:
    """One call of the application: its ``start_response`` and ``write``."""

    __slots__ = ("_exchange", "_started")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._started = False

    def start_response(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Callable[[bytes], None]:
        """PEP 3333, "The start_response() Callable"."""
        if exc_info and exc_info[1] is not None:
            try:
                if self._exchange.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no circular reference
        elif self._started:
            raise ApplicationError("start_response() was called twice without exc_info (PEP 3333)")
        if status.__class__ is not str or status not in _good_statuses:
            _check_status(status)
        if headers.__class__ is not list:
            raise ApplicationError(f"response headers are a {type(headers).__name__}, not a list (PEP 3333)")
        self._exchange.respond(status, headers)
        self._started = True
        return self.write

    def write(self, data: bytes) -> None:
        """PEP 3333, "The write() Callable": sent before it returns."""
        self.send(data)
        self._exchange.flush()

    def send(self, block: bytes) -> None:
        """One block of the body."""
        if block.__class__ is not bytes and not isinstance(block, bytes):
            raise ApplicationError(
                f"the application gave a block of type {type(block).__name__}, not bytes (PEP 3333): {block!r:.60}"
            )
        if not self._started:
            raise ApplicationError("the application sent a body before it called start_response() (PEP 3333)")
        if block:
            self._exchange.write(block)

    def finish(self) -> None:
        """The application is done."""
        if not self._started:
            raise ApplicationError("the application returned without calling start_response() (PEP 3333)")
        self._exchange.end()


_TOO_LARGE = "413 Content Too Large"
_good_statuses = {"200 OK", "302 Found", "304 Not Modified", "404 Not Found"}


def _check_status(status: str) -> None:
    # PEP 3333: "a status string of the form '999 Message here'"
    if not isinstance(status, str):
        raise ApplicationError(f"status is a {type(status).__name__}, not a native string (PEP 3333)")
    if not is_status(status):
        raise ApplicationError(f"status {status[:60]!r} is not of the form '200 OK' (PEP 3333)")
    if len(_good_statuses) < 200 and status.isprintable():
        _good_statuses.add(status)


_KINDS = list(ADVICE)


class WSGIRunner:
    """Runs one WSGI application for one exchange after the other; a worker calls it with each.

    ``mount`` is as in :func:`gateway.environ.build_environ`.  ``after(environ, exchange)`` is called after each run if
    given: access logs, hooks.
    """

    def __init__(
        self, app: WSGIApplication, *, log: Log, mount: str | None = None, multithread: bool = False,
        multiprocess: bool = False, run_once: bool = False,
        after: Callable[[Environ, Exchange], None] | None = None,
    ) -> None:  # fmt: skip
        self.app = app
        self._log = log
        self._mount = None if mount is None else check_mount(mount)
        self._base = base_environ(multithread=multithread, multiprocess=multiprocess, run_once=run_once)
        self._base["wsgi.file_wrapper"] = FileWrapper
        self._advised: bytearray | mmap = bytearray(len(ADVICE))  # which repairs were advised on
        if multiprocess and not run_once:
            from mmap import mmap  # shared with the children that a worker forks

            self._advised = mmap(-1, len(ADVICE))
        self._after = after

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request.  Only SystemExit, KeyboardInterrupt and their like come out of it."""
        try:
            environ = self._environ(exchange)
        except RemoteProtocolError as error:
            self._ending(exchange, exchange.refuse, error)
            return
        try:
            self._run(exchange, environ)
        finally:
            if self._after is not None:
                self._guard(exchange, environ, self._after, environ, exchange)

    def _environ(self, exchange: Exchange) -> Environ:
        request = exchange.request
        environ = build_environ(request.params, self._base, self._mount, repeated=request.repeated)
        if exchange.too_large:
            raise RemoteProtocolError(
                f"the request body is longer than limit body_size={exchange.limits.body_size}", status_hint=_TOO_LARGE
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
        environ["wsgi.input"] = exchange.open_body()
        environ["wsgi.errors"] = ErrorStream(exchange) if exchange.connection.error_channel else sys.stderr
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

    def _run(self, exchange: Exchange, environ: Environ) -> None:
        call = _Call(exchange)
        result: Any = None
        try:
            result = self.app(environ, call.start_response)
            if result.__class__ is list or result.__class__ is tuple:
                # All of the body is there: it need not be pushed block by block, and one block tells its length.
                if len(result) == 1 and result[0].__class__ is bytes:
                    exchange.set_length(len(result[0]))
                for block in result:
                    call.send(block)
            elif result is None or isinstance(result, (str, bytes)):
                raise ApplicationError(
                    f"the application returned {type(result).__name__}, not an iterable of bytes (PEP 3333): "
                    "let it return a list"
                )
            else:
                for block in result:
                    if block or block.__class__ is not bytes:
                        call.send(block)
                        exchange.flush()
            call.finish()
        except RequestAborted as error:
            self._log.info("%s %s: %s", environ["REQUEST_METHOD"], environ.get("REQUEST_URI", ""), error)
            self._ending(exchange, exchange.fail, _TOO_LARGE if exchange.too_large else "400 Bad Request")
        except Exception as error:
            self._report(exchange, environ, error)
            self._ending(exchange, exchange.fail, "500 Internal Server Error")
        except BaseException as error:
            self._report(exchange, environ, error)
            self._ending(exchange, exchange.fail, "500 Internal Server Error")
            raise
        finally:
            if result.__class__ is not list and hasattr(result, "close"):
                self._guard(exchange, environ, result.close)

    def _guard(self, exchange: Exchange, environ: Environ, call: Callable[..., object], *arguments: object) -> None:
        """Call what must not harm the worker when the response is over."""
        try:
            call(*arguments)
        except Exception as error:
            self._report(exchange, environ, error)

    def _ending(self, exchange: Exchange, how: Callable[[Any], None], why: object) -> None:
        """Say a last word to a web server that may no longer listen."""
        try:
            how(why)
        except RequestAborted:
            return  # and the log says why there was one

    def _report(self, exchange: Exchange, environ: Environ, error: BaseException) -> None:
        """The traceback goes to the web server's error log and to ours, never to the visitor."""
        import traceback  # only a failing application pays for this import

        what = f"{environ['REQUEST_METHOD']} {environ['SCRIPT_NAME']}{environ['PATH_INFO']}"
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._log.error("the application failed on %s\n%s", what, text.rstrip("\n"))
        if exchange.connection.error_channel and not exchange.ended:
            exchange.report(f"{what}: {text}")
