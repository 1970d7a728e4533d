"""Old applications before the pipe: they answer in text or bytes, and the page for their errors is somebody else's."""

from __future__ import annotations

import sys

from gateway.errors import RequestAborted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias

    from gateway.environ import Environ
    from gateway.events import Headers

    Page: TypeAlias = tuple[str, Headers, bytes]


class Lenient:
    """A WSGI application in which status, headers and body may be ``str`` or ``bytes`` (latin-1), as flup has them.

    ``on_error(environ)`` is called while an exception of the application is handled of which the visitor has seen
    nothing yet; what it gives is the answer.  A later one goes on to the server, which cuts the response.
    """

    def __init__(self, app: Callable[..., Any], *, on_error: Callable[[Environ], Page]) -> None:
        self._app = app
        self._on_error = on_error

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        sent = False

        def start(status: str | bytes, headers: Any, exc_info: Any = None) -> Callable[[str | bytes], None]:
            if isinstance(headers, list):
                headers = [(_text(name), _text(value)) for name, value in headers]
            write = start_response(_text(status), headers, exc_info)

            def lenient_write(data: str | bytes) -> None:
                nonlocal sent
                sent = True
                write(_bytes(data))

            return lenient_write

        def blocks(result: Any) -> Iterator[bytes]:
            nonlocal sent
            try:
                for block in result:
                    yield _bytes(block)
                    sent = sent or bool(block)
            except RequestAborted:
                raise  # nobody is there to be answered
            except Exception:
                if sent:
                    raise
                yield from self._fail(environ, start_response)
            finally:
                if hasattr(result, "close"):
                    result.close()

        try:
            result = self._app(environ, start)
        except RequestAborted:
            raise
        except Exception:
            if sent:
                raise
            return self._fail(environ, start_response)
        if isinstance(result, (list, tuple)):
            return [_bytes(block) for block in result]
        return [_bytes(result)] if isinstance(result, str) else blocks(result)

    def _fail(self, environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
        status, headers, body = self._on_error(environ)
        start_response(status, headers, sys.exc_info())
        return [body]


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _bytes(value: Any) -> Any:
    return value.encode("latin-1") if isinstance(value, str) else value
