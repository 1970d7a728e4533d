"""CGI (RFC 3875): an environment, and a response head with what follows it (§6), as FastCGI, SCGI and uwsgi carry it.

Also bytes as text to be shown.
"""

from __future__ import annotations

from gateway.cli.annotate import BODY, FRAME, NAME, TYPE, VALUE, Lines, Stream
from gateway.events import APPLICATION, Side
from gateway.exchange import BLOCK
from gateway.head import parse_head


def readable(data: bytes) -> str:
    r"""Bytes as text that does nothing to a terminal.

    >>> print(readable(b"caf\xc3\xa9 caf\xe9 \x1b[31m"), readable(b"a\r\n"))
    café caf\xe9 \x1b[31m a\r\n
    """
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def annotate(stream: Stream, side: Side) -> Lines[None]:
    """What ``side`` says: a program's stdout, or its environment as execve(2) takes it, NUL after each variable."""
    if side is APPLICATION:
        yield from response(stream)
        return
    while (yield from stream.more()):
        name = (yield from stream.until(b"="))[:-1]
        stream.mark(NAME, f"{readable(name)} =", size=len(name))
        stream.mark(FRAME)
        value = (yield from stream.until(b"\0"))[:-1]
        stream.mark(VALUE, readable(value), size=len(value))
        stream.mark(FRAME)
        yield stream.line()


def response(stream: Stream) -> Lines[None]:
    """Header lines, a blank line, a body: what a program answers."""
    if (yield from stream.more()):
        while (yield from header(stream)):
            pass
        yield from body(stream)


def header(stream: Stream) -> Lines[bool]:
    """A header line, or the status line of HTTP: True; or the blank line at their end: False."""
    line = yield from stream.until(b"\n")
    text = line.rstrip(b"\r\n")
    if not text:
        stream.mark(FRAME, "end of the head")
        yield stream.line()
        return False
    parse_head(text)  # the rules are there
    if text.startswith(b"HTTP/"):
        stream.mark(TYPE, readable(text), size=len(text))
    else:
        name, _, value = text.partition(b":")
        value = value.lstrip(b" \t")
        stream.mark(NAME, f"{readable(name)}:", size=len(name))
        stream.mark(FRAME, size=len(text) - len(name) - len(value))
        stream.mark(VALUE, readable(value), size=len(value))
    stream.mark(FRAME)
    yield stream.line()
    return True


def body(stream: Stream, size: int | None = None) -> Lines[int]:
    """A body that only its end delimits, or up to ``size`` bytes of it: how many came."""
    came = 0
    while size is None or came < size:
        data = yield from stream.some(BLOCK if size is None else min(BLOCK, size - came))
        if not data:
            break
        came += len(data)
        stream.mark(BODY, f"{len(data)} bytes of the body")
        yield stream.line()
    return came
