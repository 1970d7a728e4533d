"""The sample application of ``gateway demo``, for an event loop."""

from __future__ import annotations

import asyncio
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.scope import Receive, Scope, Send

served = 0


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer any request, and count it (ASGI 3)."""
    global served
    if scope["type"] != "http":
        raise RuntimeError("it needs no lifespan")
    served += 1
    if scope["query_string"] == b"wait":
        await asyncio.sleep(0.02)  # for a database, say
    body = b'{"pid": %d, "served": %d}\n' % (os.getpid(), served)
    kind = (b"content-type", b"application/json")
    start = {"type": "http.response.start", "status": 200}
    await send(start | {"headers": [kind]})
    await send({"type": "http.response.body", "body": body})
