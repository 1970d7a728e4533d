"""How a program becomes a process: the strategies, one file each; this page is their registry.

``"spawn"`` starts any program; ``"fork"`` and ``"inprocess"`` run Python scripts without starting an interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from gateway.errors import ConfigError, ScriptError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, TypeAlias

    from gateway.script.program import Program

    class Pipe(Protocol):
        """Our end of a pipe; any file object is one."""

        def fileno(self) -> int: ...

        def close(self) -> None: ...

    class Process(Protocol):
        """A program that was started, as who moves its pipes sees it; ``subprocess.Popen`` is one.

        Where it has a ``fileno()``, that becomes readable when :meth:`poll` has something to tell.
        """

        @property
        def pid(self) -> int:
            """Also the number of its process group; 0 where it runs in our own process and nothing can be signalled."""

        @property
        def stdin(self) -> Pipe | None: ...

        @property
        def stdout(self) -> Pipe | None: ...

        @property
        def stderr(self) -> Pipe | None: ...

        @property
        def returncode(self) -> int | None:
            """As :mod:`subprocess` has it: negative for a signal, None while it runs."""

        def poll(self) -> int | None:
            """Reap it if it has ended; its returncode."""

    class Execution(Protocol):
        """One strategy.  Threads may call it at once."""

        name: str

        def start(self, program: Program, *, stdin: bool) -> Process:
            """Start it in a session of its own with pipes (stdin empty if not wanted).  Raises ScriptError."""

        def close(self) -> None:
            """Let go of what is kept for later requests; what runs is not touched."""

    Choice: TypeAlias = str | Execution | Mapping[str, str | Execution]

EXECUTIONS = {
    "spawn": ("gateway.script.execution.spawn", "Spawn"),
    "fork": ("gateway.script.execution.fork", "Fork"),
    "inprocess": ("gateway.script.execution.inprocess", "InProcess"),
}
"""The strategy's name, the module that holds it, and the name of its class, which needs no arguments."""


class Executions:
    """Which strategy runs which file: one for all, or the first of some patterns that fits the file's name.

    >>> Executions({"*.py": "spawn", "*": "spawn"}).choose("/srv/cgi-bin/a.py").name
    'spawn'
    """

    def __init__(self, choice: Choice = "spawn") -> None:
        patterns = choice if isinstance(choice, Mapping) else {"*": choice}
        built: dict[str, Execution] = {}
        self._patterns: list[tuple[str, Execution]] = []
        for pattern, wanted in patterns.items():
            if isinstance(wanted, str):
                if wanted not in built:
                    built[wanted] = _build(wanted)
                wanted = built[wanted]
            self._patterns.append((pattern, wanted))

    def __repr__(self) -> str:
        return f"Executions({ {pattern: execution.name for pattern, execution in self._patterns} })"

    def choose(self, path: str) -> Execution:
        """The strategy for the file at ``path``.  Raises ScriptError if no pattern fits its name."""
        name = path.rpartition("/")[2]
        for pattern, execution in self._patterns:
            if pattern == "*" or fnmatchcase(name, pattern):
                return execution
        raise ScriptError(
            f"{path}: no pattern of execution= fits its name; add one for all others: {{…, '*': 'spawn'}}",
            status_hint="500 Internal Server Error",
        )

    @property
    def names(self) -> set[str]:
        """Those of the strategies that are chosen."""
        return {execution.name for _, execution in self._patterns}

    def close(self) -> None:
        """Let go of what the strategies keep."""
        for _, execution in self._patterns:
            execution.close()


def _build(name: str) -> Execution:
    if name not in EXECUTIONS:
        raise ConfigError(f"no execution is called {name!r}; there are: {', '.join(EXECUTIONS)}")
    module, attribute = EXECUTIONS[name]
    execution: Execution = getattr(__import__(module, fromlist=[attribute]), attribute)()
    return execution
