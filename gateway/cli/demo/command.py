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

    One application runs as CGI, as forks of a warm process, as a FastCGI worker and in an event loop. A page on
    127.0.0.1 has requests made and draws, live, what each of them consists of. If the port is in use, the next free one
    is taken.
    """
    if not hasattr(os, "fork"):
        raise click.ClickException("the demo forks and uses unix sockets: run it on Linux, macOS or in WSL")
    from rich.console import Console

    from gateway.cli.demo import servers
    from gateway.cli.ports import HOST

    console = Console(soft_wrap=True, highlight=False)

    def started(actual: int) -> None:
        url = f"http://{HOST}:{actual}/"
        if port not in (0, actual):
            console.print(f"Port {port} is in use; {actual} is the next free one.")
        console.print(f"One application, four ways: [bold link={url}]{url}[/]  (Ctrl-C stops it)")
        console.print(f"Ask it again and again: [cyan]curl {url}{{cgi,fork,fastcgi,aio}}/[/]")
        if browse:
            servers.browse(url)

    try:
        servers.run(port, started=started, say=console.print)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if console.is_terminal:
        console.print()  # it shows ^C
    console.print("Stopped; no process and no socket is left.")
