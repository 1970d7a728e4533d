"""``Client.asgi``: requests of an ASGI server, forwarded in its event loop.

The decisions are those of the WSGI side, :mod:`gateway.client.forwarding`; here is only what waits.  The body of a
request moves in a task beside the response, so that an upstream may answer early, and a visitor who leaves is noticed.
"""

from __future__ import annotations

import asyncio
import socket
from time import monotonic

from gateway.address import explain_connect
from gateway.client.forwarding import Extent, Reply, begin, give_up, send_block
from gateway.client.upstream import Pool
from gateway.errors import ProtocolError, RemoteProtocolError
from gateway.exchange import BLOCK
from gateway.visitor import Door, News, Visitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from gateway.address import Address
    from gateway.client import Client
    from gateway.client.upstream import Upstream
    from gateway.environ import Environ
    from gateway.events import Params, Response
    from gateway.exchange import Spool
    from gateway.limits import Limits

_RETRY = 0.01
"""Seconds until a unix socket whose queue was full is tried again: nothing tells when there is room."""


class ClientDoor(Door):
    """A client as an ASGI application; each event loop has its pool of connections, until it is closed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}

    def __repr__(self) -> str:
        idle = sum(len(pool.idle) for pool in self._pools.values())
        return f"<{self._client!r}.asgi idle={idle}/{self._client.pool_size}>"

    async def answer(self, visitor: Visitor) -> None:
        """Forward one request, as ``Client.__call__`` does."""
        client = self._client
        try:
            courier = await self._forward(visitor)
        except ProtocolError as error:
            await visitor.give(*client.refuse(visitor.environ, error))
            return
        try:
            await visitor.start(*client.head(courier.response))
            while data := await courier.read():
                await visitor.write(data)
            await visitor.end()
        finally:
            courier.close()

    async def _forward(self, visitor: Visitor) -> Courier:
        client, environ = self._client, visitor.environ
        for _ in range(client.limits.local_redirects + 1):
            courier = await self._ask(environ, visitor)
            location = courier.response.local_redirect
            if not location:
                return courier
            while await courier.read():
                pass  # it has no body; at its end the connection is free
            environ = client.redirect(environ, location)
        raise client.explain_circle(location)

    async def _ask(self, environ: Environ, visitor: Visitor) -> Courier:
        client = self._client
        params = client.make_params(environ)
        body = Upload(environ, visitor)
        try:
            if body.left is None and "HTTP_TRANSFER_ENCODING" not in environ and await body.look():
                params["HTTP_TRANSFER_ENCODING"] = "chunked"
            if client.needs_length and body.left is None:
                params["CONTENT_LENGTH"] = str(await body.measure(client.limits))
            return await self._send(params, body, environ, visitor)
        except BaseException:
            body.close()
            raise

    async def _send(self, params: Params, body: Upload, environ: Environ, visitor: Visitor) -> Courier:
        client, pool = self._client, self._pool()
        kept = pool.take()
        if kept is not None:
            courier = Courier(kept, body, environ=environ, visitor=visitor, pool=pool)
            if not client.may_repeat(environ, body):
                kept.close()
            elif await courier.begin(params, again=True):
                return courier
        upstream = client.attach(await self._connect())
        courier = Courier(upstream, body, environ=environ, visitor=visitor, pool=pool)
        await courier.begin(params)
        return courier

    async def _connect(self) -> socket.socket:
        client = self._client
        try:
            return await connect(client.address, timeout=client.connect_timeout or None)
        except OSError as error:
            raise client.explain_unreachable(error) from error

    def _pool(self) -> Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for other, left in list(self._pools.items()):
                if other.is_closed():
                    self._pools.pop(other, None)
                    left.clear()
            pool = self._pools[loop] = Pool(self._client.pool_size)
        return pool

    async def shut(self) -> None:
        """Close the idle connections of this event loop."""
        self._pool().clear()

    def close(self) -> None:
        """Close all idle connections: nothing is registered with an event loop for them."""
        for pool in list(self._pools.values()):
            pool.size = 0
            pool.clear()


class Upload(Extent):
    """The visitor's body, as it comes from an ASGI server."""

    __slots__ = ("_ahead", "_file", "_spool", "_visitor")

    def __init__(self, environ: Environ, visitor: Visitor) -> None:
        super().__init__(environ)
        self._visitor = visitor
        self._ahead = b""
        self._spool: Spool | None = None
        self._file: IO[bytes] | None = None

    async def look(self) -> bool:
        """Is there a body at all?  HTTP/2 may send one without announcing it.  Raises RequestAborted."""
        self._ahead = await self._visitor.read()
        self.ended = not self._ahead
        return not self.ended

    async def read(self) -> bytes:
        """The next block, b"" at the end.  Raises RequestAborted."""
        if self._file is not None:
            block = self._file.read(BLOCK)
        else:
            block, self._ahead = self._ahead or await self._visitor.read(), b""
        if self.left is not None:
            block = block[: self.left]
        self.count(block)
        return block

    async def measure(self, limits: Limits) -> int:
        """Take a body of unknown length whole: its length.  Raises LimitExceeded, RequestAborted."""
        self._spool = spool = await self._visitor.keep(limits, self._ahead)
        self._file = spool.open()
        self.restart(spool.size)
        return spool.size

    def close(self) -> None:
        """Let go of what was kept."""
        if self._spool is not None:
            self._spool.close()


class Courier:
    """One request on its way to the upstream, and its response on the way back."""

    def __init__(self, upstream: Upstream, body: Upload, *, environ: Environ, visitor: Visitor, pool: Pool) -> None:
        self._loop = asyncio.get_running_loop()
        self._upstream = upstream
        self._fd = upstream.sock.fileno()  # a loop that is given a socket looks it up by its repr
        self._body = body
        self._visitor = visitor
        self._pool = pool
        self._reply = Reply(environ)
        self._news = News(self._loop)  # of the response, or that there will be none
        self._room = News(self._loop)  # for more of the body
        self._uploader: asyncio.Task[None] | None = None
        self._moved_at = monotonic()
        self._visitors_turn = False  # does nothing move because the visitor sends nothing?
        self._reading = self._writing = self._over = False

    def __repr__(self) -> str:
        state = "ended" if self._over else "body" if self.response.status else "waiting for the head"
        return f"<Courier {state} {self._upstream!r}>"

    @property
    def response(self) -> Response:
        """The head of the response."""
        return self._reply.response

    async def begin(self, params: Params, *, again: bool = False) -> bool:
        """Send the request, and wait for the head.

        With ``again``, False if a connection turned out to be dead that had been kept; raises RemoteProtocolError.
        """
        try:
            begin(self._upstream.connection, params, self._body)
            self._listen()
            self._push()
            self._uploader = self._loop.create_task(self._upload())
            while not self.response.status:
                await self._advance()
        except BaseException as error:
            self._drop(keep_body=again)
            if again and isinstance(error, RemoteProtocolError) and self._upstream.was_stale(error):
                return False
            raise
        return True

    async def read(self) -> bytes:
        """Some more of the body, b"" at its end."""
        try:
            while not (data := self._reply.body()) and not self._over:
                await self._advance()
        except BaseException:
            self._drop()
            raise
        if not (self._over or self._reply.ended):
            self._listen()
        return data

    async def _advance(self) -> None:
        """Wait until the upstream says something, but not for ever."""
        if not self._reply.ended:
            left = None
            if self._upstream.timeout:
                left = self._moved_at + self._upstream.timeout - monotonic()
                if left <= 0 and not self._visitors_turn:
                    raise self._upstream.time_out()
            await self._news.wait(self._upstream.timeout if self._visitors_turn else left)
        if self._reply.ended:
            self._end()

    # -- called by the event loop

    def _listen(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._fd, self._on_readable)

    def _on_readable(self) -> None:
        upstream, reply = self._upstream, self._reply
        self._moved_at = monotonic()
        try:
            for event in upstream.receive():
                reply.take(event)
            if upstream.fault is not None:
                self._news.fail(upstream.fault)
            self._push()  # the wire may have an answer of its own
        except Exception as error:
            self._news.fail(error)
        if reply.ended or upstream.fault is not None or reply.waiting >= BLOCK:
            self._pause()
        self._news.set()

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _on_writable(self) -> None:
        self._moved_at = monotonic()
        self._push()

    def _push(self) -> bool:
        """Send what goes; True if the upstream would take more of the body."""
        upstream = self._upstream
        more = upstream.push()
        waiting = bool(upstream.unsent) and not upstream.deaf
        if waiting != self._writing:
            self._writing = waiting
            if waiting:
                self._loop.add_writer(self._fd, self._on_writable)
            else:
                self._loop.remove_writer(self._fd)
        self._room.set()
        return more

    # -- the visitor's side

    async def _upload(self) -> None:
        body, upstream = self._body, self._upstream
        try:
            while not body.ended and not upstream.deaf:
                if not self._push():
                    self._room.clear()
                    await self._room.wait()
                    continue
                self._visitors_turn = True
                block = await body.read()
                self._visitors_turn = False
                self._moved_at = monotonic()
                send_block(upstream.connection, block, body)
                self._push()
            await self._visitor.leave()
        except Exception as error:
            self._news.fail(error)

    # -- the end

    def _end(self) -> None:
        self._let_go()
        self._body.close()
        self._pool.give(self._upstream)
        self._reply.check(self._upstream.name)

    def close(self) -> None:
        """All was read, or nobody wants the rest: the upstream is told to stop, and dropped."""
        if not self._over:
            give_up(self._upstream)
        self._drop()

    def _drop(self, *, keep_body: bool = False) -> None:
        if not self._over:
            self._let_go()
            self._upstream.close()
            if not keep_body:
                self._body.close()

    def _let_go(self) -> None:
        self._over = True
        self._pause()
        if self._writing:
            self._loop.remove_writer(self._fd)
        if self._uploader is not None:
            self._uploader.cancel()
        self._reply.close()


async def connect(address: Address, *, timeout: float | None) -> socket.socket:
    """As :func:`gateway.address.connect`, without blocking; only a name that must be looked up costs a thread."""
    try:
        if address.kind == "tcp":
            return await _connect_tcp(address, timeout)
        return await _connect_unix(address, timeout)
    except asyncio.TimeoutError as error:  # no OSError before Python 3.11
        raise explain_connect(address, TimeoutError(), timeout=timeout) from error
    except OSError as error:
        raise explain_connect(address, error, timeout=timeout) from error


async def _connect_tcp(address: Address, timeout: float | None) -> socket.socket:
    loop = asyncio.get_running_loop()
    where, kind = (address.host, address.port), socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(*where, type=kind, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.wait_for(loop.getaddrinfo(*where, type=kind), timeout)
    failure: OSError = OSError("there is no address of that name")
    for family, kind, protocol, _, place in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.wait_for(loop.sock_connect(sock, place), timeout)
            return sock
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            failure = error
    raise failure


async def _connect_unix(address: Address, timeout: float | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    deadline = None if timeout is None else monotonic() + timeout
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(address.path)
                return sock
            except BlockingIOError:
                if deadline is not None and monotonic() >= deadline:
                    raise
            await asyncio.sleep(_RETRY)
    except BaseException:
        sock.close()
        raise
