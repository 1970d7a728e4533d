"""``fcgi-run --cgi-bin DIR``: CGI programs in the place of an application; the heir of fcgiwrap."""

from __future__ import annotations

import sys

from gateway.errors import ConfigError, LoadError
from gateway.script import CGIDirectory
from gateway.script.choices import parse_execution, parse_interpreters
from gateway.script.listing import list_scripts
from gateway.script.program import PASS_ENVIRONMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.prefork.settings import Options


def load_cgi_bin(directory: str, options: Options) -> CGIDirectory:
    """The directory as an application, run as the command line says.  Raises LoadError."""
    try:
        return CGIDirectory(
            directory, execution=parse_execution(_words(options.cgi_execution)),
            interpreters=parse_interpreters(_words(options.cgi_interpreter)), limits=options.limits,
            pass_environment=[*PASS_ENVIRONMENT, *_words(options.cgi_pass_environment)],
        )  # fmt: skip
    except ConfigError as error:
        raise LoadError(f"--cgi-bin {directory}: {error}") from error


def announce(app: object) -> None:
    """Say which programs there are, and what is wrong with them."""
    print("\n".join(["CGI programs:", *list_scripts(app)]), file=sys.stderr)


def _words(text: str) -> Iterable[str]:
    return filter(None, map(str.strip, text.split(",")))
