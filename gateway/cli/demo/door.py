"""The application behind the page of ``gateway demo``: an ASGI application, and itself a guest of what it shows.

A browser's request goes by HTTP to a worker of ours, whose application is a gateway.Client; by FastCGI to another
worker of ours, which runs this; and the answer, the stream of events with it, goes back the same way.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from gateway.cli.demo.lanes import KEPT, LANES, Lane
from gateway.cli.demo.page import Page, render_environ, render_records
from gateway.cli.demo.stream import Stream, encode
from gateway.cli.demo.texts import choose, texts
from gateway.errors import ConfigError, LimitExceeded
from gateway.visitor import Door, Visitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.events import Headers

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""The page needs nothing but what comes from here, and the browser sees to it."""

_COUNTS = ("1", str(KEPT))
"""How many requests one click makes."""
_LOOK = 0.5
"""Seconds between two looks at what lives, while somebody listens."""
_BODY_SIZE = 1_000_000
_FILES = {"/page.css": "text/css; charset=utf-8", "/page.js": "text/javascript; charset=utf-8"}
_PARTS = {"environ": render_environ, "records": render_records}

Answer: TypeAlias = "tuple[str, Headers, bytes]"


class DemoDoor(Door):
    """The page, its events, and the lanes at paths of their own."""

    def __init__(self) -> None:
        self.stream = Stream()
        self._lanes = {name: Lane(name, publish=partial(self.stream.publish, "request")) for name in LANES}
        self._page = Page()
        self._watch: asyncio.Task[None] | None = None
        self._routes: dict[str, Callable[[Visitor], Awaitable[Answer]]] = {
            "/": self._index, "/send": self._send, "/numbers": self._numbers, "/part": self._part,
            **dict.fromkeys(_FILES, self._file),
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<DemoDoor {self.stream!r} {list(self._lanes.values())!r}>"

    async def answer(self, visitor: Visitor) -> None:
        """Answer one visitor."""
        path = visitor.environ["PATH_INFO"]
        if path == "/events":
            await self._tell(visitor)
            return
        try:
            answer = await self._routes.get(path, self._ask_lane)(visitor)
        except LimitExceeded as error:
            answer = _text(error.status_hint, str(error))
        await visitor.give(*answer)

    async def shut(self) -> None:
        """Nobody asks any more: end what serves."""
        if self._watch is not None:
            self._watch.cancel()
        for lane in self._lanes.values():
            lane.close()

    # -- the page

    async def _index(self, visitor: Visitor) -> Answer:
        new = [lane for lane in self._lanes.values() if not lane.asked]
        if new:
            await self._work(new, 1)
        page = self._page.render(
            self._lanes.values(), language=_language(visitor), host=visitor.environ.get("HTTP_HOST", "127.0.0.1")
        )
        headers = [
            ("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store"), ("Vary", "Accept-Language"),
            ("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"),
        ]  # fmt: skip
        return "200 OK", headers, page.encode()

    async def _file(self, visitor: Visitor) -> Answer:
        path = visitor.environ["PATH_INFO"]
        headers = [("Content-Type", _FILES[path]), ("Cache-Control", "no-cache")]
        return "200 OK", headers, Path(__file__).with_name(path[1:]).read_bytes()

    async def _part(self, visitor: Visitor) -> Answer:
        """What is one click away, as it is after the last request."""
        query = _query(visitor.environ.get("QUERY_STRING", ""))
        lane, render = self._lanes.get(query.get("lane", "")), _PARTS.get(query.get("part", ""))
        if lane is None or render is None:
            return _text("404 Not Found", f"ask for one of the lanes {', '.join(LANES)} and parts {', '.join(_PARTS)}")
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")]
        return "200 OK", headers, render(lane.last, texts(_language(visitor))).encode()

    # -- requests

    async def _send(self, visitor: Visitor) -> Answer:
        """A click: so many requests, to one lane or to all of them."""
        environ = visitor.environ
        if environ["REQUEST_METHOD"] != "POST":
            status, headers, page = _text("405 Method Not Allowed", "a request that has requests made is a POST")
            return status, [*headers, ("Allow", "POST")], page
        if environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin"):
            return _text("403 Forbidden", "only the page itself may have requests made")
        form = _query((await _body(visitor)).decode("latin-1"))
        name, count = form.get("lane", ""), form.get("count", "")
        if count not in _COUNTS or (name and name not in self._lanes):
            advice = f"count is {' or '.join(_COUNTS)}, and lane, if there is one, {' or '.join(LANES)}"
            return _text("400 Bad Request", advice)
        lanes = [self._lanes[name]] if name else list(self._lanes.values())
        done = await self._work(lanes, int(count), at_once="at_once" in form)
        if "json" in environ.get("HTTP_ACCEPT", ""):
            return _json(done)
        place = f"/?lang={_language(visitor)}#{name}"
        return "303 See Other", [("Location", place), ("Content-Length", "0")], b""

    async def _work(self, lanes: list[Lane], count: int, *, at_once: bool = False) -> dict[str, dict[str, int]]:
        """Have requests made: what the answers came to.

        As a rule one is made after the other, so that none is in another's way.  Those of a lane that are made at once
        have the application wait.
        """
        batches: dict[Lane, list[dict[str, Any]]] = {lane: [] for lane in lanes}
        if at_once:
            for lane in lanes:
                batches[lane] = await asyncio.gather(*(lane.ask("/?wait") for _ in range(count)))
        else:
            for _ in range(count):
                for lane in lanes:
                    batches[lane].append(await lane.ask("/"))
        await self._look()
        return {
            lane.name: {
                "answers": sum(request["status"] == "200 OK" for request in batch),
                "processes": len({request["pid"] for request in batch} - {0}), "median": lane.numbers()["median"],
            }
            for lane, batch in batches.items()
        }  # fmt: skip

    async def _ask_lane(self, visitor: Visitor) -> Answer:
        """A request of the visitor's own, with curl say; the page shows it like any other."""
        path = visitor.environ["PATH_INFO"]
        name, _, rest = path[1:].partition("/")
        if name not in self._lanes:
            there = " ".join(f"/{name}/" for name in self._lanes)
            return _text("404 Not Found", f"there is nothing at {path}; there are / {there}")
        body = io.BytesIO(await _body(visitor))
        given = {"SCRIPT_NAME": f"/{name}", "PATH_INFO": f"/{rest}", "wsgi.input": body}
        return await self._lanes[name].answer(visitor.environ | given)

    # -- what is told while it happens

    async def _tell(self, visitor: Visitor) -> None:
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._keep_looking())
        lanes = {name: {"recent": list(lane.recent), **lane.numbers()} for name, lane in self._lanes.items()}
        await self.stream.tell(visitor, first=encode("lanes", lanes))

    async def _numbers(self, visitor: Visitor) -> Answer:
        return _json({name: lane.numbers() for name, lane in self._lanes.items()})

    async def _keep_looking(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(_LOOK)
            if not self.stream.heard:
                return

    async def _look(self) -> None:
        """See what lives and what memory it has, and say so."""
        lanes = self._lanes.values()
        apart = [lane.pid for lane in lanes if lane.pid is not None]
        try:
            for lane in lanes:
                await asyncio.to_thread(lane.look, apart=apart)
        except ConfigError:
            return  # the page shows a dash where this system cannot tell
        found = {lane.name: {"processes": lane.processes, "memory": lane.memory} for lane in lanes}
        self.stream.publish("processes", found)


def _language(visitor: Visitor) -> str:
    environ = visitor.environ
    wanted = _query(environ.get("QUERY_STRING", "")).get("lang", "")
    return choose(wanted, environ.get("HTTP_ACCEPT_LANGUAGE", ""))


def _query(text: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(text).items()}


async def _body(visitor: Visitor) -> bytes:
    body = b""
    while data := await visitor.read():
        body += data
        if len(body) > _BODY_SIZE:
            raise LimitExceeded("body_size", _BODY_SIZE)
    return body


def _json(value: object) -> Answer:
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    return "200 OK", headers, json.dumps(value).encode()


def _text(status: str, message: str) -> Answer:
    return status, [("Content-Type", "text/plain; charset=utf-8")], f"{status}: {message}\n".encode()
