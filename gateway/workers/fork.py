"""A warm process that forks once per request: clean state for every request, at the price of a fork.

The parent moves bytes until a request is whole and never runs the application; each child inherits the connection,
answers one request and exits.  What the application changes in memory is gone with the child.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import sys
import time
from collections import deque

from gateway.workers.threads import ThreadsWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gateway.exchange import Exchange
    from gateway.workers.peer import Peer

_KILL_AFTER = 5.0
"""Seconds between SIGTERM and SIGKILL for a child that runs too long."""
_KEEP, _CLOSE, _FAILED = 1, 2, 3
"""What a child reports when it has answered: may the parent keep the connection?"""


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # closed from the start, as FastCGI 1.0 §2.2 allows
                stream.flush()
        except (OSError, ValueError):
            continue  # closed since, and so nobody is there to be told


class _Child:
    """One request being answered in a process of its own."""

    __slots__ = ("pid", "slot", "peer", "exchange", "answered", "started", "signalled")

    def __init__(self, pid: int, slot: int, peer: Peer, exchange: Exchange) -> None:
        self.pid = pid
        self.slot = slot  # where it reports
        self.peer = peer
        self.exchange = exchange
        self.answered = False
        self.started = time.monotonic()
        self.signalled = 0.0


class ForkWorker(ThreadsWorker):
    """The worker of :mod:`gateway.workers.threads` with one thread, and a child for each request.

    A child reports in shared memory that it has answered, because its end takes as long again as the answer.
    Must run in the main thread: it learns of ended children by SIGCHLD.
    """

    def __init__(self, run: Callable[[Exchange], None], listeners: Any, **options: Any) -> None:
        options["threads"] = 1
        super().__init__(run, listeners, **options)
        self._children: dict[int, _Child] = {}
        self._waiting: deque[tuple[Peer, Exchange]] = deque()
        most = self.limits.max_children or self.limits.connections  # each child answers one of those
        self._reports = mmap.mmap(-1, max(most, 1))  # one byte for each child
        self._free = list(range(most))
        self._fork_at = 0.0  # monotonic seconds before which no fork is tried
        self._restore: Callable[[], object]

    def run(self) -> None:
        """Serve until :meth:`stop`; children that still run then have ``graceful_timeout`` to finish."""
        gc.collect()
        gc.freeze()  # children share these objects' pages as long as the collector does not write to them
        handler = signal.signal(signal.SIGCHLD, lambda *_: None)
        # Whatever the handler: the interpreter itself writes to the wake-up pipe when the signal comes.
        wakeup = signal.set_wakeup_fd(self._wakeup.writer, warn_on_full_buffer=False)
        self._restore = lambda: (signal.set_wakeup_fd(wakeup), signal.signal(signal.SIGCHLD, handler))
        try:
            super().run()
        finally:
            gc.unfreeze()

    def _close(self) -> None:
        self._restore()
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
        self._reports.close()
        super()._close()

    def _supervised(self) -> bool:
        return False  # the parent never runs the application, so nothing can keep it from its clock

    def _answer(self, peer: Peer, exchange: Exchange) -> bool:
        if exchange.aborted:
            return super()._answer(peer, exchange)
        self._waiting.append((peer, exchange))
        self._start_children()
        return True

    def _watch(self, peer: Peer) -> None:
        # While a child owns the connection, what arrives on it waits in the socket.
        if peer.exchange is None or not peer.exchange.ready:
            super()._watch(peer)
        elif peer.watched:
            self._poller.remove(peer.fd)
            peer.watched = False

    def _start_children(self) -> None:
        if time.monotonic() < self._fork_at:
            return
        while self._waiting and self._free:
            peer, exchange = self._waiting.popleft()
            slot = self._free[-1]
            _flush_output()  # what is buffered now is not the child's to write
            try:
                pid = os.fork()
            except OSError as error:
                self.log.error("cannot fork: %s; trying again in a second", error.strerror)
                self._waiting.appendleft((peer, exchange))
                self._fork_at = time.monotonic() + 1.0
                return
            if pid == 0:
                self._be_child(peer, exchange, slot)
            peer.started = time.monotonic()
            self._free.pop()
            self._children[pid] = _Child(pid, slot, peer, exchange)
            if self._max_requests:
                self._count_request()

    def _be_child(self, peer: Peer, exchange: Exchange, slot: int) -> None:
        """Everything a child does; it never returns."""
        report = _FAILED
        try:
            # Here SIGTERM ends the request; each call costs page faults, so no more is undone than matters.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            for other in self.peers.values():
                if other is not peer:
                    other.sock.close()
            for listener in self._listeners.values():
                listener.sock.close()
            peer.started = time.monotonic()
            peer.peeks = True  # what follows a whole request is the parent's to read
            whole = exchange.complete
            self._run(exchange)
            connection = peer.connection
            report = _KEEP if whole and connection.reusable and not peer.parted else _CLOSE
        except Exception:
            self.blame(peer)
        except BaseException:
            report = _CLOSE  # sys.exit() in the application, which has its answer
        finally:
            _flush_output()
            self._reports[slot] = report
            self._wakeup.ring()
            os._exit(0 if report != _FAILED else 1)

    def _on_wake(self) -> None:
        super()._on_wake()
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not child.answered and (report := self._reports[child.slot]):
                child.answered = True
                self._answered(child, report)
            if pid:
                self._reap(child, os.waitstatus_to_exitcode(status))
        self._start_children()

    def _reap(self, child: _Child, status: int) -> None:
        del self._children[child.pid]
        self._reports[child.slot] = 0
        self._free.append(child.slot)
        if not child.answered:
            if not child.signalled:
                how = f"was killed by signal {-status}" if status < 0 else f"exited with {status}"
                self.log.error("child %d %s before its response was whole", child.pid, how)
            self._answered(child, _FAILED)

    def _answered(self, child: _Child, report: int) -> None:
        peer, exchange = child.peer, child.exchange
        peer.started = 0.0
        keep = False
        if report == _FAILED:
            pass
        elif exchange.complete:
            exchange.answered_elsewhere()
            exchange.close()
            peer.exchange = None
            keep = report == _KEEP and peer.connection.idle
        else:
            keep = self._linger(peer)
        if keep:
            self._watch(peer)
            return
        peer.shut()  # _forget() alone would leave the connection open while another process holds a copy
        self._forget(peer)

    def _look_at(self, peer: Peer, now: float) -> None:
        if peer.started or (peer.exchange is not None and peer.exchange.ready):
            return  # a child has it, or it waits for one
        super()._look_at(peer, now)

    def _tick(self) -> None:
        super()._tick()
        self._start_children()
        timeout = self.limits.request_timeout
        now = time.monotonic()
        for child in self._children.values():
            if child.signalled and now - child.signalled > _KILL_AFTER:
                os.kill(child.pid, signal.SIGKILL)
            elif timeout and not child.signalled and now - child.started > timeout:
                child.signalled = now
                self.log.error(
                    "child %d runs longer than request_timeout=%g seconds; it is terminated", child.pid, timeout
                )
                os.kill(child.pid, signal.SIGTERM)
