"""Applications of known cost: this module takes ``IMPORT`` seconds to load, each of them ``CALL`` seconds to answer.

Where a process ends as Python does it, that takes ``EXIT`` more.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Iterator
from typing import Any

IMPORT, CALL, EXIT = 0.1, 0.05, 0.08
BLOCKS = 5

time.sleep(IMPORT)
atexit.register(time.sleep, EXIT)


def whole(environ: Any, start_response: Any) -> list[bytes]:
    """All the body at once."""
    time.sleep(CALL)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode("latin-1")]


def in_blocks(environ: Any, start_response: Any) -> Iterator[bytes]:
    """The body bit by bit, with a pause before each."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(BLOCKS):
        time.sleep(CALL / BLOCKS)
        yield b"block"


async def asynchronous(scope: Any, receive: Any, send: Any) -> None:
    """The same by ASGI; it has no use for a lifespan."""
    if scope["type"] != "http":
        return
    time.sleep(CALL)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


class Blocks:
    """A body that is no generator, and has nothing to close."""

    def __init__(self, blocks: int) -> None:
        self._left = blocks

    def __iter__(self) -> Blocks:
        return self

    def __next__(self) -> bytes:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return b"block"


def iterated(environ: Any, start_response: Any) -> Blocks:
    """Such a body, after a pause."""
    time.sleep(CALL)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Blocks(BLOCKS)


class Double:
    """By ASGI 2."""

    def __init__(self, scope: Any) -> None:
        self._scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await asynchronous(self._scope, receive, send)


def failing(environ: Any, start_response: Any) -> list[bytes]:
    """Raises at ``/raise``, and takes its process along anywhere else."""
    if environ["PATH_INFO"] == "/raise":
        raise ValueError("as it was asked to")
    os._exit(3)
