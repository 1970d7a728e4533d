"""How many programs may run at once: a request beyond that waits for a while, and is then refused."""

from __future__ import annotations

import threading
from collections import deque

from gateway.errors import ScriptError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from gateway.limits import Limits

    Wake: TypeAlias = Callable[[], object]


class Children:
    """The running programs of one CGI host, counted over all threads and event loops of this process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._free = limits.max_children
        self._waiting: deque[Wake] = deque()

    def enter(self, path: str) -> None:
        """One more is to run, now or as soon as another has ended.  Raises ScriptError."""
        turn = threading.Event()
        if not self.queue(turn.set) and not turn.wait(self._limits.queue_timeout) and self.give_up(turn.set):
            raise self.refuse(path)

    def queue(self, wake: Wake) -> bool:
        """May one more run?  If not, ``wake()`` is called, from any thread, once it may."""
        with self._lock:
            if self._free or not self._limits.max_children:
                self._free -= 1
                return True
            self._waiting.append(wake)
            return False

    def give_up(self, wake: Wake) -> bool:
        """Wait no longer; False if it may run meanwhile."""
        with self._lock:
            if wake in self._waiting:
                self._waiting.remove(wake)
                return True
            return False

    def leave(self) -> None:
        """One has ended: its place goes to who has waited longest."""
        with self._lock:
            wake = self._waiting.popleft() if self._waiting else None
            if wake is None:
                self._free += 1
        if wake is not None:
            wake()

    def refuse(self, path: str) -> ScriptError:
        """Why there is no place for one more."""
        limits = self._limits
        return ScriptError(
            f"{path}: {limits.max_children} programs ran already (limit max_children), and none ended within "
            f"{limits.queue_timeout:g} s (limit queue_timeout): raise one of these, or make the programs quicker",
            status_hint="503 Service Unavailable",
        )
