"""Files beside the scripts, served as they are: the head of the answer, from the web server's side (RFC 9110)."""

from __future__ import annotations

import os

from gateway.exchange import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from gateway.environ import Environ
    from gateway.events import Headers

_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


def static_head(file: IO[bytes], environ: Environ) -> tuple[str, Headers, bool]:
    """Status and headers for an open file, and whether its content is to follow."""
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return "405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")], False
    from email.utils import formatdate  # a directory of scripts alone does without

    status = os.fstat(file.fileno())
    changed = int(status.st_mtime)
    modified = ("Last-Modified", formatdate(changed, usegmt=True))
    if _is_fresh(environ.get("HTTP_IF_MODIFIED_SINCE", ""), changed):
        return "304 Not Modified", [modified], False
    headers = [("Content-Type", content_type(file.name)), ("Content-Length", str(status.st_size)), modified]
    return "200 OK", headers, environ["REQUEST_METHOD"] == "GET"


def _is_fresh(since: str, changed: int) -> bool:
    """RFC 9110 §13.1.3: a date that cannot be read is ignored."""
    if not since:
        return False
    from email.utils import parsedate_to_datetime

    try:
        return changed <= parsedate_to_datetime(since).timestamp()
    except (TypeError, ValueError, OverflowError):
        return False


def content_type(name: str) -> str:
    """The media type that a file's name tells.

    >>> content_type("/srv/a.css"), content_type("/srv/a.tar.gz"), content_type("/srv/a")
    ('text/css', 'application/gzip', 'application/octet-stream')
    """
    import mimetypes

    guessed, encoding = mimetypes.guess_type(name)
    if encoding:
        return _COMPRESSED.get(encoding, "application/octet-stream")
    return guessed or "application/octet-stream"


class FileBlocks:
    """The content of a file as a WSGI response; closes the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """The next block."""
        data = self._file.read(BLOCK)
        if not data:
            raise StopIteration
        return data

    def close(self) -> None:
        """Called by the WSGI server, always (PEP 3333)."""
        self._file.close()
