"""Our options as gunicorn settings: on its command line, in its configuration file, in ``--print-config``."""

from __future__ import annotations

import os

from gunicorn import config

from gateway.address import allowed_peers
from gateway.apps import INTERFACES
from gateway.environ import check_mount
from gateway.limits import LIMITS, Limits
from gateway.protocols import WIRES
from gateway.workers import AUTO, MODELS, USUAL
from gateway.workers.listener import connections_at, parse_listen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    from gateway.address import Address


CGI_THREADS = 8
"""Threads of a worker process that serves CGI programs, since each waits for one.  ``gateway serve``: 8."""


def _check_mount(value: str | None) -> str | None:
    return None if value is None else check_mount(value)


def _one_of(names: Collection[str], what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"no {what} is called {value!r}; there are: {', '.join(names)}")
        return value

    return check


def _check_mode(value: str | int | None) -> int | None:
    if value is None or isinstance(value, int):
        return value
    try:
        return int(value, 8)
    except ValueError:
        raise ValueError(f"socket mode {value!r} is not octal; write for example 660") from None


class _Secret(str):
    """A text that no help, no list of settings and no log shows."""

    def __str__(self) -> str:
        return "(hidden)" if self else ""

    __repr__ = __str__


def _hide(value: str) -> str:
    return value if isinstance(value, _Secret) else _Secret(value)  # str() of it is what it shows


def _check_size(value: str | int | None) -> int | None:
    try:
        return None if value is None else int(value)
    except ValueError:
        raise ValueError(f"packet size {value!r} is no number of bytes; write for example 65536") from None


def _number(name: str) -> Callable[[str | float], int | float]:
    def check(value: str | float) -> int | float:
        default = LIMITS[name]
        try:
            number = type(default)(value)
        except (TypeError, ValueError):
            raise ValueError(f"limit {name} is {value!r}, no number; its default is {default}") from None
        Limits(**{name: number})  # raises if it cannot be
        return number

    return check


def _split(value: str | list[str]) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def _declare(
    name: str, *, meta: str, check: Callable[[Any], Any], default: Any, desc: str, variable: str = ""
) -> str:
    """Make a setting that gunicorn knows as it knows its own; give its name back."""
    several = check is _split
    desc += " Several with commas, or repeated." if several else ""
    variable = variable or f"GATEWAY_{name.upper()}"
    stated = os.environ.get(variable, default)
    fields = {
        "__module__": __name__,
        "name": name,
        "section": "Gateway",
        "cli": ["--" + name.replace("_", "-")],
        "meta": meta,
        "action": "append" if several else None,
        "validator": check,
        "default": check(stated) if check is _hide else stated,  # --help shows it
        "desc": f"{desc} Environment variable: {variable}.",
    }
    type(name.title().replace("_", ""), (config.Setting,), fields)
    return name


OPTIONS = [
    _declare(
        "mount", meta="PATH", check=_check_mount, default=None,
        desc="Where the application lives in the site, e.g. /app; wins over what the web server says.",
    ),
    _declare(
        "interface", meta="KIND", check=_one_of((*INTERFACES, AUTO), "interface"), default=AUTO,
        desc=f"What the application is: {' or '.join(INTERFACES)}; {AUTO} looks at it.",
        variable="GATEWAY_APP_INTERFACE",  # CGI has a GATEWAY_INTERFACE of its own
    ),
    _declare(
        "worker_model", meta="MODEL", check=_one_of((*MODELS, AUTO), "worker model"), default=AUTO,
        desc=f"What a worker process does with requests: {' or '.join(MODELS)}; {AUTO} is {USUAL['wsgi']}, and "
        f"{USUAL['asgi']} for ASGI applications.",
    ),
    _declare(
        "protocol", meta="WIRE", check=_one_of(WIRES, "protocol"), default=next(iter(WIRES)),
        desc=f"The wire to speak where --bind names none: {', '.join(WIRES)}; auto tells them by their first bytes.",
    ),
    _declare(
        "socket_mode", meta="MODE", check=_check_mode, default=None,
        desc="File mode of unix sockets, octal, e.g. 660; otherwise --umask decides, which lets everyone connect.",
    ),
    _declare(
        "record", meta="DIR", check=config.validate_string, default=None,
        desc="Keep each request and its response in this directory, secrets masked, for gateway replay.",
    ),
    _declare(
        "cgi_bin", meta="DIR", check=config.validate_string, default=None,
        desc="Serve the CGI programs in this directory, instead of an application. --mount is their place in the site, "
        f"e.g. /cgi-bin; --threads, here {CGI_THREADS} by default, and --limit-max-children, how many run at once in "
        "each worker process.",
    ),
    _declare(
        "cgi_execution", meta="[PATTERN=]NAME", check=_split, default="spawn",
        desc="How CGI programs run: spawn, fork or inprocess; '*.py=fork' for some.",
    ),
    _declare(
        "cgi_preload", meta="MODULE", check=_split, default="",
        desc="A module that scripts import, e.g. cgi: with --cgi-execution fork it is imported once, before the first "
        "request, by the Python that scripts name, and none waits for it.",
    ),
    _declare(
        "cgi_interpreter", meta=".EXT=COMMAND", check=_split, default="",
        desc="What runs CGI programs with this extension, executable or not, e.g. .php=php-cgi.",
    ),
    _declare(
        "cgi_pass_environment", meta="NAME", check=_split, default="",
        desc="A variable of our environment, or else one that the web server sends (fastcgi_param), that CGI programs "
        "get, e.g. GIT_PROJECT_ROOT.",
    ),
]  # fmt: skip
"""The names of our settings that are no limits."""
WIRE_OPTIONS = [
    _declare(
        "secret", meta="TEXT", check=_hide, default="",
        desc="What the web server proves to know (AJP). Better put it into the environment: everybody on this machine "
        "can read command lines.",
    ),
    _declare(
        "packet_size", meta="BYTES", check=_check_size, default=None,
        desc="Size of the largest packet (AJP), up to 65536; the web server must be told the same.",
    ),
]  # fmt: skip
"""The names of our settings that are options of a wire."""
OPTION_LIMITS = {
    name: _declare(
        f"limit_{name}", meta="N", check=_number(name), default=default, desc=f"Limit {name}; see gateway.limits."
    )
    for name, default in LIMITS.items()
    if name not in ("request_timeout", "graceful_timeout")  # gunicorn's --timeout and --graceful-timeout
}
"""Limits and the settings that state them."""


class Options:
    """What our settings say in a gunicorn configuration.

    A plain gunicorn had read its command line and configuration file before it imported us (``gunicorn -k
    gateway.Worker``): then only the environment speaks.  Raises ValueError.
    """

    mount: str | None
    interface: str
    worker_model: str
    protocol: str
    socket_mode: int | None
    record: str | None
    cgi_bin: str | None
    cgi_execution: list[str]
    cgi_preload: list[str]
    cgi_interpreter: list[str]
    cgi_pass_environment: list[str]

    def __init__(self, cfg: Any) -> None:
        settings = cfg.settings
        if type(settings.get("mount")).__module__ != __name__:
            settings = config.make_settings()
        for name in OPTIONS:
            setattr(self, name, settings[name].get())
        self.wire_options = {name: value for name in WIRE_OPTIONS if (value := settings[name].get())}
        limits = {limit: settings[name].get() for limit, name in OPTION_LIMITS.items()}
        self.limits = Limits(request_timeout=cfg.timeout, graceful_timeout=cfg.graceful_timeout, **limits)

    @property
    def usual_bind(self) -> str:
        """Where to listen if nothing says where: the usual port of the wire, for this machine only."""
        return str(self.parse("127.0.0.1")[0])

    def parse(self, bind: str) -> tuple[Address, str]:
        """Where a bind says to listen, and for which wire.  Raises ConfigError."""
        return parse_listen(bind, protocol=self.protocol)

    def check(self, places: Iterable[tuple[Address, str]]) -> None:
        """Raise ConfigError unless a worker could serve these wires there."""
        allowed = allowed_peers(os.environ)
        for address, wire in places:
            connections_at(address, wire, limits=self.limits, options=self.wire_options, allowed=allowed)
