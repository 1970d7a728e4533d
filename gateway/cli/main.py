"""The console script ``gateway``: what it is for, and which command to use when."""

from __future__ import annotations

import os

import click

from gateway import __version__
from gateway.errors import ConfigError

EPILOG = """\
\b
Which command to use when:
  gateway demo  You want to see what CGI and FastCGI are; needs no web server.
  fcgi-run      The web server speaks FastCGI to workers that stay (nginx,
                Apache, lighttpd, HAProxy, Caddy): fcgi-run app:application
  cgi-run       The web server starts a program for each request (a cgi-bin):
                cgi-run app:application

A script that calls gateway.run(application) fits both, and a terminal too.
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gateway")
def main() -> None:
    """Web servers and Python applications meet here: CGI and FastCGI, both directions."""


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 is any free port.")
@click.option("--open/--no-open", "browse", default=False, show_default=True, help="Open the page in a browser.")
def demo(*, port: int, browse: bool) -> None:
    """Show a process per request and persistent workers side by side.

    One application runs as a CGI script, as forks of a warm process and as a FastCGI worker, behind an HTTP server on
    127.0.0.1. If the port is in use, the next free one is taken.
    """
    if not hasattr(os, "fork"):
        raise click.ClickException("the demo forks and uses unix sockets: run it on Linux, macOS or in WSL")
    from rich.console import Console

    from gateway.cli import demo as the_demo

    console = Console(soft_wrap=True, highlight=False)

    def started(actual: int) -> None:
        url = f"http://{the_demo.HOST}:{actual}/"
        if port not in (0, actual):
            console.print(f"Port {port} is in use; {actual} is the next free one.")
        console.print(f"One application, three ways: [bold link={url}]{url}[/]  (Ctrl-C stops it)")
        console.print(f"Ask it again and again: [cyan]curl {url}{{cgi,fork,fastcgi}}/[/]")
        if browse:
            the_demo.browse(url)

    try:
        the_demo.run(port, started=started, say=console.print)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if console.is_terminal:
        console.print()  # it shows ^C
    console.print("Stopped; no process and no socket is left.")


if __name__ == "__main__":
    main()
