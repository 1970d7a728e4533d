"""The applications of the conformance suite: well-behaved ones that tell what they see, and faulty ones (PEP 3333)."""

from __future__ import annotations

import io
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, TypeAlias

    from gateway.apps.wsgi import WSGIApplication
    from gateway.environ import Environ

    StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]

PLAIN = ("Content-Type", "text/plain")
BIG = b"0123456789abcde\n" * 131072
"""2 MiB: more than any buffer on the way."""


def shows(tell: Callable[[Environ], object]) -> WSGIApplication:
    """The application that answers with the repr of what ``tell(environ)`` gives."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        text = repr(tell(environ)).encode()
        start_response("200 OK", [PLAIN])
        return [text]

    return app


def variable(name: str) -> WSGIApplication:
    """The application that shows a variable of its environ."""
    return shows(lambda environ: environ.get(name))


def reads(method: str, *args: int) -> WSGIApplication:
    """The application that shows what a method of ``wsgi.input`` gives."""
    return shows(lambda environ: getattr(environ["wsgi.input"], method)(*args))


def gives(*blocks: bytes, status: Any = "200 OK", headers: Sequence[Any] = (PLAIN,)) -> WSGIApplication:
    """The application that answers with these blocks, in a list."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, list(headers))
        return list(blocks)

    return app


def returns(result: Any) -> WSGIApplication:
    """The application whose body is this object."""

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [PLAIN])
        return result

    return app


# What they show of an environ.


def wrong_types(environ: Environ) -> list[str]:
    """The CGI variables that are no native strings."""
    return sorted(name for name, value in environ.items() if "." not in name and type(value) is not str)


def missing(environ: Environ) -> list[str]:
    """What PEP 3333 demands and is not there."""
    wanted = {"REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT"}
    wanted |= {"SERVER_PROTOCOL", "wsgi.version", "wsgi.url_scheme", "wsgi.input", "wsgi.errors", "wsgi.multithread"}
    return sorted((wanted | {"wsgi.multiprocess", "wsgi.run_once"}) - environ.keys())


def flags(environ: Environ) -> list[type]:
    """The types of the three flags."""
    return [type(environ[f"wsgi.{name}"]) for name in ("multithread", "multiprocess", "run_once")]


def spoils_it(environ: Environ) -> list[str]:
    """Changes the environ, and tells which of its changes are there."""
    environ["my.own"] = environ.pop("REQUEST_METHOD")
    return sorted(environ.keys() & {"my.own", "REQUEST_METHOD"})


def reads_past_the_end(environ: Environ) -> object:
    """The body in two reads, and then what is after it."""
    stream = environ["wsgi.input"]
    return stream.read(3), stream.read(100), stream.read(1), stream.readline(), list(stream)


# The other well-behaved ones.


def echoes(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Gives the body back while it reads it."""
    start_response("200 OK", [PLAIN])
    while block := environ["wsgi.input"].read(5000):
        yield block


def starts_late(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """A generator: nothing of it runs before its first block is asked for."""
    start_response("200 OK", [PLAIN])
    yield b""
    yield b"late, "
    yield b"and whole"


def writes(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Uses the old way, too."""
    write = start_response("200 OK", [PLAIN])
    write(b"written, ")
    write(b"")
    write(b"written again, ")
    return [b"returned"]


def wraps_a_file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Uses ``wsgi.file_wrapper`` where there is one."""
    start_response("200 OK", [PLAIN])
    wrapper = environ.get("wsgi.file_wrapper", lambda file, size: iter(lambda: file.read(size), b""))
    result: Iterable[bytes] = wrapper(io.BytesIO(BIG), 8192)
    return result


def complains(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Writes to ``wsgi.errors``."""
    errors = environ["wsgi.errors"]
    errors.write("a line of a test\n")
    errors.writelines(["two of ", "a test: ü\n"])
    errors.flush()
    start_response("200 OK", [PLAIN])
    return [b"complained"]


class _Closing:
    """An iterable that reports its ``close()`` in a file that the request names."""

    def __init__(self, environ: Environ, error: Exception | None = None) -> None:
        self._path = environ["HTTP_X_REPORT"]
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield b"body"
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write("closed\n")


def closes(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Wants to be closed."""
    start_response("200 OK", [PLAIN])
    return _Closing(environ)


def breaks_off_and_closes(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Fails in its body, and wants to be closed all the same."""
    start_response("200 OK", [PLAIN, ("Content-Length", "100")])
    return _Closing(environ, LookupError("a secret"))


def changes_its_mind(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Replaces a head that was not sent yet."""
    start_response("200 OK", [PLAIN, ("X-Mind", "first")])
    try:
        raise LookupError
    except LookupError:
        start_response("404 Not Found", [PLAIN, ("X-Mind", "second")], sys.exc_info())
    return [b"nothing there"]


# Those that fail, or are at fault.


def changes_its_mind_too_late(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Wants to replace a head that was sent."""
    start_response("200 OK", [PLAIN, ("Content-Length", "100")])
    yield b"first"
    try:
        raise LookupError
    except LookupError:
        start_response("500 Internal Server Error", [PLAIN], sys.exc_info())
    yield b"never"


def breaks_off(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Fails in its body."""
    start_response("200 OK", [PLAIN, ("Content-Length", "100")])
    yield b"the beginning"
    raise LookupError("a secret")


def breaks_off_without_a_length(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Fails in a body whose length it has not told."""
    start_response("200 OK", [PLAIN])
    yield b"the beginning"
    raise LookupError("a secret")


def fails_at_first(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Fails before the first block of its body."""
    start_response("200 OK", [PLAIN])
    yield from iter([][0])


def raises(error: BaseException, *, started: bool = False) -> WSGIApplication:
    """The application that fails before, or after, it calls ``start_response()``."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if started:
            start_response("200 OK", [PLAIN])
        raise error

    return app


def never_starts(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Has a body, but no head."""
    return [b"body"]


def starts_twice(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Changes its mind without an error."""
    start_response("200 OK", [PLAIN])
    start_response("200 OK", [PLAIN])
    return [b"body"]
