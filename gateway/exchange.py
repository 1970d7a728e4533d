"""One request/response cycle: the body of the request, the order of the response, the audit of its length, its abort.

An exchange stands between a wire's ``Connection`` and an application adapter.  It does no I/O itself: the worker lends
it a ``Peer`` that moves bytes.
"""

from __future__ import annotations

import io

from gateway.errors import ProtocolError, RequestAborted
from gateway.events import (
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Event,
    FilterData,
    Repair,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.head import HOP_BY_HOP, inspect_headers, lower_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Protocol

    from gateway.events import Connection, Headers
    from gateway.limits import Limits

    class Peer(Protocol):
        """What a worker lends an exchange: the two movements of bytes."""

        def push(self) -> None:
            """Write what the connection has to send.  Raises RequestAborted."""

        def pull(self) -> None:
            """Wait until the web server said something more and feed it.  Raises RequestAborted."""

        def fileno(self) -> int:
            """The descriptor that pull() reads."""

    class Log(Protocol):
        """Where the operator reads: :mod:`logging`, gunicorn's log and stderr all fit."""

        def info(self, msg: str, *args: object) -> None: ...
        def warning(self, msg: str, *args: object) -> None: ...
        def error(self, msg: str, *args: object) -> None: ...


BLOCK = 64 * 1024
"""Bytes gathered before they are pushed, and read at once from a file."""


class Spool:
    """A body on its way: in memory up to a limit, then in a temporary file."""

    __slots__ = ("chunks", "file", "size", "_memory")

    def __init__(self, memory: int) -> None:
        self.chunks: list[bytes] = []
        self.file: IO[bytes] | None = None
        self.size = 0
        self._memory = memory

    def append(self, data: bytes) -> None:
        """Keep some bytes.  Raises OSError when the temporary file cannot be written (a full disk)."""
        self.size += len(data)
        if self.file is None and self.size <= self._memory:
            self.chunks.append(data)
            return
        if self.file is None:
            import tempfile  # only a large upload pays for this import

            self.file = tempfile.TemporaryFile()
            self.file.writelines(self.chunks)
            self.chunks.clear()
        self.file.write(data)

    def open(self) -> IO[bytes]:
        """All that was kept, as a file at its beginning."""
        if self.file is None:
            return io.BytesIO(b"".join(self.chunks))
        self.file.seek(0)
        return self.file

    def close(self) -> None:
        """Forget it all."""
        self.chunks.clear()
        if self.file is not None:
            self.file.close()


class _StreamedBody(io.RawIOBase):
    """A body too long to be kept: first what is in the spool, then what the web server still sends, as it is read."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(self._exchange.next_chunk(len(buffer)))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class ErrorStream:
    """``wsgi.errors`` on a wire that carries it to the web server's error log."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def write(self, text: str) -> int:
        """Sent with the next bytes of the response, or at ``flush()``; after the response it goes to our own log."""
        if text:
            self._exchange.report(text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """As for files."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send it now, if it is not in our own log already."""
        if not self._exchange.ended:
            self._exchange.flush()


class Exchange:
    """One request and its response.  Workers call ``receive``, application adapters the rest."""

    __slots__ = (
        "connection", "request", "peer", "limits", "log", "body", "filter_data", "repairs", "complete", "aborted",
        "too_large", "expected", "is_head", "head_sent", "ended", "failed", "sent", "status", "headers",
        "held", "_kept", "_streaming", "_left", "_excess", "_no_content", "_unpushed",
    )  # fmt: skip

    def __init__(self, request: Request, connection: Connection, *, peer: Peer, limits: Limits, log: Log) -> None:
        self.request = request
        self.connection = connection
        self.peer = peer
        self.limits = limits
        self.log = log
        self.body: Spool | None = None
        self.filter_data: Spool | None = None
        self.repairs: tuple[str, ...] = ()
        """What the wire mended of the request."""
        self.complete = self.aborted = self.too_large = False
        self.expected: int | None = None
        """What CONTENT_LENGTH announced, once somebody looked; None: nothing, the wire marks the end."""
        self.is_head = False
        """Is it a HEAD request?"""
        self.head_sent = self.ended = self.failed = False
        self.status = ""
        self.headers: Headers = []
        self.sent = 0
        """Bytes of the response body that were sent."""
        self.held = 0
        """Bytes of a streamed body that arrived since and were not taken yet."""
        self._kept: IO[bytes] | None = None  # what was kept of it before
        self._streaming = self._no_content = False
        self._left: int | None = None  # bytes of the body that Content-Length still promises
        self._excess = 0  # bytes of the body beyond what it promised
        self._unpushed = 0

    def __repr__(self) -> str:
        asked = "aborted" if self.aborted else "complete" if self.complete else f"{self.body_size} bytes so far"
        said = "ended" if self.ended else "head sent" if self.head_sent else "nothing sent"
        return f"<Exchange request={asked!r} response={said!r}>"

    # -- the request

    def receive(self, event: Event) -> None:
        """Take an event that belongs to this request.  Raises OSError when a body can no longer be kept."""
        if isinstance(event, EndOfRequest):
            self.complete = True
        elif isinstance(event, RequestBody):
            if self.body is None:
                self.body = Spool(self.limits.body_memory)
            limit = self.limits.body_size
            if limit and self.body.size + len(event.data) > limit:
                self.too_large = True
            elif self._streaming:
                self.body.chunks.append(event.data)
                self.body.size += len(event.data)
                self.held += len(event.data)
            else:
                self.body.append(event.data)
        elif isinstance(event, FilterData):
            if self.filter_data is None:
                self.filter_data = Spool(self.limits.body_memory)
            self.filter_data.append(event.data)
        elif isinstance(event, Repair):
            self.repairs += (event.name,)
        else:
            self.aborted = self.complete = True

    @property
    def ready(self) -> bool:
        """Can the application start: is the request whole, or too long to wait for it?"""
        return self.complete or self.too_large or self.body_size > self.limits.body_buffer

    @property
    def body_size(self) -> int:
        """Bytes of the body received so far."""
        return 0 if self.body is None else self.body.size

    def open_body(self) -> IO[bytes]:
        """``wsgi.input``: a file with all of the body, or one that reads the rest as it comes.

        Reading the latter raises RequestAborted if the web server gives up, or sends more or less than CONTENT_LENGTH.
        """
        if self.complete and not self.aborted:
            return io.BytesIO() if self.body is None else self.body.open()
        self.stream()
        return io.BufferedReader(_StreamedBody(self), BLOCK)

    def stream(self) -> None:
        """From now on the body is taken as it comes, after what was kept of it."""
        self._streaming = True
        if self.body is not None:
            self._kept = self.body.open()
            self.body.chunks = []

    @property
    def drained(self) -> bool:
        """Has all of a streamed body been taken?"""
        return self.complete and not self.held and self._kept is None

    def take(self) -> bytes | None:
        """What came of a streamed body since it was asked last; b"" at its end, None if nothing came yet.

        Raises RequestAborted if the web server gave up, or sends more or less than CONTENT_LENGTH or body_size.
        """
        if self.too_large:
            raise RequestAborted(f"the request body is longer than limit body_size={self.limits.body_size}")
        if self._kept is not None:
            data = self._kept.read(BLOCK)
            if len(data) < BLOCK:
                self._kept.close()
                self._kept = None
            if data:
                return data
        data, size = b"", self.body_size
        if self.held and self.body is not None:
            data = b"".join(self.body.chunks)
            self.body.chunks.clear()
            self.held = 0
        elif not self.complete:
            return None
        if self.aborted:
            raise RequestAborted("the web server gave the request up before its body was whole")
        expected = self.expected
        if expected is not None and (size > expected or (self.complete and not data and size < expected)):
            raise RequestAborted(f"the body has {size} bytes, CONTENT_LENGTH announced {expected}")
        return data

    def next_chunk(self, wanted: int) -> bytes:
        """The next bytes of a streamed body, b"" at its end; waits for them."""
        while (data := self.take()) is None:
            self.connection.send(BodyWanted(wanted, self.request.request_id))
            self.peer.pull()
        return data

    # -- the response

    def respond(self, status: str, headers: Headers) -> None:
        """State the head; it is sent with the first bytes of the body, and may be restated until then.

        Raises LocalProtocolError or ApplicationError on a header that cannot be sent.
        """
        self._left, hop_by_hop = inspect_headers(headers)
        if hop_by_hop:
            self.log.warning("hop-by-hop headers of the application were dropped (PEP 3333): %s", headers)
            headers = [(name, value) for name, value in headers if lower_name(name) not in HOP_BY_HOP]
        # RFC 9110 §6.4.1: responses to HEAD, and 1xx, 204 and 304, have no content.
        self._no_content = self.is_head or status.startswith(("1", "204", "304"))
        self.status = status
        self.headers = headers

    def set_length(self, length: int) -> None:
        """The whole body is known to have this length: say so, if the head was not sent and does not say it itself."""
        if self._left is None and self.status and not (self.head_sent or self._no_content):
            self.headers = [*self.headers, ("Content-Length", str(length))]
            self._left = length

    def write(self, data: bytes) -> None:
        """Some bytes of the body, the head before the first of them; those past Content-Length are cut off and logged.

        Raises LocalProtocolError if the head cannot be sent: header injection.
        """
        if not self.head_sent:
            self.connection.send(Response(self.status, self.headers, self.request.request_id))
            self.head_sent = True
        if self._no_content or not data:
            return
        size = len(data)
        if self._left is not None:
            if size > self._left:
                self._excess += size - self._left
                data, size = data[: self._left], self._left
            self._left -= size
            if not size:
                return  # and the response may have been ended
        self.sent += size
        self.connection.send(ResponseBody(data, self.request.request_id))
        self._unpushed += size
        if self._unpushed >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Push what was written so far to the web server.  Raises RequestAborted when it no longer listens."""
        self._unpushed = 0
        self.peer.push()
        if self.aborted:
            raise RequestAborted("the web server gave the request up")

    def end_early(self) -> None:
        """Let the end of the response go out with its last byte, if Content-Length tells that this was it.

        For peers on which nothing new can begin before the application is done.  Else the end is sent on its own, when
        an application that gives its body bit by bit has nothing more to give.
        """
        if self._left == 0 and self.head_sent and self.complete and not (self.aborted or self._no_content):
            self.ended = True
            self.connection.send(EndOfResponse(self.request.request_id))

    def end(self) -> None:
        """The response is whole; one that is shorter than its Content-Length is ended as broken."""
        if not self.head_sent:
            self.write(b"")
        if self._left and not self._no_content:
            self.log.error("the application sent %d bytes less than its Content-Length", self._left)
            self.abort()
            return
        self._finish(0)

    def abort(self) -> None:
        """End a response that cannot be completed, so that the web server and the visitor notice."""
        self._finish(1)

    def _finish(self, app_status: int) -> None:
        if self._excess:
            self.log.error("the application sent %d bytes beyond its Content-Length; they were cut off", self._excess)
            self._excess = 0
        if app_status:
            self.failed = True
        if self.ended:
            return
        self.ended = True
        self.connection.send(EndOfResponse(self.request.request_id, app_status))
        self.peer.push()

    def fail(self, status: str) -> None:
        """Answer with a plain error page if nothing was sent yet, else abort visibly."""
        if self.head_sent or self.ended:
            self.abort()
            return
        page = f"{status}\n".encode("latin-1")
        self.is_head = self.is_head or self.request.params.get("REQUEST_METHOD") == "HEAD"
        self.respond(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(page)))])
        self.write(page)
        self.end()

    def answered_elsewhere(self) -> None:
        """Another process sent the whole response: bring our end of the wire to where its end is, and say nothing."""
        self.ended = True
        self.connection.send(Response("200 OK", [], self.request.request_id))
        self.connection.send(EndOfResponse(self.request.request_id))
        self.connection.data_to_send()

    def refuse(self, error: ProtocolError) -> None:
        """The request itself is at fault: one log line, and a clear answer."""
        self.log.warning("refused with %s: %s", error.status_hint, error)
        self.fail(error.status_hint)

    def report(self, text: str) -> None:
        """Text for the web server's error log, or for ours where the wire has no way to it."""
        if self.connection.error_channel and not self.ended:
            self.connection.send(ErrorOutput(text.encode("utf-8", "backslashreplace"), self.request.request_id))
        else:
            self.log.error("%s", text.rstrip("\n"))

    def close(self) -> None:
        """Let go of the bodies."""
        if self.body is not None:
            self.body.close()
        if self.filter_data is not None:
            self.filter_data.close()
