"""One accepted connection of a persistent worker: its socket, its wire, and the exchange in progress."""

from __future__ import annotations

import select
import socket
import time

from gateway.errors import RemoteProtocolError, RequestAborted
from gateway.events import BodyWanted, Request
from gateway.exchange import Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.events import Connection
    from gateway.workers.threads import ThreadsWorker

READ = 64 * 1024
"""Bytes read from a socket at once."""
IOV = 64
"""Chunks sent at once."""
SMALL = 64 * 1024
"""Chunks that together are smaller than this are joined: one copy is cheaper than a vector."""


def join_small(chunks: list[bytes]) -> list[bytes]:
    """The same as one chunk, if there is not much of it."""
    return [b"".join(chunks)] if len(chunks) > 1 and sum(map(len, chunks)) < SMALL else chunks


def send(sock: socket.SocketType, chunks: list[bytes]) -> list[bytes]:
    """Send what the socket takes at once; what is left.  Raises OSError: BlockingIOError if it takes nothing."""
    if len(chunks) > 1:
        return _after(chunks, sock.sendmsg(chunks[:IOV], (), socket.MSG_DONTWAIT))
    (chunk,) = chunks
    sent = sock.send(chunk, socket.MSG_DONTWAIT)  # which costs less than a vector of one
    return [] if sent == len(chunk) else [chunk[sent:]]


def _after(chunks: list[bytes], sent: int) -> list[bytes]:
    """What is left of ``chunks`` when ``sent`` bytes of them are gone."""
    for index, chunk in enumerate(chunks):
        if sent < len(chunk):
            return [chunk[sent:], *chunks[index + 1 :]]
        sent -= len(chunk)
    return []


def lost(error: OSError) -> RequestAborted:
    """What an application hears of a connection that broke."""
    return RequestAborted(f"the web server closed the connection: {error.strerror or error}")


class Peer:
    """One accepted connection: its socket, its wire, and the exchange in progress."""

    __slots__ = (
        "sock", "fd", "name", "connection", "exchange", "seen", "started", "owned", "watched", "lingering",
        "parted", "heard_ahead", "peeks", "_worker",
    )  # fmt: skip

    def __init__(self, sock: socket.SocketType, connection: Connection, worker: ThreadsWorker, *, name: object) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.name = name  # as accept() gave it: host, port and so on; "" on a unix socket
        self.connection = connection
        self.exchange: Exchange | None = None
        self.seen = 0.0  # monotonic seconds when we began to wait for it
        self.started = 0.0  # monotonic seconds when the application began on it; 0.0: it does not run
        self.owned = True  # does a thread work on it now?
        self.watched = False  # is it in the poller?
        self.lingering = False  # do we only wait for the peer to close?
        self.parted = False  # is the response that is sent now its last: this process stops, or it stands still?
        self.heard_ahead = False  # did what follows the whole request begin to arrive?
        self.peeks = False  # is that for another process to read?
        self._worker = worker

    def __repr__(self) -> str:
        doing = "lingering" if self.lingering else "running" if self.started else "reading" if self.exchange else "idle"
        return f"<Peer fd={self.fd} {doing}>"

    def fileno(self) -> int:
        """What pull() reads."""
        return self.fd

    def feed(self, data: bytes) -> None:
        """Decode what was received (b"": the end) and hand it to the exchange.  Raises RemoteProtocolError."""
        if data:
            self.connection.receive_data(data)
        else:
            self.connection.receive_eof()
        self.deliver()

    def deliver(self) -> None:
        """Hand what was received, or held back until the last response was whole, to the exchange.

        Until the application begins to read the body itself, the rest of it is asked for here.
        """
        connection = self.connection
        for event in connection.events():
            if isinstance(event, Request):
                if "REMOTE_ADDR" not in event.params:
                    self._name_peer(event)
                worker = self._worker
                self.heard_ahead = False
                self.exchange = Exchange(event, connection, peer=self, limits=worker.limits, log=worker.log)
            elif self.exchange is not None and event.request_id == self.exchange.request.request_id:
                self.exchange.receive(event)
        exchange = self.exchange
        if exchange is not None and not self.started and not exchange.ready:
            connection.send(BodyWanted(READ, exchange.request.request_id))

    def _name_peer(self, request: Request) -> None:
        """HTTP does not say who connected, CGI does (RFC 3875 §4.1.8); on a unix socket nobody has an address."""
        if isinstance(self.name, tuple):
            host, port = self.name[:2]
            told = {"REMOTE_ADDR": host.removeprefix("::ffff:"), "REMOTE_PORT": str(port)}
            request.params = told | request.params
            if request.repeated:
                request.repeated = [*told.items(), *request.repeated]

    def push(self) -> None:
        """Write what the connection has to say; wait for a slow reader up to ``send_timeout``."""
        exchange = self.exchange
        if not self.started or exchange is None:
            self._write()
            return
        if not exchange.ended:
            exchange.end_early()
        self._write()
        if not exchange.ended:
            self._listen(exchange)
        elif self._worker.stopping and self.connection.idle and time.monotonic() > self._worker.part_at:
            self._part()

    def _part(self) -> None:
        """End the connection with the response: later, the web server could have sent the next request on it."""
        self.parted = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it is gone already

    def _write(self) -> None:
        chunks = join_small(self.connection.data_to_send())
        while chunks:
            try:
                chunks = send(self.sock, chunks)
            except BlockingIOError:
                self._wait(select.POLLOUT, self._worker.limits.send_timeout)
            except OSError as error:
                raise lost(error) from error

    def reply(self) -> None:
        """Write what the wire itself has to say.  A peer that does not read it is given up: it would hold up others."""
        for chunk in self.connection.data_to_send():
            try:
                taken = self.sock.send(chunk, socket.MSG_DONTWAIT)
            except BlockingIOError:
                taken = 0
            except OSError as error:
                raise RequestAborted(f"connection lost: {error.strerror}") from error
            if taken < len(chunk):
                raise RequestAborted("it asks, and does not read the answers")

    def _listen(self, exchange: Exchange) -> None:
        """In the middle of a response: did the web server say that it no longer wants it?"""
        if not exchange.complete and exchange.body is not None and exchange.body.chunks:
            return  # some of the body waits for the application to read it: let the web server keep the rest
        if self.heard_ahead:
            return  # the next request may be long: let the web server keep the rest
        peek = socket.MSG_PEEK if self.peeks and exchange.complete else 0
        try:
            data = self.sock.recv(READ, socket.MSG_DONTWAIT | peek)
        except BlockingIOError:
            return
        except OSError as error:
            raise lost(error) from error
        self.heard_ahead = exchange.complete
        self._take(data)

    def pull(self) -> None:
        """Wait for more of the request while the application reads it; say first what the wire has to say for that."""
        self._write()
        self._wait(select.POLLIN, self._worker.limits.receive_timeout)
        try:
            data = self.sock.recv(READ)
        except OSError as error:
            raise lost(error) from error
        self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            self.feed(data)
        except RemoteProtocolError as error:
            self._worker.complain(self, error)
            raise RequestAborted(str(error)) from error

    def has_spoken(self) -> bool:
        """Did something arrive on an idle connection just now?"""
        try:
            return bool(self.sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        except OSError:
            return False  # nothing did, or it is gone

    def discard(self) -> bool:
        """Read what nobody wants any more; False at its end.  Raises OSError."""
        try:
            return bool(self.sock.recv(READ, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True

    def stack(self) -> str:
        """Where the thread is that works on this connection."""
        import sys
        import traceback  # only a request that runs too long pays for this import

        for frame in sys._current_frames().values():
            if any(caller.f_locals.get("peer") is self for caller, _ in traceback.walk_stack(frame)):
                return "".join(traceback.format_stack(frame)).rstrip()
        return "  code that returned just now"

    def shut(self) -> None:
        """End the connection in both directions, for all processes that hold it, but leave the descriptor open."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is gone already

    def _wait(self, mask: int, timeout: float) -> None:
        poll = select.poll()
        poll.register(self.fd, mask)
        if not poll.poll(timeout * 1000):
            raise RequestAborted(f"the web server neither reads nor writes since {timeout:g} seconds")
