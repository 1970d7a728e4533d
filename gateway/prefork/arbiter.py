"""gunicorn's arbiter, with listening sockets of ours and with reloads that cannot break a running server.

gunicorn itself would take a socket file away from the server that listens there, lose the sockets of systemd at a USR2,
and end when a reload finds an address in use.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys

from gunicorn.arbiter import Arbiter as GunicornArbiter
from gunicorn.sock import TCPSocket

from gateway.address import bound_address, listen, remove, take_over
from gateway.errors import ConfigError
from gateway.prefork import ENDING
from gateway.prefork.settings import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.address import Address


SUCCESSOR_BINDS = "GATEWAY_FD_BINDS"
"""The environment variable that tells the successor at a USR2 what gunicorn's GUNICORN_FD does not: wires, places."""


class Listener:
    """A listening socket as gunicorn's arbiter and workers hold it; gunicorn's own classes say http:// in the log.

    ``address`` is the place as it was configured, or found to be bound; ``protocol`` the wire that is spoken there.
    """

    def __init__(self, sock: socket.socket, address: Address, protocol: str) -> None:
        sock.setblocking(False)
        sock.set_inheritable(True)  # for USR2; workers mark it to be closed when they exec
        self.sock = sock
        self.address = address
        self.protocol = protocol

    def __str__(self) -> str:
        return str(bound_address(self.sock, protocol=self.protocol))

    def fileno(self) -> int:
        """For select, and for the successor."""
        return self.sock.fileno()

    def getsockname(self) -> Any:
        """As of the socket."""
        return self.sock.getsockname()

    def close(self) -> None:
        """Close it in this process."""
        self.sock.close()

    get_backlog = getattr(TCPSocket, "get_backlog", None)
    """For --enable-backlog-metric, which is newer than gunicorn 23."""


class Arbiter(GunicornArbiter):  # type: ignore[misc]
    """The master process of ``fcgi-run``; its application is a :class:`gateway.prefork.application.Application`."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]  # for USR2; sys.argv has forgotten -m and -X

    def setup(self, app: Any) -> None:
        """Take over a configuration, at the start and at each reload."""
        before = self.cfg.bind if self.LISTENERS else app.cfg.bind
        self.options = Options(app.cfg)
        super().setup(app)
        if self.cfg.bind != before:
            self._rebind(before)
        wires = dict(self._configured())  # a place may be kept, and speak another wire from now on
        for listener in self.LISTENERS:
            listener.protocol = wires.get(listener.address, listener.protocol)

    def start(self) -> None:
        """Listen, or take the sockets that somebody hands us, and get ready to serve."""
        handed, binds = os.environ.pop("GUNICORN_FD", ""), os.environ.pop(SUCCESSOR_BINDS, "")
        self.LISTENERS = []
        try:
            if handed:  # by the master that USR2 replaces
                for fd, bind in zip(handed.split(","), shlex.split(binds), strict=True):
                    self.LISTENERS.append(self._adopt(socket.socket(fileno=int(fd)), *self.options.parse(bind)))
            elif self.app.inherited:
                for sock in self.app.inherited:
                    self.LISTENERS.append(self._adopt(sock, bound_address(sock), self.options.protocol))
            else:
                for address, wire in self._configured():
                    self.LISTENERS.append(self._listen(address, wire))
            self.options.check((bound_address(listener.sock), listener.protocol) for listener in self.LISTENERS)
            super().start()
        except BaseException:
            self._close(self.LISTENERS)
            raise
        if not self.app.inherited:  # else whoever started us knows better
            self._tell_web_server()

    def _tell_web_server(self) -> None:
        """The lines that it needs, once for each wire."""
        told: set[str] = set()
        for listener in self.LISTENERS:
            address = bound_address(listener.sock, protocol=listener.protocol)
            snippet = self.app.snippet(address, self.options.mount, self.options.wire_options)
            if snippet and address.protocol not in told:
                told.add(address.protocol)
                self.log.info("For the web server:\n%s", snippet)

    def _configured(self) -> list[tuple[Address, str]]:
        return [self.options.parse(bind) for bind in self.cfg.bind]

    def _listen(self, address: Address, wire: str) -> Listener:
        cfg = self.cfg
        sock = listen(
            address, backlog=cfg.backlog, mode=self.options.socket_mode, umask=cfg.umask,
            reuse_port=cfg.settings["reuse_port"].get(),
        )  # fmt: skip
        if os.path.lexists(address.path) and (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
            os.chown(address.path, cfg.uid, cfg.gid)
        return Listener(sock, address, wire)

    def _adopt(self, sock: socket.socket, address: Address, wire: str) -> Listener:
        """A socket that was handed to us: it keeps its wire, unless we are configured to speak another one there.

        Its file is ours to remove if a predecessor made it as we would have.
        """
        wires = dict(self._configured())
        if address in wires:
            take_over(address)
        return Listener(sock, address, wires.get(address, wire))

    def _rebind(self, before: list[str]) -> None:
        """A reload changed --bind: keep what stays, or everything if something new cannot be bound."""
        wires = dict(self._configured())
        kept = {listener.address: listener for listener in self.LISTENERS}
        fresh: dict[Address, Listener] = {}
        try:
            for address, wire in wires.items():
                if address not in kept:
                    fresh[address] = self._listen(address, wire)
        except ConfigError as error:
            self._close(list(fresh.values()))
            self.cfg.set("bind", before)
            self.log.error("%s; the sockets stay as they were", error)
            return
        self.LISTENERS = [fresh.get(address) or kept.pop(address) for address in wires]
        self._close(list(kept.values()))
        self.log.info("Listening at: %s", ",".join(map(str, self.LISTENERS)))

    def _close(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            listener.close()
            if self.reexec_pid == self.master_pid == 0:  # else another master listens there, too
                remove(listener.address)

    def spawn_worker(self) -> Any:
        """Fork a worker, on which no signal is lost."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 (gunicorn's signature)
        """Stop listening, then end the workers."""
        self.maybe_promote_master()  # the predecessor may just have ended: then its socket files are ours to remove
        self._close(self.LISTENERS)
        self.LISTENERS = []
        super().stop(graceful)

    def reexec(self) -> None:
        """SIGUSR2: tell the successor what it takes over, besides the descriptors."""
        self.cfg.env_orig[SUCCESSOR_BINDS] = shlex.join(f"{one.protocol}://{one.address}" for one in self.LISTENERS)
        super().reexec()

    def reload(self) -> None:
        """SIGHUP: only if what is to be loaded can be loaded."""
        if self.app.check(reload=True):
            self.log.error("not reloaded: the new code or configuration is broken (see above); the old workers go on")
            return
        super().reload()
