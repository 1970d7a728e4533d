"""``wfastcgi``: what it reads from its environment and from Web.config, over gateway's pipe.

    python -m gateway.compat.wfastcgi

On IIS itself nothing of this runs: IIS hands over a named pipe of Windows, which gateway does not speak.  It is for
the same site behind any other web server that starts FastCGI programs, or runs them by CGI; so X-Original-URL, which
IIS sets and any visitor could, is not believed.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time

from gateway.compat.flup import WSGIServer
from gateway.errors import ConfigError, LoadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from gateway.environ import Environ

RESTART = r".*((\.py)|(\.config))$"
"""The files whose change ends the process, so that the web server starts a new one."""
UNSERVED = {
    "APPINSIGHTS_INSTRUMENTATIONKEY": "wrap the application in applicationinsights.requests.WSGIApplication yourself",
    "WSGI_PTVSD_SECRET": "call debugpy.listen() in the application",
}
"""What wfastcgi did besides, and what to do instead."""

log = logging.getLogger("gateway.wfastcgi")


def main() -> None:
    """Serve WSGI_HANDLER until a signal ends it, or a file of the site changes."""
    if os.name != "posix":
        sys.exit(
            "gateway: IIS hands its FastCGI programs a named pipe, which gateway does not speak: let IIS forward to a "
            "server by HttpPlatformHandler or ARR"
        )
    folder = os.environ.get("APPL_PHYSICAL_PATH") or os.getcwd()
    os.environ.update(read_settings(folder))
    if path := os.environ.get("WSGI_LOG"):
        logging.basicConfig(filename=path, level=logging.INFO, format="%(asctime)s: %(message)s")
    for name, instead in UNSERVED.items():
        if os.environ.get(name):
            log.warning("%s is not served here: %s", name, instead)
    os.chdir(folder)
    sys.path[0:1] = ["."]
    sys.path += _expand(os.environ.get("PYTHONPATH", ""))
    Server(get_wsgi_handler(os.environ.get("WSGI_HANDLER", "")), folder).run()


def read_settings(folder: str) -> dict[str, str]:
    """The appSettings of the Web.config in a folder."""
    from xml.etree import ElementTree

    for name in ("Web.config", "web.config"):
        if os.path.exists(path := os.path.join(folder, name)):
            found = ElementTree.parse(path).getroot().findall("./appSettings/add")
            return {one.get("key", "").strip(): one.get("value", "") for one in found}
    return {}


def _expand(paths: str) -> list[str]:
    """A PYTHONPATH of Windows, or of this system: with %NAME% for what the environment has."""
    expanded = re.sub(r"%(\w+)%", lambda name: os.environ.get(name[1], ""), paths)
    return [path for path in re.split(f"[;{os.pathsep}]", expanded) if path]


def get_wsgi_handler(handler_name: str) -> Callable[..., Any]:
    """The application that a WSGI_HANDLER names: dotted names, each called where ``()`` follows it.

    Raises LoadError.

    >>> get_wsgi_handler("wsgiref.simple_server.demo_app").__name__
    'demo_app'
    """
    names = handler_name.split(".")
    for size in range(len(names) - 1, 0, -1):
        module = ".".join(names[:size])
        try:
            found: Any = __import__(module, fromlist=["*"])
        except ModuleNotFoundError as error:
            if not (error.name and f"{module}.".startswith(f"{error.name}.")) and "()" not in module:
                raise  # the module is there, and what it imports is not
            continue
        for name in names[size:]:
            found = getattr(found, name.removesuffix("()"))
            found = found() if name.endswith("()") else found
        application: Callable[..., Any] = found
        return application
    raise LoadError(
        f"WSGI_HANDLER={handler_name!r} names no application: write module.application, or module.factory()"
    )


class Server(WSGIServer):
    """One application, one thread, and an eye on the files of its folder."""

    model = "single"

    def __init__(self, application: Callable[..., Any], folder: str) -> None:
        super().__init__(self._as_in_iis(application), multithreaded=False, multiprocess=True)
        pattern = os.environ.get("WSGI_RESTART_FILE_REGEX", RESTART)
        self._restarts_on = re.compile(pattern) if pattern else None
        self._folder = folder
        self._script = "" if "REQUEST_METHOD" in os.environ else os.environ.get("SCRIPT_NAME", "")  # CGI: the request's
        self._started = time.time()

    def _mainloopPeriodic(self) -> None:
        for path in self._changed():
            log.info("exiting because %s has changed", path)
            self._exit()
            return

    def _changed(self) -> Iterator[str]:
        """The files of the site that changed since the start."""
        if self._restarts_on is None:
            return
        for folder, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
            for path in (os.path.join(folder, name) for name in files):
                if self._restarts_on.match(path) and os.path.exists(path) and os.path.getmtime(path) > self._started:
                    yield path

    def _as_in_iis(self, application: Callable[..., Any]) -> Callable[..., Any]:
        """The path as wfastcgi has it: all of it is PATH_INFO, unless the environment says what SCRIPT_NAME is."""

        def call(environ: Environ, start_response: Callable[..., Any]) -> Any:
            script, path = self._script, environ["SCRIPT_NAME"] + environ["PATH_INFO"]
            if script and path.lower().startswith(script.lower()):
                environ["SCRIPT_NAME"], environ["PATH_INFO"] = script, path[len(script) :]
            elif "AllowPathInfoForScriptMappings" not in os.environ:
                environ["SCRIPT_NAME"], environ["PATH_INFO"] = "", path
            return application(environ, start_response)

        return call


def enable() -> None:
    """``wfastcgi-enable``."""
    raise ConfigError("wfastcgi-enable changes the configuration of IIS, where gateway does not run")


MODULES: dict[str, dict[str, object]] = {
    "wfastcgi": {"main": main, "get_wsgi_handler": get_wsgi_handler, "enable": enable, "disable": enable}
}

if __name__ == "__main__":
    main()
