"""``cgi-run app:application``: one request from the environment and stdin, as a CGI script does it (RFC 3875).

On the path of every request, so the command line is read by hand: argparse alone would take as long as all the rest.
"""

from __future__ import annotations

import os
import sys

USAGE = """\
Usage: cgi-run [--mount PATH] [--interface KIND] TARGET

Answer one CGI request (RFC 3875) from the environment and stdin on stdout, with the WSGI or ASGI application TARGET:
module:attribute, module:factory() or path/to/file.py:attribute.

  --mount PATH       where the application lives in the site, e.g. /app; also GATEWAY_MOUNT
  --interface KIND   what the application is, wsgi or asgi, if it does not look like it; also GATEWAY_APP_INTERFACE
  -h, --help         show this
"""


def main(argv: list[str] | None = None) -> None:
    """The console script: exits with 0, 1 if the response did not go out whole, 2 for usage, 3 for a bad target."""
    arguments = sys.argv[1:] if argv is None else [*argv]
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return
    stated = {"--mount": os.environ.get("GATEWAY_MOUNT"), "--interface": os.environ.get("GATEWAY_APP_INTERFACE")}
    while len(arguments) > 1 and (option := arguments[0].partition("="))[0] in stated:
        stated[option[0]] = option[2] if option[1] else arguments.pop(1)
        arguments = arguments[1:]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(USAGE, end="", file=sys.stderr)
        sys.exit(2)
    from gateway.apps import AUTO, interface_of
    from gateway.environ import check_mount
    from gateway.errors import ConfigError
    from gateway.loader import explain, load
    from gateway.workers.once import run_once

    try:
        app = load(arguments[0])
    except BaseException as error:
        print(explain(arguments[0], error), file=sys.stderr)
        error_page = "500 Internal Server Error"
        sys.stdout.write(f"Status: {error_page}\r\nContent-Type: text/plain\r\n\r\n{error_page}\n")
        sys.exit(3)
    mount = stated["--mount"]
    try:
        mount = None if mount is None else check_mount(mount)
        interface = interface_of(app, named=stated["--interface"] or AUTO)
    except (ConfigError, ValueError) as error:
        print(f"cgi-run: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if run_once(app, interface=interface, mount=mount) else 1)


if __name__ == "__main__":
    main()
