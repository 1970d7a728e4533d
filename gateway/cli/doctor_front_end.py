"""What ``gateway doctor URL`` says of a front end when the echo answers behind it: what it gets wrong of a request.

Each check asks the echo (:mod:`gateway.cli.echo`) and compares what arrived with what was sent.  What mends a fault
are lines of the configuration that ``gateway config`` would print.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from gateway import __version__
from gateway.address import Address
from gateway.cli.configurations import FRONT_ENDS, Site, load
from gateway.cli.echo import ASKS, MARK, PAUSE
from gateway.environ import check_mount, decode_path
from gateway.errors import ConfigError
from gateway.script.diagnosis import Fault

MIB = 1 << 20
CREDENTIALS = "Bearer gateway-doctor"
KEPT = 10
"""Requests in a row, of which at least two should come on the same connection."""

ADVICE = {
    "path": "tell it where the application lives, or the application: fcgi-run --mount {mount}",
    "params": "pass on REQUEST_METHOD, QUERY_STRING, CONTENT_TYPE and the other variables of RFC 3875",
    "slashes": "have it pass the path on as it was sent, undecoded",
    "credentials": "pass the Authorization header on",
    "duplicates": "pass repeated headers on, or join them by commas",
    "underscores": "refuse headers whose name has an underscore, or drop them",
    "httpoxy": "drop the Proxy header",
    "scheme": "pass on whether the visitor came by HTTPS: HTTPS=on, or X-Forwarded-Proto",
    "host": "pass the visitor's Host header on",
    "server-name": "give the server a name",
    "length": "pass the application's Content-Length on",
    "chunked": "use FastCGI, AJP or HTTP between it and the application",
    "size": "allow for uploads of the size that your visitors send",
    "keep": "let connections to the application be used again",
    "errors": "leave the application's error pages as they are",
    "stream": "do not buffer responses",
}
"""What to do about something on a server that is not known, or has no line for it."""


class Heard:
    """What came back: ``told`` is what the echo reports, None if somebody else answered."""

    __slots__ = ("status", "headers", "body", "told", "_arrivals")

    def __init__(self, status: str, headers: dict[str, str], arrivals: list[tuple[float, bytes]]) -> None:
        self.status = status
        self.headers = headers
        self.body = arrivals[-1][1]
        self._arrivals = arrivals
        echoed = MARK.lower() in headers and headers.get("content-type") == "application/json"
        self.told: dict[str, Any] | None = json.loads(self.body) if echoed else None

    def __repr__(self) -> str:
        return f"<Heard {self.status!r} {self.body[:60]!r}>"

    def arrived(self, text: bytes) -> float:
        """When some text of the body was there, in seconds."""
        return next(when for when, body in self._arrivals if text in body or body == self.body)

    def variable(self, name: str) -> str:
        """One that the echo got, "" if it did not."""
        return str((self.told or {"environ": {}})["environ"].get(name, ""))


class Visitor:
    """Asks for paths below the one that URL names, over one connection as far as the front end keeps it."""

    def __init__(self, url: str, *, timeout: float) -> None:
        parts = urlsplit(url)
        self.scheme, self.host, self.mount = parts.scheme, parts.netloc, check_mount(parts.path)
        self.name = decode_path(self.mount) if self.mount else ""
        connect = http.client.HTTPSConnection if self.scheme == "https" else http.client.HTTPConnection
        self._connection = connect(self.host, timeout=timeout)

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def ask(
        self, path: str, *, method: str = "GET", headers: Iterable[tuple[str, str]] = (),
        body: bytes | Iterable[bytes] | None = None,
    ) -> Heard:  # fmt: skip
        """One request; a body that is no bytes goes in chunks.  Raises OSError or http.client.HTTPException."""
        connection = self._connection
        if connection.sock is None:
            connection.connect()
        connection.putrequest(method, self.mount + path, skip_accept_encoding=True)
        for name, value in (("User-Agent", f"gateway/{__version__}"), *headers):
            connection.putheader(name, value)
        chunked = body is not None and not isinstance(body, bytes)
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif body is not None:
            connection.putheader("Content-Length", str(len(body)))  # type: ignore[arg-type]
        with suppress(OSError):  # who refuses a long body may have answered before its end
            connection.endheaders(body, encode_chunked=chunked)
        try:
            with connection.getresponse() as response:
                return _hear(response)
        except BaseException:
            connection.close()
            raise


def _hear(response: http.client.HTTPResponse) -> Heard:
    arrivals = [(time.monotonic(), b"")]
    while block := response.read1(65536):
        arrivals.append((time.monotonic(), arrivals[-1][1] + block))
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Heard(f"{response.status} {response.reason}", headers, arrivals)


def judge_front_end(url: str, *, timeout: float, stream: bool) -> Iterator[Fault]:
    """All that a front end gets wrong; what no line of its configuration mends is not said."""
    visitor = Visitor(url, timeout=timeout)
    try:
        heard = visitor.ask("/")
        server, site = recognise(heard, visitor.name)
        loses = load(server).loses.get(site.wire, ()) if server else ()
        if not heard.variable("REQUEST_URI"):
            yield Fault("the variables of a request do not arrive", mend("params", server, site))
            return
        for check, usual in CHECKS.items():
            if usual != "stream" or stream:
                for matter, what in _carefully(check, usual, visitor):
                    if matter not in loses:
                        yield Fault(what, mend(matter, server, site))
    finally:
        visitor.close()


def _carefully(check: Check, matter: str, visitor: Visitor) -> Iterator[tuple[str, str]]:
    """What a check finds, also if the front end hangs up on it."""
    try:
        yield from check(visitor)
    except (OSError, http.client.HTTPException) as error:
        yield matter, f"it hangs up: {error or type(error).__name__}"


def mend(matter: str, server: str, site: Site | None = None) -> str:
    """What to do about something: the lines that the configuration of the server lacks, if it is known."""
    site, lines = site or Site(full=True), []
    with suppress(ConfigError):  # it is no configuration that we know
        lines = load(server).lines_for(matter, site, mend=True) if server else []
    if lines:
        return "\n    ".join([f"{load(server).title} needs", *lines])
    return ADVICE[matter].format(mount=site.mount or "/")


def recognise(heard: Heard, mount: str) -> tuple[str, Site]:
    """Which front end it is, "" for one that is not known, and the site as far as it can be told from outside."""
    said = f"{heard.variable('SERVER_SOFTWARE')} {heard.headers.get('server', '')}".lower()
    server = next((name for name in FRONT_ENDS if name in said), "")
    if heard.variable("CONTEXT_PREFIX"):  # it starts the program
        server = "" if heard.told and heard.told["once"] else "apache-fcgid"
    there = Address(host="127.0.0.1", port=9000, protocol=wire_of(heard))
    return server, Site(bind="" if server == "apache-fcgid" else there, mount=mount, stream=True, full=True)


def wire_of(heard: Heard) -> str:
    """The wire behind the front end: each has variables that no other has."""
    if heard.variable("SCGI"):
        return "scgi"
    if not heard.variable("REQUEST_URI"):
        return "fastcgi"  # or any other: there is nothing that tells
    if heard.variable("SCRIPT_FILENAME").startswith("proxy:uwsgi:"):
        return "uwsgi"
    if heard.variable("GATEWAY_INTERFACE"):
        return "fastcgi"
    if heard.variable("DOCUMENT_ROOT"):
        return "uwsgi"
    ajp = heard.variable("AJP_REMOTE_PORT") or (heard.variable("REMOTE_ADDR") and not heard.variable("REMOTE_PORT"))
    return "ajp" if ajp else "http"


# -- checks: each yields what goes wrong, and what that is a matter of


def check_request(visitor: Visitor) -> Iterator[tuple[str, str]]:
    """A plain GET, with a header of each kind."""
    headers = [
        ("Authorization", CREDENTIALS), ("X-Doctor", "one"), ("X-Doctor", "two"), ("X-Doctor-Own", "right"),
        ("X_Doctor_Own", "wrong"), ("Proxy", "http://gateway-doctor.invalid/"), ("X-Forwarded-Proto", "gopher"),
    ]  # fmt: skip
    heard = visitor.ask("/a%20b?a=%2F&b=+", headers=headers)
    if heard.told is None:
        yield "path", f"it answers {heard.status} to a path with a space, and the application does not see it"
        return
    repairs, path = set(heard.told["repairs"]), (heard.variable("SCRIPT_NAME"), heard.variable("PATH_INFO"))
    if path != (visitor.name, "/a b") or repairs & {"path-info", "path-missing", "path-doubled"}:
        whole = f"{visitor.name}/a b"
        yield "path", f"it does not say where in {whole} the application lives (it was taken to be at {path[0] or '/'})"
    if heard.variable("QUERY_STRING") != "a=%2F&b=+":
        yield "params", f"QUERY_STRING arrives as {heard.variable('QUERY_STRING')!r}, not as 'a=%2F&b=+'"
    if heard.variable("HTTP_AUTHORIZATION") != CREDENTIALS:
        yield "credentials", "the Authorization header does not arrive"
    if heard.variable("HTTP_X_DOCTOR").replace(" ", "") != "one,two":
        yield "duplicates", f"a header that comes twice arrives as {heard.variable('HTTP_X_DOCTOR')!r}"
    if "wrong" in heard.variable("HTTP_X_DOCTOR_OWN"):
        yield "underscores", "a header X_Doctor_Own arrives as X-Doctor-Own: visitors can forge headers"
    if "proxy" in repairs:
        yield "httpoxy", "a visitor's Proxy header arrives, as HTTP_PROXY where nobody drops it (httpoxy)"
    yield from _check_server(visitor, heard)


def _check_server(visitor: Visitor, heard: Heard) -> Iterator[tuple[str, str]]:
    """What the application is told of the front end itself."""
    scheme = heard.told["scheme"] if heard.told else ""
    if wire_of(heard) == "http":  # which has no other word for it
        scheme = heard.variable("HTTP_X_FORWARDED_PROTO")
    if scheme != visitor.scheme:
        yield "scheme", f"a request by {visitor.scheme} is told to be one by {scheme or 'nothing'}"
    # Debian has nginx leave the port out; one host for another is worse.
    if urlsplit(f"//{heard.variable('HTTP_HOST')}").hostname != urlsplit(f"//{visitor.host}").hostname:
        yield "host", f"the Host {visitor.host} arrives as {heard.variable('HTTP_HOST')!r}"
    if heard.told and "server-name" in heard.told["repairs"]:
        yield "server-name", "SERVER_NAME or SERVER_PORT does not arrive"
    if heard.headers.get("content-length") != str(len(heard.body)):
        yield "length", "the Content-Length of a response does not reach the visitor: no progress, no cut is seen"


def check_slashes(visitor: Visitor) -> Iterator[tuple[str, str]]:
    """A slash in a segment of a path, and a percent sign."""
    heard = visitor.ask("/x%2Fy%2525")
    if heard.told is None:
        yield "slashes", f"it answers {heard.status} to a path with %2F, and the application does not see it"
    elif not heard.variable("REQUEST_URI").endswith("/x%2Fy%2525"):
        yield "slashes", f"the path /x%2Fy%2525 arrives as {heard.variable('REQUEST_URI')}"
    elif heard.variable("SCRIPT_NAME") == visitor.name and heard.variable("PATH_INFO") != "/x/y%25":
        yield "slashes", f"the path /x%2Fy%2525 is decoded to {heard.variable('PATH_INFO')}"


def check_chunked(visitor: Visitor) -> Iterator[tuple[str, str]]:
    """A body whose length nobody announced."""
    heard = visitor.ask("/", method="POST", body=iter([b"in ", b"chunks"]))
    if heard.told is None:
        yield "chunked", f"it answers {heard.status} to a body without a length"
    elif heard.variable("REQUEST_METHOD") != "POST":
        yield "params", f"a POST arrives as {heard.variable('REQUEST_METHOD')}"
    elif heard.told["size"] != 9:
        yield "chunked", f"of a body of 9 bytes without a length {heard.told['size']} arrive"


def check_size(visitor: Visitor) -> Iterator[tuple[str, str]]:
    """An upload."""
    heard = visitor.ask("/", method="POST", body=bytes(2 * MIB))
    if heard.told is None:
        yield "size", f"it answers {heard.status} to an upload of 2 MiB"
    elif heard.told["size"] != 2 * MIB:
        yield "size", f"of an upload of 2 MiB {heard.told['size']} bytes arrive"


def check_keep(visitor: Visitor) -> Iterator[tuple[str, str]]:
    """Connections to the application are used again."""
    connections = [str((visitor.ask("/").told or {}).get("connection", "")) for _ in range(KEPT)]
    if all(connections) and len(set(connections)) == KEPT:
        yield "keep", f"each of {KEPT} requests comes on a connection of its own: half as dear again"


def check_errors(visitor: Visitor) -> Iterator[tuple[str, str]]:
    """A page of the application's that says what went wrong."""
    heard = visitor.ask("/", headers=[(ASKS, "fail")])
    if heard.status[:3] != "404" or MARK.lower() not in heard.headers or heard.body != b"the echo's own page\n":
        yield "errors", f"the application's own page for a 404 does not reach the visitor ({heard.status})"


def check_stream(visitor: Visitor) -> Iterator[tuple[str, str]]:
    """What is said is passed on."""
    answers = (visitor.ask("/", headers=[(ASKS, "thirds")]) for _ in range(2))  # one may be late by chance
    if all(heard.arrived(b"three") - heard.arrived(b"two") < PAUSE / 2 for heard in answers):
        yield "stream", "what the application says arrives when all is said: no events, no progress"


Check = Callable[[Visitor], Iterator[tuple[str, str]]]
CHECKS: dict[Check, str] = {
    check_request: "path", check_slashes: "slashes", check_chunked: "chunked", check_size: "size", check_keep: "keep",
    check_errors: "errors", check_stream: "stream",
}  # fmt: skip
"""The checks, and what it is a matter of if there is no answer at all."""
