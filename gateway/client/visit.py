"""A request as a WSGI environ, for those who ask and are no web server: scripts, tests, health checks."""

from __future__ import annotations

import io
import sys

from gateway.environ import base_environ, build_environ, decode_path, is_under
from gateway.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    from gateway.environ import Environ

_WITH_CONTENT = ("POST", "PUT", "PATCH")
"""Methods that say so if they come without a body (RFC 9110 §8.6)."""


def visit(
    method: str, path: str, *, headers: Iterable[tuple[str, str]] = (), body: bytes | IO[bytes] = b"", mount: str = "",
    host: str = "localhost",
) -> Environ:  # fmt: skip
    """The environ of one request; its error output goes to stderr.

    ``path`` is as in a URL, with its query, and ``mount`` is where in it the application lives.  A ``body`` that is a
    file is read to its end, or as far as a header Content-Length says.  ``host`` is asked for unless a header does it.
    Raises ConfigError.
    """
    decoded = decode_path(path)
    if path[:1] != "/" or not is_under(decoded, mount):
        raise ConfigError(f"the path {path!r} does not begin with {mount or '/'}")
    params = {
        "REQUEST_METHOD": method, "REQUEST_URI": path, "SCRIPT_NAME": mount, "PATH_INFO": decoded[len(mount) :],
        "QUERY_STRING": path.partition("?")[2], "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
    }  # fmt: skip
    pairs = [(_variable(name), value) for name, value in headers]
    given = {name for name, _ in pairs}
    if "HTTP_HOST" not in given:
        params["HTTP_HOST"] = host
    if isinstance(body, bytes):
        if "CONTENT_LENGTH" not in given and (body or method in _WITH_CONTENT):
            params["CONTENT_LENGTH"] = str(len(body))
    elif "CONTENT_LENGTH" not in given:
        params["HTTP_TRANSFER_ENCODING"] = "chunked"
    base = base_environ(multithread=True, multiprocess=True, run_once=False)
    environ = build_environ(params, base, mount or None, repeated=[*params.items(), *pairs])
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    # A body of bytes has a length, and where there is none, there is no body.
    return environ | {
        "wsgi.input": stream, "wsgi.errors": sys.stderr, "wsgi.input_terminated": not isinstance(body, bytes)
    }  # fmt: skip


def _variable(name: str) -> str:
    """The param that a header becomes (RFC 3875 §4.1.18)."""
    variable = name.upper().replace("-", "_")
    return variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"
