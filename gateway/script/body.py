"""The request's body on its way from a WSGI server to a program's stdin (RFC 3875 §4.2)."""

from __future__ import annotations

import sys

from gateway.errors import LimitExceeded, RemoteProtocolError, RequestAborted
from gateway.exchange import BLOCK, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from gateway.environ import Environ
    from gateway.limits import Limits

    class Input(Protocol):
        """``wsgi.input``, as far as it is used here."""

        def read(self, size: int, /) -> bytes: ...



class Body:
    """The body of one request; ``left`` bytes of it are still to come.

    One without CONTENT_LENGTH, a chunked upload, is taken whole first: a CGI program knows no other end.
    """

    def __init__(self, environ: Environ, *, limits: Limits) -> None:
        self._input: Input = environ["wsgi.input"]
        self._spool: Spool | None = None
        self.left = 0
        length = environ.get("CONTENT_LENGTH", "")
        chunked = bool(environ.get("HTTP_TRANSFER_ENCODING"))
        if length:
            self.left = parse_length(length, limits)
        elif environ.get("wsgi.input_terminated"):
            self._keep(limits)
        elif chunked and "uwsgi" in sys.modules:
            self._input = UWSGIChunks()
            self._keep(limits)
        elif chunked:
            raise RemoteProtocolError(
                "the body has no length, and this WSGI server does not mark its end (wsgi.input_terminated): run "
                "CGIScript under one that decodes chunked uploads",
                status_hint="411 Length Required",
            )
        # RFC 3875 §4.1.2: CONTENT_LENGTH is set if and only if there is a body, be it an empty one.
        self.announced = bool(length) or chunked or self.left > 0

    def _keep(self, limits: Limits) -> None:
        self._spool = Spool(limits.body_memory)
        try:
            while data := self._input.read(BLOCK):
                self._spool.append(data)
                if limits.body_size and self._spool.size > limits.body_size:
                    raise LimitExceeded("body_size", limits.body_size)
        except BaseException:
            self.close()
            raise
        self._input, self.left = self._spool.open(), self._spool.size

    def read(self) -> bytes:
        """The next block.  Raises RequestAborted if the visitor sends less than announced."""
        data = self._input.read(min(BLOCK, self.left))
        if not data:
            raise RequestAborted(f"the visitor gave up when {self.left} bytes of the body were still to come")
        self.left -= len(data)
        return data

    def close(self) -> None:
        """Forget what was kept."""
        if self._spool is not None:
            self._spool.close()


class UWSGIChunks:
    """The body of a chunked upload under uWSGI, whose ``wsgi.input`` does not have it (uWSGI's docs, Chunked.html)."""

    def read(self, size: int) -> bytes:
        """The next chunk, however long, b"" at the end.  Raises RequestAborted."""
        try:
            data: bytes = sys.modules["uwsgi"].chunked_read()
        except OSError as error:
            raise RequestAborted(f"the visitor gave up in the middle of a chunked upload: {error}") from error
        return data


def parse_length(length: str, limits: Limits) -> int:
    """The bytes that a request announces.  Raises RemoteProtocolError, LimitExceeded."""
    if not (length.isascii() and length.isdigit()):
        raise RemoteProtocolError(f"CONTENT_LENGTH is {length[:40]!r}, not a number")
    if limits.body_size and int(length) > limits.body_size:
        raise LimitExceeded("body_size", limits.body_size)
    return int(length)
