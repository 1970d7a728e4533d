"""The process model of CGI: one request from the environment and stdin, one response to stdout, then the process ends.

This is on the path of every CGI request, so what it imports is what a visitor waits for
(docs/decisions/0005-import-weight-is-latency.md).
"""

from __future__ import annotations

import os
import stat
import sys

from gateway.apps import AUTO, interface_of
from gateway.apps.wsgi import WSGIRunner
from gateway.errors import RequestAborted
from gateway.events import APPLICATION, Request
from gateway.exchange import BLOCK, Exchange
from gateway.limits import Limits
from gateway.protocols import connection_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.apps import Application
    from gateway.apps.solo import SoloRunner
    from gateway.events import Connection, Params


class StderrLog:
    """The log of a CGI process: stderr is the web server's error log."""

    def info(self, msg: str, *args: object) -> None:
        """Not worth the administrator's attention in a process that lives for one request."""

    def warning(self, msg: str, *args: object) -> None:
        """One line on stderr."""
        print("gateway:", msg % args, file=sys.stderr)

    error = warning


class _Stdio:
    """stdin and stdout as the peer of one exchange."""

    def __init__(self, connection: Connection, *, stdin: int, stdout: int) -> None:
        self.connection = connection
        self.exchange: Exchange | None = None
        self._stdin = stdin
        self._stdout = stdout

    def push(self) -> None:
        """Write all there is to stdout."""
        for chunk in self.connection.data_to_send():
            rest = memoryview(chunk)
            try:
                while rest:
                    rest = rest[os.write(self._stdout, rest) :]
            except OSError as error:
                raise RequestAborted(f"the web server closed stdout: {error.strerror}") from error

    def pull(self) -> None:
        """Read some of stdin."""
        data = os.read(self._stdin, BLOCK)
        if data:
            self.connection.receive_data(data)
        else:
            self.connection.receive_eof()
        self.deliver()

    def fileno(self) -> int:
        """What pull() reads."""
        return self._stdin

    def drain(self, timeout: float) -> None:
        """Read what the application left of the body, for ``timeout`` seconds at most, if stdin is a socket.

        mod_cgid makes stdin and stdout one socket; closed with unread bytes it is reset, and the response is lost.
        """
        import select  # only a body that was not wanted pays for these imports
        import time

        deadline = time.monotonic() + timeout
        self.exchange = None
        if stat.S_ISSOCK(os.fstat(self._stdin).st_mode):
            try:
                while not self.connection.idle:
                    if not select.select([self._stdin], (), (), max(deadline - time.monotonic(), 0))[0]:
                        return
                    self.pull()
            except OSError:
                return  # the web server is gone, and the response with it

    def deliver(self) -> None:
        """Hand what arrived to the exchange."""
        for event in self.connection.events():
            if self.exchange is not None:
                self.exchange.receive(event)


def read_params(environ: Mapping[bytes, bytes] | None = None) -> Params:
    """The process environment as params: bytes as latin-1 (PEP 3333, "Unicode Issues")."""
    if environ is None:
        if not os.supports_bytes_environ:  # Windows: the environment is text
            text = os.environ.items()
            return {name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in text}
        environ = os.environb
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in environ.items()}


def run_once(
    app: Application, *, params: Params | None = None, stdin: int = 0, stdout: int = 1, interface: str = AUTO,
    mount: str | None = None, limits: Limits | None = None,
) -> bool:  # fmt: skip
    """Serve one CGI request; True if the response went out whole.

    What the application prints goes to stderr while it runs: only the response may go to stdout.
    """
    log = StderrLog()
    limits = limits or Limits()
    if params is None:
        params = read_params()
    connection = connection_class("cgi")(APPLICATION, params=params, limits=limits)
    private = os.dup(stdout)
    try:
        os.dup2(2, stdout)
        peer = _Stdio(connection, stdin=stdin, stdout=private)
        request, *rest = connection.events()
        assert isinstance(request, Request)
        exchange = peer.exchange = Exchange(request, connection, peer=peer, limits=limits, log=log)
        for event in rest:
            exchange.receive(event)
        runner: type[WSGIRunner] | type[SoloRunner] = WSGIRunner
        if interface_of(app, named=interface) == "asgi":
            from gateway.apps.solo import SoloRunner as runner
        else:
            while not exchange.ready and not params.get("CONTENT_LENGTH"):
                peer.pull()  # a chunked upload; applications look for a length, and it has one once it is whole
        runner(app, log=log, mount=mount, multiprocess=True, run_once=True)(exchange)
        exchange.close()
        if exchange.ended and not connection.idle:
            peer.drain(limits.linger_timeout)
        return exchange.ended and not exchange.failed
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()  # while stdout is still stderr
        os.dup2(private, stdout)
        os.close(private)
