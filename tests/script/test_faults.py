"""A CGI program at fault: a clean page for the visitor, one log line with the fault and the fix for the operator."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.limits import Limits
from gateway.script import CGIScript
from tests.wsgi_calls import ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

SH = b"#!/bin/sh\n"

# The program, what the visitor gets, what the log says.
BROKEN = {
    "missing interpreter": (b"#!/no/such/perl -w\n", "500", "its interpreter /no/such/perl -w is missing"),
    "CR LF": (b"#!/bin/sh\r\necho\r\n", "500", "ends in CR LF, and the CR is taken for a part of the name: sed -i"),
    "CR LF for env": (b"#!/usr/bin/env sh\r\necho\r\n", "502", "127 before its head was whole; its #! line ends"),
    "no #! line": (b"echo\n", "500", "neither begins with #! nor is a program"),
    "BOM": (b"\xef\xbb\xbf#!/bin/sh\n", "500", "its very first bytes"),
    "not of this machine": (b"\x7fELF of another", "500", "neither begins with #! nor is a program"),
    "nothing": (SH, "502", "the response is empty"),
    "no blank line": (SH + b"echo Content-Type: text/plain", "502", "no blank line ends the head; it began with"),
    "no header": (SH + b"echo; echo body", "502", "at least one header line must come before the blank line"),
    "no head": (SH + b"echo '<html>'; echo", "502", "'<html>' is no header line"),
    "endless head": (SH + b"yes 'X-Header: x'", "502", "head_size=4096 exceeded by its head: let it write a"),
    "closed stdout": (SH + b"exec >&-; sleep 60", "502", "the response is empty"),
    "exit status": (SH + b"echo oops >&2; exit 3", "502", "status 3 before its head was whole; its last words"),
    "signal": (SH + b"kill -ABRT $$", "502", "died by signal 6 (Aborted) before its head was whole"),
    "bad status": (SH + b"echo Status: fine; echo", "502", "status 'fine' does not begin with three digits"),
    "no final status": (SH + b"echo Status: 100 Continue; echo", "502", "'100 Continue' is no final answer"),
    "bad length": (SH + b"echo Content-Length: many; echo", "502", "Content-Length 'many' is not a number"),
    "import error": (
        SH + b"echo \"ModuleNotFoundError: No module named 'cgi'\" >&2; exit 1", "502",
        "import error: its Python lacks cgi, as 3.13 does: pip install legacy-cgi",
    ),
    "import error in Python": (
        f"#!{sys.executable} -I\nimport no_such_module\n".encode(), "502",
        f"import error: its Python lacks no_such_module: {sys.executable} -m pip install no_such_module",
    ),
    "import error in Perl": (
        SH + b"echo \"Can't locate CGI.pm in @INC (@INC ...) at x line 1.\" >&2; exit 2", "502",
        "status 2 before its head was whole; import error: its Perl lacks CGI.pm: cpan CGI",
    ),
    "env finds nothing": (
        b"#!/usr/bin/env no-perl\n", "502", "127 before its head was whole; its interpreter no-perl is missing"
    ),
    "no name after #!": (b"#!\n", "500", "its first line names no interpreter after #!"),
    "chunked": (SH + b"echo Transfer-Encoding: chunked; echo", "502", "let it write the body as it is"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "status", "logged"), BROKEN.values(), ids=BROKEN)
def test_a_fault_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: bytes, status: str, logged: str
) -> None:
    path = tmp_path / "program.cgi"
    path.write_bytes(text)
    path.chmod(0o755)
    answer = ask(CGIScript(path, limits=Limits(head_size=4096)))
    assert (answer.status[:3], answer.body) == (status, f"{answer.status}\n".encode())
    (record,) = caplog.records
    assert record.name == "gateway.script"
    assert record.getMessage().startswith(f"{path}: ")
    assert logged in record.getMessage()


MISCONFIGURED: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "no such file": ("nowhere.cgi", {}, "404 Not Found", "there is no such file"),
    "a directory": (".", {}, "404 Not Found", "there is no such file"),
    "not executable": ("program.cgi", {}, "500 Internal Server Error", "not executable: chmod +x"),
    "no such cwd": ("program.cgi", {"cwd": "/no/such"}, "500 Internal Server Error", "cannot be started in /no/such"),
    "no such interpreter": (
        "program.cgi", {"interpreter": ["no-perl"]}, "500 Internal Server Error", "interpreter no-perl is missing"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "options", "status", "logged"), MISCONFIGURED.values(), ids=MISCONFIGURED)
def test_a_misconfiguration_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, options: dict[str, Any], status: str, logged: str
) -> None:
    (tmp_path / "program.cgi").write_bytes(SH)
    assert ask(CGIScript(tmp_path / name, **options)).status == status
    assert logged in caplog.text


def test_a_request_longer_than_an_environment_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = CGIScript("/bin/true")
    assert ask(app, HTTP_COOKIE="x" * 1_000_000).status == "431 Request Header Fields Too Large"
    assert "longer than the system lets an environment be" in caplog.text


def test_a_system_short_of_descriptors_is_named(caplog: pytest.LogCaptureFixture) -> None:
    next_descriptor = os.dup(0)
    os.close(next_descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_descriptor, hard))
    try:
        answer = ask(CGIScript("/bin/true"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answer.status == "503 Service Unavailable"
    assert "raise the limit of processes, descriptors or memory" in caplog.text


def test_the_page_for_head_is_empty() -> None:
    answer = ask(CGIScript("/no/such.cgi"), REQUEST_METHOD="HEAD")
    assert (answer.status, answer.body) == ("404 Not Found", b"")
