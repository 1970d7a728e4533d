"""What ``gateway doctor URL`` says of a running server: one GET over any wire, and its response judged in words.

If the echo answers by HTTP, what the front end makes of requests is judged as well (:mod:`.doctor_front_end`).
"""

from __future__ import annotations

import http.client
import time

import click

from gateway import __version__
from gateway.cli.call import split_url
from gateway.cli.doctor_front_end import Visitor, judge_front_end, mend
from gateway.cli.echo import MARK
from gateway.client import Client
from gateway.client.visit import visit
from gateway.errors import ConfigError, ProtocolError, RemoteProtocolError
from gateway.script.diagnosis import Fault
from gateway.script.diagnosis.output import is_media_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.events import Headers

ECHO = "gateway.cli.echo:application"
SLOW = 1.0
"""Seconds after which a visitor notices that he waits."""

_STATUSES = {
    "403": "let the server's user read it, or mend the access rules",
    "404": "correct the path, or where the application is mounted",
    "500": "read its error log; if a script answers there: gateway doctor SCRIPT",
    "502": "see that the application behind the front end runs, and that the front end may connect to it",
    "503": "start more workers, or see why those that are there hang",
    "504": "see what the application waits for, or have the front end wait longer",
}
"""What to do about a status."""

_ONCE = ("content-length", "content-type", "location")
"""Headers that can mean only one thing."""


class Answer:
    """What came of a request; ``error`` is what the wire objected to, ``connected`` whether anybody was there."""

    __slots__ = ("url", "status", "headers", "body", "connected", "error", "seconds")

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = ""
        self.headers: Headers = []
        self.body = b""
        self.connected = False
        self.error: ProtocolError | None = None
        self.seconds = 0.0
        """Until the head was there."""

    def __repr__(self) -> str:
        return f"<Answer {self.url!r} {self.status!r} {len(self.body)} bytes error={str(self.error)!r}>"

    def values(self, name: str) -> list[str]:
        """Those of the headers of a name."""
        return [value for given, value in self.headers if given.lower() == name]


def judge_url(url: str, *, timeout: float, say: Callable[[str], object], stream: bool = False) -> bool:
    """Say what is wrong with a server, and whether anything is; ``stream``: a front end should not buffer responses."""
    by_http = url.lower().startswith(("http://", "https://"))
    try:
        answer = _ask_https(url, timeout=timeout) if url.lower().startswith("https:") else _ask(url, timeout=timeout)
        faults = list(judge(answer))
        echo = by_http and bool(answer.values(MARK.lower()))
        if echo:
            faults += judge_front_end(url, timeout=timeout, stream=stream)
    except (ConfigError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    for fault in faults:
        say(f"{url}: {fault}")
    if not faults:
        say(f"{url}: {answer.status}, {len(answer.body)} bytes in {1000 * answer.seconds:.1f} ms; nothing is wrong")
        if by_http and not echo:
            say(f"To see what a front end makes of requests, have it serve {ECHO} there, and ask again.")
    return bool(faults)


def judge(answer: Answer) -> Iterator[Fault]:
    """All that is wrong with an answer."""
    if answer.status:
        yield from (fault for check in CHECKS if (fault := check(answer)))
    else:
        yield check_connection(answer) or explain_silence(answer)


def _ask(url: str, *, timeout: float) -> Answer:
    place, path = split_url(url)
    client = Client(place, timeout=timeout, connect_timeout=timeout, pool_size=0)
    answer = Answer(url)

    def hear(side: object, data: bytes) -> None:
        answer.connected = True

    client.tap = hear
    host = str(client.address)[7:] if client.address.protocol == "http" and client.address.host else "localhost"
    headers = [("User-Agent", f"gateway/{__version__}"), ("Accept", "*/*")]
    began = time.perf_counter()
    try:
        forwarding = client.ask(visit("GET", path or "/", headers=headers, host=host))
        answer.seconds = time.perf_counter() - began
        answer.status, answer.headers = forwarding.response.status, forwarding.response.headers
        for block in forwarding:
            answer.body += block
    except ProtocolError as error:
        answer.error = error
    return answer


def _ask_https(url: str, *, timeout: float) -> Answer:
    answer, visitor = Answer(url), Visitor(url, timeout=timeout)
    began = time.perf_counter()
    try:
        heard = visitor.ask("" if visitor.mount else "/")
        answer.seconds = time.perf_counter() - began
        answer.status, answer.headers, answer.body = heard.status, list(heard.headers.items()), heard.body
    except (OSError, http.client.HTTPException) as error:
        silent = isinstance(error, TimeoutError)
        answer.connected = not isinstance(error, ConnectionRefusedError)
        answer.error = RemoteProtocolError(
            str(error) or type(error).__name__, status_hint="504 Gateway Timeout" if silent else "502 Bad Gateway"
        )
    finally:
        visitor.close()
    return answer


def check_connection(answer: Answer) -> Fault | None:
    """Somebody is there."""
    if answer.connected:
        return None
    said = str(answer.error).partition("; ")[0]
    if "Permission denied" in said:
        return Fault(said, "fcgi-run --socket-mode 660, and join the group of its socket")
    return Fault(said, "start the server, or correct the URL")


def explain_silence(answer: Answer) -> Fault:
    """Why there is no head."""
    assert answer.error is not None  # nothing else keeps one away
    if answer.error.status_hint.startswith("504"):
        return Fault("it says nothing in time", "see what it waits for, or give it longer (--timeout)")
    return Fault(f"it gives no response: {answer.error}", f"see what it says: gateway call -v {answer.url}")


def check_status(answer: Answer) -> Fault | None:
    """It does what it was asked."""
    if answer.status < "400" or answer.status[:3] == "401":
        return None
    advice = _STATUSES.get(answer.status[:3], "ask it for what it expects, or read its error log")
    if answer.status[:3] == "404" and any(value.startswith("lighttpd/") for value in answer.values("server")):
        advice += f"; or it looks for a file of that name: {mend('local', 'lighttpd')}"
    return Fault(f"it answers {answer.status}", advice)


def check_speed(answer: Answer) -> Fault | None:
    """The visitor does not wait."""
    if answer.seconds <= SLOW:
        return None
    advice = "see what it does first; if it starts a program each time: execution='fork', or fcgi-run"
    return Fault(f"it is slow: {answer.seconds:.1f} s until its head came", advice)


def check_end(answer: Answer) -> Fault | None:
    """All of the body comes."""
    size = len(answer.body)
    length = next(iter(answer.values("content-length")), "")
    if answer.error is not None:
        return Fault(f"its response is cut short after {size} bytes ({answer.error})", "read its error log")
    if length.isdecimal() and int(length) != size and answer.status[:3] not in ("204", "304"):
        return Fault(f"its Content-Length is {length}, but {size} bytes came", "leave it out, or count encoded bytes")
    return None


def check_type(answer: Answer) -> Fault | None:
    """It says what the body is, and in which encoding."""
    value = next(iter(answer.values("content-type")), "")
    if not answer.body:
        return None
    if not value:
        return Fault("its response has no Content-Type", "send Content-Type: text/html; charset=utf-8")
    if not is_media_type(value):
        return Fault(f"its Content-Type {value!r} is no media type", "send text/html; charset=utf-8, or what it is")
    told = "charset" in value.lower() or b"charset" in answer.body[:1024].lower() or answer.body.isascii()
    if value.lower().startswith("text/") and not told:
        return Fault(f"its {value} is not ASCII, and no charset is named", f"send Content-Type: {value}; charset=utf-8")
    return None


def check_once(answer: Answer) -> Fault | None:
    """No header says two things."""
    name = next((name for name in _ONCE if len(set(answer.values(name))) > 1), "")
    if not name:
        return None
    said = " and ".join(answer.values(name))
    return Fault(f"its header {name.title()} comes more than once, as {said}", "send one; a front end may add another")


def check_location(answer: Answer) -> Fault | None:
    """A redirect leads somewhere."""
    if answer.status[:3] not in ("301", "302", "303", "307", "308") or answer.values("location"):
        return None
    return Fault(f"it answers {answer.status} without a Location", "send Location: and where to go")


CHECKS = (check_status, check_speed, check_end, check_type, check_once, check_location)
"""Those of an answer that has a head."""
