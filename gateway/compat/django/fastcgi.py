"""``django.core.servers.fastcgi``: ``runfastcgi``, for ``manage.py runfcgi`` and for dispatch files of shared hosts."""

from __future__ import annotations

import os
import sys

from gateway.compat.flup import SERVERS, server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

FASTCGI_OPTIONS: dict[str, Any] = {
    "protocol": "fcgi", "host": None, "port": None, "socket": None, "method": "fork", "daemonize": None,
    "workdir": "/", "pidfile": None, "maxspare": 5, "minspare": 2, "maxchildren": 50, "maxrequests": 0, "debug": None,
    "outlog": None, "errlog": None, "umask": None,
}  # fmt: skip
FASTCGI_HELP = """\
Serve this project by FastCGI, SCGI or AJP.  Settings, each as name=value:

  protocol=fcgi         or scgi, or ajp
  host=, port=          where to listen, or
  socket=FILE           the path of a unix socket; without either, the socket
                        that the web server hands over
  method=prefork        or threaded
  minspare=2            idle processes at least
  maxspare=5            and at most
  maxchildren=50        processes, or threads, at most
  maxrequests=0         requests after which a process is replaced, 0: never
  daemonize=BOOL        detach from the terminal; true if it is said where to listen
  workdir=/             the directory of a daemon
  outlog=, errlog=FILE  where a daemon writes
  umask=022             of a daemon, in octal
  pidfile=FILE          where to write the number of the process
  debug=true            show tracebacks to visitors
"""
_FORKED, _THREADED = ("prefork", "fork"), ("threaded", "thread")


def fastcgi_help(message: str | None = None) -> bool:
    """Tell what may be set, and what is wrong."""
    print(FASTCGI_HELP)
    if message:
        print(message)
    return False


def runfastcgi(argset: Iterable[str] = (), **kwargs: Any) -> bool | None:
    """Serve the project of DJANGO_SETTINGS_MODULE until a signal ends it; False if the options are wrong."""
    options = FASTCGI_OPTIONS | kwargs
    for word in argset:
        name, equals, value = word.partition("=")
        options[name.lower()] = value if equals else True
    if "help" in options:
        return fastcgi_help()
    if unknown := sorted(options.keys() - FASTCGI_OPTIONS.keys()):
        return fastcgi_help(f"ERROR: there is no setting {', '.join(unknown)}.")
    host, port, socket, method = (options[name] for name in ("host", "port", "socket", "method"))
    if method not in _FORKED + _THREADED:
        return fastcgi_help(f"ERROR: method={method}: write prefork or threaded.")
    module = options["protocol"] + ("_fork" if method in _FORKED else "")
    if module not in SERVERS:
        return fastcgi_help(f"ERROR: protocol={options['protocol']}: write fcgi, scgi or ajp.")
    if bool(host) != bool(port) or (socket and host):
        return fastcgi_help("ERROR: Invalid combination of host, port, socket.")
    daemonize = options["daemonize"]
    if daemonize is None:
        daemonize = bool(host or socket)
    elif not isinstance(daemonize, bool):
        if str(daemonize).lower() not in _WORDS:
            return fastcgi_help(f"ERROR: daemonize={daemonize}: write true or false.")
        daemonize = _WORDS[str(daemonize).lower()]
    _serve(module, bind=(host, int(port)) if host else socket, daemonize=daemonize, options=options)
    return None


_WORDS = {"true": True, "yes": True, "t": True, "false": False, "no": False, "f": False}


def _serve(module: str, *, bind: Any, daemonize: bool, options: dict[str, Any]) -> None:
    from django.core.servers.basehttp import get_internal_wsgi_application

    pool = {"minSpare": int(options["minspare"]), "maxSpare": int(options["maxspare"])}
    if module.endswith("_fork"):
        pool |= {"maxChildren": int(options["maxchildren"]), "maxRequests": int(options["maxrequests"])}
    else:
        pool |= {"maxThreads": int(options["maxchildren"])}
    if bind is not None:
        pool["bindAddress"] = bind
    if daemonize:
        become_daemon(
            options["workdir"], out=options["outlog"] or os.devnull, err=options["errlog"] or os.devnull,
            umask=int(options["umask"] or "022", 8),
        )  # fmt: skip
    if options["pidfile"]:
        with open(options["pidfile"], "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    application = get_internal_wsgi_application()
    server(module)(application, debug=options["debug"] is not None, **pool).run()


def become_daemon(workdir: str, *, out: str, err: str, umask: int) -> None:
    """Go on without a terminal, as the child of nobody (daemon(7))."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir(workdir)
    os.umask(umask)
    if os.fork():
        os._exit(0)
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, err, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):  # fmt: skip
        fd = os.open(path, flags, 0o666)
        os.dup2(fd, number)
        os.close(fd)


MODULES: dict[str, dict[str, object]] = {
    "django.core.servers.fastcgi": {
        "FASTCGI_OPTIONS": FASTCGI_OPTIONS, "FASTCGI_HELP": FASTCGI_HELP, "fastcgi_help": fastcgi_help,
        "runfastcgi": runfastcgi,
    },
}  # fmt: skip
