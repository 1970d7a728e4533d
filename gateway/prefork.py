"""Many processes: a gunicorn worker class over our workers, and the gunicorn application behind ``fcgi-run``.

gunicorn manages processes (docs/decisions/0004-gunicorn-manages-processes.md); everything it offers works: its options,
``gunicorn.conf.py``, hooks, signals, logs.  Our own options are gunicorn settings like its own.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta

from gunicorn import config
from gunicorn import sock as gunicorn_sock
from gunicorn.app.base import Application, BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import ConfigError as GunicornConfigError
from gunicorn.workers.base import Worker as GunicornWorker

from gateway.address import Address, allowed_peers, inherited_sockets, listen, parse_bind
from gateway.apps.wsgi import WSGIRunner
from gateway.environ import check_mount
from gateway.errors import ConfigError
from gateway.events import APPLICATION
from gateway.limits import LIMITS, Limits
from gateway.loader import explain, load
from gateway.protocols import WIRES, connection_class
from gateway.workers import MODELS, worker_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.environ import Environ
    from gateway.exchange import Exchange
    from gateway.workers.threads import ThreadsWorker

SECTION = "Gateway"


def _env_default(name: str, default: Any) -> Any:
    return os.environ.get(f"GATEWAY_{name.upper()}", default)


def _check_mount(value: str | None) -> str | None:
    return None if value is None else check_mount(value)


def _one_of(names: dict[str, Any], what: str) -> Any:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"{what} {value!r} is none of: {', '.join(names)}")
        return value

    return check


def _check_mode(value: str | int | None) -> int | None:
    if value is None or isinstance(value, int):
        return value
    try:
        return int(value, 8)
    except ValueError:
        raise ValueError(f"socket mode {value!r} is not octal; write for example 660") from None


def _declare(name: str, *, meta: str, check: Any, default: Any, desc: str) -> None:
    """Make a setting that gunicorn's command line, configuration file and --print-config know."""
    fields = {
        "__module__": __name__,
        "name": name,
        "section": SECTION,
        "cli": ["--" + name.replace("_", "-")],
        "meta": meta,
        "validator": check,
        "default": _env_default(name, default),
        "desc": f"{desc} Environment variable: GATEWAY_{name.upper()}.",
    }
    type(name.title().replace("_", ""), (config.Setting,), fields)


_declare(
    "mount", meta="PATH", check=_check_mount, default=None,
    desc="Where the application lives in the site, e.g. /app; wins over what the web server says.",
)  # fmt: skip
_declare(
    "worker_model", meta="MODEL", check=_one_of(MODELS, "worker model"), default="threads",
    desc=f"What a worker process does with requests: {' or '.join(MODELS)}.",
)  # fmt: skip
_declare(
    "protocol", meta="WIRE", check=_one_of(WIRES, "protocol"), default="fastcgi",
    desc="The wire that the web server speaks.",
)  # fmt: skip
_declare(
    "socket_mode", meta="MODE", check=_check_mode, default=None,
    desc="File mode of unix sockets, octal, e.g. 660; without it the umask decides.",
)  # fmt: skip
for _name, _value in LIMITS.items():
    if _name not in ("request_timeout", "graceful_timeout"):  # gunicorn's --timeout and --graceful-timeout
        _declare(
            f"limit_{_name}", meta="N", check=type(_value), default=_value,
            desc=f"Limit {_name}; see gateway.limits.",
        )  # fmt: skip


def limits_of(cfg: Any) -> Limits:
    """The limits that a gunicorn configuration states; ours may be unknown to it (``gunicorn -k gateway.Worker``)."""
    gunicorns = {"request_timeout": cfg.timeout, "graceful_timeout": cfg.graceful_timeout}
    return Limits(**{name: setting_of(cfg, f"limit_{name}") for name in LIMITS if name not in gunicorns}, **gunicorns)


def setting_of(cfg: Any, name: str) -> Any:
    """One of our settings; under plain gunicorn, whose command line came before us, from the environment."""
    setting = cfg.settings.get(name)
    if type(setting).__module__ != __name__:
        setting = config.make_settings()[name]
    return setting.get()


class Worker(GunicornWorker):  # type: ignore[misc]
    """``gunicorn -k gateway.Worker``: one process of gunicorn's that speaks FastCGI.

    ``--threads``, ``--timeout``, ``--max-requests``, ``--access-logfile`` and the hooks mean what they mean elsewhere.
    """

    core: ThreadsWorker | None = None

    def run(self) -> None:
        """gunicorn's main loop of a worker."""
        cfg = self.cfg
        limits = limits_of(cfg)
        model = setting_of(cfg, "worker_model")
        wire = connection_class(setting_of(cfg, "protocol"))
        runner = WSGIRunner(
            self.wsgi, log=self.log, mount=setting_of(cfg, "mount"),
            multithread=cfg.threads > 1, multiprocess=cfg.workers > 1 or model == "fork",
            before=self._before if self._wants_before() else None, after=self._after if self._wants_after() else None,
        )  # fmt: skip
        self.core = worker_class(model)(
            runner, [listener.sock for listener in self.sockets], connect=lambda: wire(APPLICATION, limits=limits),
            limits=limits, log=self.log, threads=cfg.threads, heartbeat=self._beat,
            max_requests=0 if self.max_requests == sys.maxsize else self.max_requests,
            allowed=allowed_peers(os.environ),
        )  # fmt: skip
        if not self.alive:  # SIGTERM came while the application was being loaded
            self.core.stop()
        self.core.run()

    def _beat(self) -> None:
        self.notify()
        if self.ppid != os.getppid() and self.core is not None and not self.core.stopping:
            self.log.info("Parent changed, shutting down: %s", self)
            self.core.stop()

    # -- signals

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: finish what is begun."""
        super().handle_exit(sig, frame)
        if self.core is not None:
            self.core.stop()

    def handle_abort(self, sig: int, frame: Any) -> None:
        """SIGABRT: the arbiter heard nothing from us for --timeout seconds."""
        self.log.error("request took longer than --timeout %s; it is given up and this worker ends", self.cfg.timeout)
        self._end()
        super().handle_abort(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGQUIT, SIGINT: end now."""
        self._end()
        super().handle_quit(sig, frame)

    def _end(self) -> None:
        """The SystemExit that follows is this worker's, not the application's."""
        if self.core is not None:
            self.core.stopping = True

    # -- hooks and access log

    def _wants_before(self) -> bool:
        return bool(self.cfg.pre_request is not config.PreRequest.pre_request) or self._wants_after()

    def _wants_after(self) -> bool:
        cfg = self.cfg
        return bool(
            cfg.accesslog or cfg.statsd_host or cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json
            or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
            or cfg.post_request is not config.PostRequest.post_request
        )  # fmt: skip

    def _before(self, environ: Environ) -> None:
        environ["gateway.started"] = time.monotonic()
        environ.setdefault("RAW_URI", environ.get("REQUEST_URI", environ["PATH_INFO"]))
        self.cfg.pre_request(self, _RequestView(environ))

    def _after(self, environ: Environ, exchange: Exchange) -> None:
        request, response = _RequestView(environ), _ResponseView(exchange)
        took = timedelta(seconds=time.monotonic() - environ["gateway.started"])
        self.log.access(response, request, environ, took)
        self.cfg.post_request(self, request, environ, response)


class _RequestView:
    """A request as gunicorn's hooks and logger look at it."""

    def __init__(self, environ: Environ) -> None:
        self.method = environ["REQUEST_METHOD"]
        self.uri = environ["RAW_URI"]
        self.path = environ["PATH_INFO"]
        self.query = environ["QUERY_STRING"]
        self.headers = [
            (name[5:].replace("_", "-"), value) for name, value in environ.items() if name.startswith("HTTP_")
        ]


class _ResponseView:
    """A response as gunicorn's hooks and logger look at it."""

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status
        self.status_code = int(exchange.status[:3] or 0)
        self.headers = exchange.headers
        self.sent = exchange.sent
        self.response_length = exchange.sent


# -- fcgi-run


class _Arbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter, which steals no live socket and keeps the old workers when a reload would break."""

    def start(self) -> None:
        """Listen, unless somebody hands us sockets: systemd, or the master that USR2 replaces."""
        handed = "GUNICORN_FD" in os.environ or os.environ.get("LISTEN_PID") == str(os.getpid())
        if not getattr(self, "LISTENERS", None) and not handed and not self.cfg.reuse_port:
            self.LISTENERS = [self._adopt(sock) for sock in self.app.inherited] or [
                self._listen(parse_bind(bind)) for bind in self.cfg.bind
            ]
            self.systemd = bool(self.app.inherited)  # whoever made the socket removes it
        super().start()
        self.log.info("For nginx:\n%s", nginx_snippet(self.LISTENERS[0].getsockname(), setting_of(self.cfg, "mount")))

    def _listen(self, address: Address) -> Any:
        cfg = self.cfg
        sock = listen(address, backlog=cfg.backlog, mode=setting_of(cfg, "socket_mode"), umask=cfg.umask)
        if address.path and address.path[0] != "\0" and (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
            os.chown(address.path, cfg.uid, cfg.gid)
        return self._adopt(sock)

    def _adopt(self, sock: Any) -> Any:
        name = sock.getsockname()
        return gunicorn_sock._sock_type(name)(name, self.cfg, self.log, fd=sock.detach())

    def reload(self) -> None:
        """SIGHUP: only if what is to be loaded can be loaded."""
        if self.app.check():
            self.log.error("not reloaded: the new code or configuration is broken (see above); the old workers go on")
            return
        super().reload()


class _Run(BaseApplication):  # type: ignore[misc]
    """What gunicorn's application does last, with our arbiter."""

    def run(self) -> None:
        """Serve until a signal ends it; does not return."""
        try:
            _Arbiter(self).run()
        except (RuntimeError, ConfigError) as error:
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(1)


class FastCGIApplication(Application, _Run):  # type: ignore[misc]
    """``fcgi-run``: gunicorn with our worker, our sockets, and a target that is checked before anything is bound.

    Exit statuses: 2 for a wrong command line or configuration, 3 for a target that cannot be loaded.
    """

    def __init__(self, prog: str, protocol: str = "fastcgi") -> None:
        self.target = ""
        self._protocol = protocol
        self.inherited = inherited_sockets({})  # systemd's are gunicorn's to take
        super().__init__("%(prog)s [OPTIONS] TARGET", prog=prog)

    def init(self, parser: Any, opts: Any, args: list[str]) -> dict[str, Any]:
        """What holds unless the environment, a configuration file or the command line says otherwise."""
        self.target = args[0] if args else ""
        defaults: dict[str, Any] = {"worker_class": "gateway.prefork.Worker", "bind": ["127.0.0.1:9000"]}
        if self.target:
            defaults["default_proc_name"] = self.target
        return defaults

    def do_load_config(self) -> None:
        """As gunicorn does it, but a mistake exits with 2."""
        try:
            self.load_default_config()
            self.load_config()
            self.cfg.validate()
            self.target = self.target or self.cfg.wsgi_app or ""
            if not self.target:
                raise GunicornConfigError(f"no application named; for example: {self.prog} myproject.wsgi:application")
            limits_of(self.cfg)
        except Exception as error:
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(2)

    def load(self) -> Any:
        """The application."""
        return load(self.target)

    def check(self) -> int:
        """Load the configuration and the target in a child, so that a worker later imports fresh code; its exit status.

        What is wrong is on stderr by then.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        status = 3
        try:
            self.do_load_config()
            os.environ.update(self.cfg.env)
            sys.path[:0] = [os.path.abspath(path) for path in (self.cfg.pythonpath or "").split(",") if path]
            self.load()
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 3
        except BaseException as error:
            print(explain(self.target, error), file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def run(self) -> None:
        """Check, bind, and hand over to gunicorn's arbiter; does not return."""
        status = self.check()
        if status:
            sys.exit(status)
        if self.cfg.print_config:
            print(self.cfg)
        if self.cfg.print_config or self.cfg.check_config:
            sys.exit(0)
        super().run()


def nginx_snippet(name: str | tuple[str, int], mount: str | None) -> str:
    """The lines that nginx needs for a socket bound to ``name`` (as ``getsockname`` has it)."""
    where = f"unix:{name}" if isinstance(name, (str, bytes)) else f"{name[0]}:{name[1]}"
    if mount:
        split = [f"fastcgi_split_path_info ^({mount})(/.*)$;", "fastcgi_param PATH_INFO $fastcgi_path_info;"]
    else:
        split = ['fastcgi_param SCRIPT_NAME "";', "fastcgi_param PATH_INFO $fastcgi_script_name;"]
    lines = ["include fastcgi_params;", *split, 'fastcgi_param HTTP_PROXY "";', f"fastcgi_pass {where};"]
    return "\n".join([f"    location {mount or '/'} {{", *(f"        {line}" for line in lines), "    }"])
