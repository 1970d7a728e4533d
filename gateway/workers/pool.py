"""WSGI applications on the asyncio worker: the loop reads requests, threads of a bounded pool answer them.

For processes that want an event loop and have a WSGI application; the threads worker does the same without a loop.  A
connection carries one request at a time, since the thread that answers it has the connection to itself.
"""

from __future__ import annotations

import queue
import threading

from gateway.workers.aio import LAST_WORD, LoopWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.exchange import Exchange
    from gateway.workers.peer import Peer


class PoolWorker(LoopWorker):
    """Serves one WSGI application with as many threads as ``threads`` says; requests beyond them wait."""

    async def _open(self) -> None:
        self._turner = threading.current_thread()  # of the loop
        self._lent: set[Peer] = set()  # connections that are the pool's for now
        self._jobs: queue.SimpleQueue[Peer | None] = queue.SimpleQueue()
        self._pool = [
            threading.Thread(target=self._work, name=f"gateway-{n}", daemon=True) for n in range(1, self._threads + 1)
        ]
        for thread in self._pool:
            thread.start()

    async def _shut(self) -> None:
        for _ in self._pool:
            self._jobs.put(None)
        for thread in self._pool:
            thread.join(LAST_WORD)  # only one that is stuck stays longer

    # -- called by the loop

    def _answer(self, peer: Peer, exchange: Exchange) -> bool:
        self._lent.add(peer)
        if peer.watched:
            peer.watched = False
            self._poller.remove(peer.fd)
        self._jobs.put(peer)
        return True

    def _take_back(self, peer: Peer, then: Callable[[Peer], None]) -> None:
        self._lent.discard(peer)
        then(peer)

    # -- called by the pool

    def _work(self) -> None:
        """One of the threads."""
        while (peer := self._jobs.get()) is not None:
            self._serve(peer)

    def _answer_all(self, peer: Peer) -> bool:
        while (exchange := peer.exchange) is not None and exchange.ready:
            if not super()._answer(peer, exchange):
                return False
            if peer.connection.idle or peer.lingering:
                break
            peer.deliver()  # it asked for more without waiting for answers (HTTP pipelining)
        return True

    # -- called by both

    def _is_loop(self) -> bool:
        return threading.current_thread() is self._turner

    def _turn(self, peer: Peer) -> bool:
        return super()._turn(peer) if self._is_loop() else self._answer_all(peer)

    def _watch(self, peer: Peer) -> None:
        if not self._is_loop():
            self.loop.call_soon_threadsafe(self._take_back, peer, super()._watch)
        elif peer not in self._lent:
            super()._watch(peer)

    def _forget(self, peer: Peer) -> None:
        if self._is_loop():
            super()._forget(peer)
        else:
            self.loop.call_soon_threadsafe(self._take_back, peer, super()._forget)
