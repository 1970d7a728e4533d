"""Drop-in names: what old scripts import is served by gateway, so that they run without an edit.

    python -m gateway.compat dispatch.fcgi              # or, as the first line of the script:
    import gateway.compat; gateway.compat.install()

stands in for ``flup``, ``flipflop``, ``wfastcgi`` and ``django.core.servers.fastcgi``, puts its own classes into
``wsgiref.handlers`` and ``http.server``, and knows ``manage.py runfcgi``.  The packages themselves need not be there;
one that is there is not used, unless ``install(keep=["flup"])`` asks for it.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec  # here, for an import in find_spec() would ask find_spec()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType
    from typing import Any

REPLACED = {
    "flup": "gateway.compat.flup",
    "flipflop": "gateway.compat.flipflop",
    "wfastcgi": "gateway.compat.wfastcgi",
    "django.core.servers.fastcgi": "gateway.compat.django.fastcgi",
}
"""Modules of old, with all below them, and where ours is: ``MODULES`` there has what is in each, by its name."""
AMENDED = {
    "wsgiref.handlers": "gateway.compat.wsgiref",
    "http.server": "gateway.compat.http_server",
    "django.core.management": "gateway.compat.django.commands",
}
"""Modules that stay what they are, and where the names are that they get from us: ``__all__`` there."""
REMOVED = ("cgi", "cgitb")
"""Modules that Python dropped, and that legacy-cgi brings back."""
MODERN = {
    "flup": "gateway.run(application), or the command fcgi-run module:application; its clients: gateway.Client(url)",
    "flipflop": "gateway.run(application)",
    "wfastcgi": "the command fcgi-run module:application",
    "django.core.servers.fastcgi": "the command fcgi-run mysite.wsgi:application",
}
"""What one writes today."""


def install(*, keep: Collection[str] = (), quiet: bool = False) -> None:
    """Let old names mean ours from now on, in this process.

    ``keep`` are those of REPLACED and AMENDED to leave alone.  Each that is used says once, on stderr, what one writes
    today, unless ``quiet``, and never in a CGI process, which would say it for every visitor.
    """
    quiet = quiet or "GATEWAY_INTERFACE" in os.environ
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder | _Advisor)]
    finder = _Finder(keep, quiet=quiet)
    sys.meta_path.insert(0, finder)
    sys.meta_path.append(_Advisor())
    for name in list(sys.modules):
        if finder.stands_in(name):
            del sys.modules[name]
        elif name in AMENDED and name not in keep:
            _amend(sys.modules[name])


class _Finder:
    """Finds old names before anybody else does."""

    def __init__(self, keep: Collection[str], *, quiet: bool) -> None:
        self._keep = keep
        self._quiet = quiet
        self._sought: set[str] = set()  # names that the others are being asked for

    def stands_in(self, name: str) -> str:
        """The name in REPLACED that a module is, or is below; "" if it is none of ours."""
        if any(f"{name}.".startswith(f"{kept}.") for kept in self._keep):
            return ""
        return next((old for old in REPLACED if f"{name}.".startswith(f"{old}.")), "")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """As :mod:`importlib` asks."""
        if old := self.stands_in(name):
            contents = _import(REPLACED[old]).MODULES
            if name not in contents:
                return None
            if name == old and not self._quiet:
                print(f"gateway: {old} is gateway's stand-in here; today one writes {MODERN[old]}", file=sys.stderr)
            is_package = any(other.startswith(name + ".") for other in contents)
            loader: Any = _StandIn(contents[name])
            return ModuleSpec(name, loader, origin=REPLACED[old], is_package=is_package)
        if name in AMENDED and name not in self._keep and name not in self._sought:
            self._sought.add(name)
            try:
                for finder in sys.meta_path:  # this one is asked again, be it by one that wraps it
                    if spec := finder.find_spec(name, path, target):
                        spec.loader = _Amending(spec.loader)  # type: ignore[assignment]
                        return spec
            finally:
                self._sought.remove(name)
        return None


class _Advisor:
    """The last to be asked for a module: nobody else has it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Say where the modules are that Python dropped."""
        if name in REMOVED:
            raise ModuleNotFoundError(
                f"No module named {name!r}: Python 3.13 dropped it; pip install 'gateway[legacy]' brings it back",
                name=name,
            )


class _StandIn:
    """Makes a module of what is to be in it."""

    def __init__(self, contents: dict[str, object]) -> None:
        self._contents = contents

    def create_module(self, spec: ModuleSpec) -> None:
        """A plain one."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill it."""
        vars(module).update(self._contents)


class _Amending:
    """The loader of a module that exists, which then gets our names."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Load it, and amend it."""
        self._loader.exec_module(module)
        _amend(module)


def _amend(module: ModuleType) -> None:
    ours = _import(AMENDED[module.__name__])
    for name in ours.__all__:
        setattr(module, name, getattr(ours, name))


def _import(name: str) -> Any:
    return __import__(name, fromlist=["*"])
