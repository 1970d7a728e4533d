"""An ASGI 3 application at the end of an exchange (ASGI specification 3.0, HTTP specification 2.5).

A :class:`Call` is one request put to the application: its scope, its ``receive`` and its ``send``.  The worker lends it
a :class:`Line`, feeds its exchange, and runs it as a task.
"""

from __future__ import annotations

import asyncio
import time

from gateway.apps import TOO_LARGE, Runner, as_single_callable
from gateway.errors import ApplicationError, RemoteProtocolError, RequestAborted
from gateway.events import FILTER
from gateway.head import with_reason
from gateway.scope import build_scope, wants_websocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from gateway.environ import Environ
    from gateway.events import Event
    from gateway.exchange import Exchange
    from gateway.scope import Message, Receive, Send

    class Line(Protocol):
        """What a worker lends a call, beside the peer of its exchange, whose ``push()`` must not wait."""

        @property
        def congested(self) -> bool:
            """Has the web server taken less than was pushed?"""

        async def drain(self) -> None:
            """Wait until it has taken it, or is lost."""

        def want(self, call: Call) -> None:
            """The application waits for more of the request."""

        def answered(self, call: Call) -> None:
            """The response is over; the application may go on for a while."""

        def done(self, call: Call) -> None:
            """The application is done."""


_OF_EXTENSIONS = frozenset(f"http.response.{name}" for name in ("trailers", "early_hint", "push", "debug"))
"""Messages of extensions that we do not announce, and that a response is whole without."""
_GAVE_UP = "the web server gave the request up"
_NO_WEBSOCKET = "a WebSocket cannot be carried over this wire; let the web server pass it on to an HTTP server"


class Call:
    """One request put to an application, from its scope to the end of its task."""

    __slots__ = (
        "exchange", "task", "began", "verdict", "patience", "_runner", "_line", "_news", "_started", "_heard_all",
        "_over", "_doubtful",
    )  # fmt: skip

    def __init__(self, runner: ASGIRunner, exchange: Exchange, line: Line) -> None:
        self.exchange = exchange
        self.task: asyncio.Task[None] | None = None
        self.began = time.monotonic()
        self.verdict = ""
        """The status of a call that the worker cancels, for a reason that it has logged."""
        self.patience = 0.0
        """Monotonic seconds until which the application may go on though nobody listens; 0.0: somebody does."""
        self._runner = runner
        self._line = line
        self._news: asyncio.Event | None = None  # what receive() waits for, if it does
        self._started = self._heard_all = self._over = self._doubtful = False

    def __repr__(self) -> str:
        params = self.exchange.request.params
        what = f"{params.get('REQUEST_METHOD', 'GET')} {params.get('REQUEST_URI', '')}".strip()
        return f"<Call {what} {'answered' if self._over else 'running'}>"

    # -- called by the worker

    def is_due(self) -> bool:
        """Did it wait for a whole request, which has arrived or never will?"""
        return self.exchange.request.role == FILTER and self.exchange.complete and self.task is None

    def hear(self, event: Event) -> None:
        """Some more of the request."""
        self.exchange.receive(event)
        if self._news is not None:
            self.notify()

    def notify(self) -> None:
        """The exchange has received something."""
        if self._news is not None:
            self._news.set()
            self._news.clear()

    def doubt(self) -> None:
        """Perhaps nobody listens any more: who asks hears of a disconnect, but what is sent is sent."""
        self._doubtful = True
        self.notify()

    def stack(self) -> str:
        """Where the application waits."""
        import traceback  # only a request that runs too long pays for this import

        frames = []
        waiting: Any = None if self.task is None else self.task.get_coro()
        while waiting is not None:
            frame = getattr(waiting, "cr_frame", None)
            if frame is not None:
                frames.append((frame, frame.f_lineno))
            waiting = getattr(waiting, "cr_await", None)
        return "".join(traceback.StackSummary.extract(iter(frames)).format()).rstrip()

    def cancel(self, verdict: str) -> None:
        """End the application; the visitor is answered with this status if there is still time for it."""
        self.verdict = verdict
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Answer the request.  Raises nothing but KeyboardInterrupt."""
        runner, exchange = self._runner, self.exchange
        environ: Environ | None = None
        try:
            asked = runner.environ(exchange)
            if wants_websocket(asked):
                raise RemoteProtocolError(_NO_WEBSOCKET, status_hint="501 Not Implemented")
            environ = asked
            result = runner.begin(environ, exchange, self.receive, self.send)
            if not hasattr(result, "__await__"):
                raise ApplicationError(
                    f"the application returned {type(result).__name__}, which cannot be awaited (ASGI); "
                    "if it is a WSGI application, name the interface: wsgi"
                )
            await result
            if not self._over:
                raise self._unfinished()
        except BaseException as error:
            self._take_down(environ, error)
            if isinstance(error, KeyboardInterrupt):
                raise
        if environ is not None:
            runner.look_back(exchange, environ)
        if not self._over:
            self._end()
        self._line.done(self)

    def _unfinished(self) -> ApplicationError | RequestAborted:
        if self.exchange.aborted or self._doubtful:
            return RequestAborted(_GAVE_UP)
        if not self._started:
            return ApplicationError("the application returned without sending http.response.start (ASGI)")
        return ApplicationError(
            "the application returned before its response was whole: no http.response.body was the last one (ASGI)"
        )

    def _take_down(self, environ: Environ | None, error: BaseException) -> None:
        """The call ends with an error: whose is it, and what is there to say?"""
        runner, exchange = self._runner, self.exchange
        if environ is None and isinstance(error, RemoteProtocolError):
            runner.refuse(exchange, error)
        elif self.verdict and isinstance(error, asyncio.CancelledError):
            runner.end(exchange, self.verdict)
        elif isinstance(error, RequestAborted):
            runner.give_up(exchange, environ or {}, error)
        elif exchange.aborted and isinstance(error, Exception):
            runner.give_up(exchange, environ or {}, f"{_GAVE_UP}, and the application ended with {error!r:.500}")
        elif self._over:
            runner.report(exchange, environ or {}, error)  # the visitor has all of the response
        else:
            runner.fail(exchange, environ or {}, error)

    def _end(self) -> None:
        self._over = True
        self._line.answered(self)
        self.notify()

    # -- called by the application

    async def receive(self) -> Message:
        """The next part of the body; after it, the news that nobody listens any more."""
        exchange = self.exchange
        while not (self._over or self._heard_all or exchange.aborted):
            try:
                data = exchange.take()
            except RequestAborted as error:
                self._refuse(error)
                break
            if data is not None:
                # A body that ended too soon or too late is found out when it is asked for more.
                self._heard_all = exchange.drained and exchange.expected in (None, exchange.body_size)
                return {"type": "http.request", "body": data, "more_body": not self._heard_all}
            self._line.want(self)
            if not (exchange.held or exchange.complete or exchange.too_large):  # asking may have brought news
                await self._wait()
        while not (self._over or exchange.aborted or self._doubtful):
            await self._wait()
        return {"type": "http.disconnect"}

    async def _wait(self) -> None:
        if self._news is None:
            self._news = asyncio.Event()
        await self._news.wait()

    def _refuse(self, error: RequestAborted) -> None:
        """The body is not what the request promised, or too large: answer for the application."""
        status = TOO_LARGE if self.exchange.too_large else "400 Bad Request"
        self._runner.refuse(self.exchange, RemoteProtocolError(str(error), status_hint=status))
        self.exchange.aborted = True
        self._end()

    async def send(self, message: Message) -> None:
        """Some of the response.  Raises ApplicationError on a broken rule, RequestAborted when nobody listens."""
        kind, exchange = message["type"], self.exchange
        if kind == "http.response.body":
            if not self._started or self._over:
                raise self._out_of_order(kind)
            body = message.get("body", b"")
            if body.__class__ is not bytes:
                body = _check_body(body)
            if exchange.aborted:
                raise RequestAborted(_GAVE_UP)
            if message.get("more_body"):
                exchange.write(body)
                exchange.flush()
                self.notify()  # who sends may have listened, too
                if self._line.congested:
                    await self._line.drain()
                return
            exchange.set_length(len(body))
            exchange.write(body)
            exchange.end()
            self._end()
        elif kind == "http.response.start":
            if self._started or self._over:
                raise self._out_of_order(kind)
            exchange.respond(_status(message), _headers(message))
            self._started = True
        elif kind not in _OF_EXTENSIONS:
            raise ApplicationError(f"the application sent {kind!r}, which no extension in its scope allows (ASGI)")

    def _out_of_order(self, kind: str) -> ApplicationError | RequestAborted:
        if self.exchange.aborted:
            return RequestAborted(_GAVE_UP)
        when = "after the end of its response" if self._over else "twice" if self._started else "before its start"
        return ApplicationError(f"the application sent {kind} {when} (ASGI)")


def _status(message: Message) -> str:
    status = message.get("status")
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise ApplicationError(f"status is {status!r:.60}, not a number from 200 to 999 (ASGI)")
    return with_reason(status)


def _headers(message: Message) -> list[tuple[str, str]]:
    try:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]
    except (AttributeError, TypeError, ValueError):
        shown = message.get("headers")
        raise ApplicationError(f"these headers are not pairs of byte strings (ASGI): {shown!r:.200}") from None


def _check_body(body: object) -> bytes:
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise ApplicationError(f"the application sent a body of type {type(body).__name__}, not bytes: {body!r:.60}")
    return bytes(body)


class ASGIRunner(Runner):
    """Puts one ASGI application to one exchange after the other, as many at a time as a worker likes."""

    def __init__(self, app: Callable[..., Any], **options: Any) -> None:
        super().__init__(as_single_callable(app), **options)
        self.state: dict[str, Any] = {}
        """What its lifespan put there."""

    def begin(self, environ: Environ, exchange: Exchange, receive: Receive, send: Send) -> object:
        """Call the application."""
        if self._before is not None:
            self._before(environ)
        scope = build_scope(environ, repeated=exchange.request.repeated)
        scope["state"] = self.state.copy()
        return self.app(scope, receive, send)

    def look_back(self, exchange: Exchange, environ: Environ) -> None:
        """The application is done: the access log."""
        if self._after is not None:
            self._guard(exchange, environ, self._after, environ, exchange)
