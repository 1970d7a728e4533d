"""The scripts in cgi-bin/, each run as a web server runs it: by its first line, in an environment of its own."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.house import ROOT

CGI_BIN = ROOT / "cgi-bin"
SCRIPTS = sorted(path.name for path in CGI_BIN.glob("*.py"))


class Response(NamedTuple):
    """What a script wrote."""

    headers: dict[str, str]
    body: str
    stderr: str


def call(script: str, *, stdin: bytes = b"", **params: str) -> Response:
    """Run a script for one request; ``params`` are added to the meta-variables of a plain GET."""
    environ = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "localhost", "SERVER_PORT": "80", "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": f"/cgi-bin/{script}", "QUERY_STRING": "",
    }  # fmt: skip
    if stdin:
        environ |= {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(stdin))}
    done = subprocess.run(
        [CGI_BIN / script], env=environ | params, input=stdin, cwd=CGI_BIN, capture_output=True, timeout=30
    )
    assert done.returncode == 0, done.stderr.decode()
    head, _, body = done.stdout.replace(b"\r\n", b"\n").partition(b"\n\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\n"))
    return Response(headers, body.decode(), done.stderr.decode())


def part(disposition: str, content: bytes) -> bytes:
    return f"--limit\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"


def upload(
    *parts: bytes, end: bytes = b"--limit--\r\n", content_type: str = "multipart/form-data; boundary=limit"
) -> str:
    return call("upload.py", stdin=b"".join(parts) + end, CONTENT_TYPE=content_type).body


def cells(page: str) -> list[list[str]]:
    return [re.split("<td>", row)[1:] for row in re.findall("<tr>(.*)", page)]


def test_the_folder_holds_the_four_kinds() -> None:
    assert SCRIPTS == ["app.py", "environ.py", "hello.py", "upload.py"]


@pytest.mark.parametrize("script", SCRIPTS)
class TestEveryScript:
    def test_can_be_dropped_into_a_cgi_directory(self, script: str) -> None:
        assert (CGI_BIN / script).stat().st_mode & stat.S_IXUSR
        text = (CGI_BIN / script).read_bytes()
        assert text.startswith(b"#!/usr/bin/env python3\n")
        assert b"\r" not in text

    def test_answers_a_get_and_says_nothing_on_stderr(self, script: str) -> None:
        response = call(script)
        assert response.headers["Content-Type"].startswith("text/")
        assert response.body
        assert not response.stderr


def test_hello_is_answered_by_a_new_process_each_time() -> None:
    first, second = call("hello.py").body, call("hello.py").body
    assert first.startswith("Hello from process ")
    assert first != second


def test_the_wsgi_application_counts_one_request_for_each_process() -> None:
    first, second = call("app.py").body, call("app.py").body
    assert first.endswith("request number 1.\n")
    assert second.endswith("request number 1.\n")
    assert first != second


class TestEnviron:
    def test_shows_what_it_is_told(self) -> None:
        assert "<tr><th>QUERY_STRING<td>a=1" in call("environ.py", QUERY_STRING="a=1").body

    def test_escapes_what_visitors_send(self) -> None:
        body = call("environ.py", HTTP_X="<script>&", **{"HTTP_<b>": "x"}).body
        assert "<tr><th>HTTP_X<td>&lt;script&gt;&amp;" in body
        assert "<b>" not in body

    @pytest.mark.parametrize(
        "name", ["HTTP_AUTHORIZATION", "REDIRECT_HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_X_API_KEY", "DB_PASSWORD"]
    )
    def test_masks_secrets(self, name: str) -> None:
        body = call("environ.py", **{name: "tell nobody"}).body
        assert f"<tr><th>{name}<td>(11 characters, hidden)" in body
        assert "nobody" not in body

    def test_masks_a_password_in_a_url(self) -> None:
        assert "<td>postgres://(hidden)@db/shop" in call("environ.py", DATABASE_URL="postgres://me:pw@db/shop").body

    def test_bytes_that_are_no_utf_8_do_not_break_it(self) -> None:
        assert r"<td>caf\udce9" in call("environ.py", HTTP_X=os.fsdecode(b"caf\xe9")).body

    def test_says_that_it_must_not_be_stored(self) -> None:
        assert call("environ.py").headers["Cache-Control"] == "no-store"


class TestUpload:
    def test_a_get_shows_the_form(self) -> None:
        assert '<form method="post" enctype="multipart/form-data">' in call("upload.py").body

    def test_tells_name_size_and_hash_of_each_part(self) -> None:
        page = upload(part('name="note"', b"hi"), part('name="file"; filename="zeros.bin"', bytes(200_000)))
        assert cells(page)[1:] == [
            ["note", "", "2 bytes", hashlib.sha256(b"hi").hexdigest()],
            ["file", "zeros.bin", "200,000 bytes", hashlib.sha256(bytes(200_000)).hexdigest()],
        ]

    @pytest.mark.parametrize("size", [*range(65400, 65540, 7), 3 * 65536])
    def test_a_delimiter_that_two_blocks_share_is_found(self, size: int) -> None:
        content = b"\r\n--limi" * (size // 8) + b"-" * (size % 8)
        assert cells(upload(part("name=file; filename=f", content)))[1][2] == f"{size:,} bytes"

    def test_file_names_are_utf_8_and_escaped(self) -> None:
        page = upload(part('name="file"; filename="한글 <b>.txt"', b""))
        assert cells(page)[1][1] == "한글 &lt;b&gt;.txt"

    def test_the_end_needs_no_line_end(self) -> None:
        assert cells(upload(part("name=a", b"x"), end=b"--limit--"))[1][2] == "1 bytes"

    def test_a_preamble_and_an_epilogue_are_no_parts(self) -> None:
        page = upload(b"preamble\r\n", part("name=a", b"x"), end=b"--limit--\r\nepilogue")
        assert [row[0] for row in cells(page)[1:]] == ["a"]

    @pytest.mark.parametrize(
        ("send", "complaint"),
        [
            (lambda: upload(b"x", content_type="text/plain"), "enctype=multipart/form-data is wanted"),
            (lambda: upload(b"x", content_type="multipart/form-data"), "enctype=multipart/form-data is wanted"),
            (lambda: upload(part("name=a", b"x"), end=b""), "ends in the middle"),
            (lambda: upload(b"no delimiter at all", end=b""), "ends in the middle"),
            (lambda: upload(part("name=" + "a" * 9000, b"x")), "more than 8192 bytes of headers"),
            (lambda: upload(part("name=" + "a" * 200_000, b"x")), "more than 8192 bytes of headers"),
            (lambda: upload(*[part("name=a", b"x")] * 101), "more than 100 parts"),
        ],
        ids=["text", "no boundary", "cut", "no part", "long head", "endless head", "parts"],
    )
    def test_what_is_no_form_is_refused_with_the_reason(self, send: Callable[[], str], complaint: str) -> None:
        assert complaint in send()

    def test_what_is_no_form_gives_a_400(self) -> None:
        response = call("upload.py", stdin=b"x", CONTENT_TYPE="text/plain")
        assert response.headers["Status"] == "400 Bad Request"
