"""What a command line says of a directory of CGI programs, as words: strategies, interpreters, limits."""

from __future__ import annotations

import shlex

from gateway.errors import ConfigError
from gateway.limits import Limits
from gateway.script.execution import EXECUTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.script.execution import Execution


def parse_execution(words: Iterable[str], *, preload: Sequence[str] = ()) -> Mapping[str, str | Execution]:
    """Strategies by patterns of file names; one alone is for all files that no pattern fits.  Raises ConfigError.

    ``preload`` are the modules that ``fork`` is to have imported beforehand.

    >>> parse_execution(["*.py=fork"])
    {'*.py': 'fork', '*': 'spawn'}
    >>> parse_execution(["fork"], preload=["json"])
    {'*': <Fork preload=('json',) interpreters=0>}
    """
    choice: dict[str, str] = {}
    rest = "spawn"
    for word in words:
        pattern, equals, name = word.rpartition("=")
        if name not in EXECUTIONS:
            known = ", ".join(EXECUTIONS)
            raise ConfigError(f"no execution is called {name!r}; there are: {known}. Write NAME or PATTERN=NAME")
        if equals and pattern != "*":
            choice[pattern] = name
        else:
            rest = name
    choice["*"] = rest
    if not preload:
        return choice
    if "fork" not in choice.values():
        raise ConfigError(f"nothing runs by fork, which alone preloads {', '.join(preload)}: choose *.py=fork as well")
    from gateway.script.execution.fork import Fork

    fork = Fork(preload=preload)
    return {pattern: fork if name == "fork" else name for pattern, name in choice.items()}


def parse_interpreters(words: Iterable[str]) -> dict[str, list[str]]:
    """Command lines by extensions.  Raises ConfigError.

    >>> parse_interpreters([".php=php-cgi", ".pl=perl -T"])
    {'.php': ['php-cgi'], '.pl': ['perl', '-T']}
    """
    interpreters: dict[str, list[str]] = {}
    for word in words:
        extension, _, command = word.partition("=")
        if extension[:1] != "." or not command.split():
            raise ConfigError(f"interpreter {word!r}: write an extension and a command line, such as .php=php-cgi")
        interpreters[extension] = shlex.split(command)
    return interpreters


def parse_limits(words: Iterable[str]) -> Limits:
    """Limits by their names.  Raises ConfigError.

    >>> parse_limits(["script_cpu=30", "max_children=4"])
    Limits(script_cpu=30, max_children=4)
    """
    limits: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            limits[name] = float(value)
        except ValueError:
            raise ConfigError(f"limit {word!r}: write a name and a number, such as script_cpu=30") from None
    try:
        return Limits(**limits)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error
