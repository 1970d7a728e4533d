"""What a directory answers without a program: files beside the scripts, redirects (RFC 9110)."""

from __future__ import annotations

import os

from gateway.environ import encode_path
from gateway.errors import ScriptError
from gateway.exchange import BLOCK
from gateway.script.resolve import Folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from gateway.environ import Environ
    from gateway.events import Headers
    from gateway.script.resolve import StaticFile

_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


def answer_plainly(found: StaticFile | Folder, environ: Environ) -> tuple[str, Headers, IO[bytes] | None]:
    """Status, headers and open file, if its content is wanted, for what is no program.  Raises ScriptError."""
    if isinstance(found, Folder):
        query = environ.get("QUERY_STRING", "")
        location = encode_path(found.url) + (query and f"?{query}")
        return "301 Moved Permanently", [("Location", location), ("Content-Length", "0")], None
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return "405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")], None
    from email.utils import formatdate  # a directory of scripts alone does without

    try:
        file = open(found.path, "rb")
    except OSError as error:
        raise ScriptError(
            f"{found.path}: it cannot be read ({error.strerror}): chmod +r {found.path}", status_hint="403 Forbidden"
        ) from error
    status = os.fstat(file.fileno())
    changed = int(status.st_mtime)
    headers = [("Last-Modified", formatdate(changed, usegmt=True))]
    fresh = _is_fresh(environ.get("HTTP_IF_MODIFIED_SINCE", ""), changed)
    if not fresh:
        headers += [("Content-Type", content_type(found.path)), ("Content-Length", str(status.st_size))]
    if fresh or environ["REQUEST_METHOD"] == "HEAD":
        file.close()
        return "304 Not Modified" if fresh else "200 OK", headers, None
    return "200 OK", headers, file


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
