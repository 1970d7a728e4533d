"""Many processes: a gunicorn worker class over our workers, and (in ``application``) the server behind ``fcgi-run``.

gunicorn manages processes (docs/decisions/0004-gunicorn-manages-processes.md); everything it offers works: its options,
``gunicorn.conf.py``, hooks, signals, logs.  Our own options are gunicorn settings like its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta

from gunicorn import config
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker as GunicornWorker

from gateway.address import Address, allowed_peers
from gateway.errors import ConfigError, StartupError
from gateway.prefork.settings import Options
from gateway.recorder import Recorder
from gateway.workers import build_worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.environ import Environ
    from gateway.exchange import Exchange
    from gateway.workers.threads import ThreadsWorker


ENDING = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
"""The signals that end a worker.  Until it has its own handlers they wait: the master's, which it begins with, would
take them to be the master's."""


class Worker(GunicornWorker):  # type: ignore[misc]
    """``gunicorn -k gateway.Worker``: a process of gunicorn's that speaks FastCGI, or the wire GATEWAY_PROTOCOL names.

    ``--threads``, ``--timeout``, ``--max-requests``, ``--access-logfile`` and the hooks mean what they mean elsewhere.
    """

    core: ThreadsWorker | None = None

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Called by the arbiter before it forks: a mistake that would end each worker ends the arbiter instead."""
        try:
            options = Options(cfg)
            options.check((_place(name), options.protocol) for name in cfg.address)
        except (ConfigError, ValueError) as error:
            raise RuntimeError(str(error)) from error

    def init_signals(self) -> None:
        """As gunicorn's; but nobody reads its wake-up pipe here, which one SIGCHLD per request would fill."""
        super().init_signals()
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def run(self) -> None:
        """gunicorn's main loop of a worker."""
        cfg, options = self.cfg, Options(self.cfg)
        # A socket of gunicorn's own knows nothing of wires.
        sockets = [(listener.sock, getattr(listener, "protocol", options.protocol)) for listener in self.sockets]
        try:
            app = self.wsgi
            if options.record is not None:
                app = Recorder(options.record, limits=options.limits).wrap(app, interface=options.interface)
            self.core = build_worker(
                app, sockets, limits=options.limits, log=self.log, interface=options.interface,
                model=options.worker_model, mount=options.mount, threads=cfg.threads, multiprocess=cfg.workers > 1,
                allowed=allowed_peers(os.environ), wire_options=options.wire_options, heartbeat=self._beat,
                before=self._before if self._wants_before() else None,
                after=self._after if self._wants_after() else None,
                max_requests=0 if self.max_requests == sys.maxsize else self.max_requests,
            )  # fmt: skip
            if not self.alive:  # SIGTERM came while the application was being loaded
                self.core.stop()
            self.notify()  # gunicorn's time-out begins with the first heartbeat; the first request may take for ever
            self.core.run()
        except (ConfigError, StartupError) as error:
            self.log.error("%s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)  # every other worker would fare the same: gunicorn gives up

    def _beat(self) -> None:
        self.notify()
        if self.core is None or self.core.stopping:
            return
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            self.core.stop()
        elif not self.alive:  # --reload saw that a file changed
            self.core.stop()

    # -- signals

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: finish what is begun."""
        super().handle_exit(sig, frame)
        if self.core is not None:
            self.core.stop()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGQUIT, SIGINT: end now."""
        self._end()
        super().handle_quit(sig, frame)

    def handle_abort(self, sig: int, frame: Any) -> None:
        """SIGABRT: the arbiter heard nothing from us for --timeout seconds."""
        self.log.error("request took longer than --timeout %s; it is given up and this worker ends", self.cfg.timeout)
        self._end()
        super().handle_abort(sig, frame)

    def _end(self) -> None:
        """The SystemExit that follows is this worker's, not the application's."""
        if self.core is not None:
            self.core.interrupted = True

    # -- hooks and access log

    def _wants_before(self) -> bool:
        """Is there a hook pre_request, or somebody who looks at requests afterwards?"""
        hook = self.cfg.pre_request
        return (
            hook is not config.PreRequest.pre_request or self._wants_after() or self.cfg.loglevel.lower() == "debug"
        )

    def _before(self, environ: Environ) -> None:
        environ["gateway.request"] = request = _RequestView(environ)
        self.cfg.pre_request(self, request)

    def _wants_after(self) -> bool:
        cfg = self.cfg
        return bool(
            cfg.accesslog or cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json
            or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
            or type(self.log).access is not Logger.access  # statsd's, or the administrator's own
            or cfg.post_request is not config.PostRequest.post_request
        )  # fmt: skip

    def _after(self, environ: Environ, exchange: Exchange) -> None:
        request, response = environ["gateway.request"], _ResponseView(exchange)
        self.log.access(response, request, environ, timedelta(seconds=time.monotonic() - request.started))
        try:
            self.cfg.post_request(self, request, environ, response)
        except Exception:
            self.log.exception("Exception in post_request hook")


def _place(name: Any) -> Address:
    """A place as gunicorn has it: host and port, a path, or a descriptor."""
    return Address(host=name[0], port=name[1]) if isinstance(name, tuple) else Address(path=str(name))


class _RequestView:
    """A request as gunicorn's hooks and logger look at it; hooks may add attributes."""

    def __init__(self, environ: Environ) -> None:
        self.uri: str = environ["REQUEST_URI" if "REQUEST_URI" in environ else "PATH_INFO"]
        environ.setdefault("RAW_URI", self.uri)  # where gunicorn's access log finds it
        self.path, _, self.query = self.uri.partition("?")
        self.method = environ["REQUEST_METHOD"]
        self.scheme = environ["wsgi.url_scheme"]
        self.headers = [
            (name.removeprefix("HTTP_").replace("_", "-"), value)
            for name, value in environ.items()
            if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        ]
        self.started = time.monotonic()


class _ResponseView:
    """A response as gunicorn's hooks and logger look at it."""

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status
        self.status_code = int(exchange.status[:3])
        self.headers = exchange.headers
        self.sent = self.response_length = exchange.sent
