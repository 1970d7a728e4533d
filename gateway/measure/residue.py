"""What a request leaves behind in the process that served it: of the process, and in the modules of the application.

A process per request forgets all of it; one that stays has it still when the next visitor comes.
"""

from __future__ import annotations

import functools
import locale
import os
import signal
import site
import socket
import sys
import sysconfig
import threading
import time
from collections import deque
from types import FunctionType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import Any, TypeAlias

    Print: TypeAlias = tuple[object, ...]
    Held: TypeAlias = tuple[Print, str]

DEPTH = 6
"""How deep values are looked into."""
ITEMS = 200
"""Items of a container that are looked at; more of them show by their number."""
SHOWN = 60
"""Characters of a value that are shown."""

_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_SEQUENCES = (list, tuple, deque)
_SETS = (set, frozenset)


def process_state() -> dict[str, str]:
    """All that belongs to the process as a whole, by what it is called."""
    state = {f"os.environ[{name!r}]": repr(value) for name, value in os.environ.items()}
    state |= {
        "the working directory": _working_directory(),
        "the umask": f"{_umask():#o}",
        "the locale": locale.setlocale(locale.LC_ALL),
        "the time zone": "/".join(time.tzname),
        "socket.getdefaulttimeout()": str(socket.getdefaulttimeout()),
        "sys.getrecursionlimit()": str(sys.getrecursionlimit()),
        "sys.path": ":".join(sys.path),
        "sys.argv": " ".join(sys.argv),
        "sys.excepthook": _name(sys.excepthook),
    }
    state |= {f"sys.{name}": _name(getattr(sys, name)) for name in ("stdin", "stdout", "stderr")}
    for number in signal.valid_signals():
        state[f"the handler of {_signal_name(number)}"] = _name(signal.getsignal(number))
    return state


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "one that is gone"


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


def _name(value: Any) -> str:
    """A function, a handler or a stream, so that another one has another name."""
    if isinstance(value, (int, type(None))):
        return getattr(value, "name", str(value))
    return f"{getattr(value, '__qualname__', type(value).__name__)} at {id(value):#x}"


def descriptors() -> dict[str, str]:
    """What is open: what it is by its number.  Raises OSError where the system does not tell."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # that of the listing itself
    return found


def threads() -> list[str]:
    """The threads that run, by name and number."""
    return [f"{thread.name} ({thread.native_id})" for thread in threading.enumerate()]


def children() -> list[str]:
    """The child processes that run, or that nobody has waited for.  Raises OSError where the system does not tell."""
    found: list[str] = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            found += file.read().split()
    return found


# -- modules


def foreign_folders() -> tuple[str, ...]:
    """Where Python's modules are, the installed ones, and ours."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages(), os.path.dirname(os.path.dirname(__file__))}
    folders |= {os.path.join(folder, "dist-packages") for folder in ("/usr/lib/python3", "/usr/local/lib/python3")}
    return tuple(os.path.join(folder, "") for folder in folders)


def own_modules(names: Collection[str] = ()) -> list[ModuleType]:
    """The modules that are the application's: neither Python's, nor installed, unless they are in one of the packages.

    Installed ones fill caches, count and log; what of that a visitor could notice, the answers tell.
    """
    foreign = foreign_folders()
    return [
        module
        for name, module in list(sys.modules.items())
        if (file := getattr(module, "__file__", None))
        and isinstance(module, ModuleType)
        and (name.partition(".")[0] in names or not os.path.abspath(file).startswith(foreign))
    ]


def globals_state(modules: Collection[ModuleType]) -> dict[str, Held]:
    """What the modules hold, by a dotted name: a value to compare, and one to show."""
    walk = _Walk({module.__name__ for module in modules})
    state: dict[str, Held] = {}
    for module in modules:
        state.update(walk.names_in(module.__name__, vars(module)))
    return state


class _Walk:
    """Values as prints: nested tuples that are equal as long as nothing in the value has changed."""

    def __init__(self, modules: set[str]) -> None:
        self._modules = modules

    def names_in(self, place: str, values: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Held]]:
        """The names of a module, a class or an object, and those inside of what is the application's own."""
        for name, value in list(values.items()):
            if name[:2] == "__" or isinstance(value, ModuleType):
                continue
            path = f"{place}.{name}"
            yield path, (self._print(value), show(value))
            if isinstance(value, FunctionType) and value.__module__ in self._modules:
                yield from self._names_of_function(path, value)
            elif depth < DEPTH and (inner := self._attributes(value)) is not None:
                yield from self.names_in(path, inner, depth + 1)

    def _names_of_function(self, path: str, function: FunctionType) -> Iterator[tuple[str, Held]]:
        kept = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        for value in kept:
            if not isinstance(value, _SCALARS):
                yield f"a default argument of {path}()", (self._print(value), show(value))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                continue  # it has no value yet
            yield f"{name}, which {path}() keeps", (self._print(value), show(value))

    def _attributes(self, value: Any) -> Mapping[str, Any] | None:
        """Those of a class or an object of the application's own; None of all else."""
        kind = value if isinstance(value, type) else type(value)
        if kind.__module__ not in self._modules:
            return None
        slots = [slot for base in kind.__mro__ for slot in getattr(base, "__slots__", ())]
        found = {slot: getattr(value, slot) for slot in slots if not isinstance(value, type) and hasattr(value, slot)}
        return {**getattr(value, "__dict__", {}), **found}

    def _print(self, value: Any, depth: int = 0) -> Print:
        kind: type = type(value)
        if isinstance(value, _SCALARS):
            return (kind, value)
        if isinstance(value, functools._lru_cache_wrapper):
            return (kind, value.cache_info().currsize)
        if depth == DEPTH:
            return (kind, id(value))
        if isinstance(value, dict):
            pairs = list(value.items())[:ITEMS]
            return (kind, len(value), *((self._print(a, depth + 1), self._print(b, depth + 1)) for a, b in pairs))
        if isinstance(value, _SEQUENCES):
            return (kind, len(value), *(self._print(item, depth + 1) for item in list(value)[:ITEMS]))
        if isinstance(value, _SETS):
            return (kind, len(value), frozenset(self._print(item, depth + 1) for item in list(value)[:ITEMS]))
        return (kind, id(value))  # what is inside of an object of the application's own has names of its own


def show(value: Any) -> str:
    """A value in a few words.

    >>> show(17), show([1, 2]), show({}), show(show)
    ('17', 'a list of 2', 'a dict of 0', 'a function')
    """
    if isinstance(value, _SCALARS):
        text = repr(value)
        return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
    kind = type(value).__name__
    article = "an" if kind[0].lower() in "aeiou" else "a"
    sized = isinstance(value, (dict, *_SEQUENCES, *_SETS))
    return f"{article} {kind} of {len(value)}" if sized else f"{article} {kind}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The names whose values are others, or that have come or gone."""
    for name in before.keys() | after.keys():
        if before.get(name) != after.get(name):
            yield name
