"""The application that ``gateway doctor URL`` wants behind a front end: it tells what arrived of a request.

Start it where your application is, ``fcgi-run gateway.cli.echo:application`` with the same options, look, and start
your application again: whoever can ask the echo learns what the front end tells of a visitor.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from gateway.environ import Environ

MARK = "X-Gateway-Echo"
"""The response header by which the echo is known."""
ASKS = "X-Gateway-Doctor"
"""The request header that says what it shall do, if not :func:`report`."""
NAMES = (
    "AJP_", "AUTH_TYPE", "CONTENT_", "CONTEXT_", "DOCUMENT_", "GATEWAY_INTERFACE", "HTTP_", "HTTPS", "PATH_", "QUERY_",
    "REDIRECT_", "REMOTE_", "REQUEST_", "SCGI", "SCRIPT_", "SERVER_",
)  # fmt: skip
"""How the variables begin that a web server sets: under CGI there are others, which are no visitor's business."""
PAUSE = 0.2
"""Seconds between the parts of :func:`thirds`."""


def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Answer as the request asks."""
    action = _ACTIONS.get(environ.get("HTTP_" + ASKS.upper().replace("-", "_"), ""), report)
    return action(environ, start_response)


def report(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """What arrived, as JSON: variables, repairs, the size of the body, and the connection it came on."""
    size = 0
    while block := environ["wsgi.input"].read(65536):
        size += len(block)
    told = {
        "environ": {name: value for name, value in environ.items() if name.startswith(NAMES)},
        "scheme": environ["wsgi.url_scheme"], "repairs": environ.get("gateway.repairs", ()), "size": size,
        "once": environ["wsgi.run_once"], "connection": _connection(),
    }  # fmt: skip
    return _whole(start_response, "200 OK", "application/json", json.dumps(told).encode())


def thirds(environ: Environ, start_response: Any) -> Iterator[bytes]:
    """A body in three parts, with a pause after the first, which may travel with the head, and after the second."""
    start_response("200 OK", [("Content-Type", "text/event-stream"), (MARK, "1")])
    yield b"one\n"
    time.sleep(PAUSE)
    yield b"two\n"
    time.sleep(PAUSE)
    yield b"three\n"


def fail(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """A page that says what went wrong."""
    return _whole(start_response, "404 Not Found", "text/plain", b"the echo's own page\n")


def _whole(start_response: Any, status: str, kind: str, body: bytes) -> Iterable[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), (MARK, "1")])
    return [body]


def _connection() -> str:
    """A name of the sockets that are open now, which no others get; "" where the system does not tell (Linux does)."""
    names = []
    try:
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            except FileNotFoundError:
                continue  # that of this very listing
    except OSError:
        return ""
    return " ".join([str(os.getpid()), *sorted(name for name in names if name.startswith("socket:"))])


_ACTIONS = {"thirds": thirds, "fail": fail}
