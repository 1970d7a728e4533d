"""The requests to ask every model: ``/``, a file with a URL on each line, or a HAR file, which browsers save."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import ConfigError
from gateway.head import HOP_BY_HOP
from gateway.measure.target import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.measure.target import Target

_OURS = {*HOP_BY_HOP, "host", "content-length"}
"""Headers that each connection makes for itself."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``path`` is as in a URL, with its query."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def usual_requests(target: Target) -> list[Request]:
    """``/``, or each program of a directory."""
    if not os.path.isdir(target.path):
        return [Request("GET", "/")]
    names = [os.path.relpath(path, target.path) for path in programs(target.path)]
    if not names:
        raise ConfigError(f"there is no CGI program in {target.path}; a program is a file with chmod +x")
    return [Request("GET", f"/{name}") for name in names]


def read_urls(path: Path) -> list[Request]:
    """The requests of a file whose lines are a path or a URL each, or METHOD and that; # begins a comment.

    Raises ConfigError.
    """
    requests = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        method, url = ("GET", *words) if len(words) == 1 else (words[0].upper(), words[1])
        place = urlsplit(url)
        if len(words) > 2 or not method.isalpha() or not (place.netloc or url.startswith("/")):
            raise ConfigError(f"{path}, line {number}: {line!r} is no URL; write /path?query or POST /path")
        requests.append(Request(method, _path(url)))
    if not requests:
        raise ConfigError(f"{path} names no URL; write a path on each line: /path?query")
    return requests


def read_har(path: Path) -> list[Request]:
    """The requests of a HAR 1.2 file to the host of the first one, in their order.  Raises ConfigError."""
    try:
        entries = [entry["request"] for entry in json.loads(_read(path))["log"]["entries"]]
        host = urlsplit(entries[0]["url"]).netloc
        return [from_har(entry) for entry in entries if urlsplit(entry["url"]).netloc == host]
    except (ValueError, LookupError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        advice = "save one in the network tab of a browser"
        raise ConfigError(f"{path} is no HAR file with requests ({reason}): {advice}") from error


def from_har(entry: Any) -> Request:
    """The request of an entry."""
    headers = [(str(header["name"]), str(header["value"])) for header in entry.get("headers", ())]
    posted = entry.get("postData", {})
    text = posted.get("text", "")
    body = base64.b64decode(text) if posted.get("encoding") == "base64" else text.encode()
    # HTTP/2 has headers such as :authority.
    kept = tuple(pair for pair in headers if pair[0].lower() not in _OURS and pair[0][0] != ":")
    return Request(entry["method"], _path(entry["url"]), kept, body)


def _path(url: str) -> str:
    place = urlsplit(url)
    return (place.path or "/") + (f"?{place.query}" if place.query else "")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; name a text file") from error
