"""A middleware that notes what passes an application, of WSGI or ASGI, and changes none of it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from gateway.apps import AUTO, as_single_callable, interface_of
from gateway.scope import environ_from_scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO, Any

    from gateway.apps import Application
    from gateway.apps.wsgi import WSGIApplication
    from gateway.environ import Environ
    from gateway.events import Headers
    from gateway.recorder.entry import Entry
    from gateway.scope import ASGIApplication, Message, Receive, Scope, Send


class Tee(ABC):
    """Wraps applications: :meth:`keep` gets the entry of each request once its response is over."""

    def wrap(self, app: Any, *, interface: str = AUTO) -> Application:
        """The application, of WSGI or ASGI as it is; ``interface`` says which if it does not look like it."""
        return self._wrap_asgi(app) if interface_of(app, named=interface) == "asgi" else self._wrap_wsgi(app)

    @abstractmethod
    def open(self, environ: Environ) -> Entry:
        """A request begins."""

    @abstractmethod
    def keep(self, entry: Entry) -> None:
        """Its response is over.  Must not raise."""

    # -- WSGI

    def _wrap_wsgi(self, app: WSGIApplication) -> WSGIApplication:
        def application(environ: Environ, start_response: Callable[..., Callable[[bytes], None]]) -> Iterable[bytes]:
            entry = self.open(dict(environ))
            environ["wsgi.input"] = _Input(environ["wsgi.input"], entry)

            def start(status: str, headers: Headers, *exc_info: Any) -> Callable[[bytes], None]:
                write = start_response(status, headers, *exc_info)
                entry.respond(status, list(headers))

                def record_and_write(data: bytes) -> None:
                    entry.response.take(data)
                    write(data)

                return record_and_write

            result: Any = None
            try:
                result = app(environ, start)
            except BaseException as error:
                entry.broken = repr(error)
                self.keep(entry)
                raise
            if not _is_whole(result):
                return _Blocks(result, entry, self.keep)
            for block in result or ():
                entry.response.take(block)
            self.keep(entry)
            whole: Iterable[bytes] = result
            return whole

        return application

    # -- ASGI

    def _wrap_asgi(self, app: ASGIApplication) -> ASGIApplication:
        call = as_single_callable(app)

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await call(scope, receive, send)
                return
            entry = self.open(scope.get("gateway.environ") or environ_from_scope(scope))

            async def hear() -> Message:
                message = await receive()
                entry.request.take(message.get("body", b""))
                return message

            async def say(message: Message) -> None:
                await send(message)
                if message["type"] == "http.response.start":
                    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
                    entry.respond(str(message["status"]), pairs)
                entry.response.take(message.get("body", b""))

            try:
                await call(scope, hear, say)
            except BaseException as error:
                entry.broken = repr(error)
                raise
            finally:
                self.keep(entry)

        return application


def _is_whole(result: Any) -> bool:
    """Does the worker tell the length of this body, or refuse it?  Then it has to pass as it is."""
    return result is None or isinstance(result, (list, tuple, str, bytes))


class _Input:
    """``wsgi.input``, as far as it is read (PEP 3333, "Input and Error Streams")."""

    def __init__(self, stream: IO[bytes], entry: Entry) -> None:
        self._stream = stream
        self._take = entry.request.take

    def read(self, *size: int) -> bytes:
        """As PEP 3333 has it."""
        return self._took(self._stream.read(*size))

    def readline(self, *size: int) -> bytes:
        """Likewise."""
        return self._took(self._stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        """Likewise."""
        return [self._took(line) for line in self._stream.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._took, self._stream)

    def _took(self, data: bytes) -> bytes:
        self._take(data)
        return data


class _Blocks:
    """A body that comes bit by bit, and is over when it is closed."""

    def __init__(self, result: Iterable[bytes], entry: Entry, keep: Callable[[Entry], None]) -> None:
        self._result = result
        self._entry = entry
        self._keep = keep

    def __iter__(self) -> Iterator[bytes]:
        try:
            for block in self._result:
                self._entry.response.take(block)
                yield block
        except Exception as error:
            self._entry.broken = repr(error)
            raise

    def close(self) -> None:
        """The response is over, read or not."""
        try:
            close = getattr(self._result, "close", None)
            if close is not None:
                close()
        finally:
            self._keep(self._entry)
