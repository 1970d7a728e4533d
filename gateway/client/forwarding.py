"""One request on its way to an upstream, and its response on the way back.

One thread, the caller's, moves both directions: whichever of the upstream's socket and the visitor's body can go on
does.  So no upstream blocks it by answering early, flooding its error log or reading nothing, and what is in memory is
one block each way.
"""

from __future__ import annotations

from gateway.client.upstream import BAD_GATEWAY, UNAVAILABLE
from gateway.errors import LimitExceeded, RemoteProtocolError, RequestAborted
from gateway.events import (
    AbortRequest,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.exchange import BLOCK, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.client.upstream import Pool, Upstream
    from gateway.environ import Environ
    from gateway.events import Event, Params
    from gateway.limits import Limits

_REQUEST_ID = 1


class Body:
    """The visitor's body, read exactly as far as it goes: ``left`` bytes, None for to its end."""

    __slots__ = ("ended", "left", "_read", "_spool")

    def __init__(self, environ: Environ) -> None:
        length = environ.get("CONTENT_LENGTH") or ""
        if length and not (length.isascii() and length.isdigit()):
            raise RemoteProtocolError(f"CONTENT_LENGTH is {length[:40]!r}, not a number")
        # Without a length there is no body (PEP 3333), unless the server marks its end.
        self.left = None if not length and environ.get("wsgi.input_terminated") else int(length or 0)
        self.ended = self.left == 0
        self._spool: Spool | None = None
        source = environ["wsgi.input"]
        # read1() gives what is there; read() waits for a whole block while the upstream waits for its beginning.
        self._read: Callable[[int], bytes] = getattr(source, "read1", source.read)

    def read(self) -> bytes:
        """The next block, b"" at the end.  Raises RequestAborted if less comes than was announced."""
        block = self._read(BLOCK if self.left is None else min(BLOCK, self.left))
        if self.left is None:
            self.ended = not block
        elif not block:
            raise RequestAborted(f"the request body ended {self.left} bytes before its CONTENT_LENGTH")
        else:
            self.left -= len(block)
            self.ended = not self.left
        return block

    def measure(self, limits: Limits) -> int:
        """Take a body of unknown length whole, for a wire that must be told: its length.  Raises LimitExceeded."""
        self._spool = spool = Spool(limits.body_memory)
        while block := self.read():
            spool.append(block)
            if limits.body_size and spool.size > limits.body_size:
                raise LimitExceeded("body_size", limits.body_size)
        self._read, self.left, self.ended = spool.open().read, spool.size, not spool.size
        return spool.size

    def close(self) -> None:
        """Let go of what was kept."""
        if self._spool is not None:
            self._spool.close()


class Forwarding:
    """One request on its way to the upstream and, as the iterable that PEP 3333 wants, its response coming back."""

    def __init__(self, upstream: Upstream, params: Params, *, body: Body, environ: Environ, pool: Pool) -> None:
        """Send the request and wait for the head.  Raises RemoteProtocolError, which says how to answer instead."""
        self.response = Response("", [])
        self._upstream = upstream
        self._body = body
        self._pool = pool
        self._no_content = environ["REQUEST_METHOD"] == "HEAD"
        self._blocks: list[bytes] = []
        self._errors = environ["wsgi.errors"]
        self._line = b""  # of the error output, as far as it came
        self._ended = False
        try:
            upstream.connection.send(Request(params, _REQUEST_ID))
            if body.ended:
                upstream.connection.send(EndOfRequest(_REQUEST_ID))
            while not self.response.status:
                self._advance()
        except BaseException:
            self._drop()
            raise

    def __repr__(self) -> str:
        state = "ended" if self._ended else "body" if self.response.status else "waiting for the head"
        return f"<Forwarding {state} {self._upstream!r}>"

    def __iter__(self) -> Forwarding:
        return self

    def __next__(self) -> bytes:
        try:
            while not self._blocks and not self._ended:
                self._advance()
        except BaseException:
            self._drop()
            raise
        if not self._blocks:
            raise StopIteration
        data = b"".join(self._blocks)
        self._blocks.clear()
        return data

    def _advance(self) -> None:
        """One step in either direction.  The upstream's word comes first: it may not want the rest of the body."""
        if self._upstream.push() and not self._body.ended and not self._upstream.readable():
            self._send_block()
        else:
            for event in self._upstream.events():
                self._take(event)

    def _send_block(self) -> None:
        block = self._body.read()
        if block:
            self._upstream.connection.send(RequestBody(block, _REQUEST_ID))
        if self._body.ended:
            self._upstream.connection.send(EndOfRequest(_REQUEST_ID))

    def _take(self, event: Event) -> None:
        if isinstance(event, ResponseBody):
            if not self._no_content:
                self._blocks.append(event.data)
        elif isinstance(event, Response):
            self.response = event
            # RFC 9110 §6.4.1; some programs print a page all the same.
            self._no_content = self._no_content or event.status[:3] in ("204", "304")
        elif isinstance(event, ErrorOutput):
            self._report(event.data)
        elif isinstance(event, EndOfResponse):
            self._end(event.refusal)

    def _report(self, data: bytes) -> None:
        """Error output comes cut anywhere and goes on in whole lines, but for one too long to wait for its end."""
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > BLOCK:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            self._errors.write(line.decode("utf-8", "backslashreplace") + "\n")

    def _end_line(self) -> None:
        if self._line:
            self._report(b"\n")

    def _end(self, refusal: str) -> None:
        self._ended = True
        self._body.close()
        self._pool.give(self._upstream)
        self._end_line()
        if refusal:
            status = UNAVAILABLE if refusal == "OVERLOADED" else BAD_GATEWAY
            raise RemoteProtocolError(f"{self._upstream.name}: the request was refused: {refusal}", status_hint=status)

    def close(self) -> None:
        """Called when all was read, or when nobody wants the rest: the upstream is told to stop, and dropped."""
        if not self._ended:
            self._upstream.connection.send(AbortRequest(_REQUEST_ID))
            self._upstream.push()
        self._drop()

    def _drop(self) -> None:
        if not self._ended:
            self._ended = True
            self._body.close()
            self._upstream.close()
            self._end_line()
