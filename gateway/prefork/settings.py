"""Our options as gunicorn settings: on its command line, in its configuration file, in ``--print-config``."""

from __future__ import annotations

import os

from gunicorn import config

from gateway.environ import check_mount
from gateway.limits import LIMITS, Limits
from gateway.protocols import WIRES
from gateway.workers import MODELS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any


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


def _declare(name: str, *, meta: str, check: Callable[[Any], Any], default: Any, desc: str) -> str:
    """Make a setting that gunicorn knows as it knows its own; give its name back."""
    fields = {
        "__module__": __name__,
        "name": name,
        "section": "Gateway",
        "cli": ["--" + name.replace("_", "-")],
        "meta": meta,
        "validator": check,
        "default": os.environ.get(f"GATEWAY_{name.upper()}", default),
        "desc": f"{desc} Environment variable: GATEWAY_{name.upper()}.",
    }
    type(name.title().replace("_", ""), (config.Setting,), fields)
    return name


OPTIONS = [
    _declare(
        "mount", meta="PATH", check=_check_mount, default=None,
        desc="Where the application lives in the site, e.g. /app; wins over what the web server says.",
    ),
    _declare(
        "worker_model", meta="MODEL", check=_one_of(MODELS, "worker model"), default="threads",
        desc=f"What a worker process does with requests: {' or '.join(MODELS)}.",
    ),
    _declare(
        "protocol", meta="WIRE", check=_one_of(WIRES, "protocol"), default=next(iter(WIRES)),
        desc=f"The wire that the web server speaks: {' or '.join(WIRES)}.",
    ),
    _declare(
        "socket_mode", meta="MODE", check=_check_mode, default=None,
        desc="File mode of unix sockets, octal, e.g. 660; otherwise --umask decides, which lets everyone connect.",
    ),
]  # fmt: skip
"""The names of our settings that are no limits."""
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
    worker_model: str
    protocol: str
    socket_mode: int | None

    def __init__(self, cfg: Any) -> None:
        settings = cfg.settings
        if type(settings.get("mount")).__module__ != __name__:
            settings = config.make_settings()
        for name in OPTIONS:
            setattr(self, name, settings[name].get())
        limits = {limit: settings[name].get() for limit, name in OPTION_LIMITS.items()}
        self.limits = Limits(request_timeout=cfg.timeout, graceful_timeout=cfg.graceful_timeout, **limits)
