"""What a program is told of one request: its meta-variables (RFC 3875 §4.1) and its command line (§4.4).

From the web server's side; every function is pure.
"""

from __future__ import annotations

import os
from urllib.parse import unquote_to_bytes

from gateway.environ import build_params

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.environ import Environ
    from gateway.script.resolve import Script


def meta_variables(environ: Environ, script: Script) -> dict[str, str]:
    """All of them but CONTENT_LENGTH, which the body tells once it is there."""
    params = build_params(environ)
    # The server has taken the transfer coding off (§4.2), and translated what may be another path now.
    for name in ("HTTP_TRANSFER_ENCODING", "PATH_TRANSLATED", "CONTENT_LENGTH"):
        params.pop(name, None)
    if not params.get("CONTENT_TYPE"):
        params.pop("CONTENT_TYPE", None)
    params["SCRIPT_NAME"], params["PATH_INFO"] = script.script_name, script.path_info
    params.setdefault("SERVER_SOFTWARE", "gateway")
    if script.root:
        params.setdefault("DOCUMENT_ROOT", _native(script.root))
    params["SCRIPT_FILENAME"] = _native(script.path)
    params["REDIRECT_STATUS"] = "200"  # php-cgi: this comes from a web server (cgi.force_redirect)
    return params


def _native(path: str) -> str:
    return path if path.isascii() else os.fsencode(path).decode("latin-1")


def search_words(params: Mapping[str, str]) -> list[bytes]:
    """The command line of an indexed query (RFC 3875 §4.4): its words decoded, or none of them.

    None if one could be taken for an option (CVE-2012-1823), is empty, or cannot be an argument.

    >>> search_words({"REQUEST_METHOD": "GET", "QUERY_STRING": "two+w%6Frds"})
    [b'two', b'words']
    >>> search_words({"REQUEST_METHOD": "GET", "QUERY_STRING": "-d+allow_url_include%3Don"})
    []
    """
    query = params["QUERY_STRING"]
    if not query or "=" in query or params["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return []
    words = [unquote_to_bytes(word.encode("latin-1")) for word in query.split("+")]
    usable = all(word and b"\0" not in word and not word.lstrip().startswith(b"-") for word in words)
    return words if usable else []
