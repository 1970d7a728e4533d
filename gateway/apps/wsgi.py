"""A WSGI application at the end of an exchange: the one ``start_response`` (PEP 3333)."""

from __future__ import annotations

import sys

from gateway.apps import Runner
from gateway.errors import ApplicationError, RemoteProtocolError, RequestAborted
from gateway.exchange import BLOCK, ErrorStream
from gateway.head import is_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import IO, Any, TypeAlias

    from gateway.environ import Environ
    from gateway.events import Headers
    from gateway.exchange import Exchange

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


_good_statuses = {"200 OK", "302 Found", "304 Not Modified", "404 Not Found"}


def _check_status(status: str) -> None:
    # PEP 3333: "a status string of the form '999 Message here'"
    if not isinstance(status, str):
        raise ApplicationError(f"status is a {type(status).__name__}, not a native string (PEP 3333)")
    if not is_status(status):
        raise ApplicationError(f"status {status[:60]!r} is not of the form '200 OK' (PEP 3333)")
    if len(_good_statuses) < 200 and status.isprintable():
        _good_statuses.add(status)


class WSGIRunner(Runner):
    """Runs one WSGI application for one exchange after the other; a worker calls it with each."""

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request.  Only SystemExit, KeyboardInterrupt and their like come out of it."""
        try:
            environ = self.environ(exchange)
        except RemoteProtocolError as error:
            self.refuse(exchange, error)
            return
        environ["wsgi.file_wrapper"] = FileWrapper
        environ["wsgi.input"] = exchange.open_body()
        environ["wsgi.errors"] = ErrorStream(exchange) if exchange.connection.error_channel else sys.stderr
        try:
            self._run(exchange, environ)
        finally:
            if self._after is not None:
                self._guard(exchange, environ, self._after, environ, exchange)

    def _run(self, exchange: Exchange, environ: Environ) -> None:
        call = _Call(exchange)
        result: Any = None
        try:
            if self._before is not None:
                self._before(environ)
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
            self.give_up(exchange, environ, error)
        except Exception as error:
            self.fail(exchange, environ, error)
        except BaseException as error:
            self.fail(exchange, environ, error)
            raise
        finally:
            if result.__class__ is not list and hasattr(result, "close"):
                self._guard(exchange, environ, result.close)
