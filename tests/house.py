"""The rules of the house, as functions from a module's name and source to complaints.

Each complaint names the place, what is wrong there, and what to do.  ``tests/test_house.py`` applies them to the
package, and to small sources that break them, so that a rule cannot fall asleep.  What ruff can see is left to ruff.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Which rooms a room may import; what those may import, it may import as well.  A new room is a new line here, and a
# new direction is a page in docs/decisions/ as well.
ARROWS = {
    "errors": "",
    "limits": "errors",
    "events": "errors",
    "head": "events limits",
    "environ": "events limits",
    "protocols": "head environ",
    "exchange": "head environ",
    "scope": "environ",
    "apps": "exchange scope",
    "visitor": "exchange scope",
    "address": "errors",
    "loader": "errors",
    "recorder": "apps",
    "workers": "protocols exchange apps address",
    "entry": "workers",
    "prefork": "workers loader script recorder",
    "client": "protocols exchange head address visitor",
    "script": "protocols exchange head address visitor",
    "testing": "entry client",
    "migrate": "errors",
    "compat": "entry prefork client script loader",
    "measure": "prefork client script entry loader recorder",
    "cli": "entry prefork client script loader measure migrate",
    "__main__": "cli",
    "__init__": "entry prefork client script recorder",  # its lazy public names
}

PURE = {"errors", "limits", "events", "head", "environ", "scope", "protocols"}
IMPURE_MODULES = {
    *("_socket", "select", "selectors", "socket", "ssl"),
    *("_thread", "asyncio", "concurrent", "multiprocessing", "subprocess", "threading"),
    *("dataclasses", "logging"),
}
FILE_LINES = 450
FUNCTION_LINES = 58
FUNCTION_LINES_WISHED = 50
EMPTY_NAMES = {"base", "common", "helper", "helpers", "misc", "util", "utils"}
SLEEP_SECONDS = 0.3


def modules() -> Iterator[tuple[str, str]]:
    """Every module of the package: its dotted name and its source."""
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text("utf-8")


def room_of(module: str) -> str:
    """The room that a module belongs to.

    >>> room_of("gateway.protocols.fastcgi"), room_of("gateway.events"), room_of("gateway.__init__")
    ('protocols', 'events', '__init__')
    """
    return module.split(".")[1]


def reachable(room: str) -> set[str]:
    """All rooms that ``room`` may import, itself included.

    >>> sorted(reachable("head"))
    ['errors', 'events', 'head', 'limits']
    """
    return {room}.union(*(reachable(other) for other in ARROWS[room].split()))


def imports(module: str, source: str) -> Iterator[tuple[int, str, bool]]:
    """Everything a module imports: line, dotted name, and whether only type checkers see it.

    Functions are searched too, and strings that spell a module of ours, such as ``__import__("gateway.client")``.
    ``from a import b`` counts as ``a.b``, which is right for rooms and does no harm for names.
    """
    tree = ast.parse(source)
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    package = module.split(".")[:-1]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *filter(None, [node.module])])
            names = [f"{start}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            spelled = re.fullmatch(r"gateway\.(\w+)(\.\w+)*", node.value)
            names = [node.value] if spelled and spelled[1] in ARROWS else []
        for name in names:
            yield node.lineno, name, id(node) in unseen  # type: ignore[attr-defined]


def against_the_arrows(module: str, source: str) -> Iterator[str]:
    """Imports between rooms that DESIGN.md §2 does not draw."""
    room = room_of(module)
    if room not in ARROWS:
        yield f"{module} is a room that no arrow leads to; give it a line in ARROWS of tests/house.py"
        return
    for line, name, _ in imports(module, source):
        top, _, rest = name.partition(".")
        if top != "gateway":
            continue
        target = rest.partition(".")[0]
        if target not in ARROWS:
            if room not in ("__init__", "cli") and target != "__version__":
                yield f"{module}:{line} imports {name}; import a public name from the room where it is defined"
        elif target not in reachable(room):
            allowed = ", ".join(sorted(reachable(room) - {room})) or "nothing of this package"
            yield (
                f"{module}:{line} imports {name}, against the arrows; {room} may import {allowed}: "
                "move the code to the room that may, or pass the object in"
            )


def impure(module: str, source: str) -> Iterator[str]:
    """I/O, threads and heavy modules in the rooms that only turn values into values."""
    if room_of(module) not in PURE:
        return
    for line, name, _ in imports(module, source):
        if name.partition(".")[0] in IMPURE_MODULES:
            yield f"{module}:{line} imports {name}; this room is pure: let the caller, a worker or a client, do it"


def names_a_wire(module: str, source: str) -> Iterator[str]:
    """Modules outside ``protocols/`` that know one wire from another; the registry gives every wire by its name."""
    if room_of(module) in ("protocols", "cli"):
        return
    wires = {path.stem for path in (ROOT / "gateway" / "protocols").glob("*.py")} - {"__init__", "detect"}
    for line, name, _ in imports(module, source):
        parts = name.split(".")
        if parts[:2] == ["gateway", "protocols"] and len(parts) > 2 and parts[2] in wires:
            yield f"{module}:{line} names the wire {parts[2]}; take it from the registry in gateway.protocols"


def typing_at_run_time(module: str, source: str) -> Iterator[str]:
    """``typing`` costs a CGI process more than the request; annotations are strings that only mypy reads."""
    for line, name, unseen in imports(module, source):
        if name.partition(".")[0] in ("typing", "typing_extensions") and not unseen and room_of(module) != "cli":
            yield f"{module}:{line} imports {name} at run time; move it under `if TYPE_CHECKING:`"


def too_long(module: str, source: str) -> Iterator[str]:
    """Files and functions that do not fit a reader's head."""
    lines = source.count("\n")
    if lines > FILE_LINES:
        yield f"{module} has {lines} lines, more than {FILE_LINES}; find the part that is a file of its own"
    for name, line, lines in functions(source):
        if lines > FUNCTION_LINES:
            yield f"{module}:{line} {name} has {lines} lines, more than {FUNCTION_LINES}; name its parts"


def functions(source: str) -> Iterator[tuple[str, int, int]]:
    """Name, first line and number of lines of every function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def undocumented(module: str, source: str) -> Iterator[str]:
    """Modules, public classes and public functions without a docstring."""
    tree = ast.parse(source)
    if source and not ast.get_docstring(tree):
        yield f"{module}:1 has no docstring; say what it implements, from whose perspective, after which document"
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or node.name[0] == "_":
            continue
        if not ast.get_docstring(node):
            yield f"{module}:{node.lineno} {node.name} has no docstring; say in one sentence what it is"


def unfinished_or_decorated(module: str, source: str) -> Iterator[str]:
    """Comments that promise work, and banners."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if re.search(r"\b(TODO|FIXME|XXX)\b", token.string):
            yield f"{module}:{token.start[0]} leaves work behind; do it, or open an issue and drop the comment"
        if re.search(r"([^\w\s.])\1{3,}", token.string):
            yield f"{module}:{token.start[0]} draws a banner; a heading that is needed wants a file of its own"


def sleeps(module: str, source: str) -> Iterator[str]:
    """Tests that wait for time to pass instead of for what they test."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "sleep":
            for seconds in (argument.value for argument in node.args if isinstance(argument, ast.Constant)):
                if isinstance(seconds, (int, float)) and seconds >= SLEEP_SECONDS:
                    yield f"{module}:{node.lineno} sleeps {seconds} s; poll for the condition with a deadline"


def empty_name(path: Path) -> Iterator[str]:
    """File and folder names that say nothing about what is inside."""
    for part in path.with_suffix("").parts:
        if part in EMPTY_NAMES:
            yield f"{path} is called {part!r}; name it after what it does"


def required_packages(source: str) -> Iterator[tuple[str, str]]:
    """The calls of ``require`` and ``require_module`` in a test: function name and package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("require", "require_module"):
            for keyword in node.keywords:
                if keyword.arg == "package" and isinstance(keyword.value, ast.Constant):
                    yield ast.unparse(node.func), str(keyword.value.value)
