"""Which modules a program imports: the weight that a CGI process pays for on every request."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence


def modules_imported(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bytes = b"", timeout: float = 30.0
) -> set[str]:
    """The modules imported by the Python program ``argv`` beyond what ``python -c pass`` imports.

    ``env`` is added to the environment.  The interpreter itself reports them (``PYTHONPROFILEIMPORTTIME``), so a
    program that ends by ``os._exit``, or that is started by its ``#!`` line, is seen like any other.

    >>> sorted(modules_imported([sys.executable, "-c", "import this"]))
    ['this']
    """
    own = _reported(argv, env=env or {}, stdin=stdin, timeout=timeout)
    return own - _reported([sys.executable, "-c", "pass"], env=env or {}, stdin=b"", timeout=timeout)


def _reported(argv: Sequence[str], *, env: Mapping[str, str], stdin: bytes, timeout: float) -> set[str]:
    # A measured interpreter would report the modules of the coverage tool as well.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
    environ = {**inherited, "PYTHONPROFILEIMPORTTIME": "1", **env}
    done = subprocess.run(argv, env=environ, input=stdin, capture_output=True, timeout=timeout)
    lines = done.stderr.decode(errors="replace").splitlines()
    if done.returncode:
        raise AssertionError(f"{argv} exited with {done.returncode}:\n" + "\n".join(lines[-20:]))
    # import time:       227 |        545 |   site
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:") and "[us]" not in line}
