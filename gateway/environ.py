"""A request's params as a WSGI environ, with the repairs that real front ends need, and back (PEP 3333, RFC 3875 §4.1).

Every function is pure.  What each front end sends was recorded; ``tests/corpus/`` holds the recordings.  Whatever is
mended is named in ``environ["gateway.repairs"]``, and :data:`ADVICE` says which line the front end's configuration
lacks.
"""

from __future__ import annotations

from io import BytesIO

from gateway.errors import RemoteProtocolError
from gateway.limits import LENGTH_DIGITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from gateway.events import Pairs, Params

    Environ: TypeAlias = dict[str, Any]

ADVICE = {
    "path-info": "the front end puts the whole path into SCRIPT_NAME. nginx: fastcgi_split_path_info ^(/app)(/.*)$; "
    "fastcgi_param PATH_INFO $fastcgi_path_info; Apache: ProxyFCGISetEnvIf for SCRIPT_NAME and PATH_INFO. "
    "Or start with --mount /app",
    "path-missing": "the front end sends neither SCRIPT_NAME nor PATH_INFO: add both to its params, or start with "
    "--mount /app",
    "path-doubled": "the front end repeats SCRIPT_NAME in PATH_INFO: let PATH_INFO begin after it "
    "(nginx: two captures in the location; IIS: allowPathInfo), or start with --mount /app",
    "path-rewritten": "the visitor's path was rewritten to the script (.htaccess); SCRIPT_NAME is now what the "
    "visitor sees",
    "path-escaped": "the front end leaves %2F in PATH_INFO (Apache AllowEncodedSlashes NoDecode); it was decoded",
    "path-mount": "SCRIPT_NAME and PATH_INFO were set from --mount: the front end's own were different",
    "duplicates": "the front end sends a repeated header as several params; they were joined",
    "authorization": "the credentials came as Authorization or REDIRECT_HTTP_AUTHORIZATION. Apache: CGIPassAuth On",
    "proxy": "a client's Proxy header was dropped (httpoxy). nginx: fastcgi_param HTTP_PROXY \"\";",
    "content-length": "nginx with scgi_request_buffering off counts as CONTENT_LENGTH only what it has of a body "
    "(nginx/nginx#1118); the visitor's Content-Length was taken. nginx: leave scgi_request_buffering on, and beside "
    "scgi_pass_request_body off write scgi_param HTTP_CONTENT_LENGTH \"\";",
    "body-length": "the front end leaves out the inner length of AJP body packets (lighttpd, as of 1.4.85), and a body "
    "that begins with its own length would be misread: use SCGI or FastCGI there",
    "server-name": "the front end sends no SERVER_NAME or SERVER_PORT; they were taken from the Host header. "
    "nginx: server_name example.org;",
}  # fmt: skip
"""For each repair, what was wrong and how to configure it away."""

_QUIET = frozenset(("duplicates", "proxy", "path-escaped", "path-rewritten", "path-mount"))
"""Repairs of what front ends do by nature, or that --mount asks for; no configuration lacks a line."""


def needs_advice(repair: str) -> bool:
    """Whether a repair is worth a log line, the first time: the front end could be configured better."""
    return repair not in _QUIET


def base_environ(*, multithread: bool, multiprocess: bool, run_once: bool) -> Environ:
    """What every environ of one worker has in common; :func:`build_environ` copies it."""
    return {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": run_once,
        # The wire marks where the body ends, with or without CONTENT_LENGTH.
        "wsgi.input_terminated": True,
        "gateway.repairs": (),
    }


def build_environ(params: Params, base: Environ, mount: str | None = None, *, repeated: Pairs = ()) -> Environ:
    """The CGI variables of a WSGI environ from a request's params; ``wsgi.input`` and ``wsgi.errors`` are the caller's.

    ``repeated`` is as in :class:`gateway.events.Request`.  ``mount`` states where the application lives and wins over
    what the front end says: ``""`` is the root of the site.
    Raises RemoteProtocolError on a bad CONTENT_LENGTH, or two, and with status_hint 404 on a path outside the mount.
    """
    repairs: list[str] = []
    if repeated:
        params = _join_duplicates(repeated, repairs)
    environ: Environ = params | base  # nothing on a wire can name what is ours
    if "QUERY_STRING" not in environ:
        environ["QUERY_STRING"] = ""
    if "REQUEST_METHOD" not in environ:
        environ["REQUEST_METHOD"] = "GET"
    if "SERVER_PROTOCOL" not in environ:
        environ["SERVER_PROTOCOL"] = "HTTP/1.0"
    length = environ.get("CONTENT_LENGTH")
    if length == "":
        del environ["CONTENT_LENGTH"]
    elif length is not None and not (length.isdecimal() and len(length) <= LENGTH_DIGITS):
        _drop_length(environ, length)
    if environ.get("CONTENT_TYPE") == "":
        del environ["CONTENT_TYPE"]
    # nginx sends both headers a second time under these names, which PEP 3333 (wsgiref.validate) forbids.
    if "HTTP_CONTENT_TYPE" in environ:
        del environ["HTTP_CONTENT_TYPE"]
    if "HTTP_CONTENT_LENGTH" in environ:
        del environ["HTTP_CONTENT_LENGTH"]
    if "HTTP_PROXY" in environ and environ.pop("HTTP_PROXY"):  # it is empty where a front end was told to drop it
        repairs.append("proxy")
    if "HTTP_AUTHORIZATION" not in environ:
        _find_authorization(environ, repairs)
    https = environ.get("HTTPS")
    if (https and https.lower() in ("on", "1")) or (not https and environ.get("REQUEST_SCHEME") == "https"):
        environ["wsgi.url_scheme"] = "https"
    if not environ.get("SERVER_NAME") or not environ.get("SERVER_PORT"):
        _name_server(environ, repairs)
    if environ.get("SCRIPT_NAME") == "/":  # PEP 3333: the root is "", and PATH_INFO begins with the slash
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = "", "/" + environ.get("PATH_INFO", "").lstrip("/")
    if mount is not None:
        _apply_mount(environ, mount, repairs)
    else:
        _guess_path(environ, repairs)
    if not environ["PATH_INFO"] and not environ["SCRIPT_NAME"]:
        environ["PATH_INFO"] = "/"
    if repairs:
        environ["gateway.repairs"] = tuple(repairs)
    return environ


# -- one value for each name


def _drop_length(environ: Environ, length: str) -> None:
    """Caddy 2.6 says of an upload in chunks what Go says of a length that is not known."""
    if length != "-1" or not environ.get("SERVER_SOFTWARE", "").startswith("Caddy/"):
        raise RemoteProtocolError(f"CONTENT_LENGTH is {length[:40]!r}, not a number of bytes")
    del environ["CONTENT_LENGTH"]


def _join_duplicates(pairs: Pairs, repairs: list[str]) -> Params:
    """nginx and HAProxy send a repeated header as two params; nginx sends an overridden param twice, the last wins."""
    seen: dict[str, str] = {}
    for name, value in pairs:
        if name not in seen:
            seen[name] = value
        elif name.startswith("HTTP_"):
            # RFC 9110 §5.3 for lists, RFC 6265 §5.4 for cookies.
            seen[name] += ("; " if name == "HTTP_COOKIE" else ", ") + value
            if "duplicates" not in repairs:
                repairs.append("duplicates")
        elif name != "CONTENT_LENGTH" or not seen[name]:
            seen[name] = value
        elif value and value != seen[name]:
            raise RemoteProtocolError(f"two different CONTENT_LENGTH: {seen[name][:40]!r} and {value[:40]!r}")
    return seen


def _find_authorization(environ: Environ, repairs: list[str]) -> None:
    for name in ("Authorization", "REDIRECT_HTTP_AUTHORIZATION"):
        value = environ.get(name)
        if value:
            environ["HTTP_AUTHORIZATION"] = value
            repairs.append("authorization")
            return


def _name_server(environ: Environ, repairs: list[str]) -> None:
    # PEP 3333: SERVER_NAME and SERVER_PORT can never be empty strings.
    host, colon, port = environ.get("HTTP_HOST", "").rpartition(":")
    if not colon or not port.isdecimal():
        host, port = environ.get("HTTP_HOST", ""), "443" if environ["wsgi.url_scheme"] == "https" else "80"
    environ["SERVER_NAME"] = environ.get("SERVER_NAME") or host or "localhost"
    environ["SERVER_PORT"] = environ.get("SERVER_PORT") or port
    repairs.append("server-name")


# -- SCRIPT_NAME and PATH_INFO


_HEX = frozenset("0123456789abcdefABCDEF")


def decode_path(uri: str) -> str:
    """The path of a REQUEST_URI, percent-decoded and with ``//``, ``.`` and ``..`` resolved, as web servers do it.

    >>> decode_path("/app//x/../y/./%2e%2e/z%20;p=1?q=/../")
    '/app/z ;p=1'
    """
    path = uri.partition("?")[0]
    if path[:1] != "/":  # absolute-form, RFC 9112 §3.2.2
        path = "/" + path.partition("://")[2].partition("/")[2]
    if "%" in path:
        head, *parts = path.split("%")
        decoded = [head]
        for part in parts:
            code, rest = part[:2], part[2:]
            decoded.append(chr(int(code, 16)) + rest if len(code) == 2 and _HEX.issuperset(code) else "%" + part)
        path = "".join(decoded)
    if "//" in path or "/." in path:
        path = _resolve_dots(path)
    return path


def _resolve_dots(path: str) -> str:
    parts: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del parts[-1:]
        elif segment not in ("", "."):
            parts.append(segment)
    closing = "/" if segments[-1] in ("", ".", "..") and parts else ""
    return "/" + "/".join(parts) + closing


def _visible_path(environ: Environ) -> str:
    """The path the visitor asked for, decoded; "" if the front end does not tell."""
    uri = environ.get("REQUEST_URI")
    return decode_path(uri) if uri else ""


def is_under(path: str, mount: str) -> bool:
    """Is a path the mount itself, or below it?

    >>> is_under("/app/x", "/app"), is_under("/apple", "/app")
    (True, False)
    """
    return path.startswith(mount) and path[len(mount) : len(mount) + 1] in ("", "/")


def _guess_path(environ: Environ, repairs: list[str]) -> None:
    """The best guess where nobody stated a mount; a configuration that is right is left as it is."""
    script, path = environ.setdefault("SCRIPT_NAME", ""), environ.get("PATH_INFO")
    if path is None:
        environ["PATH_INFO"] = ""
        if script:
            _split_whole_path(environ, repairs)
        elif environ.get("REQUEST_URI"):
            environ["PATH_INFO"] = environ.get("DOCUMENT_URI") or _visible_path(environ)
            repairs.append("path-missing")
    elif script and path.startswith(script) and is_under(path, script):
        shown = environ.get("DOCUMENT_URI") or _visible_path(environ)
        # SCRIPT_NAME + PATH_INFO should be the visitor's path; if PATH_INFO alone is, it repeats SCRIPT_NAME.
        if shown == path or (not shown and environ.get("SERVER_SOFTWARE", "").startswith("Microsoft-IIS")):
            environ["PATH_INFO"] = path[len(script) :]
            repairs.append("path-doubled")
    if environ.get("REDIRECT_URL"):
        _undo_rewrite(environ, repairs)
    if "%" in environ["PATH_INFO"]:
        _decode_slashes(environ, repairs)


def _split_whole_path(environ: Environ, repairs: list[str]) -> None:
    """No PATH_INFO: is it empty (Apache CGI, mod_fcgid, lighttpd, HAProxy), or was the front end not told to split?"""
    script, filename = environ["SCRIPT_NAME"], environ.get("SCRIPT_FILENAME", "")
    if filename.startswith("proxy:"):
        # ProxyPass /app/ fcgi://…/ : what both paths end with was passed on, what is before it is the mount.
        whole = _with_slashes(script)
        behind = decode_path(filename.partition("://")[2].partition("/")[2].join(("/", "")))
        environ["SCRIPT_NAME"] = whole[: len(whole) - len(_common_tail(whole, behind))]
    elif environ.get("SERVER_SOFTWARE", "").startswith("nginx/"):
        whole, environ["SCRIPT_NAME"] = script, ""
    else:
        return
    environ["PATH_INFO"] = whole[len(environ["SCRIPT_NAME"]) :]
    repairs.append("path-info")


def _common_tail(one: str, other: str) -> str:
    """The longest tail of whole segments that two paths share.

    >>> _common_tail("/app/x/y", "/srv/x/y")
    '/x/y'
    """
    shared = 0
    ours, theirs = one.split("/"), other.split("/")
    while shared < min(len(ours), len(theirs)) - 1 and ours[-shared - 1] == theirs[-shared - 1]:
        shared += 1
    return "".join(f"/{segment}" for segment in ours[len(ours) - shared :])


def _undo_rewrite(environ: Environ, repairs: list[str]) -> None:
    """.htaccess sent /shared/app to /shared/index.cgi/app: the script's name is not what the visitor sees."""
    script, path, url = environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["REDIRECT_URL"]
    if is_under(url, script) or environ.get("REDIRECT_STATUS", "200") != "200":  # else it may be an ErrorDocument
        return
    if path and url.endswith(path):
        environ["SCRIPT_NAME"] = url[: -len(path)]
    elif not path and url.endswith("/"):
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = url.rstrip("/"), "/"
    else:
        return
    repairs.append("path-rewritten")


def _decode_slashes(environ: Environ, repairs: list[str]) -> None:
    """Apache decodes all of PATH_INFO but %2F; REQUEST_URI tells a real one from a %252F."""
    path, decoded = environ["PATH_INFO"], _visible_path(environ).removeprefix(environ["SCRIPT_NAME"])
    if decoded != path and _with_slashes(decoded) == _with_slashes(path):
        environ["PATH_INFO"] = decoded
        repairs.append("path-escaped")


def _with_slashes(path: str) -> str:
    return path.replace("%2F", "/").replace("%2f", "/")


def _apply_mount(environ: Environ, mount: str, repairs: list[str]) -> None:
    """SCRIPT_NAME is the mount, PATH_INFO the rest of the path, wherever the front end put it."""
    script, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    whole = script + path
    if script != mount or not whole or path.startswith(mount or "\0"):
        visible = _visible_path(environ)
        if visible and visible in (path, script):
            whole = visible  # one of the two holds the whole path already
        rewritten = environ.get("REDIRECT_URL", "") if environ.get("REDIRECT_STATUS", "200") == "200" else ""
        candidates = [one for one in (rewritten, whole, visible, path) if one] or [""]
        under = [one for one in candidates if is_under(one, mount)]
        if not under:
            raise RemoteProtocolError(
                f"the path {(visible or script + path)[:200]!r} is outside the mount {mount!r}: the web server passes "
                "on more than --mount says, or --mount is not the path at which it serves the application",
                status_hint="404 Not Found",
            )
        whole = under[0]
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = mount, whole[len(mount) :]
    if script != mount or path != environ["PATH_INFO"]:
        repairs.append("path-mount")
    if "%" in whole:
        _decode_slashes(environ, repairs)


def check_mount(mount: str) -> str:
    """A mount as it is compared: ``""`` or ``/path`` without a closing slash; ValueError for anything else.

    >>> check_mount("/app/"), check_mount("/")
    ('/app', '')
    """
    mount = mount.rstrip("/")
    if mount and (mount[0] != "/" or "//" in mount or "?" in mount):
        raise ValueError(f"mount {mount!r} is not a path: it begins with one slash, like /app")
    return mount


# -- and back

_FORWARDED = frozenset(
    "AUTH_TYPE CONTENT_LENGTH CONTENT_TYPE DOCUMENT_ROOT HTTPS PATH_INFO PATH_TRANSLATED QUERY_STRING REMOTE_ADDR "
    "REMOTE_HOST REMOTE_IDENT REMOTE_PORT REMOTE_USER REQUEST_METHOD REQUEST_SCHEME REQUEST_URI SCRIPT_FILENAME "
    "SCRIPT_NAME SERVER_ADDR SERVER_NAME SERVER_PORT SERVER_PROTOCOL SERVER_SOFTWARE".split()
)
_UNRESERVED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/")


def encode_path(path: str) -> str:
    """A decoded path as it stands in a URI (RFC 3986 §3.3).

    >>> encode_path("/a b/\u00e9")
    '/a%20b/%E9'
    """
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in path.encode("latin-1"))


def build_params(environ: Environ) -> dict[str, str]:
    """The params that a gateway sends on for a WSGI environ: RFC 3875 §4.1, and what front ends add to it.

    HTTP_PROXY is left out (httpoxy), and so is the server's own process environment.
    """
    params = {"GATEWAY_INTERFACE": "CGI/1.1"}
    for name, value in environ.items():
        if (name in _FORWARDED or name.startswith(("HTTP_", "SSL_", "REDIRECT_"))) and isinstance(value, str):
            params[name] = value
    params.pop("HTTP_PROXY", None)
    script, path = params.setdefault("SCRIPT_NAME", ""), params.setdefault("PATH_INFO", "")
    query = params.setdefault("QUERY_STRING", "")
    if "REQUEST_URI" not in params:
        raw = environ.get("RAW_URI")
        params["REQUEST_URI"] = raw or encode_path(script + path) + (query and "?" + query)
    if environ.get("wsgi.url_scheme") == "https":
        params["HTTPS"] = "on"
        params["REQUEST_SCHEME"] = "https"
    return params


def redirected(environ: Environ, location: str, mount: str) -> Environ:
    """The request that a local redirect stands for: a GET of that path, without a body (RFC 3875 §6.2.2)."""
    path = decode_path(location)
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("CONTENT_", "HTTP_CONTENT_")) and name not in _OF_THIS_REQUEST
    }
    return kept | {
        "REQUEST_METHOD": "HEAD" if environ["REQUEST_METHOD"] == "HEAD" else "GET", "REQUEST_URI": location,
        "SCRIPT_NAME": mount, "PATH_INFO": path[len(mount) :], "QUERY_STRING": location.partition("?")[2],
        "wsgi.input": BytesIO(),
    }  # fmt: skip


_OF_THIS_REQUEST = frozenset(("HTTP_TRANSFER_ENCODING", "RAW_URI", "wsgi.input_terminated"))
"""What a redirected request does not inherit, beside its body's headers."""
