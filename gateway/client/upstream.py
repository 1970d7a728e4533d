"""One connection to an upstream: its socket and its wire; and the pool of those that wait for the next request."""

from __future__ import annotations

import os
import selectors
import socket
import threading

from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, WEB_SERVER, Side
from gateway.exchange import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from gateway.events import Connection, Event

    Tap: TypeAlias = Callable[[Side, bytes], None]

BAD_GATEWAY, UNAVAILABLE, TIMED_OUT = "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # Windows has no poll()


class Upstream:
    """One connection to the upstream: a socket that never blocks, the wire, and the bytes it did not take yet.

    A thread that moves them waits in :meth:`events`; an event loop sees for itself when to :meth:`receive` and to
    :meth:`push`.
    """

    __slots__ = (
        "connection", "name", "heard", "sock", "timeout", "unsent", "fault", "_broken", "_selector", "_tap"
    )  # fmt: skip

    def __init__(
        self, sock: socket.socket, connection: Connection, *, name: str, timeout: float, tap: Tap | None = None
    ) -> None:
        sock.setblocking(False)
        self.connection = connection
        self.name = name
        self.heard = False
        """Did anything of the present answer arrive?"""
        self.sock = sock
        self.timeout = timeout or None
        self.unsent = memoryview(b"")
        self.fault: RemoteProtocolError | None = None
        """What was wrong after all that was received so far; the next :meth:`receive` raises it."""
        self._broken: OSError | None = None
        self._selector: selectors.BaseSelector | None = None
        self._tap = tap

    def __repr__(self) -> str:
        return f"<Upstream {self.name} unsent={len(self.unsent)} {self.connection!r}>"

    @property
    def deaf(self) -> bool:
        """Does the upstream read no more?  What it wrote before can still be received."""
        return self._broken is not None

    @property
    def reusable(self) -> bool:
        """Can it carry another request: does the wire allow it, and is nothing under way?"""
        return self.connection.reusable and self.connection.idle and not self.unsent and not self.deaf

    def was_stale(self, error: RemoteProtocolError) -> bool:
        """Did this request fail because the upstream had closed the connection, or was about to?"""
        return not self.heard and error.status_hint != TIMED_OUT

    def readable(self) -> bool:
        """Did the upstream say something that was not received, perhaps goodbye?"""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError as error:
            self._broken = error  # the system says so once only
        return True

    def push(self) -> bool:
        """Send what goes without waiting; True if the upstream would take more, of the request's body as well."""
        chunks = self.connection.data_to_send()
        if chunks:
            self.unsent = memoryview(b"".join((self.unsent, *chunks)))
        try:
            while self.unsent and not self.deaf:
                size = self.sock.send(self.unsent)
                if self._tap is not None:
                    self._tap(WEB_SERVER, bytes(self.unsent[:size]))
                self.unsent = self.unsent[size:]
        except BlockingIOError:
            return False
        except OSError as error:
            self._broken = error  # it may have answered before it hung up: receiving shows whether it did
        return not (self.deaf or self.connection.body_held)

    def receive(self) -> list[Event]:
        """What the upstream says, as far as it has come.  Raises RemoteProtocolError."""
        if self.fault is not None:
            raise self.fault
        try:
            return self._receive()
        except RemoteProtocolError as error:
            self.blame(error)
            # What came before the fault counts: that the response is whole, or in the error output what went wrong.
            before = self.connection.events()
            if not before:
                raise
            self.fault = error
            return before

    def blame(self, error: RemoteProtocolError) -> RemoteProtocolError:
        """Say in an error whose it is."""
        error.args = (f"{self.name}: {error}",)
        if error.status_hint[0] != "5":
            error.status_hint = BAD_GATEWAY  # a rule of the wire was broken, and not by the visitor
        return error

    def time_out(self) -> RemoteProtocolError:
        """The error to raise when nothing has moved for ``timeout`` seconds."""
        message = f"nothing moved for {self.timeout:g} s; see what the upstream is doing, or allow it a longer timeout"
        return self.blame(RemoteProtocolError(message, status_hint=TIMED_OUT))

    def _receive(self) -> list[Event]:
        try:
            data = self.sock.recv(BLOCK)
        except BlockingIOError:
            return []
        except OSError as error:
            if self._tap is not None:
                self._tap(APPLICATION, b"")
            raise _broke(error) from error
        if self._tap is not None:
            self._tap(APPLICATION, data)
        if data:
            self.heard = True
            self.connection.receive_data(data)
            return self.connection.events()
        if self._broken is not None and not self.heard:
            raise _broke(self._broken)
        self.connection.receive_eof()
        events = self.connection.events()
        if not events:
            raise RemoteProtocolError("the upstream closed the connection", status_hint=BAD_GATEWAY)
        return events

    def events(self) -> list[Event]:
        """Wait for what the upstream says next; [] once it would take more of what :meth:`push` left over.

        Raises RemoteProtocolError.
        """
        return self.receive() if self.fault is not None or self._wait() else []

    def _wait(self) -> bool:
        """Wait until the upstream speaks (True) or takes more."""
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.unsent and not self.deaf else 0)
        if self._selector is None:
            self._selector = _Selector()
            self._selector.register(self.sock, mask)
        elif self._selector.get_key(self.sock).events != mask:
            self._selector.modify(self.sock, mask)
        ready = self._selector.select(self.timeout)
        if not ready and self.timeout:
            raise self.time_out()
        return any(events & selectors.EVENT_READ for _, events in ready)

    def close(self) -> None:
        """Hang up."""
        if self._selector is not None:
            self._selector.close()
        self.sock.close()


class Pool:
    """The idle connections of one process, the most recently used on top."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pid = os.getpid()
        self.idle: list[Upstream] = []
        self._lock = threading.Lock()

    def take(self) -> Upstream | None:
        """An idle connection that the upstream has not closed meanwhile."""
        while True:
            with self._lock:
                if not self.idle:
                    return None
                upstream = self.idle.pop()
            if not upstream.readable():
                return upstream
            upstream.close()

    def give(self, upstream: Upstream) -> None:
        """Keep a connection for the next request, if it is fit for one and there is room."""
        upstream.heard = False
        with self._lock:
            if upstream.reusable and len(self.idle) < self.size:
                self.idle.append(upstream)
                return
        upstream.close()

    def clear(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self.idle = self.idle, []
        for upstream in idle:
            upstream.close()


def _broke(error: OSError) -> RemoteProtocolError:
    return RemoteProtocolError(f"the connection broke: {error.strerror or error}", status_hint=BAD_GATEWAY)
