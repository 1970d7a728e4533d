"""The command ``gateway call``: curl for the wires between web servers and applications."""

from __future__ import annotations

import contextlib
import os
import stat
import string
import sys
import time
from typing import IO, NoReturn
from urllib.parse import quote

import click

from gateway import __version__
from gateway.errors import ConfigError, LocalProtocolError, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.cli.transcript import Transcript
    from gateway.client import Client
    from gateway.client.forwarding import Forwarding
    from gateway.environ import Environ

# Exit statuses; curl's, where it has one for that.
USAGE, UNREACHABLE, NO_RESPONSE, CUT_SHORT, FAILED, UNWRITABLE, UNREADABLE, TIMED_OUT = 2, 7, 8, 18, 22, 23, 26, 28
INTERRUPTED = 130

EPILOG = """\
\b
Examples:
  gateway call fastcgi://unix:/run/app.sock /
  gateway call -i -d name=value ajp://127.0.0.1:8009 /examples/
  gateway call -v --root /srv/www fastcgi:///run/php/php-fpm.sock /index.php
  tar c . | gateway call -X PUT -d - uwsgi://127.0.0.1:3031 /backup

\b
Exit status, as curl's:
   0  a whole response came, whatever it says (but see --fail)
   2  wrong usage, or what the wire cannot say
   7  nobody could be connected to
   8  no response: what came instead breaks a rule of the wire
  18  the response broke off, or the server hung up without one
  22  --fail was given, and the status is 400 or more
  23  the response could not be written
  26  the request body could not be read
  28  nothing moved for the time of --timeout or --connect-timeout
"""


@click.command(epilog=EPILOG)
@click.argument("url")
@click.argument("path", required=False)
@click.option("-X", "--request", "method", metavar="METHOD", help="The method; GET by default, POST with --data.")
@click.option("-H", "--header", "headers", multiple=True, metavar="LINE", help="A header, as in 'Accept: text/html'.")
@click.option("-d", "--data", metavar="DATA", help="The body: this text, the content of @FILE, or - for stdin.")
@click.option("-i", "--include", is_flag=True, help="Show the head of the response before its body.")
@click.option("-I", "--head", is_flag=True, help="Ask by HEAD, and show what it gives: the head.")
@click.option("-v", "--verbose", count=True, help="Show the params, and each record both ways; -vv each byte of them.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, writable=True), help="Write there instead of stdout.")
@click.option("-f", "--fail", is_flag=True, help="Exit with 22 if the status is 400 or more.")
@click.option("--timeout", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS",
              help="Give up when nothing moves for so long; 0: never.")  # fmt: skip
@click.option("--connect-timeout", type=click.FloatRange(0), default=5.0, show_default=True, metavar="SECONDS",
              help="Likewise, while connecting.")  # fmt: skip
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Add a param, or say it otherwise.")
@click.option("--root", metavar="FOLDER", help="The scripts' folder at the server: sets SCRIPT_FILENAME for php-fpm.")
@click.option("--index", default="index.php", show_default=True, help="With --root, the script of a folder.")
@click.option("--mount", default="", metavar="PATH", help="Where in PATH the application lives: its SCRIPT_NAME.")
@click.option("--secret", envvar="GATEWAY_SECRET", show_envvar=True, help="AJP: the secret that the server wants.")
@click.option("--packet-size", type=int, metavar="BYTES", help="AJP: the size of packets that the server is set to.")
def command(
    *, url: str, path: str | None, method: str | None, headers: tuple[str, ...], data: str | None, include: bool,
    head: bool, verbose: int, output: str | None, fail: bool, timeout: float, connect_timeout: float,
    params: tuple[str, ...], root: str | None, index: str, mount: str, secret: str | None, packet_size: int | None,
) -> None:  # fmt: skip
    """Ask the server at URL for PATH, as a web server would, and print the body of its response.

    URL names the wire and the place: fastcgi://unix:/run/app.sock, scgi://127.0.0.1:4000, uwsgi://…, ajp://…,
    http://…. After a port, PATH may follow at once, as in http://127.0.0.1:8000/path; it is / if none is given.

    What the application writes to its error log goes to stderr. Local redirects are shown, not followed.
    """
    from gateway.cli.transcript import Transcript
    from gateway.client import Client

    url, path = (url, path) if path else split_url(url)
    method = method or ("HEAD" if head else "GET" if data is None else "POST")
    options: dict[str, object] = {} if packet_size is None else {"packet_size": packet_size}
    with contextlib.ExitStack() as stack:
        out = _output(output, stack)
        body = _body(data, stack)
        try:
            client = Client(
                url, timeout=timeout, connect_timeout=connect_timeout, pool_size=0, root=root, index=index,
                params=dict(map(parse_param, params)), wire_options=options | secret_for(url, secret),
            )  # fmt: skip
            client.tap = transcript = Transcript(client.address, detail=verbose)
            # The other wires are spoken behind a web server, which is at another address.
            host = str(client.address)[7:] if client.address.protocol == "http" and client.address.host else "localhost"
            environ = _environ(method, path or "/", headers=headers, body=body, mount=mount, host=host)
        except (ConfigError, ProtocolError, ValueError) as error:
            raise click.UsageError(str(error)) from None
        status = _call(client, environ, transcript, out, include=include or head)
    if fail and status >= "400":
        _exit(FAILED, status)


def _call(client: Client, environ: Environ, transcript: Transcript, out: IO[bytes], *, include: bool) -> str:
    """Ask, and write what comes; the status."""
    began, size = time.perf_counter(), 0
    response: Forwarding | None = None
    try:
        response = client.ask(environ)
        status, headers = response.response.status, response.response.headers
        if include:
            lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
            _write(out, "\r\n".join(lines).encode("latin-1"))
        block = b""
        for block in response:
            size += len(block)
            _write(out, block)
        if out.isatty() and not block.endswith(b"\n"):
            click.echo(err=True)  # what follows on the terminal begins a line
    except ProtocolError as error:
        transcript.end()
        _exit(_meaning(error, transcript, begun=response is not None), str(error))
    except OSError as error:  # sockets and the output have their own ways to say it
        _exit(UNREADABLE, f"the request body: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        if response is not None:
            response.close()
    transcript.end(f"{status}, {size} bytes in {(time.perf_counter() - began) * 1000:.1f} ms")
    return status


def _meaning(error: ProtocolError, transcript: Transcript, *, begun: bool) -> int:
    """The exit status for what went wrong."""
    if isinstance(error, LocalProtocolError) or error.status_hint[0] == "4":
        return USAGE
    if error.status_hint.startswith("504"):
        return TIMED_OUT
    if not transcript.connected:
        return UNREACHABLE
    return CUT_SHORT if begun or transcript.over else NO_RESPONSE


def _exit(status: int, message: str) -> NoReturn:
    click.echo(f"gateway call: {message}", err=True)
    sys.exit(status)


def _output(path: str | None, stack: contextlib.ExitStack) -> IO[bytes]:
    """Where the response goes."""
    if path is None:
        return sys.stdout.buffer
    try:
        return stack.enter_context(open(path, "wb", buffering=0))
    except OSError as error:
        _exit(UNWRITABLE, f"{path}: {error.strerror}")


def _write(out: IO[bytes], data: bytes) -> None:
    """Write, and let it be seen at once."""
    try:
        out.write(data)
        out.flush()
    except OSError as error:
        if out is sys.stdout.buffer:
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # Python flushes it once more at the end
        if isinstance(error, BrokenPipeError):  # its reader has seen enough
            sys.exit(UNWRITABLE)
        _exit(UNWRITABLE, f"the response: {error.strerror}")


def _body(data: str | None, stack: contextlib.ExitStack) -> bytes | IO[bytes]:
    """The request body: bytes, or a file to read while it is sent."""
    if data in ("-", "@-"):
        return sys.stdin.buffer
    if not data or data[0] != "@":
        return os.fsencode(data or "")
    try:
        return stack.enter_context(open(data[1:], "rb"))
    except OSError as error:
        _exit(UNREADABLE, f"{data[1:]}: {error.strerror}")


def _environ(
    method: str, path: str, *, headers: tuple[str, ...], body: bytes | IO[bytes], mount: str, host: str
) -> Environ:
    """The request.  Raises ConfigError, ProtocolError or ValueError for what cannot be asked."""
    from gateway.client.visit import visit
    from gateway.environ import check_mount

    pairs = list(map(parse_header, headers))
    given = {name.lower() for name, _ in pairs}
    size = _size(body)
    defaults = [("User-Agent", f"gateway/{__version__}"), ("Accept", "*/*")]
    if body and method not in ("GET", "HEAD"):
        defaults.append(("Content-Type", "application/x-www-form-urlencoded"))
    if size is not None:
        defaults.append(("Content-Length", str(size)))
    pairs += [pair for pair in defaults if pair[0].lower() not in given]
    # What a URL does not spell, such as a space or an é, is escaped; what is escaped stays so.
    target = quote(os.fsencode(path), safe=string.punctuation)
    return visit(method, target, headers=pairs, body=body, mount=check_mount(mount), host=host)


def _size(body: bytes | IO[bytes]) -> int | None:
    """The bytes in a file of which that can be known; None too for what needs no file."""
    if isinstance(body, bytes):
        return None
    try:
        status = os.fstat(body.fileno())
        return status.st_size - body.tell() if stat.S_ISREG(status.st_mode) else None
    except OSError:  # it has no descriptor, or no place to be at
        return None


def split_url(url: str) -> tuple[str, str]:
    """A URL as people write it for HTTP, with a path after the port: the place, and the path, "" if there is none.

    >>> split_url("ajp://127.0.0.1:8009/examples/?x=1"), split_url("scgi://unix:/run/app.sock")
    (('ajp://127.0.0.1:8009', '/examples/?x=1'), ('scgi://unix:/run/app.sock', ''))
    """
    wire, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return (wire + mark + place, slash + path) if place not in ("", "unix:") else (url, "")


def secret_for(url: str, secret: str | None) -> dict[str, object]:
    """The secret as an option of the one wire that has any; the environment may have it for all of them."""
    return {"secret": secret} if secret and url.lower().startswith("ajp:") else {}


def parse_header(line: str) -> tuple[str, str]:
    """A --header as name and value.  Raises ConfigError or LocalProtocolError."""
    from gateway.head import lower_name

    name, colon, value = line.partition(":")
    lower_name(name)
    if not colon:
        raise ConfigError(f"{line!r} is no header: a name, a colon and a value")
    return name, _native(value.strip())


def parse_param(text: str) -> tuple[str, str]:
    """A --param as name and value.  Raises ConfigError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--param {text!r} is not NAME=VALUE")
    return _native(name), _native(value)


def _native(text: str) -> str:
    """An argument as text on a wire is: its bytes as latin-1 (PEP 3333)."""
    return os.fsencode(text).decode("latin-1")
