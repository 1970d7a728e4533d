#!/usr/bin/env python3
"""Receive files from a form (RFC 7578): tell their size and SHA-256, store nothing, hold no more than a block."""

import hashlib
import html
from email.message import Message

from gateway import run

BLOCK = 64 * 1024
HEAD_SIZE = 8 * 1024  # bytes of headers that one part may have
PARTS = 100

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Upload</title>
<style>
body {{ max-width: 50rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
th, td {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }}
</style>
<h1>Upload</h1>
<form method="post" enctype="multipart/form-data">
<p><input type="file" name="file" multiple> <input name="note" placeholder="A note"> <button>Send</button>
</form>
{result}
"""


class BadForm(Exception):
    """The body is not what RFC 7578 says."""


class Multipart:
    """The parts of a multipart body (RFC 2046 §5.1.1), read block by block from a stream."""

    def __init__(self, stream, boundary):
        self._stream = stream
        self._delimiter = b"\r\n--" + boundary.encode("ascii", "replace")
        self._data = b"\r\n"  # so that the first delimiter looks like the others

    def __iter__(self):
        """For each part its headers and its content, as blocks that must be read before the next part."""
        for _ in self._until(self._delimiter):
            pass  # the preamble
        for _ in range(PARTS):
            while len(self._data) < 2:
                self._more()
            if self._data.startswith(b"--"):
                return
            for mark in (b"\r\n", b"\r\n\r\n"):  # the rest of the delimiter's line, then the headers
                head = b"".join(self._until(mark, limit=HEAD_SIZE))
            yield headers(head.decode("utf-8", "replace")), self._until(self._delimiter)
        raise BadForm(f"it has more than {PARTS} parts")

    def _until(self, mark, limit=0):
        """What comes before the mark, block by block; the mark is consumed."""
        size = 0
        while mark not in self._data:
            ready = max(0, len(self._data) - len(mark) + 1)  # the rest may be the beginning of the mark
            size += ready
            if limit and size > limit:
                break
            yield self._data[:ready]
            self._data = self._data[ready:]
            self._more()
        rest, _, self._data = self._data.partition(mark)
        if limit and size + len(rest) > limit:
            raise BadForm(f"a part has more than {limit} bytes of headers")
        yield rest

    def _more(self):
        block = self._stream.read(BLOCK)
        if not block:
            raise BadForm("it ends in the middle of a part")
        self._data += block


def headers(text):
    """Headers as a mapping that knows how parameters are written."""
    message = Message()
    for line in text.split("\r\n"):
        name, _, value = line.partition(":")
        message[name.strip()] = value.strip()
    return message


def received(environ):
    """A row for each part of the form: name, file name, size, SHA-256."""
    sent = headers("Content-Type: " + environ.get("CONTENT_TYPE", ""))
    boundary = sent.get_boundary()
    if sent.get_content_type() != "multipart/form-data" or not boundary:
        raise BadForm("a form with enctype=multipart/form-data is wanted")
    for part, blocks in Multipart(environ["wsgi.input"], boundary):
        digest, size = hashlib.sha256(), 0
        for block in blocks:
            digest.update(block)
            size += len(block)
        name = part.get_param("name", "", "Content-Disposition")
        yield str(name), part.get_filename(""), f"{size:,} bytes", digest.hexdigest()


def application(environ, start_response):
    status, result = "200 OK", ""
    if environ["REQUEST_METHOD"] == "POST":
        try:
            rows = [["Field", "File", "Size", "SHA-256"], *received(environ)]
            cells = ("".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows)
            result = "<table>\n" + "\n".join(f"<tr>{row}" for row in cells) + "\n</table>"
        except BadForm as error:
            status, result = "400 Bad Request", f"<p>This is no form upload: {html.escape(str(error))}.</p>"
    start_response(status, [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE.format(result=result).encode("utf-8", "backslashreplace")]


if __name__ == "__main__":
    run(application)
