"""A WSGI environ as the scope of an ASGI application (ASGI HTTP specification 2.5), and back; pure.

What the front end's params lacked was mended when the environ was built.  ``path`` includes ``root_path``, as uvicorn,
Starlette, Django and Quart have it (docs/decisions/0007-scope.md).
"""

from __future__ import annotations

from functools import lru_cache

from gateway.environ import base_environ, build_environ, decode_path, is_under

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import Any, TypeAlias

    from gateway.environ import Environ
    from gateway.events import Pairs

    Scope: TypeAlias = dict[str, Any]
    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

SPEC_VERSION = "2.5"
"""Of the HTTP specification: ``send()`` raises OSError when the web server no longer listens (2.4)."""

_HTTP_VERSIONS = {"HTTP/1.0": "1.0", "HTTP/1.1": "1.1", "HTTP/2.0": "2", "HTTP/2": "2", "HTTP/3.0": "3", "HTTP/3": "3"}
def build_scope(environ: Environ, *, repeated: Pairs = ()) -> Scope:
    """The ``http`` scope of a request from its environ, which it carries along as ``gateway.environ``.

    That is where REMOTE_USER, SSL_* and whatever else only CGI knows are found.  ``repeated`` is as in
    :class:`gateway.events.Request`: it keeps headers apart that an environ has to join.
    """
    root = environ["SCRIPT_NAME"]
    path = root + environ["PATH_INFO"]
    if not path.isascii():
        root, path = _decode(root), _decode(path)
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
        "http_version": _HTTP_VERSIONS.get(environ["SERVER_PROTOCOL"], "1.1"),
        "method": environ["REQUEST_METHOD"].upper(),
        "scheme": environ["wsgi.url_scheme"],
        "path": path,
        "query_string": environ["QUERY_STRING"].encode("latin-1"),
        "root_path": root,
        "headers": _headers(environ, repeated),
        "server": (environ["SERVER_NAME"], _port(environ["SERVER_PORT"])),
        "gateway.environ": environ,
    }
    uri, host = environ.get("REQUEST_URI"), environ.get("REMOTE_ADDR")
    if uri:
        scope["raw_path"] = _raw_path(uri)
    if host:
        scope["client"] = (host, _port(environ.get("REMOTE_PORT", "")) or 0)
    return scope


def _decode(path: str) -> str:
    """Bytes as latin-1, which WSGI has, as the text they are in UTF-8; what is none shows as U+FFFD."""
    return path.encode("latin-1").decode("utf-8", "replace")


def _port(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 6 else None


def _raw_path(uri: str) -> bytes:
    path = uri.partition("?")[0]
    if path[0] != "/":  # absolute-form, RFC 9112 §3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path.encode("latin-1")


def _headers(environ: Environ, repeated: Pairs) -> list[tuple[bytes, bytes]]:
    if repeated:
        pairs = [(_header_name(variable), value) for variable, value in _apart(environ, repeated)]
        headers = [(name, value.encode("latin-1")) for name, value in pairs if name]
    else:
        headers = [(name, environ[variable].encode("latin-1")) for variable, name in _header_names(tuple(environ))]
    if "HTTP_TRANSFER_ENCODING" in environ and "CONTENT_LENGTH" in environ:
        # RFC 9112 §6.1: the web server, which has decoded the body, ought to have removed it.
        headers = [pair for pair in headers if pair[0] != b"transfer-encoding"]
    return headers


def _header_name(variable: str) -> bytes:
    """The header that a variable stands for, b"" for none."""
    if variable.startswith("HTTP_"):
        variable = variable[5:]
    elif variable not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return b""
    return variable.replace("_", "-").lower().encode("latin-1")


@lru_cache(maxsize=100)
def _header_names(variables: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Those that stand for headers.  A front end sends the same variables with every request, but for a few headers."""
    return [(variable, name) for variable in variables if (name := _header_name(variable))]


_ONCE = frozenset(("HTTP_COOKIE", "CONTENT_TYPE", "CONTENT_LENGTH"))
"""Cookies are joined (RFC 9113 §8.2.3); of the other two the environ has the one that counts."""


def _apart(environ: Environ, repeated: Pairs) -> list[tuple[str, Any]]:
    """The variables with repeated headers one by one, but for those that applications expect to find once.

    The order is that of the request; what the environ found elsewhere (a repair) comes last, what it dropped is gone.
    """
    pairs = [pair for pair in repeated if pair[0] not in _ONCE and pair[0] in environ]
    told = dict(pairs)
    return pairs + [pair for pair in environ.items() if pair[0] not in told]


def wants_websocket(environ: Environ) -> bool:
    """Is the request the beginning of a WebSocket (RFC 6455 §4.1), which none of our wires can carry?"""
    return "HTTP_SEC_WEBSOCKET_KEY" in environ and "websocket" in environ.get("HTTP_UPGRADE", "").lower()


# -- and back

_PROTOCOLS = {"2": "HTTP/2.0", "3": "HTTP/3.0"}
_OF_A_SCOPE = frozenset(
    "CONTENT_LENGTH CONTENT_TYPE HTTPS PATH_INFO QUERY_STRING REMOTE_ADDR REMOTE_PORT REQUEST_METHOD REQUEST_SCHEME "
    "REQUEST_URI SCRIPT_NAME SERVER_NAME SERVER_PORT SERVER_PROTOCOL".split()
)
"""What every scope tells, headers aside."""
_base = base_environ(multithread=False, multiprocess=True, run_once=False)


def environ_from_scope(scope: Scope) -> Environ:
    """The CGI variables of a WSGI environ from an ``http`` scope, whatever ASGI server it comes from.

    What no scope tells (REMOTE_USER, SSL_*, DOCUMENT_ROOT, whatever a web server was told to send) comes from the
    environ that :func:`build_scope` made one of, if it did; what both tell a middleware may have changed in the scope.

    ``wsgi.input`` and ``wsgi.errors`` are the caller's.  A header with "_" in its name is left out: as a variable it
    would pass for the one with "-".  Raises RemoteProtocolError on a bad Content-Length, or two.
    """
    raw = scope.get("raw_path") or b""
    root, path = _encode(scope.get("root_path", "").rstrip("/")), _encode(scope["path"])
    if raw and "\ufffd" in scope["path"]:
        path = decode_path(raw.decode("latin-1"))  # it was not UTF-8
    if is_under(path, root):  # else it is a server that leaves it out
        path = path[len(root) :]
    known: Environ = scope.get("gateway.environ", {})
    query = scope.get("query_string", b"").decode("latin-1")
    version, scheme = scope.get("http_version", "1.1"), scope.get("scheme", "http")
    pairs = [
        ("REQUEST_METHOD", scope["method"]), ("SCRIPT_NAME", root), ("PATH_INFO", path),
        ("QUERY_STRING", query), ("SERVER_PROTOCOL", _PROTOCOLS.get(version, f"HTTP/{version}")),
    ]  # fmt: skip
    if raw:
        uri = raw.decode("latin-1").partition("?")[0]
        pairs.append(("REQUEST_URI", f"{uri}?{query}" if query else uri))
    if scheme == "https":
        pairs.append(("HTTPS", "on"))
    if "REQUEST_SCHEME" in known:
        pairs.append(("REQUEST_SCHEME", scheme))
    for peer, names in (("server", ("SERVER_NAME", "SERVER_PORT")), ("client", ("REMOTE_ADDR", "REMOTE_PORT"))):
        host, port = scope.get(peer) or ("", None)
        if port is not None:  # else it is the path of a unix socket
            pairs += zip(names, (host, str(port)), strict=True)
    for name, value in scope["headers"]:
        if b"_" not in name:
            pairs.append((_variable(name), value.decode("latin-1")))
    return _beside(known) | build_environ(dict(pairs), _base, repeated=pairs)


def _beside(known: Environ) -> Environ:
    """What an environ tells and no scope does; it was mended before, and is not looked at again."""
    return {
        name: value
        for name, value in known.items()
        if name not in _OF_A_SCOPE and isinstance(value, str) and not name.startswith(("HTTP_", "wsgi.", "gateway."))
    }


def _encode(path: str) -> str:
    """The way back of :func:`_decode`."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("latin-1")


def _variable(header: bytes) -> str:
    variable = header.decode("latin-1").upper().replace("-", "_")
    return variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"
