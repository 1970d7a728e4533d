"""The lanes of ``gateway demo``: one process model each, what it is asked, and what came of it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from gateway.client.visit import visit
from gateway.errors import GatewayError
from gateway.measure.phases import Timeline
from gateway.measure.phases_running import Measured
from gateway.measure.processes import Tree, check_platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.environ import Environ
    from gateway.events import Headers

KEPT = 50
"""Requests of a lane that are remembered."""

SOURCES = [Path(__file__).with_name(f"{name}.py") for name in ("application", "application_asgi")]
_WSGI, _ASGI = (f"{path}:application" for path in SOURCES)
LANES = {"cgi": ("cgi", _WSGI), "fork": ("fork", _WSGI), "fastcgi": ("fastcgi", _WSGI), "aio": ("fastcgi", _ASGI)}
"""A lane's name, which is its path, too; its model, as gateway.measure has it; and the application."""

_BAD_GATEWAY = "502 Bad Gateway"
_FAILED = {"status": _BAD_GATEWAY, "pid": 0, "served": 0, "waited": 0, "whole": 0, "phases": []}
"""What is known of a request that nothing was heard of."""


class Lane:
    """One model.  ``publish(request)`` is called with what became known of each request."""

    def __init__(self, name: str, *, publish: Callable[[dict[str, Any]], object]) -> None:
        model, target = LANES[name]
        self.name = name
        self.asked = 0
        """Requests in all."""
        self.last: Timeline | None = None
        self.recent: deque[dict[str, Any]] = deque(maxlen=KEPT)
        """What was published, the latest at the end."""
        self.processes: int | None = None
        """Those that live, when somebody looked last; None if nobody did, or can."""
        self.memory: int | None = None
        """Bytes that these have together (PSS)."""
        self._measured = Measured(model, target)
        self._starts_its_own = model == "cgi"
        self._publish = publish
        self._threads = ThreadPoolExecutor(KEPT, thread_name_prefix=name)

    def __repr__(self) -> str:
        return f"<Lane {self.name} asked={self.asked} pid={self.pid}>"

    @property
    def pid(self) -> int | None:
        """The process that stays, once it was asked for the first time."""
        return self._measured.pid

    async def ask(self, path: str) -> dict[str, Any]:
        """Make a request, and give what became known of it."""
        await self.answer(visit("GET", path))
        return self.recent[-1]

    async def answer(self, environ: Environ) -> tuple[str, Headers, bytes]:
        """What the application answers, also to a request of the visitor's own."""
        loop = asyncio.get_running_loop()
        try:
            answer, timeline = await loop.run_in_executor(self._threads, self._answer, environ)
        except GatewayError as error:
            logging.getLogger("gateway").error("/%s/ failed: %s", self.name, error)
            self._take(None)
            return _BAD_GATEWAY, [("Content-Type", "text/plain")], f"{_BAD_GATEWAY}: the terminal says why\n".encode()
        self._take(timeline)
        return answer

    def _answer(self, environ: Environ) -> tuple[tuple[str, Headers, bytes], Timeline]:
        head: list[Any] = []
        result = self._measured(environ, lambda *started: head.extend(started[:2]))
        try:
            body = b"".join(result)
        finally:
            result.close()
        status, headers = head
        return (status, [*headers, ("Server-Timing", _server_timing(result.timeline))], body), result.timeline

    def _take(self, timeline: Timeline | None) -> None:
        self.asked += 1
        self.last = timeline
        request = _FAILED if timeline is None else timeline.as_dict()
        self.recent.append(request | {"lane": self.name, "asked": self.asked})
        self._publish(self.recent[-1] | {"median": self._median()})

    def look(self, *, apart: Iterable[int]) -> None:
        """See what lives, of all that we started but those ``apart``.  Takes some milliseconds.  Raises ConfigError."""
        check_platform()
        if self.pid is not None or self._starts_its_own:
            tree = Tree(self.pid, apart=frozenset(apart))
            self.processes, self.memory = len(tree.pids()), tree.pss()

    def numbers(self) -> dict[str, Any]:
        """Of the latest request, and of all of them; times are nanoseconds."""
        latest = self.recent[-1] if self.recent else _FAILED
        kept = ("status", "pid", "served", "waited", "phases")
        return {name: latest[name] for name in kept} | {
            "asked": self.asked, "median": self._median(), "processes": self.processes, "memory": self.memory
        }  # fmt: skip

    def _median(self) -> int:
        times = [request["waited"] for request in self.recent if request["status"] == "200 OK"]
        return round(median(times)) if times else 0

    def close(self) -> None:
        """End what serves, after the requests under way."""
        self._threads.shutdown(cancel_futures=True)
        self._measured.close()


def _server_timing(timeline: Timeline) -> str:
    """The phases for the developer tools of a browser (W3C Server Timing)."""
    names = {phase.name: re.sub(r"\W+", "-", phase.name) for phase in timeline.phases}
    return ", ".join(f"{token};dur={timeline.took(name) / 1e6:.3f}" for name, token in names.items())
