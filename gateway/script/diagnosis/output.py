"""What is wrong with the response that a program wrote (RFC 3875 §6): first its head, then what it promises."""

from __future__ import annotations

import difflib
import re

from gateway.errors import ProtocolError
from gateway.events import WEB_SERVER, Request, Response
from gateway.head import TOKEN, inspect_headers
from gateway.protocols import connection_class
from gateway.script.diagnosis import Fault, Patient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.script.diagnosis.trial import Trial

_HEADS = {
    "bash": r"printf 'Content-Type: text/html\n\n'",
    "dash": r"printf 'Content-Type: text/html\n\n'",
    "perl": r'print "Content-Type: text/html\n\n";',
    "php-cgi": "header('Content-Type: text/html');",
    "python": r'print("Content-Type: text/html\n")',
    "ruby": r'print "Content-Type: text/html\n\n"',
    "sh": r"printf 'Content-Type: text/html\n\n'",
}
"""How a head is written, by the interpreter."""

_BLANK_LINES = {"perl": r'print "\n";', "python": "print()", "ruby": "puts", "php-cgi": r'echo "\n";'}


def _write_head(patient: Patient) -> str:
    return _HEADS.get(patient.language, "write Content-Type: text/html and an empty line")


def _shown(line: bytes) -> str:
    return repr(line[:60].decode("utf-8", "backslashreplace"))


def _is_header(line: bytes) -> bool:
    name, colon, _ = line.decode("latin-1").partition(":")
    return bool(colon and name and TOKEN.issuperset(name))


def _lines(trial: Trial) -> list[bytes]:
    """The lines of its output, with their ends off."""
    return [line.removesuffix(b"\r") for line in trial.stdout.split(b"\n")]


def _head(trial: Trial) -> list[tuple[str, str]]:
    """The headers, as far as they are any."""
    pairs = []
    for line in _lines(trial):
        if not _is_header(line):
            break
        name, _, value = line.decode("latin-1").partition(":")
        pairs.append((name, value.strip()))
    return pairs


def _body(trial: Trial) -> bytes:
    """What follows the header."""
    end = re.search(rb"\n\r?\n", trial.stdout)
    return trial.stdout[end.end() :] if end else b""


def check_silence(patient: Patient, trial: Trial) -> Fault | None:
    """It says something."""
    if trial.stdout:
        return None
    return Fault("it writes nothing to stdout", f"{_write_head(patient)} first, then the page")


def check_first_line(patient: Patient, trial: Trial) -> Fault | None:
    """No empty line comes before the header."""
    if _lines(trial)[0]:
        return None
    return Fault(
        "it writes an empty line before its header, which ends there", "let Content-Type be the very first it writes"
    )


def check_start(patient: Patient, trial: Trial) -> Fault | None:
    """Its output begins with the header."""
    lines = _lines(trial)
    if _is_header(lines[0]) or lines[0].startswith(b"HTTP/"):
        return None
    spaced = re.match(rb"([\w-]+)\s+:", lines[0])
    if spaced:
        return Fault(f"in its header, a space follows the name {spaced[1].decode()}", f"write {spaced[1].decode()}: …")
    if any(line.lower().startswith(b"content-type:") for line in lines):
        return Fault(
            f"it writes {_shown(lines[0])} before its header",
            "write that to stderr, or later; if a child wrote it, flush the header first",
        )  # fmt: skip
    return Fault(f"its output begins with {_shown(lines[0])}, not with a header", f"{_write_head(patient)} first")


def check_blank_line(patient: Patient, trial: Trial) -> Fault | None:
    """An empty line ends the header."""
    lines = _lines(trial)
    after = next((line for line in lines[1:] if not _is_header(line)), None)
    if after == b"" and re.search(rb"\n\r?\n", trial.stdout):
        return None
    follows = f"{_shown(after)} follows it" if after else "its output ends there"
    blank = _BLANK_LINES.get(patient.language, "echo" if patient.language in ("sh", "bash", "dash") else "one")
    return Fault(f"no empty line ends its header: {follows}", f"{blank} after the last header")


def is_media_type(value: str) -> bool:
    """Whether a Content-Type begins with a type and a subtype (RFC 9110 §8.3.1).

    >>> is_media_type("text/html; charset=utf-8"), is_media_type("html")
    (True, False)
    """
    return re.match(r"[\w.+-]+/[\w.+*-]+\s*(;|$)", value) is not None


def check_content_type(patient: Patient, trial: Trial) -> Fault | None:
    """The header says what the body is (RFC 3875 §6.3.1)."""
    pairs = _head(trial)
    names = [name.lower() for name, _ in pairs]
    value = next((value for name, value in pairs if name.lower() == "content-type"), None)
    if value is not None:
        if is_media_type(value):
            return None
        return Fault(f"its Content-Type {value!r} is no media type", "write text/html, or what else it is")
    if "location" in names or not _body(trial) or trial.stdout.startswith(b"HTTP/"):
        return None
    plain = {re.sub("[^a-z]", "", name.lower()): name for name, _ in pairs}
    alike = difflib.get_close_matches("contenttype", plain, cutoff=0.75)
    if alike:
        return Fault(f"its header {plain[alike[0]]} is misspelt", "write Content-Type")
    return Fault("its header has no Content-Type", "write Content-Type: text/html, or what else it is")


def check_rules(patient: Patient, trial: Trial) -> Fault | None:
    """Whatever else a web server objects to."""
    connection = connection_class("cgi")(WEB_SERVER)
    try:
        connection.send(Request({"REQUEST_METHOD": "GET"}))
        connection.receive_data(trial.stdout)
        connection.receive_eof()
        response = next(event for event in connection.events() if isinstance(event, Response))
        length, _ = inspect_headers(response.headers)
    except ProtocolError as error:
        return Fault(f"a web server refuses its header, because {error}", "correct that line")
    size = len(_body(trial))
    if length is None or length == size or trial.cut:
        return None
    wrong = f"its Content-Length is {length}, and its body has {size} bytes"
    return Fault(wrong, "leave Content-Length out, or count the bytes of the encoded body")


def check_status(patient: Patient, trial: Trial) -> Fault | None:
    """It does not confess to have failed."""
    status = next((value for name, value in _head(trial) if name.lower() == "status"), "")
    if status[:1] != "5":
        return None
    return Fault(f"it answers {status} of its own accord{trial.last_words}", f"read what it says: {trial.command}")


CHECKS = (
    check_silence, check_first_line, check_start, check_blank_line, check_content_type, check_rules, check_status
)  # fmt: skip
"""In this order: each takes for granted what those before have seen."""
