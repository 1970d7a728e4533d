"""The web server at the other end of one exchange, in memory: it asks over FastCGI and keeps what it hears."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import RemoteProtocolError
from gateway.events import (
    APPLICATION,
    RESPONDER,
    WEB_SERVER,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Event,
    Request,
    Response,
    ResponseBody,
)
from gateway.exchange import Exchange
from gateway.limits import Limits
from gateway.protocols.fastcgi import Connection

GET = {
    "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/app", "PATH_INFO": "/x", "QUERY_STRING": "",
    "SERVER_NAME": "example.test", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
}  # fmt: skip


class Log:
    """A log that remembers its lines, each with its level."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, msg: str, *args: object) -> None:
        self.lines.append(f"info: {msg % args}")

    def warning(self, msg: str, *args: object) -> None:
        self.lines.append(f"warning: {msg % args}")

    def error(self, msg: str, *args: object) -> None:
        self.lines.append(f"error: {msg % args}")


class FrontEnd:
    """Asks one request; it is the ``Peer`` of the exchange that answers.

    ``params`` are added to those of a plain GET.
    ``later`` is what it says piece by piece when the application waits for more, and not before: events, or what its
    transport raises.  Without it the request is whole at once.
    """

    def __init__(
        self, *body: Event, params: dict[str, str] | None = None, role: int = RESPONDER, limits: Limits | None = None,
        later: Sequence[Event | Exception] = (),
    ) -> None:  # fmt: skip
        self.log = Log()
        self.heard: list[Event] = []
        self.pushes = 0
        self._later = list(later)
        self._ours = Connection(WEB_SERVER)
        self._theirs = Connection(APPLICATION)
        self._ours.send(Request(GET | (params or {}), 1, role))
        request, *rest = self._move()
        assert isinstance(request, Request)
        self.exchange = Exchange(request, self._theirs, peer=self, limits=limits or Limits(), log=self.log)
        for event in rest:
            self.exchange.receive(event)
        self.say(*body)
        if not later:
            self.say(EndOfRequest(1))

    def say(self, *events: Event) -> None:
        """Go on with the request."""
        for event in events:
            event.request_id = 1
            self._ours.send(event)
        for event in self._move():
            self.exchange.receive(event)

    def _move(self) -> list[Event]:
        self._theirs.receive_data(b"".join(self._ours.data_to_send()))
        return self._theirs.events()

    def push(self) -> None:
        """The exchange's bytes arrive here."""
        self.pushes += 1
        self._ours.receive_data(b"".join(self._theirs.data_to_send()))
        try:
            self.heard += self._ours.events()
        except RemoteProtocolError:  # how a response that was cut short shows
            self.heard += self._ours.events()

    def pull(self) -> None:
        """The exchange waits for more of the request."""
        event = self._later.pop(0)
        if isinstance(event, Exception):
            raise event
        self.say(event)

    @property
    def head(self) -> tuple[str, list[tuple[str, str]]]:
        """Status and headers that were heard."""
        (response,) = (event for event in self.heard if isinstance(event, Response))
        return response.status, response.headers

    @property
    def status(self) -> str:
        return self.head[0]

    @property
    def body(self) -> bytes:
        return b"".join(event.data for event in self.heard if isinstance(event, ResponseBody))

    @property
    def errors(self) -> str:
        """What arrived for the web server's error log."""
        return b"".join(event.data for event in self.heard if isinstance(event, ErrorOutput)).decode()

    @property
    def ended(self) -> bool:
        """Did the response end as a whole one does?"""
        return EndOfResponse(1) in self.heard
