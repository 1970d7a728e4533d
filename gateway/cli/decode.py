"""The command ``gateway decode``: what each byte of a captured stream is."""

from __future__ import annotations

import json
import sys
from typing import IO

import click

from gateway.cli.annotate.auto import ENOUGH, explain, recognise
from gateway.cli.annotate.show import COLUMNS, Screen, rows
from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, WEB_SERVER
from gateway.protocols import WIRES as REGISTRY
from gateway.protocols.detect import V1, V2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.cli.annotate import Annotation, Line
    from gateway.events import Side

START = 64
"""Bytes that are enough to tell the wire by."""
BLOCK = 16384
WIRES = [wire for wire in REGISTRY if wire != "auto"]

EPILOG = """\
\b
Capture what a web server says, or look at what an application answered:
  socat -r request.bin -R response.bin UNIX-LISTEN:tap.sock UNIX:app.sock
  gateway decode request.bin
  gateway call -v fastcgi://unix:app.sock /   (makes the request, too)

Exit status: 0, or 1 for bytes that break a rule of the wire.
"""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.File("rb"))
@click.option("--protocol", type=click.Choice(WIRES), help="The wire; the first bytes tell, as a rule.")
@click.option("--from", "speaker", type=click.Choice(["web-server", "application"]), help="Who says this; likewise.")
@click.option("-c", "--columns", type=click.IntRange(1, 64), default=COLUMNS, show_default=True, help="Bytes in a row.")
def command(*, file: IO[bytes], protocol: str | None, speaker: str | None, columns: int) -> None:
    """Annotate every byte of a captured stream, in colour.

    FILE holds what one side of a connection said, - is stdin: FastCGI, SCGI, uwsgi, AJP13 or HTTP/1.1, with or without
    a PROXY protocol header. It may also be a recording in JSON, with the bytes in "raw_hex", or the "request" of HTTP.

    Each row has the offset, the bytes in hexadecimal and as text, and what they are: fields of record headers, names
    and values of params, chunks, lines. A byte that breaks a rule ends that; the rule is said, and the rest only shown.
    Set FORCE_COLOR=1 to keep the colours in a pager.
    """
    data, blocks = _captured(file, protocol)
    try:
        wire, side = _told(data, protocol, speaker)
    except RemoteProtocolError as error:
        raise click.ClickException(str(error)) from None
    annotation = explain(wire, side)
    dump = _Dump(annotation, columns)
    for block in (data, *blocks):
        for start in range(0, len(block), BLOCK):
            dump.show(annotation.feed(block[start : start + BLOCK]))
    dump.show(annotation.end())
    if annotation.fault:
        raise click.ClickException(f"{wire}: {annotation.fault}, at byte {dump.bad} (0x{dump.bad:x})")


def _captured(file: IO[bytes], protocol: str | None) -> tuple[bytes, Iterable[bytes]]:
    """The beginning of what was captured, enough to tell the wire by, and the rest of it, which may still be coming."""
    blocks: Iterator[bytes] = iter(lambda: file.read1(BLOCK), b"")  # type: ignore[attr-defined]
    data = b""
    while len(data) < (ENOUGH if data.startswith((V1, V2)) else START) and (block := next(blocks, b"")):
        data += block
    if not data.startswith(b"{"):  # no wire begins so
        return data, blocks
    whole = data + b"".join(blocks)
    try:
        return _recorded(json.loads(whole), visitor=protocol == "http"), ()
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        if protocol:
            return whole, ()
        raise click.ClickException(f"it begins like a recording, and is none: {error!r}") from None


def _recorded(recording: dict[str, str], *, visitor: bool) -> bytes:
    """The bytes that the web server sent, or where they are asked for, or are all there is, the visitor's."""
    if visitor or "raw_hex" not in recording:
        return recording["request"].replace("<pause>", "").encode("latin-1")
    # Where the body is no part of the framing, it was not recorded with it.
    body = recording["stdin"].encode("latin-1") if recording["protocol"] in ("scgi", "uwsgi") else b""
    return bytes.fromhex(recording["raw_hex"]) + body


def _told(data: bytes, protocol: str | None, speaker: str | None) -> tuple[str, Side]:
    """The wire and the side that speaks, as far as the user says, else as the bytes do.  Raises RemoteProtocolError."""
    try:
        wire, side = recognise(data)
    except RemoteProtocolError:
        if not protocol:
            raise
        wire, side = protocol, WEB_SERVER
    if speaker:
        side = APPLICATION if speaker == "application" else WEB_SERVER
    return protocol or wire, side


class _Dump:
    """Rows for every byte, on stdout."""

    def __init__(self, annotation: Annotation, columns: int) -> None:
        self._annotation = annotation
        self._columns = columns
        self._screen = Screen(sys.stdout)
        self._offset = 0
        self.bad = -1
        """The offset of the first byte that breaks a rule."""

    def show(self, lines: Iterator[Line]) -> None:
        """All of them, and after a fault what nobody can tell."""
        for line in lines:
            self._show(line)
        if self._annotation.fault:
            if self.bad < 0:
                self.bad = self._offset
            for line in self._annotation.rest():
                self._show(line)

    def _show(self, line: Line) -> None:
        for row in rows(line, self._offset, self._columns):
            self._screen.show(row)
        self._offset += len(line.data)
