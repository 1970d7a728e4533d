"""Applications that behave well in a process for each request, and not in one that stays."""

from __future__ import annotations

import itertools
import os
import time
from typing import Any

visitors: list[str] = []
ordinals = itertools.count(1)


def hello(environ: Any, start_response: Any) -> list[bytes]:
    """Behaves well everywhere."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]


def leaky(environ: Any, start_response: Any) -> list[bytes]:
    """Remembers who logged in, for all who come after."""
    if environ["PATH_INFO"] == "/login":
        visitors.append("alice")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"process {os.getpid()}\nvisitor: {[*visitors, 'nobody'][0]}\n".encode()]


def crashing(environ: Any, start_response: Any) -> list[bytes]:
    """Raises at its third request."""
    if next(ordinals) == 3:
        raise RuntimeError("three is too many")
    return hello(environ, start_response)


def dying(environ: Any, start_response: Any) -> list[bytes]:
    """Takes its process along at the third request."""
    if next(ordinals) == 3:
        os._exit(7)
    return hello(environ, start_response)


def slow(environ: Any, start_response: Any) -> list[bytes]:
    """Takes longer than a round."""
    time.sleep(0.1)
    return hello(environ, start_response)


def whoami(environ: Any, start_response: Any) -> list[bytes]:
    """Tells what its environment has for WHO."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ.get("WHO", "nobody").encode()]


def failing(environ: Any, start_response: Any) -> list[bytes]:
    """Answers nothing."""
    raise RuntimeError("the database is away")


async def asynchronous(scope: Any, receive: Any, send: Any) -> None:
    """Behaves well everywhere, too."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello\n"})
