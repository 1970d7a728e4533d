"""Who serves: one thread leads, and hands over when the application holds it up.

Threads that take turns at the interpreter lock for every request cost more than the request does (measured: 17 µs with
one thread, 31 with four that all wait on one epoll; docs/decisions/0003-one-leads.md).  So one thread leads: it
waits for connections, reads and runs the application.  The others sleep until the leader is held up, because the
application waits for a database, say: then one of them leads, and the old leader, when it is done, queues up.

A leader is held up when the application is known to take long, or when it turns out to: the supervising thread looks.
"""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.workers.peer import Peer

HELD_UP = 0.005
"""Seconds in the application after which a leader is held up; the interpreter switches threads after as many."""
_LONG = 0.001
"""Seconds that calls of the application typically take, from which on the leader hands over before each."""
_WEIGHT = 0.05
"""Of the latest call in what is typical."""
_DOZE_AFTER = 40
"""Looks at an idle leader after which the supervisor looks no more until it is woken."""


class Relay:
    """The baton.  ``let_go`` is called with the leader's peer when it is passed on: nobody else may serve that one."""

    def __init__(self, let_go: Callable[[Peer], None]) -> None:
        self._let_go = let_go
        self._baton = threading.Lock()
        self._guard = threading.Lock()
        self._leader = 0  # the thread that holds the baton
        self._running: Peer | None = None  # what the leader runs the application for
        self._typical = 0.0
        self._quiet = 0
        self._dozing = False
        self._alarm = threading.Event()

    # -- the serving threads

    def lead(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the baton."""
        if not self._baton.acquire(timeout=timeout):
            return False
        self._leader = threading.get_ident()
        return True

    def leads(self) -> bool:
        """Does the calling thread hold the baton still?"""
        return self._leader == threading.get_ident()

    def step_down(self) -> None:
        """The calling thread serves no more."""
        with self._guard:
            if self.leads():
                self._pass_on()

    def enter(self, peer: Peer) -> None:
        """The calling thread is about to run the application."""
        if not self.leads():
            return  # it goes on with a connection that it kept when it handed over
        self._running = peer
        if self._typical > _LONG:
            self._hand_over(peer)
        elif self._dozing:
            self.rouse()

    def leave(self, peer: Peer) -> None:
        """The application is done; the thread may or may not lead still."""
        self._typical += _WEIGHT * (time.monotonic() - peer.started - self._typical)
        with self._guard:
            if self._running is peer:
                self._running = None

    def _hand_over(self, peer: Peer) -> None:
        with self._guard:
            if self._running is peer:
                self._running = None
                self._let_go(peer)
                self._pass_on()

    def _pass_on(self) -> None:
        self._leader = 0
        self._baton.release()

    # -- the supervising thread

    def look(self, longest: float) -> None:
        """See whether the leader is held up; takes milliseconds, or up to ``longest`` seconds while all is quiet."""
        peer = self._running
        if peer is not None:
            self._quiet = 0
            if time.monotonic() - peer.started > HELD_UP:
                self._hand_over(peer)
        elif self._quiet < _DOZE_AFTER:
            self._quiet += 1
        else:
            self._doze(longest)
            return
        time.sleep(min(HELD_UP, longest))

    def rouse(self) -> None:
        """Something is up: doze no longer.  Not for signal handlers, which may interrupt the dozing thread itself."""
        self._alarm.set()

    def _doze(self, longest: float) -> None:
        self._dozing = True
        if self._running is None:  # enter() sets it before it looks whether we doze
            self._alarm.wait(longest)
        self._dozing = False
        if self._alarm.is_set():
            self._alarm.clear()
            self._quiet = 0
