"""``fcgi-run app:application``: gunicorn's command line, our worker and our sockets."""

from __future__ import annotations


def main() -> None:
    """The console script; does not return."""
    from gateway.prefork import FastCGIApplication

    FastCGIApplication("fcgi-run").run()


if __name__ == "__main__":
    main()
