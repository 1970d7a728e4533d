"""Persistent workers: the thread that read a request runs the application; of N threads, one leads.

No queue and no pool (docs/decisions/0003-one-leads.md).  A connection owns a descriptor and a small object; it holds a
thread only while its request, whole, is being answered.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import deque

from gateway.address import describe_peer, peer_allowed
from gateway.errors import RemoteProtocolError, RequestAborted
from gateway.workers.peer import READ, Peer
from gateway.workers.poller import WakeUp, make_poller
from gateway.workers.relay import Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.exchange import Exchange, Log
    from gateway.limits import Limits
    from gateway.workers.listener import Listener

_TICK, _STOPPING_TICK = 1.0, 0.02  # seconds between two looks at the clock, at most: heartbeats, timeouts
_BUSY = 3.0  # seconds after which a stopping worker closes a kept connection right after a response: a POST may be lost
_PAUSE, _SHARE = 0.05, 1 / 6  # before, it takes a silence of so many seconds, and of this share of the time until then
_OVERRAN = float("inf")  # "began" so a request that ran longer than request_timeout: it is reported no more


class ThreadsWorker:
    """Serves one application on some listening sockets with N threads, until :meth:`stop`.

    ``run`` answers one exchange (:class:`gateway.apps.wsgi.WSGIRunner`).
    ``allowed`` are the addresses that may connect (FastCGI 1.0 §3.2), None for all.
    ``heartbeat`` is called about once a second while all is well.  After ``max_requests`` the worker stops by itself.
    """

    multiplexes, _peer = False, Peer

    def __init__(
        self, run: Callable[[Exchange], None], listeners: Sequence[Listener], *, limits: Limits, log: Log,
        threads: int = 1, heartbeat: Callable[[], None] | None = None, max_requests: int = 0,
        allowed: frozenset[str] | None = None,
    ) -> None:  # fmt: skip
        self.limits = limits
        self.log = log
        self.stopping = False
        self.interrupted = False  # set by a signal handler whose SystemExit ends the worker, not just a request
        self.peers: dict[int, Peer] = {}
        self._run = run
        self._listeners = {listener.sock.fileno(): listener for listener in listeners}
        self._threads = threads
        self._heartbeat = heartbeat
        self._max_requests = max_requests
        self._allowed = allowed
        self._served = itertools.count(1)
        self._poller = make_poller()
        self._relay: Relay | None = None
        self._ready: deque[int] = deque()  # reported by the poller, and not yet served; the leader's
        self._wakeup = WakeUp()
        self._lock = threading.Lock()  # one thread at a time ticks, pauses, drains
        self._pace = min(_TICK, limits.request_timeout / 2 or _TICK)  # seconds between two looks at the clock
        self._ticked, self._paused = 0.0, False
        self.part_at = float("inf")  # monotonic seconds after which each response ends its connection
        self._stop_at = 0.0  # monotonic seconds after which a stopping worker waits no longer

    def __repr__(self) -> str:
        doing = "stopping" if self.stopping else "serving"
        return f"<{type(self).__name__} {doing} threads={self._threads} connections={len(self.peers)}>"

    # -- called by the thread that owns the worker

    def run(self) -> None:
        """Serve until :meth:`stop`; then what is in progress is finished, for ``graceful_timeout`` at most."""
        self._listen()
        try:
            if self._supervised():
                self._supervise()
            else:
                self._lead(self._tick)
        finally:
            self._close()

    def _listen(self) -> None:
        for fd, listener in self._listeners.items():
            listener.prepare()
            self._poller.add_listener(fd)
        self._poller.add_listener(self._wakeup.fd)

    def _supervised(self) -> bool:
        # With one thread and a heartbeat, whoever misses the heartbeat is the supervisor.
        return self._threads > 1 or bool(self.limits.request_timeout and self._heartbeat is None)

    def stop(self) -> None:
        """Take no new connections, finish what is begun; for signal handlers and other threads."""
        self.stopping = True
        self._pace = _STOPPING_TICK
        self._wakeup.ring()

    def _supervise(self) -> None:
        """Several threads serve; this one keeps the clock, so that one stuck request stops neither it nor signals."""
        self._relay = Relay(self._let_go)
        threads = [
            threading.Thread(target=self._serve_in_turn, args=(self._relay,), name=f"gateway-{n}", daemon=True)
            for n in range(1, self._threads + 1)
        ]
        for thread in threads:
            thread.start()
        while (alive := [thread for thread in threads if thread.is_alive()]) and not self._is_over():
            self._tick()
            self._relay.look(self._pace)
        self._wakeup.ring()
        until = time.monotonic() + _TICK  # only a thread that is stuck stays longer
        for thread in alive:
            thread.join(max(until - time.monotonic(), 0.0))

    def _close(self) -> None:
        self.stopping, self._stop_at = True, time.monotonic()  # for threads that wait still: a signal handler may raise
        if self.peers:
            self.log.warning("%d connections were abandoned after graceful_timeout", len(self.peers))
        for peer in list(self.peers.values()):
            self._forget(peer)
        self._poller.close()
        self._wakeup.close()

    # -- called by every serving thread

    def _serve_in_turn(self, relay: Relay) -> None:
        """One of several threads: lead whenever it is its turn."""
        while not self._is_over():
            if relay.lead(self._pace):
                try:
                    self._lead(None)
                finally:
                    relay.step_down()

    def _let_go(self, peer: Peer) -> None:
        """Another thread leads from now on, and must not see what arrives for this peer."""
        if peer.watched:
            peer.watched = False
            self._poller.remove(peer.fd)

    def _lead(self, tick: Callable[[], None] | None) -> None:
        """Wait for whoever can be read, and serve them; until the end, or until another thread leads."""
        wait, relay, ready = self._poller.wait, self._relay, self._ready
        while not self._is_over():
            try:
                if not ready:
                    ready.extend(wait(self._pace))
            except (OSError, ValueError):
                if self._is_over():
                    return  # the owner closed the poller: graceful_timeout is past
                raise
            while ready:
                self._serve_descriptor(ready.popleft())
                if relay is not None and not relay.leads():
                    return  # the new leader goes on with what else is ready: the poller would begin at its head again
            if tick is not None:
                tick()

    def _serve_descriptor(self, fd: int) -> None:
        peer = self.peers.get(fd)
        if peer is not None:
            peer.owned = True
            self._serve(peer)
        elif (listener := self._listeners.get(fd)) is not None:
            self._accept(listener)
        elif fd == self._wakeup.fd:
            self._on_wake()

    def _is_over(self) -> bool:
        if not self.stopping or not self._stop_at:
            return False
        if not self.peers or time.monotonic() >= self._stop_at:
            return True
        return self._stuck() in (len(self.peers), self._threads)

    def _stuck(self) -> int:
        """How many threads work on a request that was given up."""
        return sum(peer.started == _OVERRAN for peer in list(self.peers.values()))

    def _accept(self, listener: Listener) -> None:
        try:
            sock, name = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was faster, or the peer went away
        except OSError as error:
            if not self.stopping:  # EMFILE, ENFILE, ENOBUFS, ENOMEM: wait until something is given back
                self.log.error("cannot accept connections: %s; trying again in a second", error.strerror)
                self._pause()
            return
        if (peer := self._admit(listener, sock, name)) is not None:
            if len(self.peers) >= self.limits.connections:
                self._pause()
            self._serve(peer)

    def _admit(self, listener: Listener, sock: socket.SocketType, name: object) -> Peer | None:
        if self._allowed is not None and not peer_allowed(name, self._allowed):
            self.log.warning("refused a connection from %s: not in FCGI_WEB_SERVER_ADDRS", describe_peer(sock))
            sock.close()
            return None
        peer = self.peers[sock.fileno()] = self._peer(sock, listener.connect(), self, name=name)
        return peer

    def _serve(self, peer: Peer) -> None:
        """The peer can be read, or was just accepted: go on with it as far as it goes."""
        try:
            keep = peer.discard() if peer.lingering else self._turn(peer)
        except RemoteProtocolError as error:
            self.complain(peer, error)
            keep = self._linger(peer)
        except RequestAborted as error:
            self.log.info("%s: %s", describe_peer(peer.sock), error)
            keep = False
        except OSError as error:
            self.log.info("%s: connection lost: %s", describe_peer(peer.sock), error.strerror or error)
            keep = False
        except Exception:
            self.blame(peer)
            keep = False
        except BaseException as error:
            # sys.exit() in the application ends its request, which has its answer; in a signal handler, the worker.
            if isinstance(error, KeyboardInterrupt) or self.interrupted:
                raise
            keep = False
        if keep and not (self.stopping and self._is_over()):
            self._watch(peer)
        else:
            self._forget(peer)

    def _turn(self, peer: Peer) -> bool:
        """Read once, and answer the requests that became whole; False: close the connection."""
        try:
            data = peer.sock.recv(READ, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        connection = peer.connection
        if not data:
            if not connection.idle:
                connection.receive_eof()  # raises, and says where, unless it only gave up
                self.log.info("%s: hung up before the body of its request was whole", describe_peer(peer.sock))
            return False
        connection.receive_data(data)
        while True:
            try:
                peer.deliver()
            except OSError as error:
                return self._cannot_keep(peer, error)
            exchange = peer.exchange
            if exchange is None or not exchange.ready:
                peer.reply()
                # Not to be kept, and yet idle: its request was refused, or taken back.
                return connection.reusable or not connection.idle or self._linger(peer)
            if not self._answer(peer, exchange):
                return False
            if connection.idle or peer.exchange is not None or peer.lingering:
                return True
            # It asks for more without waiting for answers (HTTP pipelining).

    def _answer(self, peer: Peer, exchange: Exchange) -> bool:
        peer.started = time.monotonic()
        relay = self._relay
        if relay is not None:
            relay.enter(peer)
        try:
            if exchange.aborted:  # before the application began
                self.log.info("%s: took its request back before it was whole", describe_peer(peer.sock))
                exchange.abort()
            else:
                self._run(exchange)
        finally:
            if relay is not None:
                relay.leave(peer)
            peer.started = 0.0
            exchange.close()
        if self._max_requests:
            self._count_request()
        if not exchange.complete:
            return self._linger(peer)
        peer.exchange = None
        return peer.connection.reusable and not peer.parted

    def _cannot_keep(self, peer: Peer, error: OSError) -> bool:
        """The temporary file of a body cannot be written: say so to both ends."""
        self.log.error("%s: cannot keep the request body: %s; look at the disk that TMPDIR is on",
                       describe_peer(peer.sock), error.strerror or error)
        if peer.exchange is not None:
            peer.exchange.fail("507 Insufficient Storage")
        return self._linger(peer)

    def _count_request(self) -> None:
        if next(self._served) == self._max_requests:
            self.log.info("served %d requests (max_requests): a fresh worker takes over", self._max_requests)
            self.stop()

    def complain(self, peer: Peer, error: RemoteProtocolError) -> None:
        """One log line for a peer that broke the wire's rules, and the wire's own last word to it."""
        self.log.warning("%s: %s", describe_peer(peer.sock), error)
        try:
            peer.reply()
        except RequestAborted:
            return  # it is gone, or reads nothing, and the log says what it did

    def blame(self, peer: Peer) -> None:
        """An exception that neither the application nor the web server is to blame for."""
        import traceback

        self.log.error(
            "%s: connection closed, because of an error in gateway or in a hook:\n%s",
            describe_peer(peer.sock), traceback.format_exc().rstrip(),
        )  # fmt: skip

    def _linger(self, peer: Peer) -> bool:
        """Closing a socket with unread bytes resets it, and the answer may be lost: let the peer close first."""
        try:
            peer.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False  # it is gone already
        if peer.exchange is not None:
            peer.exchange.close()
            peer.exchange = None
        peer.lingering = True
        peer.seen = time.monotonic()
        return True

    def _watch(self, peer: Peer) -> None:
        if not peer.lingering:
            peer.seen = time.monotonic()
        peer.owned = False
        if not peer.watched:
            peer.watched = True
            self._poller.add(peer.fd)

    def _forget(self, peer: Peer) -> None:
        if self.peers.pop(peer.fd, None) is not peer:
            return
        if peer.watched:
            self._poller.remove(peer.fd)
        if peer.exchange is not None:
            peer.exchange.close()
            peer.exchange = None
        peer.sock.close()

    # -- the clock

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked < self._pace:
            return
        with self._lock:
            self._ticked = now
            if self.stopping and not self._stop_at:
                self._drain(now)
            elif self._paused and len(self.peers) < self.limits.connections and not self.stopping:
                self._paused = False
                for fd in self._listeners:
                    self._poller.add_listener(fd)
            for peer in list(self.peers.values()):
                self._look_at(peer, now)
        if self._heartbeat is not None:
            self._heartbeat()

    def _look_at(self, peer: Peer, now: float) -> None:
        limits = self.limits
        if peer.started:
            if limits.request_timeout and now - peer.started > limits.request_timeout:
                self._overrun(peer)
            return
        if peer.owned:
            return
        silent = now - peer.seen
        if peer.lingering:
            if silent > limits.linger_timeout:
                self._cut(peer)
        elif not peer.connection.idle:
            if silent > limits.receive_timeout:
                self.log.warning(
                    "%s: request not complete after %g silent seconds (receive_timeout)",
                    describe_peer(peer.sock), limits.receive_timeout,
                )  # fmt: skip
                self._cut(peer)
        elif silent > self._patience(now) and not (peer.has_spoken() or peer.owned):
            self._cut(peer)

    def _patience(self, now: float) -> float:
        """Seconds of silence after which an idle connection is closed."""
        patience = self.limits.keepalive_timeout or float("inf")
        if self.stopping:  # a request may be on its way: a busy web server hears late of us, yet leaves some idle
            patience = min(patience, max(_PAUSE, (self.part_at - now) * _SHARE))
        return patience

    def _cut(self, peer: Peer) -> None:
        """End a connection that no thread works on.

        Whoever the poller tells of the end closes it: a thread may be on its way to it this moment, and a descriptor
        closed under its hands could be another connection's before it arrives.
        """
        peer.lingering = True
        peer.shut()

    def _overrun(self, peer: Peer) -> None:
        """A request takes too long: say where it is, cut it off, and let a fresh worker take over."""
        peer.started = _OVERRAN
        self.log.error(
            "%s: the application runs longer than request_timeout=%g seconds; this worker stops.  It was in\n%s",
            describe_peer(peer.sock), self.limits.request_timeout, peer.stack(),
        )  # fmt: skip
        peer.shut()
        self.stop()

    def _pause(self) -> None:
        """Accept nothing until the next tick finds room."""
        with self._lock:
            if not self._paused and not self.stopping:
                self._paused = True
                self._unlisten()

    def _unlisten(self) -> None:
        for fd in self._listeners:
            self._poller.remove(fd)

    def _on_wake(self) -> None:
        self._wakeup.clear()
        if self.stopping:
            self._ticked = 0.0
            if self._relay is not None:
                self._relay.rouse()

    def _drain(self, now: float) -> None:
        """Stop listening, but first take in who already queues: nobody else may be there to do it."""
        if not self._paused:
            self._unlisten()
        self._stop_at = now + self.limits.graceful_timeout
        self.part_at = min(now + _BUSY, (now + self._stop_at) / 2)
        if self._stuck() == self._threads:
            return
        for listener in [self._listeners.pop(fd) for fd in list(self._listeners)]:
            for _ in range(self.limits.connections - len(self.peers)):
                try:
                    sock, name = listener.accept()
                except OSError:
                    break  # the queue is empty
                if (peer := self._admit(listener, sock, name)) is not None:
                    self._watch(peer)
            listener.sock.close()  # who comes now is refused, and so may ask another server
