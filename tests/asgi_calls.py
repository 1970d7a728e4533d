"""An ASGI server of one call: what an application answers to one request, in an event loop of its own.

The loop is in debug mode, which complains about what is never awaited; a slow machine is no fault.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple, TypeVar

PATIENCE = 20.0
"""Seconds until something that should happen is taken not to."""

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run one coroutine in a loop of its own, with all that asyncio can find fault with."""

    async def patiently() -> T:
        asyncio.get_running_loop().slow_callback_duration = 5.0
        return await asyncio.wait_for(main, PATIENCE)

    logging.getLogger("asyncio").setLevel(logging.WARNING)
    return asyncio.run(patiently(), debug=True)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    while not condition():
        await asyncio.sleep(0.002)


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Request:
    """One request to ``app``, as a server sees it: it may send its body as it likes, and go away.

    One that is ``unfinished`` never comes to the end of its body.
    """

    def __init__(
        self, app: Any, path: str = "/", *, body: bytes | Iterable[bytes] = b"", method: str = "GET", query: str = "",
        headers: dict[str, str] | None = None, announced: bool = True,
        unfinished: bool = False, **scope: Any,
    ) -> None:  # fmt: skip
        self.app = app
        sent = {"host": "localhost"} | (headers or {})
        blocks = [body] if isinstance(body, bytes) else body
        if body and announced and "content-length" not in sent:
            sent |= {"content-length": str(len(body))} if isinstance(body, bytes) else {"transfer-encoding": "chunked"}
        self.scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": None, "query_string": query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "server": ("localhost", 80), "client": ("127.0.0.1", 40000),
        } | scope  # fmt: skip
        self.messages: list[dict[str, Any]] = []
        self.taken = 0
        """Blocks of the body that the application has asked for."""
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        """Cleared by a test while the visitor takes nothing of the response."""
        self.takes.set()
        self._unfinished = unfinished
        self._blocks = iter(blocks)
        self._next: bytes | None = next(self._blocks, b"")

    async def receive(self) -> dict[str, Any]:
        """What a server tells next."""
        if self._next is None or self.gone.is_set():
            await self.gone.wait()
            return {"type": "http.disconnect"}
        self.taken += 1
        block, self._next = self._next, next(self._blocks, None)
        await asyncio.sleep(0)
        return {"type": "http.request", "body": block, "more_body": self._unfinished or self._next is not None}

    async def send(self, message: dict[str, Any]) -> None:
        """What an application says."""
        await self.takes.wait()
        self.messages.append(message)

    def start(self) -> asyncio.Task[None]:
        """The application's task."""
        return asyncio.create_task(self.app(self.scope, self.receive, self.send))

    @property
    def body(self) -> bytes:
        """What came of it so far."""
        return b"".join(message["body"] for message in self.messages[1:])

    async def answer(self) -> Answer:
        """All of the answer; raises what the application raises."""
        await self.app(self.scope, self.receive, self.send)
        head, *parts = self.messages
        assert [head["type"], {part["type"] for part in parts}] == ["http.response.start", {"http.response.body"}]
        assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]
        headers = {name.decode(): value.decode("latin-1") for name, value in head["headers"]}
        return Answer(head["status"], headers, self.body)


async def lifespan(app: Any) -> list[str]:
    """Start the application up and down; what it says."""
    events = iter(["lifespan.startup", "lifespan.shutdown"])
    said: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": next(events)}

    async def send(message: dict[str, Any]) -> None:
        said.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    return said


def ask(app: Any, path: str = "/", **request: Any) -> Answer:
    """One request, from beginning to end, and the end of the server; keywords as of :class:`Request`."""

    async def main() -> Answer:
        try:
            return await Request(app, path, **request).answer()
        finally:
            await lifespan(app)

    return run(main())
