"""One accepted connection of the asyncio worker: its socket, its wire, and the calls of the application on it."""

from __future__ import annotations

import asyncio
import select
import socket
import time

from gateway.apps.asgi import Call
from gateway.errors import RemoteProtocolError, RequestAborted
from gateway.events import FILTER, AbortRequest, BodyWanted, Request
from gateway.exchange import Exchange
from gateway.workers.peer import READ, Peer, join_small, lost, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.events import Connection, Event
    from gateway.workers.aio import AioWorker

_MOST_UNSENT = 1024 * 1024
"""Bytes that wait for the web server to take them, from which on we take nothing from it."""
_ROOM = 4 * READ
"""Bytes of a body that wait for the application to take them, from which on the web server has to keep the rest."""


class AioPeer(Peer):
    """One accepted connection, which never waits: what the socket does not take is sent when it can be.

    It is the :class:`gateway.apps.asgi.Line` of its calls: of one, or of several at a time where the wire multiplexes.
    """

    __slots__ = (
        "calls", "congested", "cut", "spoken", "shared", "lost", "_deaf", "_unsent", "_stalled", "_delivering",
        "_drained",
    )  # fmt: skip
    _worker: AioWorker

    def __init__(self, sock: socket.socket, connection: Connection, worker: AioWorker, *, name: object) -> None:
        super().__init__(sock, connection, worker, name=name)
        self.calls: dict[int, Call] = {}
        self.congested = False
        self.cut = True  # did we answer without reading all that it asked?
        self.spoken = False  # did it say anything yet?
        self.shared = False  # did it carry several requests at a time?
        self.lost = False  # is nobody there any more?
        self._deaf = False  # did the web server say its last word?
        self._unsent: list[bytes] = []
        self._stalled = 0.0  # monotonic seconds since when it takes nothing
        self._delivering = False
        self._drained: asyncio.Event | None = None  # what drain() waits for, if it does

    def __repr__(self) -> str:
        if not self.calls:
            return super().__repr__()
        return f"<AioPeer fd={self.fd} calls={len(self.calls)}{' congested' if self.congested else ''}>"

    def listens(self) -> bool:
        """Shall we hear more now, or has the application to take first what there is?"""
        if self._deaf or (self._unsent and sum(map(len, self._unsent)) > _MOST_UNSENT):
            return False
        if not self.calls:
            return True
        # One request can wait at the web server; several would all wait for the slowest.
        room = self._worker.limits.body_buffer if self.shared else _ROOM
        for call in self.calls.values():
            room -= call.exchange.held
        return room > 0

    # -- what is received

    def deliver(self) -> None:
        """Hand what was received, or held back until a response was whole, to the calls; begin those that are new."""
        connection = self.connection
        self._delivering = True
        try:
            while begun := self._hand_out(self._events()):
                for call in begun:
                    self._worker.begin(call)
                if self.calls or connection.idle:
                    break
        finally:
            self._delivering = False

    def _events(self) -> list[Event]:
        try:
            return self.connection.events()
        except RemoteProtocolError:
            self._abort_all()
            raise

    def _hand_out(self, events: list[Event]) -> list[Call]:
        begun: list[Call] = []
        worker = self._worker
        for event in events:
            if event.__class__ is Request:
                if "REMOTE_ADDR" not in event.params:
                    self._name_peer(event)
                exchange = Exchange(event, self.connection, peer=self, limits=worker.limits, log=worker.log)
                exchange.stream()
                call = self.calls[event.request_id] = Call(worker.runner, exchange, self)
                if len(self.calls) > 1:
                    self.shared = True
                if event.role != FILTER:  # whose file is to be whole first
                    begun.append(call)
            elif (waiting := self.calls.get(event.request_id)) is not None:
                if event.__class__ is AbortRequest:
                    self.abort(waiting)
                else:
                    waiting.hear(event)
                if waiting.is_due():
                    begun.append(waiting)
        return begun

    def abort(self, call: Call) -> None:
        """Nobody wants the answer of this call any more; the application has some time to find out."""
        exchange = call.exchange
        exchange.receive(AbortRequest(exchange.request.request_id))
        call.patience = time.monotonic() + self._worker.limits.abort_timeout
        call.notify()

    def _abort_all(self) -> None:
        for call in list(self.calls.values()):
            self.abort(call)

    def hang_up(self) -> None:
        """The peer sends nothing more.  Raises RemoteProtocolError if it should have."""
        self._deaf = True
        try:
            self.connection.receive_eof()
        except RemoteProtocolError:
            self._abort_all()
            raise
        self.deliver()
        if self.sock.family != socket.AF_UNIX:
            for call in self.calls.values():
                call.doubt()  # TCP does not tell who closed one half from who is gone
        elif self._is_gone():
            self.lose()

    def _is_gone(self) -> bool:
        """Does it not read any more, either?"""
        poll = select.poll()
        poll.register(self.fd, 0)
        return bool(poll.poll(0))

    def lose(self) -> None:
        """Nobody is there any more."""
        if not self.lost:
            self.lost = True
            self.relax()
            self._abort_all()

    # -- what is sent

    def push(self) -> None:
        """Send what the connection has to say, as far as the socket takes it."""
        chunks = self.connection.data_to_send()
        if self.lost or not chunks:
            return
        chunks = join_small(chunks)
        if self.congested:
            self._unsent += chunks
            return
        try:
            self._unsent = self._send(chunks)
        except OSError as error:
            self.lose()
            raise lost(error) from error
        if self._unsent:
            self.congested = True
            self._stalled = time.monotonic()
            self._worker.loop.add_writer(self.fd, self._on_writable)

    def _send(self, chunks: list[bytes]) -> list[bytes]:
        """What the socket does not take.  Raises OSError."""
        while chunks:
            try:
                chunks = send(self.sock, chunks)
            except BlockingIOError:
                break
        return chunks

    def _on_writable(self) -> None:
        try:
            self._unsent = self._send(self._unsent)
        except OSError as error:
            self._worker.drop(self, error.strerror or str(error))
            return
        self._stalled = time.monotonic()
        if not self._unsent:
            self.relax()
        self._worker.go_on(self)

    def relax(self) -> None:
        """All was taken, or is not wanted any more."""
        if self.congested:
            self._unsent.clear()
            self._worker.loop.remove_writer(self.fd)
            self.congested = False
            if self._drained is not None:
                self._drained.set()
                self._drained.clear()

    def reply(self) -> None:
        """Send what the wire itself has to say, after what is on its way already."""
        if self.calls or self.congested:
            self.push()
        else:
            super().reply()

    def is_stalled(self, now: float) -> bool:
        """Has the web server taken nothing for ``send_timeout``?"""
        return self.congested and now - self._stalled > self._worker.limits.send_timeout

    # -- what a call wants of its line

    async def drain(self) -> None:
        """Wait until the web server has taken all that was pushed."""
        while self.congested:
            if self._drained is None:
                self._drained = asyncio.Event()
            await self._drained.wait()

    def want(self, call: Call) -> None:
        """The application waits for more of the request."""
        exchange = call.exchange
        if exchange.complete or self.lost:
            return
        self.connection.send(BodyWanted(READ, exchange.request.request_id))
        try:
            self.push()
        except RequestAborted:
            return  # the call has heard of it
        self._worker.listen(self)

    def answered(self, call: Call) -> None:
        """A response is over."""
        exchange = call.exchange
        self.calls.pop(exchange.request.request_id, None)
        exchange.close()
        self._worker.count(self, exchange)
        if not self._delivering:
            self._worker.go_on(self)

    def done(self, call: Call) -> None:
        """The application is done."""
        self._worker.forget(call)
