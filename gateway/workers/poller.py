"""Readiness of descriptors: epoll where there is one, :mod:`selectors` elsewhere.

One thread waits; others may add and remove meanwhile.  A descriptor that can be read is reported until it was read.
"""

from __future__ import annotations

import os
import select
import selectors
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Poller(Protocol):
        def add_listener(self, fd: int) -> None: ...
        def add(self, fd: int) -> None: ...
        def remove(self, fd: int) -> None: ...
        def wait(self, timeout: float) -> list[int]: ...
        def close(self) -> None: ...


class EpollPoller:
    """Linux: the kernel keeps what is watched."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self.fd = self._epoll.fileno()
        """It can be read when there is something to report."""

    def add_listener(self, fd: int) -> None:
        """Watch a listening socket: of the processes that share it, one wakes (EPOLLEXCLUSIVE)."""
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def add(self, fd: int) -> None:
        """Watch a connection."""
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP)

    def remove(self, fd: int) -> None:
        """Watch no more."""
        self._epoll.unregister(fd)

    def wait(self, timeout: float) -> list[int]:
        """Descriptors that can be read; [] after ``timeout`` seconds."""
        return [fd for fd, _ in self._poll(timeout, 64)]

    def close(self) -> None:
        """Release the epoll."""
        self._epoll.close()


class SelectorPoller:
    """The same where there is no epoll (macOS): selectors are not safe to change while they wait, so changes queue."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._guard = threading.Lock()
        self._wanted: set[int] = set()
        self._gone: set[int] = set()  # removed since the last wait; the number may be another descriptor's by now

    def add(self, fd: int) -> None:
        """Watch a connection; a thread that waits meanwhile sees it at its next turn."""
        with self._guard:
            self._wanted.add(fd)

    add_listener = add

    def remove(self, fd: int) -> None:
        """Watch no more."""
        with self._guard:
            self._wanted.discard(fd)
            self._gone.add(fd)

    def _synchronize(self) -> None:
        with self._guard:
            watched = set(self._selector.get_map())
            for fd in watched & self._gone:
                self._selector.unregister(fd)
                watched.discard(fd)
            for fd in self._wanted - watched:
                self._selector.register(fd, selectors.EVENT_READ)
            self._gone.clear()

    def wait(self, timeout: float) -> list[int]:
        """Descriptors that can be read; [] after at most ``timeout`` seconds."""
        self._synchronize()
        # Another thread may add a descriptor while we wait: look again soon.
        ready = [key.fd for key, _ in self._selector.select(min(timeout, 0.05))]
        with self._guard:
            return [fd for fd in ready if fd not in self._gone]

    def close(self) -> None:
        """Release the selector."""
        self._selector.close()


class WakeUp:
    """A pipe that ends a wait, for signal handlers and other threads."""

    def __init__(self) -> None:
        self.fd, self.writer = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self.writer, False)

    def ring(self) -> None:
        """End the present wait, or the next one."""
        try:
            os.write(self.writer, b"!")
        except OSError:
            return  # it rings already, or there is nobody to wake any more

    def clear(self) -> None:
        """It was heard."""
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:
            return  # and cleared

    def close(self) -> None:
        """There is nobody to wake: a late ``ring()`` must not write to the next descriptor of this number."""
        writer, self.writer = self.writer, -1
        os.close(writer)
        os.close(self.fd)


def make_poller() -> Poller:
    """The best poller of this platform."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
