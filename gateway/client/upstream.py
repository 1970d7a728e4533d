"""One connection to an upstream: its socket and its wire; and the pool of those that wait for the next request."""

from __future__ import annotations

import os
import selectors
import threading

from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, WEB_SERVER, Side
from gateway.exchange import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import TypeAlias

    from gateway.events import Connection, Event

    Tap: TypeAlias = Callable[[Side, bytes], None]

BAD_GATEWAY, UNAVAILABLE, TIMED_OUT = "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # Windows has no poll()


class Upstream:
    """One connection to the upstream: a socket that never blocks, the wire, and the bytes it did not take yet."""

    __slots__ = ("connection", "name", "heard", "_sock", "_selector", "_timeout", "_tap", "_unsent", "_deaf", "_fault")

    def __init__(
        self, sock: socket.socket, connection: Connection, *, name: str, timeout: float, tap: Tap | None = None
    ) -> None:
        sock.setblocking(False)
        self.connection = connection
        self.name = name
        self.heard = False
        """Did anything of the present answer arrive?"""
        self._sock = sock
        self._selector = _Selector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._timeout = timeout or None
        self._tap = tap
        self._unsent = memoryview(b"")
        self._fault: RemoteProtocolError | None = None
        self._deaf = False  # the upstream reads no more; what it wrote before can still be received

    def __repr__(self) -> str:
        return f"<Upstream {self.name} unsent={len(self._unsent)} {self.connection!r}>"

    @property
    def reusable(self) -> bool:
        """Can it carry another request: does the wire allow it, and is nothing under way?"""
        return self.connection.reusable and self.connection.idle and not self._unsent and not self._deaf

    def readable(self) -> bool:
        """Did the upstream say something that was not received, perhaps goodbye?"""
        return self._wait(0)

    def push(self) -> bool:
        """Send what goes without waiting; True if the upstream would take more, of the request's body as well."""
        chunks = self.connection.data_to_send()
        if chunks:
            self._unsent = memoryview(b"".join((self._unsent, *chunks)))
        try:
            while self._unsent and not self._deaf:
                size = self._sock.send(self._unsent)
                if self._tap is not None:
                    self._tap(WEB_SERVER, bytes(self._unsent[:size]))
                self._unsent = self._unsent[size:]
        except BlockingIOError:
            return False
        except OSError:
            self._deaf = True  # it may have answered before it hung up: receiving shows whether it did
        return not (self._deaf or self.connection.body_held)

    def events(self) -> list[Event]:
        """What the upstream says next, [] once it would take more of what :meth:`push` left over.

        Raises RemoteProtocolError.
        """
        if self._fault is not None:
            raise self._fault
        try:
            return self._receive() if self._wait(self._timeout) else []
        except RemoteProtocolError as error:
            error.args = (f"{self.name}: {error}",)
            if error.status_hint[0] != "5":
                error.status_hint = BAD_GATEWAY  # a rule of the wire was broken, and not by the visitor
            # What came before the fault counts: that the response is whole, or in the error output what went wrong.
            before = self.connection.events()
            if not before:
                raise
            self._fault = error
            return before

    def _wait(self, timeout: float | None) -> bool:
        """Wait until the upstream speaks (True) or takes more; 0 only looks whether it spoke."""
        writing = self._unsent and not self._deaf and timeout != 0
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        if self._selector.get_key(self._sock).events != mask:
            self._selector.modify(self._sock, mask)
        ready = self._selector.select(timeout)
        if not ready and timeout:
            raise RemoteProtocolError(
                f"nothing moved for {timeout:g} s; see what the upstream is doing, or allow it a longer timeout",
                status_hint=TIMED_OUT,
            )
        return any(events & selectors.EVENT_READ for _, events in ready)

    def _receive(self) -> list[Event]:
        try:
            data = self._sock.recv(BLOCK)
        except BlockingIOError:
            return []
        except OSError as error:
            if self._tap is not None:
                self._tap(APPLICATION, b"")
            message = f"the connection broke: {error.strerror or error}"
            raise RemoteProtocolError(message, status_hint=BAD_GATEWAY) from error
        if self._tap is not None:
            self._tap(APPLICATION, data)
        if data:
            self.heard = True
            self.connection.receive_data(data)
            return self.connection.events()
        self.connection.receive_eof()
        events = self.connection.events()
        if not events:
            raise RemoteProtocolError("the upstream closed the connection", status_hint=BAD_GATEWAY)
        return events

    def close(self) -> None:
        """Hang up."""
        self._selector.close()
        self._sock.close()


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
