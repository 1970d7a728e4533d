"""The command ``gateway demo``, on any platform and before anything of the demo is loaded."""

from __future__ import annotations

import os

import click

from gateway.errors import ConfigError


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 is any free port.")
@click.option("--open/--no-open", "browse", default=False, show_default=True, help="Open the page in a browser.")
def command(*, port: int, browse: bool) -> None:
    """Show a process per request and persistent workers side by side.

    One application runs as a CGI script, as forks of a warm process and as a FastCGI worker, behind an HTTP server on
    127.0.0.1. If the port is in use, the next free one is taken.
    """
    if not hasattr(os, "fork"):
        raise click.ClickException("the demo forks and uses unix sockets: run it on Linux, macOS or in WSL")
    from rich.console import Console

    from gateway.cli import demo as the_demo
    from gateway.cli.ports import HOST

    console = Console(soft_wrap=True, highlight=False)

    def started(actual: int) -> None:
        url = f"http://{HOST}:{actual}/"
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
