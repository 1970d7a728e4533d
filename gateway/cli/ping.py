"""The command ``gateway ping``: a health check for every wire."""

from __future__ import annotations

import sys
import time

import click

from gateway.errors import ConfigError, ProtocolError

EPILOG = """\
\b
Examples:
  gateway ping fastcgi://unix:/run/app.sock
  gateway ping --timeout 2 http://127.0.0.1:8000/health
  gateway ping --path /health uwsgi://unix:/run/app.sock
  HEALTHCHECK CMD gateway ping fastcgi://127.0.0.1:9000     (Dockerfile)

Exit status: 0 if it answers, 1 if it does not, 2 for wrong usage.
"""


@click.command(epilog=EPILOG)
@click.argument("url")
@click.option("--path", default="", help="Ask for this by HEAD, on any wire: its status must be below 400.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, metavar="SECONDS",
              help="For connecting, and again for the answer.")  # fmt: skip
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Add a param to that HEAD request.")
@click.option("--secret", envvar="GATEWAY_SECRET", show_envvar=True, help="AJP, with --path: what the server wants.")
def command(*, url: str, path: str, timeout: float, params: tuple[str, ...], secret: str | None) -> None:
    """Tell whether the server at URL answers, and how fast.

    FastCGI and AJP have a question of their own for that (GET_VALUES, CPing), which no application sees. On the other
    wires, and for a --path, it is a HEAD request; without --path any status below 500 is a sign of life.
    """
    from gateway.cli.call import parse_param, secret_for, split_url
    from gateway.client import Client

    if not path:
        url, path = split_url(url)
        path = "" if path == "/" else path
    try:
        client = Client(
            url, timeout=timeout, connect_timeout=timeout, pool_size=0, params=dict(map(parse_param, params)),
            wire_options=secret_for(url, secret),
        )  # fmt: skip
        began = time.perf_counter()
        told = client.ping(path)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    except ProtocolError as error:
        hint = "; uWSGI and others do not know GET_VALUES: try --path /" if "fastcgi" in url and not path else ""
        click.echo(f"gateway ping: {error}{hint if error.status_hint.startswith('504') else ''}", err=True)
        sys.exit(1)
    took = (time.perf_counter() - began) * 1000
    says = ", ".join(f"{name} {value}" for name, value in told.items())
    click.echo(f"{client.address} answers in {took:.1f} ms" + (f": {says}" if says else ""))
