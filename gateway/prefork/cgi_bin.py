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
    from gateway.prefork.settings import Options


def load_cgi_bin(directory: str, options: Options) -> CGIDirectory:
    """The directory as an application, run as the command line says.  Raises LoadError."""
    try:
        return CGIDirectory(
            directory, execution=parse_execution(options.cgi_execution, preload=options.cgi_preload),
            interpreters=parse_interpreters(options.cgi_interpreter), limits=options.limits,
            pass_environment=[*PASS_ENVIRONMENT, *options.cgi_pass_environment],
        )  # fmt: skip
    except ConfigError as error:
        raise LoadError(f"--cgi-bin {directory}: {error}") from error


def announce(app: object, *, threads: int) -> None:
    """Say which programs there are, what is wrong with them, and how many run at once; 0 threads are no limit."""
    at_once = f"up to {threads} at once in each worker process (--threads)" if threads else "each as soon as asked for"
    print("\n".join([f"CGI programs, {at_once}:", *list_scripts(app)]), file=sys.stderr)
