"""gunicorn's arbiter, with listening sockets of ours and with reloads that cannot break a running server.

gunicorn itself would take a socket file away from the server that listens there, lose the sockets of systemd at a USR2,
and end when a reload finds an address in use.
"""

from __future__ import annotations

import os
import socket
import sys

from gunicorn.arbiter import Arbiter as GunicornArbiter
from gunicorn.sock import TCPSocket

from gateway.address import bound_address, listen, parse_bind, remove, take_over
from gateway.errors import ConfigError
from gateway.prefork.settings import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.address import Address


class Listener:
    """A listening socket as gunicorn's arbiter and workers hold it; gunicorn's own classes say http:// in the log."""

    def __init__(self, sock: socket.socket, address: Address, protocol: str) -> None:
        sock.setblocking(False)
        sock.set_inheritable(True)  # for USR2; workers mark it to be closed when they exec
        self.sock = sock
        self.address = address
        self._protocol = protocol

    def __str__(self) -> str:
        return str(bound_address(self.sock, protocol=self._protocol))

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

    def start(self) -> None:
        """Listen, or take the sockets that somebody hands us, and get ready to serve."""
        handed = os.environ.pop("GUNICORN_FD", "")
        self.LISTENERS = []
        try:
            if handed:  # by the master that USR2 replaces
                self.LISTENERS += [self._adopt(socket.socket(fileno=int(fd))) for fd in handed.split(",")]
            elif self.app.inherited:
                self.LISTENERS += [self._adopt(sock) for sock in self.app.inherited]
            else:
                for bind in self.cfg.bind:
                    self.LISTENERS.append(self._listen(bind))
            super().start()
        except BaseException:
            self._close(self.LISTENERS)
            raise
        if not self.app.inherited:  # else whoever started us knows better
            snippet = self.app.snippet(bound_address(self.LISTENERS[0].sock), self.options.mount)
            self.log.info("For the web server:\n%s", snippet)

    def _listen(self, bind: str) -> Listener:
        cfg, address = self.cfg, parse_bind(bind)
        sock = listen(
            address, backlog=cfg.backlog, mode=self.options.socket_mode, umask=cfg.umask,
            reuse_port=cfg.settings["reuse_port"].get(),
        )  # fmt: skip
        if os.path.lexists(address.path) and (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
            os.chown(address.path, cfg.uid, cfg.gid)
        return Listener(sock, address, self.options.protocol)

    def _adopt(self, sock: socket.socket) -> Listener:
        """A socket that was handed to us; its file is ours to remove if a predecessor made it as we would have."""
        address = bound_address(sock)
        if address.path in [parse_bind(bind).path for bind in self.cfg.bind]:
            take_over(address)
        return Listener(sock, address, self.options.protocol)

    def _rebind(self, before: list[str]) -> None:
        """A reload changed --bind: keep what stays, or everything if something new cannot be bound."""
        kept = dict(zip(before, self.LISTENERS, strict=False))
        fresh: dict[str, Listener] = {}
        try:
            for bind in self.cfg.bind:
                if bind not in kept:
                    fresh[bind] = self._listen(bind)
        except ConfigError as error:
            self._close(list(fresh.values()))
            self.cfg.set("bind", before)
            self.log.error("%s; the sockets stay as they were", error)
            return
        self.LISTENERS = [fresh[bind] if bind in fresh else kept.pop(bind) for bind in self.cfg.bind]
        self._close(list(kept.values()))
        self.log.info("Listening at: %s", ",".join(map(str, self.LISTENERS)))

    def _close(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            listener.close()
            if self.reexec_pid == self.master_pid == 0:  # else another master listens there, too
                remove(listener.address)

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 (gunicorn's signature)
        """Stop listening, then end the workers."""
        self._close(self.LISTENERS)
        self.LISTENERS = []
        super().stop(graceful)

    def reload(self) -> None:
        """SIGHUP: only if what is to be loaded can be loaded."""
        if self.app.check(reload=True):
            self.log.error("not reloaded: the new code or configuration is broken (see above); the old workers go on")
            return
        super().reload()
