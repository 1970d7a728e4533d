"""Readiness of descriptors for many threads at once: epoll where there is one, :mod:`selectors` elsewhere.

A descriptor that :meth:`wait` reported is quiet until it is armed again, so that one thread owns it.  Listeners and the
wake-up pipe are always armed.
"""

from __future__ import annotations

import select
import selectors
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Poller(Protocol):
        def add_listener(self, fd: int) -> None: ...
        def add(self, fd: int) -> None: ...
        def arm(self, fd: int) -> None: ...
        def remove(self, fd: int) -> None: ...
        def wait(self, timeout: float) -> list[int]: ...
        def close(self) -> None: ...


class EpollPoller:
    """All threads wait on one epoll; EPOLLONESHOT hands a connection to one of them (man epoll)."""

    def __init__(self, *, threads: int) -> None:
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        # One thread need not be told that a descriptor is its own.
        self._oneshot = select.EPOLLONESHOT if threads > 1 else 0
        self._most = 1 if threads > 1 else 64
        self._mask = select.EPOLLIN | select.EPOLLRDHUP | self._oneshot

    def add_listener(self, fd: int) -> None:
        """Watch a listening socket: of the processes that share it, one wakes (EPOLLEXCLUSIVE)."""
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def add(self, fd: int) -> None:
        """Watch a connection."""
        self._epoll.register(fd, self._mask)

    def arm(self, fd: int) -> None:
        """Watch a connection again after :meth:`wait` reported it."""
        if self._oneshot:
            self._epoll.modify(fd, self._mask)

    def remove(self, fd: int) -> None:
        """Watch no more."""
        self._epoll.unregister(fd)

    def wait(self, timeout: float) -> list[int]:
        """Descriptors that can be read; [] after ``timeout`` seconds."""
        return [fd for fd, _ in self._poll(timeout, self._most)]

    def close(self) -> None:
        """Release the epoll."""
        self._epoll.close()


class SelectorPoller:
    """The same shape where there is no epoll (macOS): one thread waits at a time, the others queue."""

    def __init__(self, *, threads: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._turn = threading.Lock()  # who waits
        self._guard = threading.Lock()  # who changes what is watched
        self._kept: set[int] = set()  # armed whatever happens
        self._armed: set[int] = set()
        self._gone: set[int] = set()  # removed since the last wait; the number may be another descriptor's by now
        self._threads = threads

    def add_listener(self, fd: int) -> None:
        """Watch a listening socket."""
        self._kept.add(fd)
        self.add(fd)

    def add(self, fd: int) -> None:
        """Watch a connection; a thread that waits meanwhile sees it at its next turn."""
        with self._guard:
            self._armed.add(fd)

    arm = add

    def remove(self, fd: int) -> None:
        """Watch no more."""
        with self._guard:
            self._kept.discard(fd)
            self._armed.discard(fd)
            self._gone.add(fd)

    def _synchronize(self) -> None:
        with self._guard:
            watched = set(self._selector.get_map())
            for fd in watched & (self._gone | watched - self._armed):
                self._selector.unregister(fd)
                watched.discard(fd)
            for fd in self._armed - watched:
                self._selector.register(fd, selectors.EVENT_READ)
            self._gone.clear()

    def wait(self, timeout: float) -> list[int]:
        """Descriptors that can be read; [] after at most ``timeout`` seconds."""
        # With several threads another one may arm a descriptor while we wait: look again soon.
        step = timeout if self._threads == 1 else min(timeout, 0.05)
        with self._turn:
            self._synchronize()
            ready = [key.fd for key, _ in self._selector.select(step)]
            if self._threads > 1:
                del ready[1:]
            with self._guard:
                self._armed -= set(ready) - self._kept
        return ready

    def close(self) -> None:
        """Release the selector."""
        self._selector.close()


def make_poller(*, threads: int) -> Poller:
    """The best poller of this platform."""
    return EpollPoller(threads=threads) if hasattr(select, "epoll") else SelectorPoller(threads=threads)
