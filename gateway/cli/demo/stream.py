"""Server-Sent Events (HTML Living Standard §9.2): what happens, to every page that is open."""

from __future__ import annotations

import asyncio
import json

from gateway.visitor import Visitor

ROOM = 1000
"""Events that wait for a page to take them.  One that lags further behind is hung up on; it connects anew by itself."""
_END = b""


class Stream:
    """Whoever listens, and what they are told."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[bytes]] = set()

    def __repr__(self) -> str:
        return f"<Stream listeners={len(self._listeners)}>"

    @property
    def heard(self) -> bool:
        """Does anybody listen?"""
        return bool(self._listeners)

    def publish(self, event: str, data: object) -> None:
        """Tell everybody."""
        block = encode(event, data)
        for queue in list(self._listeners):
            queue.put_nowait(block)
            if queue.qsize() > ROOM:
                self._dismiss(queue)

    def end(self) -> None:
        """Nothing more happens."""
        for queue in list(self._listeners):
            self._dismiss(queue)

    def _dismiss(self, queue: asyncio.Queue[bytes]) -> None:
        self._listeners.discard(queue)
        queue.put_nowait(_END)

    async def tell(self, visitor: Visitor, *, first: bytes) -> None:
        """Answer a visitor with events, ``first`` what there was so far, until either side has enough.

        Raises RequestAborted once it is gone.
        """
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            await visitor.start("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])
            block = first
            while block != _END:
                await visitor.write(block)
                block = await queue.get()
            await visitor.end()
        finally:
            self._listeners.discard(queue)


def encode(event: str, data: object) -> bytes:
    r"""One event.  JSON has no line end in it.

    >>> encode("request", {"pid": 7})
    b'event: request\ndata: {"pid":7}\n\n'
    """
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
