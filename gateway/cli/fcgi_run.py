"""``fcgi-run app:application`` and its like for other wires: gunicorn's command line, our worker and our sockets."""

from __future__ import annotations

import sys

from gateway.cli.configurations import snippet


def main() -> None:
    """The console script ``fcgi-run``; does not return."""
    _run("fcgi-run", "fastcgi")


def scgi_run() -> None:
    """The console script ``scgi-run``: the same, but that it speaks SCGI unless told otherwise."""
    _run("scgi-run", "scgi")


def uwsgi_run() -> None:
    """The console script ``uwsgi-run``."""
    _run("uwsgi-run", "uwsgi")


def ajp_run() -> None:
    """The console script ``ajp-run``."""
    _run("ajp-run", "ajp")


def _run(prog: str, protocol: str) -> None:
    from gateway.prefork.application import Application

    try:
        Application(prog, protocol=protocol, snippet=snippet).run()
    except KeyboardInterrupt:  # while the application was being loaded
        sys.exit(130)


if __name__ == "__main__":
    main()
