"""Recorded requests, sent once more: to another server, model or version; and what it answers otherwise.

What is compared is what a recorder keeps of both responses, which it makes in the same way: so masked secrets, and the
bodies of which only the beginning was kept, are alike if they were alike.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from gateway.client.visit import visit
from gateway.environ import decode_path, is_under
from gateway.errors import ConfigError, GatewayError
from gateway.measure.agreement import DIFF_LINES, EXPIRES, OF_SERVERS, VARIES
from gateway.measure.requests import from_har
from gateway.recorder.entry import Entry
from gateway.recorder.secrets import MASK, Secrets
from gateway.recorder.tee import Tee

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from gateway.apps.wsgi import WSGIApplication
    from gateway.environ import Environ
    from gateway.measure.requests import Request

MAY_DIFFER = OF_SERVERS | {"age", "x-powered-by"}
"""Headers of a server, not of an application, perhaps of another server or version."""
MORE = 4096
"""Bytes that are kept of what goes on where the recorded body ended."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded request, and the response that it got then."""

    name: str
    request: Request
    host: str
    mount: str
    response: dict[str, Any]
    broken: bool
    whole: bool
    """Is the body of the request all there?"""

    def __str__(self) -> str:
        return f"{self.name}: {self.request}"


@dataclass(frozen=True, slots=True)
class Rules:
    """What may differ: headers and cookies by their names, texts by regular expressions.

    ``headers`` take the place of those that were recorded with a secret in them.
    """

    ignored_headers: tuple[str, ...] = ()
    ignored_cookies: tuple[str, ...] = ()
    may_differ: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What became of one recording; ``differences`` are lines to read, none if all was alike."""

    recording: Recording
    skipped: str = ""
    differences: list[str] = field(default_factory=list)

    @property
    def hint(self) -> str:
        """Why the difference may be one of the recording, not of the server; "" if nothing speaks for that."""
        request = self.recording.request
        masked = [name for name, value in request.headers if MASK in value and name.lower() != "referer"]
        if MASK in request.path or MASK.encode() in request.body:
            masked.append("a field")
        if not masked or not self.differences:
            return ""
        names = " and ".join(dict.fromkeys(masked))
        return f"(what it said in {names} was masked when it was recorded; --header 'NAME: VALUE' says another one)"


def read_recordings(path: Path) -> list[Recording]:
    """The recordings of a HAR file, or of all those in a directory, in their order.  Raises ConfigError."""
    files = sorted(path.glob("*.har")) if path.is_dir() else [path]
    found = [recording for file in files for recording in _read(file)]
    if not found:
        raise ConfigError(f"{path} holds no recordings; make some: fcgi-run --record {path} …")
    return found


def _read(file: Path) -> Iterator[Recording]:
    try:
        entries = json.loads(file.read_text("utf-8"))["log"]["entries"]
        for number, entry in enumerate(entries, 1):
            request = entry["request"]
            yield Recording(
                file.name if len(entries) == 1 else f"{file.name} {number}", from_har(request),
                urlsplit(request["url"]).netloc, entry.get("_mount", ""), entry["response"], "_broken" in entry,
                "_kept" not in request.get("postData", {}),
            )  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{file} is no HAR file ({reason}); leave it out, or record again") from error


class Replay(Tee):
    """A visitor who sends recordings one after the other, and gives back the cookies that he gets.

    ``application`` is the WSGI application that asks the target.  Raises ConfigError if one of the rules is no regular
    expression.
    """

    def __init__(self, application: WSGIApplication, rules: Rules | None = None) -> None:
        self._application: Any = self.wrap(application, interface="wsgi")
        self._rules = rules = rules or Rules()
        self._secrets = Secrets(rules.secrets)
        self._cookies: dict[str, str] = {}
        self._limit = 0
        self._entry: Entry
        try:
            self._may_differ = [re.compile(text) for text in rules.may_differ]
        except re.error as error:
            raise ConfigError(f"{error.pattern!r} is no regular expression ({error}): correct it") from error
        self._ignored = MAY_DIFFER.union(map(str.lower, rules.ignored_headers))

    # -- asking

    def open(self, environ: Environ) -> Entry:
        """As much as was kept then."""
        return Entry(environ, limit=self._limit)

    def keep(self, entry: Entry) -> None:
        """The answer is over."""
        self._entry = entry

    def ask(self, recording: Recording) -> Outcome:
        """Send one, and compare."""
        if not recording.whole:
            return Outcome(recording, skipped="its body was not read, or not kept, to its end (record_body)")
        content = recording.response["content"]
        self._limit = content.get("_kept", content.get("size", 0) + MORE)
        self._send(recording)
        entry = self._entry
        for name, value in entry.headers:
            if name.lower() == "set-cookie":
                cookie, _, rest = value.partition(";")[0].partition("=")
                self._cookies[cookie.strip()] = rest
        answered = entry.as_har(self._secrets)["log"]["entries"][0]["response"]
        differences = [*self._compare(recording.response, answered)]
        if bool(entry.broken) != recording.broken:
            now = f"breaks off now: {entry.broken}" if entry.broken else "broke off then, and does no longer"
            differences.append(f"the response {now}")
        return Outcome(recording, differences=differences)

    def _send(self, recording: Recording) -> None:
        request = recording.request
        mount = recording.mount if is_under(decode_path(request.path), recording.mount) else ""
        environ = visit(
            request.method, request.path, headers=self._headers(request), body=request.body, mount=mount,
            host=recording.host or "localhost",
        )  # fmt: skip
        try:
            result = self._application(environ, lambda *_: lambda data: None)
            try:
                for _ in result:
                    pass  # the tee has seen it
            finally:
                if hasattr(result, "close"):
                    result.close()
        except (GatewayError, OSError):
            return  # and so has it seen this

    def _headers(self, request: Request) -> list[tuple[str, str]]:
        ours = {name.lower() for name, _ in self._rules.headers}
        kept = [(name, value) for name, value in request.headers if name.lower() not in ours]
        return [*((name, self._own_cookies(name, value)) for name, value in kept), *self._rules.headers]

    def _own_cookies(self, name: str, value: str) -> str:
        """For those whose values were masked, what the server has given us under these names."""
        if name.lower() != "cookie":
            return value
        pairs = [pair.strip().partition("=") for pair in value.split(";")]
        return "; ".join(f"{cookie}={self._cookies.get(cookie, old)}" for cookie, _, old in pairs)

    # -- comparing

    def _compare(self, then: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
        before = then["status"] or 500  # an application that failed has given none
        if before != now["status"]:
            yield f"status {before} then, {now['status'] or 'none'} now"
        yield from _diff(self._lines(then), self._lines(now), what="headers")
        if then["content"].get("encoding", "") == now["content"].get("encoding", "") == "base64":
            if then["content"]["text"] != now["content"]["text"]:
                yield f"the body, no text, differs: {then['content']['size']} bytes then, {now['content']['size']} now"
            return
        yield from _diff(self._text(then), self._text(now), what="body")

    def _lines(self, response: dict[str, Any]) -> list[str]:
        lines = []
        for header in response["headers"]:
            name, value = header["name"].lower(), self._secrets.header(header["name"], header["value"])
            if name == "set-cookie":
                cookie = value.partition("=")[0]
                if cookie in self._rules.ignored_cookies:
                    continue
                value = EXPIRES.sub(VARIES, value)
            if name not in self._ignored:
                lines.append(self._generalize(f"{name}: {value}"))
        return sorted(lines)

    def _text(self, response: dict[str, Any]) -> list[str]:
        return self._generalize(response["content"].get("text", "")).splitlines()

    def _generalize(self, text: str) -> str:
        for pattern in self._may_differ:
            text = pattern.sub("", text)
        return text


def _diff(then: Sequence[str], now: Sequence[str], *, what: str) -> Iterator[str]:
    if then == now:
        return
    lines = list(difflib.unified_diff(then, now, f"{what} then", f"{what} now", lineterm="", n=1))
    yield from lines[:DIFF_LINES]
    if len(lines) > DIFF_LINES:
        yield f"… and {len(lines) - DIFF_LINES} lines more"
