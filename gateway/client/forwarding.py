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
    from gateway.events import Connection, Event, Params
    from gateway.limits import Limits

_REQUEST_ID = 1


class Extent:
    """How far the visitor's body goes, and how much of it has come: ``left`` bytes, None for to its end."""

    __slots__ = ("ended", "left")

    def __init__(self, environ: Environ) -> None:
        length = environ.get("CONTENT_LENGTH") or ""
        if length and not (length.isascii() and length.isdigit()):
            raise RemoteProtocolError(f"CONTENT_LENGTH is {length[:40]!r}, not a number")
        # Without a length there is no body (PEP 3333), unless the server marks its end.
        self.left = None if not length and environ.get("wsgi.input_terminated") else int(length or 0)
        self.ended = self.left == 0

    def count(self, block: bytes) -> None:
        """Another block came, b"" for the end.  Raises RequestAborted if less came than was announced."""
        if self.left is None:
            self.ended = not block
        elif not block:
            raise RequestAborted(f"the request body ended {self.left} bytes before its CONTENT_LENGTH")
        else:
            self.left -= len(block)
            self.ended = not self.left

    def restart(self, size: int) -> None:
        """All of it came, and is kept: so many bytes are to be read again."""
        self.left, self.ended = size, not size


class Body(Extent):
    """The visitor's body, read exactly as far as it goes."""

    __slots__ = ("_read", "_spool")

    def __init__(self, environ: Environ) -> None:
        super().__init__(environ)
        self._spool: Spool | None = None
        source = environ["wsgi.input"]
        # read1() gives what is there; read() waits for a whole block while the upstream waits for its beginning.
        self._read: Callable[[int], bytes] = getattr(source, "read1", source.read)

    def read(self) -> bytes:
        """The next block, b"" at the end.  Raises RequestAborted if less comes than was announced."""
        block = self._read(BLOCK if self.left is None else min(BLOCK, self.left))
        self.count(block)
        return block

    def measure(self, limits: Limits) -> int:
        """Take a body of unknown length whole, for a wire that must be told: its length.  Raises LimitExceeded."""
        self._spool = spool = Spool(limits.body_memory)
        while block := self.read():
            spool.append(block)
            if limits.body_size and spool.size > limits.body_size:
                raise LimitExceeded("body_size", limits.body_size)
        self._read = spool.open().read
        self.restart(spool.size)
        return spool.size

    def close(self) -> None:
        """Let go of what was kept."""
        if self._spool is not None:
            self._spool.close()


class Reply:
    """The upstream's response to one request, as it comes.  No I/O."""

    def __init__(self, environ: Environ) -> None:
        self.response = Response("", [])
        """Its head, once it has a status."""
        self.ended = False
        self._no_content = environ["REQUEST_METHOD"] == "HEAD"
        self._blocks: list[bytes] = []
        self._errors = environ["wsgi.errors"]
        self._line = b""  # of the error output, as far as it came
        self._refusal = ""

    def take(self, event: Event) -> None:
        """The upstream said something."""
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
            self.ended = True
            self._refusal = event.refusal

    @property
    def waiting(self) -> int:
        """Bytes of the body that came, and nobody took yet."""
        return sum(map(len, self._blocks))

    def body(self) -> bytes:
        """What came of the body since the last time, b"" for nothing."""
        data = b"".join(self._blocks)
        self._blocks.clear()
        return data

    def _report(self, data: bytes) -> None:
        """Error output comes cut anywhere and goes on in whole lines, but for one too long to wait for its end."""
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > BLOCK:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            self._errors.write(line.decode("utf-8", "backslashreplace") + "\n")

    def close(self) -> None:
        """Nothing follows: a last line of the error output needs no end."""
        if self._line:
            self._report(b"\n")

    def check(self, name: str) -> None:
        """Was the request served at all?  Raises RemoteProtocolError."""
        if self._refusal:
            status = UNAVAILABLE if self._refusal == "OVERLOADED" else BAD_GATEWAY
            raise RemoteProtocolError(f"{name}: the request was refused: {self._refusal}", status_hint=status)


class Forwarding:
    """One request on its way to the upstream and, as the iterable that PEP 3333 wants, its response coming back."""

    def __init__(self, upstream: Upstream, params: Params, *, body: Body, environ: Environ, pool: Pool) -> None:
        """Send the request and wait for the head.  Raises RemoteProtocolError, which says how to answer instead."""
        self._reply = Reply(environ)
        self._upstream = upstream
        self._body = body
        self._pool = pool
        self._over = False
        try:
            begin(upstream.connection, params, body)
            while not self.response.status:
                self._advance()
        except BaseException:
            self._drop()
            raise

    def __repr__(self) -> str:
        state = "ended" if self._over else "body" if self.response.status else "waiting for the head"
        return f"<Forwarding {state} {self._upstream!r}>"

    @property
    def response(self) -> Response:
        """The head of the response."""
        return self._reply.response

    def __iter__(self) -> Forwarding:
        return self

    def __next__(self) -> bytes:
        try:
            while not (data := self._reply.body()) and not self._over:
                self._advance()
        except BaseException:
            self._drop()
            raise
        if not data:
            raise StopIteration
        return data

    def _advance(self) -> None:
        """One step in either direction.  The upstream's word comes first: it may not want the rest of the body."""
        if self._upstream.push() and not self._body.ended and not self._upstream.readable():
            send_block(self._upstream.connection, self._body.read(), self._body)
            return
        for event in self._upstream.events():
            self._reply.take(event)
        if self._reply.ended:
            self._end()

    def _end(self) -> None:
        self._over = True
        self._body.close()
        self._pool.give(self._upstream)
        self._reply.close()
        self._reply.check(self._upstream.name)

    def close(self) -> None:
        """Called when all was read, or when nobody wants the rest: the upstream is told to stop, and dropped."""
        if not self._over:
            give_up(self._upstream)
        self._drop()

    def _drop(self) -> None:
        if not self._over:
            self._over = True
            self._body.close()
            self._upstream.close()
            self._reply.close()


def begin(connection: Connection, params: Params, body: Extent) -> None:
    """Say the request, as far as its body."""
    connection.send(Request(params, _REQUEST_ID))
    if body.ended:
        connection.send(EndOfRequest(_REQUEST_ID))


def send_block(connection: Connection, block: bytes, body: Extent) -> None:
    """Say a block of the body, which has counted it."""
    if block:
        connection.send(RequestBody(block, _REQUEST_ID))
    if body.ended:
        connection.send(EndOfRequest(_REQUEST_ID))


def give_up(upstream: Upstream) -> None:
    """Tell the upstream that nobody wants the rest."""
    upstream.connection.send(AbortRequest(_REQUEST_ID))
    upstream.push()
