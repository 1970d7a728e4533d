"""One request and its response as an entry of HAR 1.2, which browsers and many tools read."""

from __future__ import annotations

import base64
import time
from datetime import datetime, timezone
from urllib.parse import parse_qsl, quote, urlsplit

from gateway import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.environ import Environ
    from gateway.events import Headers
    from gateway.recorder.secrets import Secrets

_PATH_SAFE = "/!$&'()*+,;=:@~"


class Body:
    """The bytes of a body as they pass, of which ``limit`` are kept."""

    __slots__ = ("data", "size", "_limit")

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self.size = 0
        self._limit = limit

    def __repr__(self) -> str:
        return f"<Body {len(self.data)} of {self.size} bytes>"

    def take(self, block: Any) -> None:
        """Some of it passes; what is not bytes is for the worker to refuse."""
        if not isinstance(block, bytes):
            return
        self.size += len(block)
        self.data += block[: max(0, self._limit - len(self.data))]


class Entry:
    """What is kept of one request, whose WSGI environ this is, and of its response."""

    def __init__(self, environ: Environ, *, limit: int) -> None:
        self.started = time.time()
        self._began = time.perf_counter()
        self._first_byte: float | None = None
        self._environ = environ
        self.request = Body(limit)
        self.response = Body(limit)
        self.status = ""
        self.headers: Headers = []
        self.broken = ""
        """How the application broke off, if it did."""

    def __repr__(self) -> str:
        return f"<Entry {self._environ['REQUEST_METHOD']} {_url(self._environ)} {self.status!r}>"

    def respond(self, status: str, headers: Headers) -> None:
        """The head of the response is there."""
        self.status, self.headers = status, headers
        self._first_byte = time.perf_counter()

    def as_har(self, secrets: Secrets) -> dict[str, Any]:
        """A whole HAR document with this entry alone, without its secrets."""
        ended = time.perf_counter()
        waited = 1000 * ((self._first_byte or ended) - self._began)
        took = 1000 * (ended - self._began)
        environ = self._environ
        began = datetime.fromtimestamp(self.started, timezone.utc)
        entry = {
            "startedDateTime": began.isoformat(timespec="milliseconds"),
            "time": round(took, 3),
            "request": self._request(secrets),
            "response": self._response(secrets),
            "cache": {},
            "timings": {"send": 0, "wait": round(waited, 3), "receive": round(took - waited, 3)},
            "_mount": environ["SCRIPT_NAME"],
        }
        if self.broken:
            entry["_broken"] = self.broken
        creator = {"name": "gateway", "version": __version__}
        return {"log": {"version": "1.2", "creator": creator, "entries": [entry]}}

    def _request(self, secrets: Secrets) -> dict[str, Any]:
        environ = self._environ
        announced = environ.get("CONTENT_LENGTH", "")
        # What the application has not read is not kept either.
        self.request.size = max(self.request.size, int(announced) if announced.isdecimal() else 0)
        url = secrets.url(_url(environ))
        told: dict[str, Any] = {
            "method": environ["REQUEST_METHOD"],
            "url": url,
            "httpVersion": environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
            **_headers(_request_headers(environ), secrets),
            "queryString": [
                {"name": name, "value": value}
                for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True, errors="backslashreplace")
            ],
            "bodySize": self.request.size,
        }
        if self.request.size:
            media_type = environ.get("CONTENT_TYPE", "")
            told["postData"] = {"mimeType": media_type, "params": [], **_content(self.request, media_type, secrets)}
        return told

    def _response(self, secrets: Secrets) -> dict[str, Any]:
        values = {name.lower(): value for name, value in self.headers}
        media_type = values.get("content-type", "")
        status, _, reason = self.status.partition(" ")
        return {
            "status": int(status) if status.isdecimal() else 0,
            "statusText": reason,
            "httpVersion": "HTTP/1.1",
            **_headers(self.headers, secrets),
            "content": {
                "size": self.response.size, "mimeType": media_type, **_content(self.response, media_type, secrets)
            },
            "redirectURL": secrets.url(values.get("location", "")),
            "bodySize": self.response.size,
        }  # fmt: skip


def _url(environ: Environ) -> str:
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    path = environ.get("REQUEST_URI", "")
    if path[:1] != "/":
        path = quote((environ["SCRIPT_NAME"] + environ["PATH_INFO"]).encode("latin-1"), safe=_PATH_SAFE)
        path += f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
    return f"{environ['wsgi.url_scheme']}://{host}{path}"


def _request_headers(environ: Environ) -> Headers:
    names = {name: name for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(name)}
    names |= {name: name[5:] for name in environ if name.startswith("HTTP_")}
    return [(short.replace("_", "-").title(), environ[name]) for name, short in names.items()]


def _headers(headers: Headers, secrets: Secrets) -> dict[str, Any]:
    """The parts of a request and a response that are made alike; cookies are among the headers, masked."""
    pairs = [{"name": name, "value": secrets.header(name, value)} for name, value in headers]
    return {"headers": pairs, "cookies": [], "headersSize": -1}


def _content(body: Body, media_type: str, secrets: Secrets) -> dict[str, Any]:
    kind = media_type.partition(";")[0].strip().lower()
    told: dict[str, Any] = {} if body.size == len(body.data) else {"_kept": len(body.data)}
    try:
        text = body.data.decode()
    except UnicodeDecodeError:
        masked = secrets.body(body.data.decode("latin-1"), kind).encode("latin-1")
        return {"text": base64.b64encode(masked).decode(), "encoding": "base64", **told}
    return {"text": secrets.body(text, kind), **told}
