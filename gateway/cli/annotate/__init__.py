"""What the bytes of a wire are, one by one: the vocabulary of the annotators, of which each wire has one here.

An annotator is a generator over a ``Stream`` that reads like the wire's document: it takes bytes, marks what they are,
and yields a ``Line`` for those that belong together, or None while it has to wait for more.  It holds no byte back and
invents none: the bytes of all lines are the bytes that were fed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from importlib import import_module
from typing import NamedTuple, TypeAlias, TypeVar

from gateway.errors import RemoteProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.events import Side

T = TypeVar("T")

# What bytes can be.
FRAME = "frame"  # lengths, separators, padding
TYPE = "type"  # what a record, packet or message is
NUMBER = "number"  # a field of it
NAME = "name"
VALUE = "value"
BODY = "body"
PARTIAL = "partial"  # the beginning of what goes on in another record
BAD = "bad"  # from the byte on that breaks a rule

LINE_MAX = 65536
"""Bytes that a line of HTTP or a header of SCGI may have before nobody waits for its end any more."""


class Piece(NamedTuple):
    """Some bytes, what they are, and what they say."""

    kind: str
    data: bytes
    text: str = ""


class Line(NamedTuple):
    """Pieces that belong together: a record's header, a param; ``level`` is how deep in others."""

    pieces: tuple[Piece, ...]
    level: int = 0

    @property
    def data(self) -> bytes:
        """All its bytes."""
        return b"".join(piece.data for piece in self.pieces)

    @property
    def detail(self) -> bool:
        """Can it be left out where a line for each record is enough?"""
        hidden = (FRAME, PARTIAL, BODY) if self.level else (FRAME, PARTIAL)
        return all(piece.kind in hidden for piece in self.pieces)


Lines: TypeAlias = Generator["Line | None", None, T]
Annotate: TypeAlias = Callable[["Stream"], Lines[None]]


class Stream:
    """Bytes as an annotator reads them, from the last line on."""

    def __init__(self) -> None:
        self._data = b""  # what is in no line yet
        self._at = 0  # of these, the taken ones
        self._marked = 0  # and the marked ones
        self._shown = 0  # and those that were shown already, as PARTIAL
        self._pieces: list[Piece] = []
        self._over = False

    def __repr__(self) -> str:
        return f"<Stream {self._marked} marked, {self._at} taken of {len(self._data)} bytes{' over' * self._over}>"

    # -- for annotators

    def peek(self, size: int) -> Lines[bytes]:
        """The next bytes, which stay to be taken; fewer at the end."""
        while len(self._data) - self._at < size and not self._over:
            yield None
        return self._data[self._at : self._at + size]

    def more(self) -> Lines[bool]:
        """Does anything come?"""
        return bool((yield from self.peek(1)))

    def take(self, size: int) -> Lines[bytes]:
        """The next bytes.  RemoteProtocolError at the end."""
        data = yield from self.peek(size)
        if len(data) < size:
            raise RemoteProtocolError(f"the bytes end {size - len(data)} too early")
        self._at += size
        return data

    def number(self, size: int) -> Lines[int]:
        """The next bytes as a number, the most significant one first."""
        return int.from_bytes((yield from self.take(size)), "big")

    def some(self, most: int) -> Lines[bytes]:
        """What there is of the next bytes, up to ``most``; b"" only at the end."""
        yield from self.more()
        data = self._data[self._at : self._at + most]
        self._at += len(data)
        return data

    def until(self, end: bytes) -> Lines[bytes]:
        """The next bytes up to ``end``, itself included.  RemoteProtocolError if that does not come."""
        searched = self._at
        while (found := self._data.find(end, searched)) < 0:
            if len(self._data) - self._at > LINE_MAX:
                raise RemoteProtocolError(f"no {end!r} in {LINE_MAX} bytes")
            if self._over:
                raise RemoteProtocolError(f"the bytes end before {end!r}")
            searched = max(len(self._data) - len(end) + 1, self._at)
            yield None
        return (yield from self.take(found + len(end) - self._at))

    def mark(self, kind: str, text: str = "", *, size: int | None = None) -> None:
        """Say what ``size`` of the bytes are that were taken and not marked, or all of them."""
        end = self._at if size is None else self._marked + size
        self._pieces.append(Piece(kind, self._data[self._marked : end], text))
        self._marked = end

    def line(self, level: int = 0) -> Line:
        """A line of what was marked."""
        line = Line(tuple(_without(self._pieces, self._shown)), level)
        self._data, self._at = self._data[self._marked :], self._at - self._marked
        self._shown, self._marked = max(self._shown - self._marked, 0), 0
        self._pieces.clear()
        return line

    def within(self, inner: Annotation, size: int) -> Lines[None]:
        """Let another annotator say what the next bytes are; its lines are a level deeper."""
        while size:
            data = yield from self.some(size)
            if not data:
                raise RemoteProtocolError(f"the bytes end {size} too early")
            size -= len(data)
            yield from self._adopt(inner.feed(data))
            if inner.fault:
                raise inner.fault

    def end_within(self, inner: Annotation) -> Lines[None]:
        """Nothing more comes for it."""
        yield from self._adopt(inner.end())
        if inner.fault:
            raise inner.fault

    def pause_within(self, inner: Annotation) -> Lines[None]:
        """What comes for it goes on elsewhere."""
        yield from self._adopt(inner.pause())

    def _adopt(self, lines: Iterator[Line]) -> Lines[None]:
        for line in lines:
            size = len(line.data)
            self._data, self._at = self._data[size:], self._at - size
            yield Line(line.pieces, line.level + 1)

    # -- for whoever drives them

    def feed(self, data: bytes) -> None:
        """More bytes."""
        self._data = self._data + data if self._data else data

    def end(self) -> None:
        """No more bytes come."""
        self._over = True

    def marked(self) -> Iterator[Line]:
        """The beginning of a line that will never be whole."""
        if self._pieces:
            yield self.line()

    def rest(self, kind: str, text: str) -> Iterator[Line]:
        """All that is in no line, in one."""
        if len(self._data) > self._shown:
            yield Line((Piece(kind, self._data[self._shown :], text),))
        self._shown = len(self._data)


def _without(pieces: list[Piece], size: int) -> Iterator[Piece]:
    """The pieces less their first bytes; what they say remains."""
    for kind, data, text in pieces:
        yield Piece(kind, data[size:], text)
        size = max(size - len(data), 0)


def annotator(wire: str, side: Side) -> Annotate:
    """The annotator of what a side says on a wire; without one, nothing is known of its bytes but their number."""
    try:
        module = import_module(f"{__name__}.{wire}")
    except ImportError:
        return _unexplained
    annotate: Annotate = partial(module.annotate, side=side)
    return annotate


def _unexplained(stream: Stream) -> Lines[None]:
    while data := (yield from stream.some(LINE_MAX)):
        stream.mark(BODY, f"{len(data)} bytes")
        yield stream.line()


class Annotation:
    """An annotator at work: bytes are fed, lines come out."""

    def __init__(self, annotate: Annotate) -> None:
        self._stream = Stream()
        self._lines = annotate(self._stream)
        self.fault: RemoteProtocolError | None = None
        """The rule that a byte broke; it is the first one that no line says anything about."""
        self._untold = ""

    def __repr__(self) -> str:
        return f"<Annotation {self._stream!r}{f' {self.fault}' if self.fault else ''}>"

    def feed(self, data: bytes) -> Iterator[Line]:
        """What these bytes complete."""
        self._stream.feed(data)
        return self._advance()

    def end(self) -> Iterator[Line]:
        """Nothing follows: that may be a fault."""
        self._stream.end()
        return self._advance()

    def pause(self) -> Iterator[Line]:
        """What there is of a line that is not whole yet: other bytes come in between."""
        return self._stream.rest(PARTIAL, "… goes on in another record")

    def rest(self) -> Iterator[Line]:
        """What follows a fault, and the rule with its first byte: nobody can tell what it is."""
        rule, self._untold = self._untold, ""
        return self._stream.rest(BAD, rule)

    def _advance(self) -> Iterator[Line]:
        if self.fault:
            return
        try:
            for line in self._lines:
                if line is None:
                    return
                yield line
        except RemoteProtocolError as error:
            self.fault, self._untold = error, str(error)
            yield from self._stream.marked()
