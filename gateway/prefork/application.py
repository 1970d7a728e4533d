"""The gunicorn application behind ``fcgi-run``: command line, configuration, and a check before anything is bound."""

from __future__ import annotations

import os
import signal
import socket
import sys

from gunicorn import config, util
from gunicorn.app.base import BaseApplication
from gunicorn.app.wsgiapp import WSGIApplication as GunicornApplication
from gunicorn.errors import ConfigError as GunicornConfigError

from gateway import __version__
from gateway.address import inherited_sockets
from gateway.errors import ConfigError
from gateway.loader import explain, load
from gateway.prefork import Worker
from gateway.prefork.arbiter import Arbiter
from gateway.prefork.settings import CGI_THREADS, Options
from gateway.recorder import Recorder
from gateway.workers import choose
from gateway.workers.listener import check_taken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from gateway.address import Address
    from gateway.apps.wsgi import WSGIApplication


class _Config(config.Config):  # type: ignore[misc]
    """gunicorn's configuration, which leaves listening to our arbiter.

    ``protocol`` is the wire unless something says otherwise.
    """

    address = ()  # to gunicorn there is nothing to bind, and nothing to bind anew after a reload
    reuse_port = False  # our sockets carry the flag; gunicorn would have each worker bind sockets of its own

    def __init__(self, usage: str, *, prog: str, protocol: str) -> None:
        super().__init__(usage, prog=prog)
        if "GATEWAY_PROTOCOL" not in os.environ:
            self._default("protocol", protocol)
        self._default("worker_class", "gateway.Worker")
        self._default("bind", [Options(self).usual_bind])
        self.settings["bind"].short = (
            "Where to listen: HOST:PORT, unix:PATH or fd://N; with WIRE:// before it, for that wire. Can be repeated."
        )

    def _default(self, name: str, value: object) -> None:
        """Also in ``--help``."""
        self.settings[name].default = value
        self.set(name, value)

    def parser(self) -> Any:
        """gunicorn's command line, which tells our version as well."""
        parser = super().parser()
        for action in parser._actions:
            if "--version" in action.option_strings:
                action.version = f"%(prog)s {__version__} (gunicorn {config.__version__})"
        return parser


class _Run(BaseApplication):  # type: ignore[misc]
    """What gunicorn's application does last, with our arbiter."""

    def run(self) -> None:
        """Serve until a signal ends it; does not return."""
        Arbiter(self).run()


class Application(GunicornApplication, _Run):  # type: ignore[misc]
    """gunicorn with our worker, our sockets, and a target that is checked before anything is bound.

    ``snippet(address, mount, wire_options)`` gives the lines that the web server needs.  Exit statuses: 2 for a wrong
    command line or configuration, 3 for a target that cannot be loaded, 1 for what goes wrong later.
    """

    app_uri: Any
    """gunicorn's name for the target of the command line; with --cgi-bin it is that."""

    def __init__(
        self, prog: str, *, protocol: str, snippet: Callable[[Address, str | None, Mapping[str, Any]], str]
    ) -> None:
        self.inherited: list[socket.socket] = []
        self.snippet = snippet
        self._protocol = protocol
        self._bound_by_default = False
        super().__init__("%(prog)s [OPTIONS] TARGET", prog=prog)

    def run(self) -> None:
        """Check, and hand over to gunicorn; does not return."""
        status = self.check()
        if status:
            sys.exit(status)
        if self.cfg.print_config:
            print(self.cfg)
        if self.cfg.print_config or self.cfg.check_config:
            sys.exit(0)
        try:
            if self._bound_by_default:
                self.inherited = inherited_sockets()
            super().run()
        except (RuntimeError, ConfigError) as error:
            sys.exit(f"Error: {error}")

    # -- configuration

    def load_default_config(self) -> None:
        """gunicorn's defaults, and ours."""
        self.cfg = _Config(self.usage, prog=self.prog, protocol=self._protocol)

    def do_load_config(self) -> None:
        """As gunicorn does it, but a mistake exits with 2."""
        try:
            super().do_load_config()
        except SystemExit as end:
            sys.exit(2 if end.code == 1 else end.code)

    def init(self, parser: Any, opts: Any, args: list[str]) -> dict[str, Any]:
        """What holds unless the environment, a configuration file or the command line says otherwise."""
        super().init(parser, opts, args)
        if len(args) > 1:
            raise GunicornConfigError(f"{self.prog} serves one application, not {len(args)}: {' '.join(args)}")
        return {"bind": [], "threads": 0}

    def load_config(self) -> None:
        """Read all that configures us, and check what is ours in it."""
        try:
            super().load_config()
        except GunicornConfigError as error:
            if self.app_uri or self.cfg.paste:
                raise
            self.app_uri = Options(self.cfg).cgi_bin
            if self.app_uri is None:
                hint = f"name one, for example: {self.prog} myproject.wsgi:application"
                raise GunicornConfigError(f"{error} {hint}") from error
        cfg = self.cfg
        self._bound_by_default = not cfg.bind
        if not cfg.bind:
            cfg.set("bind", [Options(cfg).usual_bind])
        if not cfg.threads:
            cfg.set("threads", 1 if Options(cfg).cgi_bin is None else CGI_THREADS)
        self._check_config()

    def _check_config(self) -> None:
        cfg, options = self.cfg, Options(self.cfg)
        if options.cgi_bin not in (None, self.app_uri):
            raise GunicornConfigError(f"serve either {self.app_uri} or --cgi-bin {options.cgi_bin}; leave one out")
        places = [options.parse(bind) for bind in cfg.bind]
        options.check(places)
        # The environment may be that of several servers: it can say more than this one asks.
        stated = [name for name in options.wire_options if f"GATEWAY_{name.upper()}" not in os.environ]
        check_taken(stated, wires=[wire for _, wire in places])
        if os.geteuid() and (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
            raise GunicornConfigError("only root may give its workers another --user or --group; leave them out")
        if not _is_ours(cfg.settings["worker_class"].get()):
            named = cfg.worker_class_str
            wire = options.protocol
            print(f"{self.prog}: worker class {named} does not speak {wire}: using gateway.Worker", file=sys.stderr)
            cfg.set("worker_class", "gateway.Worker")

    # -- the target

    def load_wsgiapp(self) -> WSGIApplication:
        """The application, or the CGI programs in the place of one."""
        if (directory := Options(self.cfg).cgi_bin) is None:
            return load(self.app_uri)
        from gateway.prefork.cgi_bin import load_cgi_bin

        return load_cgi_bin(directory, Options(self.cfg))

    def check(self, *, reload: bool = False) -> int:
        """Load the application, at a reload also the configuration, in a child; return its exit status.

        What is wrong is on stderr by then, and this process has imported nothing: its workers will import fresh code.
        """
        _flush_output()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # gunicorn 23 would reap the child before us
        try:
            pid = os.fork()
            if pid == 0:
                self._be_child(reload=reload)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        if status < 0:
            print(f"cannot load {self.app_uri!r}: signal {-status} ended the attempt", file=sys.stderr)
            return 3
        return status

    def _be_child(self, *, reload: bool) -> None:
        """Everything that the child of :meth:`check` does; it never returns."""
        status = 2
        try:
            for number in (*Arbiter.SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            if reload:
                self.do_load_config()
            self._become_a_worker()
            status = 3
            app, options = self.load(), Options(self.cfg)
            status = 2
            if options.record is not None:
                Recorder(options.record)  # is there such a place?
            _, model = choose(app, interface=options.interface, model=options.worker_model)
            if options.cgi_bin is not None:
                from gateway.prefork.cgi_bin import announce

                announce(app, threads=0 if model == "fork" else self.cfg.threads)
            status = 0
        except BaseException as error:
            if status == 3:
                print(explain(self.app_uri, error), file=sys.stderr)
            elif not isinstance(error, SystemExit):  # which has told what is wrong
                print(f"Error: {error}", file=sys.stderr)
        finally:
            _flush_output()
            os._exit(status)

    def _become_a_worker(self) -> None:
        cfg = self.cfg
        os.environ.update(cfg.env)
        if not cfg.preload_app:  # what the application writes should belong to its workers
            util.set_owner_process(cfg.uid, cfg.gid, initgroups=cfg.initgroups)
        sys.path[:0] = [os.path.abspath(path) for path in (cfg.pythonpath or "").split(",") if path]


def _is_ours(worker: str | type) -> bool:
    """A gunicorn.conf.py that was written for HTTP names a worker class that speaks HTTP."""
    try:
        return issubclass(util.load_class(worker), Worker)
    except (RuntimeError, AttributeError):
        return False  # it is not installed, or not there


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed from the start, as FastCGI 1.0 §2.2 allows
            stream.flush()
