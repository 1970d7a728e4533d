"""The persistent asyncio worker for ASGI applications: a task for each request, thousands of connections.

The sockets are ours, watched by an epoll of ours which the event loop watches as one descriptor; transports cost more
(docs/decisions/0010-sockets-in-the-loop.md).  What becomes of a connection is what the other workers make of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
import time

from gateway.address import describe_peer
from gateway.apps.lifespan import Lifespan
from gateway.workers.aio_peer import AioPeer
from gateway.workers.peer import READ
from gateway.workers.threads import ThreadsWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from gateway.apps.asgi import ASGIRunner, Call
    from gateway.exchange import Exchange
    from gateway.workers.listener import Listener

_EAGER = sys.version_info >= (3, 12)
"""Can a task begin at once?  Else it costs a turn of the loop."""
LAST_WORD = 1.0
"""Seconds that cancelled calls have to end."""


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class LoopPoller:
    """Readiness by the event loop itself, where there is no epoll."""

    def __init__(self, loop: asyncio.AbstractEventLoop, serve: Callable[[int], None]) -> None:
        self._loop = loop
        self._serve = serve
        self._watched: set[int] = set()

    def add(self, fd: int) -> None:
        """Watch it."""
        self._watched.add(fd)
        self._loop.add_reader(fd, self._serve, fd)

    add_listener = add

    def wait(self, timeout: float) -> list[int]:
        """Nothing: the loop itself serves what is ready."""
        return []

    def remove(self, fd: int) -> None:
        """Watch no more."""
        self._watched.discard(fd)
        self._loop.remove_reader(fd)

    def close(self) -> None:
        """Watch nothing."""
        for fd in list(self._watched):
            self.remove(fd)


class LoopWorker(ThreadsWorker):
    """The worker of :mod:`gateway.workers.threads` in an event loop, which the thread of :meth:`run` turns."""

    loop: asyncio.AbstractEventLoop
    _serving = False  # from the first connection to the last

    def run(self) -> None:
        """Serve until :meth:`stop`; then what is in progress is finished, for ``graceful_timeout`` at most.

        Raises StartupError.
        """
        self.loop = new_loop()
        try:
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(self._main())
        finally:
            self._end_loop()

    def _end_loop(self) -> None:
        loop = self.loop
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=LAST_WORD))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    async def _main(self) -> None:
        self._over = self.loop.create_future()
        self._clock = self.loop.call_soon(self._beat)
        opening = self.loop.create_task(self._open())
        try:
            await asyncio.wait({opening, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
                await self._serve_all()
            else:
                opening.cancel()
                await asyncio.wait({opening})
        finally:
            self._close()
        try:
            await self._shut()
        finally:
            self._clock.cancel()

    async def _open(self) -> None:
        """What comes before the first request."""

    async def _shut(self) -> None:
        """What comes after the last one."""

    async def _break_off(self) -> None:
        """End what is still in progress."""

    async def _serve_all(self) -> None:
        epoll = getattr(self._poller, "fd", None)
        if epoll is None:
            self._poller.close()
            self._poller = LoopPoller(self.loop, self._serve_descriptor)
        else:
            self.loop.add_reader(epoll, self._on_ready)
        self._listen()
        self._serving = True
        try:
            await self._over
            await self._break_off()
        finally:
            self._serving = False
            if epoll is not None:
                self.loop.remove_reader(epoll)

    def _on_ready(self) -> None:
        for fd in self._poller.wait(0):
            self._serve_descriptor(fd)

    def _on_wake(self) -> None:
        super()._on_wake()
        if self.stopping:
            self._clock.cancel()
            self._beat()

    def _beat(self) -> None:
        """Look at the clock, and again after a while."""
        self._clock = self.loop.call_later(self._pace, self._beat)
        if self._serving:
            self._ticked = 0.0
            self._tick()
        elif self._heartbeat is not None:
            self._heartbeat()
        if not self._over.done() and (self._is_over() if self._serving else self.stopping):
            self._over.set_result(None)


class AioWorker(LoopWorker):
    """Serves one ASGI application on some listening sockets, until :meth:`stop`.

    The options are those of :class:`gateway.workers.threads.ThreadsWorker`, but for ``threads``, of which there is one.
    With a heartbeat, whoever misses it is the supervisor, and ``request_timeout`` without effect.
    """

    multiplexes = True
    _peer = AioPeer  # type: ignore[assignment]
    peers: dict[int, AioPeer]  # type: ignore[assignment]

    def __init__(self, runner: ASGIRunner, listeners: Sequence[Listener], **options: Any) -> None:
        super().__init__(runner, listeners, **(options | {"threads": 1}))  # type: ignore[arg-type]
        self.runner = runner
        self.calls: set[Call] = set()
        """Calls of the application that run, whether or not somebody waits for them."""
        self._request_timeout = 0.0 if self._heartbeat is not None else self.limits.request_timeout
        self._context = contextvars.copy_context()

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]} calls={len(self.calls)}>"

    async def _open(self) -> None:
        self._lifespan = Lifespan(self.runner.app, log=self.log, timeout=self.limits.lifespan_timeout)
        await self._lifespan.startup()
        self.runner.state = self._lifespan.state

    async def _shut(self) -> None:
        await self._lifespan.shutdown()

    async def _break_off(self) -> None:
        tasks = {call.task for call in self.calls if call.task is not None}
        if not tasks:
            return
        self.log.warning("%d calls of the application were cancelled after graceful_timeout", len(tasks))
        for call in list(self.calls):
            call.cancel("503 Service Unavailable")
        await asyncio.wait(tasks, timeout=LAST_WORD)

    # -- what a peer wants

    def begin(self, call: Call) -> None:
        """Run the application for a request."""
        if _EAGER:
            task = asyncio.Task(call.run(), loop=self.loop, eager_start=True)  # type: ignore[call-arg]
            if task.done():
                return
        else:
            task = self.loop.create_task(call.run())
        call.task = task
        self.calls.add(call)

    def forget(self, call: Call) -> None:
        """The application is done with it."""
        self.calls.discard(call)
        if self.interrupted:
            self.stop()

    def count(self, peer: AioPeer, exchange: Exchange) -> None:
        """A response is over."""
        peer.cut = not exchange.complete
        if self._max_requests:
            self._count_request()
        if self.stopping and peer.connection.idle and time.monotonic() > self.part_at:
            peer.parted = True

    def go_on(self, peer: AioPeer) -> None:
        """A response is over, or what was said of it has been taken."""
        connection = peer.connection
        waits = peer.watched and connection.idle and connection.reusable
        if waits and not (peer.lingering or peer.parted or peer.lost):
            peer.seen = time.monotonic()  # and goes on waiting
        elif self.peers.get(peer.fd) is not peer or peer.lingering:
            return
        elif not (peer.calls or connection.idle):
            # It asked for more already; that is another request's context.
            self.loop.call_soon(self._resume, peer, context=self._context)
        elif self._is_kept(peer):
            self._watch(peer)
        else:
            self._forget(peer)

    def _resume(self, peer: AioPeer) -> None:
        if self.peers.get(peer.fd) is peer:
            self._serve(peer)

    def listen(self, peer: AioPeer) -> None:
        """Hear more, if there is room for it."""
        if self.peers.get(peer.fd) is peer:
            self._watch(peer)

    def drop(self, peer: AioPeer, why: str) -> None:
        """Nobody is there any more."""
        self.log.info("%s: connection lost: %s", describe_peer(peer.sock), why)
        self._forget(peer)

    # -- the turns of a connection

    def _turn(self, peer: AioPeer) -> bool:  # type: ignore[override]
        connection = peer.connection
        if peer.listens():
            try:
                data = peer.sock.recv(READ, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not peer.spoken:
                    return True  # it was just accepted
            else:
                peer.spoken = True
                if data:
                    connection.receive_data(data)
                elif connection.idle:
                    return False
                else:
                    peer.hang_up()
        try:
            peer.deliver()
        except OSError as error:
            return self._cannot_keep(peer, error)
        peer.reply()
        return self._is_kept(peer)

    def _is_kept(self, peer: AioPeer) -> bool:
        connection = peer.connection
        if peer.lost:
            return False
        if peer.calls or peer.congested or (connection.reusable and not peer.parted) or not connection.idle:
            return True
        return peer.cut and self._linger(peer)

    def _watch(self, peer: AioPeer) -> None:  # type: ignore[override]
        if peer.lingering or peer.listens():
            if _EAGER or peer.watched or not peer.calls:
                super()._watch(peer)
            else:
                self.loop.call_soon(self._watch_if_there, peer)  # its call may be over after its first turn
            return
        peer.owned = False
        if peer.watched:
            peer.watched = False
            self._poller.remove(peer.fd)

    def _watch_if_there(self, peer: AioPeer) -> None:
        if self.peers.get(peer.fd) is peer and not peer.watched and (peer.lingering or peer.listens()):
            super()._watch(peer)

    def _linger(self, peer: AioPeer) -> bool:  # type: ignore[override]
        peer.relax()
        return super()._linger(peer)

    def _forget(self, peer: AioPeer) -> None:  # type: ignore[override]
        peer.lose()
        super()._forget(peer)

    def _is_over(self) -> bool:
        if self.interrupted:
            return True
        if not self.stopping or not self._stop_at:
            return False
        return not (self.peers or self.calls) or time.monotonic() >= self._stop_at

    # -- the clock

    def _tick(self) -> None:
        super()._tick()
        now, limits = time.monotonic(), self.limits
        for call in list(self.calls):
            if call.verdict:
                continue
            if call.patience and now > call.patience:
                self.log.warning(
                    "%s: nobody listens since abort_timeout=%g seconds, and the application goes on: it is cancelled",
                    call, limits.abort_timeout,
                )  # fmt: skip
                call.cancel("400 Bad Request")
            elif self._request_timeout and now - call.began > self._request_timeout:
                self.log.error(
                    "%s: the application runs longer than request_timeout=%g seconds: it is cancelled.  It was in\n%s",
                    call, self._request_timeout, call.stack(),
                )  # fmt: skip
                call.cancel("503 Service Unavailable")

    def _look_at(self, peer: AioPeer, now: float) -> None:  # type: ignore[override]
        if peer.is_stalled(now):
            self.drop(peer, f"the web server takes nothing since send_timeout={self.limits.send_timeout:g} seconds")
        elif not peer.calls or peer.lingering:
            super()._look_at(peer, now)
        elif peer.watched and now - peer.seen > self.limits.receive_timeout:
            for call in [call for call in peer.calls.values() if not call.exchange.complete]:
                self.log.warning(
                    "%s: request not complete after %g silent seconds (receive_timeout)",
                    describe_peer(peer.sock), self.limits.receive_timeout,
                )  # fmt: skip
                peer.parted = True  # nothing more is expected of it
                peer.abort(call)
                if call.is_due():
                    self.begin(call)
