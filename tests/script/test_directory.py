"""CGIDirectory: a cgi-bin as one WSGI application."""

from __future__ import annotations

import email.utils
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

import gateway
from gateway.errors import ConfigError
from gateway.script import CGIDirectory
from tests.house import ROOT
from tests.script.conftest import Program
from tests.wsgi_calls import ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

PROGRAMS = ROOT / "tests" / "programs"
MISSING = "its interpreter {} is missing or not executable"
PLAIN = "echo Content-Type: text/plain; echo;"


def test_is_public() -> None:
    assert gateway.CGIDirectory is CGIDirectory


class TestProgram:
    def test_is_told_how_the_path_divides(self) -> None:
        app = CGIDirectory(PROGRAMS, interpreters={".py": [sys.executable]})
        told = ask(app, "/dump.py/a b", SCRIPT_NAME="/cgi-bin", QUERY_STRING="q=1").json
        expected = {
            "SCRIPT_NAME": "/cgi-bin/dump.py", "PATH_INFO": "/a b", "QUERY_STRING": "q=1",
            "SCRIPT_FILENAME": str(PROGRAMS / "dump.py"), "REQUEST_URI": "/cgi-bin/dump.py/a%20b?q=1",
        }  # fmt: skip
        assert expected.items() <= told["environ"].items()
        assert told["cwd"] == str(PROGRAMS)

    def test_knows_the_document_root_at_the_root_of_the_site(self) -> None:
        app = CGIDirectory(PROGRAMS, interpreters={".py": [sys.executable]})
        environ = ask(app, "/dump.py/x").json["environ"]
        assert (environ["DOCUMENT_ROOT"], environ["PATH_TRANSLATED"]) == (str(PROGRAMS), str(PROGRAMS / "x"))
        assert "DOCUMENT_ROOT" not in ask(app, "/dump.py", SCRIPT_NAME="/m").json["environ"]

    def test_passes_webtests_lint(self) -> None:
        app = TestApp(CGIDirectory(PROGRAMS, interpreters={".py": [sys.executable]}))
        assert app.get("/dump.py/x?two+words").json["argv"] == ["two", "words"]
        assert app.post("/dump.py", {"name": "value"}).json["stdin"] == "name=value"

    def test_is_known_by_its_extension_in_any_case(self, tmp_path: Path) -> None:
        (tmp_path / "page.Sh").write_text(PLAIN + "echo run")
        assert ask(CGIDirectory(tmp_path, interpreters={".SH": ["sh"]}), "/page.Sh").body == b"run\n"

    def test_answers_for_its_directory(self, program: Program, tmp_path: Path) -> None:
        program(PLAIN + 'echo "$SCRIPT_NAME|$PATH_INFO"', name="app/index.cgi")
        assert ask(CGIDirectory(tmp_path), "/app/", SCRIPT_NAME="/m").body == b"/m/app/index.cgi|\n"

    def test_redirects_to_another_in_the_same_directory(self, program: Program, tmp_path: Path) -> None:
        program("echo Location: /m/b.cgi/x?q=1; echo", name="a.cgi")
        program(PLAIN + 'echo "$SCRIPT_NAME $PATH_INFO $QUERY_STRING"', name="b.cgi")
        assert ask(CGIDirectory(tmp_path), "/a.cgi", SCRIPT_NAME="/m").body == b"/m/b.cgi /x q=1\n"

    def test_redirects_out_of_the_directory_by_the_visitor(self, program: Program, tmp_path: Path) -> None:
        program("echo Location: /elsewhere; echo", name="a.cgi")
        answer = ask(CGIDirectory(tmp_path), "/a.cgi", SCRIPT_NAME="/m", check=False)
        assert (answer.status, answer.headers) == ("302 Found", {"Location": "/elsewhere"})

    def test_is_run_as_a_pattern_of_its_name_says(
        self, program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        program(PLAIN + "echo spawned")
        program(PLAIN, name="program.sh")
        app = CGIDirectory(tmp_path, execution={"*.cgi": "spawn"})
        assert ask(app, "/program.cgi").body == b"spawned\n"
        assert ask(app, "/program.sh").status == "500 Internal Server Error"
        assert "no pattern of execution= fits its name" in caplog.text


class TestRefusal:
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/nothing", "404 Not Found"),
            ("/../outside", "404 Not Found"),
            ("/program.cgi~", "404 Not Found"),
            ("/notes.txt", "404 Not Found"),
            ("/lib.pl", "403 Forbidden"),
        ],
    )
    def test_is_a_clean_page(
        self, program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, status: str
    ) -> None:
        program("", name="program.cgi~")
        program("", name="lib.pl").chmod(0o644)
        (tmp_path / "notes.txt").touch()
        answer = ask(CGIDirectory(tmp_path), path)
        assert answer.status == status
        assert answer.body.decode() == f"{status}\n"
        assert len(caplog.records) == 1

    def test_of_a_program_that_others_could_have_written(
        self, program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = CGIDirectory(tmp_path, check_owner=True)
        tmp_path.chmod(0o755)
        path = program(PLAIN + "echo mine")
        assert ask(app, "/program.cgi").body == b"mine\n"
        path.chmod(0o775)
        assert ask(app, "/program.cgi").status == "403 Forbidden"
        assert f"check_owner refuses it: others than its owner may write it: chmod go-w {path}" in caplog.text


class TestFolder:
    @pytest.mark.parametrize(
        ("path", "location"), [("/app", "/m/app/?q=%2F"), ("//app", "/m/app/?q=%2F"), ("/a b", "/m/a%20b/?q=%2F")]
    )
    def test_without_its_slash_is_a_redirect(
        self, program: Program, tmp_path: Path, path: str, location: str
    ) -> None:
        program(PLAIN, name="app/index.cgi")
        program(PLAIN, name="a b/index.cgi")
        answer = ask(CGIDirectory(tmp_path), path, SCRIPT_NAME="/m", QUERY_STRING="q=%2F", check=False)
        assert (answer.status, answer.headers["Location"]) == ("301 Moved Permanently", location)

    def test_cannot_lead_to_another_site(self, program: Program, tmp_path: Path) -> None:
        program(PLAIN, name="example.org/index.cgi")
        answer = ask(CGIDirectory(tmp_path), "//example.org", check=False)
        assert answer.headers["Location"] == "/example.org/"


class TestStaticFile:
    @pytest.fixture
    def app(self, tmp_path: Path) -> CGIDirectory:
        (tmp_path / "style.css").write_bytes(b"x" * 100_000)
        os.utime(tmp_path / "style.css", (0, 1_000_000_000))
        return CGIDirectory(tmp_path, static=True)

    def test_is_served_with_its_type_and_date(self, app: CGIDirectory) -> None:
        answer = ask(app, "/style.css")
        assert answer[:3] == (
            "200 OK",
            {"Content-Type": "text/css", "Content-Length": "100000", "Last-Modified": "Sun, 09 Sep 2001 01:46:40 GMT"},
            b"x" * 100_000,
        )

    def test_is_not_sent_for_head(self, app: CGIDirectory) -> None:
        answer = ask(app, "/style.css", REQUEST_METHOD="HEAD")
        assert (answer.headers["Content-Length"], answer.body) == ("100000", b"")

    @pytest.mark.parametrize(
        ("since", "status"),
        [
            (1_000_000_000, "304 Not Modified"),
            (1_000_000_001, "304 Not Modified"),
            (999_999_999, "200 OK"),
            ("yesterday", "200 OK"),
            ("Thu, 01 Jan 99999 00:00:00 GMT", "200 OK"),
        ],
    )
    def test_is_not_sent_again_unless_it_changed(self, app: CGIDirectory, since: int | str, status: str) -> None:
        date = since if isinstance(since, str) else email.utils.formatdate(since, usegmt=True)
        assert ask(app, "/style.css", HTTP_IF_MODIFIED_SINCE=date, check=False).status == status

    def test_takes_no_post(self, app: CGIDirectory) -> None:
        answer = ask(app, "/style.css", REQUEST_METHOD="POST", body=b"x", check=False)
        assert (answer.status, answer.headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")

    def test_is_handed_to_a_server_that_sends_files_itself(self, app: CGIDirectory) -> None:
        taken: list[Any] = []

        def wrapper(file: Any) -> list[bytes]:
            taken.append(file)
            return [b"sent by the server"]

        assert ask(app, "/style.css", **{"wsgi.file_wrapper": wrapper}, check=False).body == b"sent by the server"
        taken[0].close()

    def test_that_we_may_not_read_is_forbidden(
        self, app: CGIDirectory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: str, mode: str) -> Any:  # root may read any file
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr("gateway.script.static.open", refuse, raising=False)
        assert ask(app, "/style.css").status == "403 Forbidden"
        assert "cannot be read (Permission denied): chmod +r" in caplog.text

    def test_is_closed_if_the_server_refuses_the_head(self, app: CGIDirectory) -> None:
        def refuse(status: str, headers: object) -> None:
            raise ValueError("no such status")

        with pytest.raises(ValueError, match="no such status"):
            app({"REQUEST_METHOD": "GET", "PATH_INFO": "/style.css"}, refuse)

    def test_is_the_target_of_a_local_redirect(self, app: CGIDirectory, program: Program) -> None:
        program("echo Location: /style.css; echo", name="a.cgi")
        assert ask(app, "/a.cgi").headers["Content-Type"] == "text/css"


class TestInspect:
    def test_lists_every_program_with_what_is_wrong(self, program: Program, tmp_path: Path) -> None:
        program("", name="a.cgi")
        program("", name="sub/b.pl").chmod(0o644)
        program("", name="sub/c.php")
        program("", name=".git/hook")
        program("", name="a.cgi~")
        (tmp_path / "notes.txt").touch()
        (tmp_path / "crlf.cgi").write_bytes(b"#!/bin/sh\r\n")
        (tmp_path / "crlf.cgi").chmod(0o755)
        (tmp_path / "lost.cgi").write_bytes(b"#!/usr/bin/env no-such-perl\n")
        (tmp_path / "lost.cgi").chmod(0o755)
        (tmp_path / "true").symlink_to("/bin/true")
        app = CGIDirectory(tmp_path, interpreters={".php": ["no-such-php", "-q"]})
        found = {row.url: (row.interpreter, row.execution, row.problem.partition(":")[0]) for row in app.inspect()}
        assert found == {
            "/a.cgi": ("/bin/sh", "spawn", ""),
            "/crlf.cgi": ("/bin/sh", "spawn", "its #! line ends in CR LF, and the CR is taken for a part of the name"),
            "/lost.cgi": ("/usr/bin/env no-such-perl", "spawn", MISSING.format("no-such-perl")),
            "/sub/b.pl": ("", "", "it is not executable"),
            "/sub/c.php": ("no-such-php -q", "spawn", MISSING.format("no-such-php")),
            "/true": ("", "", f"it leads out of {tmp_path}, to {os.path.realpath('/bin/true')}"),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("root", "options", "complaint"),
    [
        ("/no/such", {}, "is no directory"),
        (".", {"interpreters": {"pl": ["perl"]}}, r"write '\.pl'"),
        (".", {"execution": "swawn"}, "no execution is called 'swawn'; there are: spawn, fork, inprocess"),
        (".", {"user": "no-such-user"}, "create it, or name another"),
        (".", {"group": "no-such-group"}, "create it, or name another"),
    ],
)
def test_a_mistake_is_a_config_error(
    root: str, options: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigError, match=complaint):
        CGIDirectory(root, **options)


def test_only_root_may_name_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="only root may run programs as another"):
        CGIDirectory(".", user="nobody")


def test_its_repr_tells_the_directory() -> None:
    assert repr(CGIDirectory("/bin")) == "<CGIDirectory '/bin'>"
