"""How many programs may run at once: a request beyond that waits for a while, and is then refused."""

from __future__ import annotations

import threading

from gateway.errors import ScriptError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.limits import Limits


class Children:
    """The running programs of one CGI host, counted over all threads of this process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = threading.Semaphore(limits.max_children) if limits.max_children else None

    def enter(self, path: str) -> None:
        """One more is to run, now or as soon as another has ended.  Raises ScriptError."""
        if self._free is not None and not self._free.acquire(timeout=self._limits.queue_timeout):
            raise self.refuse(path)

    def leave(self) -> None:
        """One has ended."""
        if self._free is not None:
            self._free.release()

    def refuse(self, path: str) -> ScriptError:
        """Why there is no place for one more."""
        limits = self._limits
        return ScriptError(
            f"{path}: {limits.max_children} programs ran already (limit max_children), and none ended within "
            f"{limits.queue_timeout:g} s (limit queue_timeout): raise one of these, or make the programs quicker",
            status_hint="503 Service Unavailable",
        )
