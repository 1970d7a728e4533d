"""``gateway migrate``: what it says, what it writes, and the status with which it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import migrate as migrate_module
from gateway.cli.main import main

FLUP = "from flup.server.fcgi import WSGIServer\nfrom shop import app\n\nWSGIServer(app).run()\n"
OLD = "#!/usr/bin/python\nimport cgi, cgitb\ncgitb.enable()\nprint 'a'\nprint cgi.escape('b')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.fcgi").write_text(f"#!/usr/bin/python\n{FLUP}")
    (tmp_path / "old.cgi").write_text(OLD)
    (tmp_path / "new.py").write_text("import gateway\n")
    return tmp_path


def migrate(*words: str) -> Result:
    return CliRunner().invoke(main, ["migrate", *words])


def test_it_says_a_line_for_each_thing_and_one_for_the_file(folder: Path) -> None:
    result = migrate("old.cgi")
    assert (result.exit_code, result.output) == (1, (
        "old.cgi:3: cgitb.enable runs through gateway.compat: with legacy-cgi (pip install 'gateway[legacy]'); or "
        "without: gateway writes tracebacks to the error log, and no visitor sees them\n"
        "old.cgi:4: the print statement must change (also in 5): print() is a function; --write does it\n"
        "old.cgi:5: cgi.escape must change: html.escape(…, quote=False); --write does it\n"
        "old.cgi must change; it was written for Python 2, whose str is bytes: try what it reads and writes\n"
    ))  # fmt: skip
    assert (folder / "old.cgi").read_text() == OLD


def test_what_runs_through_compat_is_told_with_the_command(folder: Path) -> None:
    assert migrate("a.fcgi").output.endswith("\na.fcgi runs through gateway.compat: python -m gateway.compat a.fcgi\n")


def test_a_diff_is_shown_if_asked_and_is_a_patch(folder: Path) -> None:
    result = migrate("--diff", "a.fcgi")
    patch = result.output[result.output.index("---") : result.output.index("a.fcgi runs")]
    done = subprocess.run(["patch", "-s", "a.fcgi"], input=patch, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "a.fcgi").read_text().endswith("\ngateway.run(app, threads=50)\n")


def test_writing_edits_the_files_and_tells_what_is_left(folder: Path) -> None:
    result = migrate("--write", ".")
    assert result.exit_code == 1
    assert "+gateway.run(app, threads=50)\n" in result.output
    assert "./a.fcgi is done\n" in result.output
    assert "./old.cgi:4: the print statement must change (also in 5): print() is a function; done\n" in result.output
    assert "./old.cgi runs through gateway.compat: python -m gateway.compat ./old.cgi; it was written" in result.output
    assert sorted(os.listdir(folder)) == ["a.fcgi", "new.py", "old.cgi"]
    assert migrate("--write", "a.fcgi").output == "There is nothing to do in 1 file.\n"


def test_nothing_is_left_when_all_is_edited(folder: Path) -> None:
    assert migrate("--write", "--backup", "a.fcgi").exit_code == 0
    assert (folder / "a.fcgi.orig").read_text() == f"#!/usr/bin/python\n{FLUP}"


def test_nothing_to_do_is_told(folder: Path) -> None:
    result = migrate("new.py", "new.py")
    assert (result.exit_code, result.output) == (0, "There is nothing to do in 2 files.\n")


def test_a_file_that_cannot_be_read_or_written_does_not_stop_the_others(folder: Path) -> None:
    (folder / "a.py").write_bytes(b"# 1\n# 2\n# \xe9\n")
    (folder / "b.cgi").write_text("a b c\n")
    (folder / "old.cgi").chmod(0o444)
    result = migrate("--write", "a.py", "b.cgi", "old.cgi", "a.fcgi")
    assert result.exit_code == 1
    assert "a.py: not read: line 3 is not in utf-8; name its encoding in a comment in line 1 or 2" in result.output
    assert "b.cgi: neither Python 3 nor Python 2 can read it (line 1: invalid syntax)" in result.output
    assert "old.cgi: not written: it is read-only; have it writable, chmod u+w say, and repeat\n" in result.output
    assert "a.fcgi is done\n" in result.output
    assert (folder / "old.cgi").read_text() == OLD


def test_json_tells_all(folder: Path) -> None:
    result = migrate("--json", "a.fcgi", "new.py")
    flup, new = json.loads(result.output)
    assert result.exit_code == 1
    assert (flup["path"], flup["python"], flup["verdict"], flup["problem"], flup["written"]) == (
        "a.fcgi", 3, "runs through gateway.compat", "", False
    )  # fmt: skip
    assert flup["findings"] == [{
        "line": 5, "what": "flup.server.fcgi.WSGIServer", "verdict": "runs through gateway.compat",
        "advice": "gateway.run(app), or gateway.serve(app, bind=…) if it has an address", "edit": True,
    }]  # fmt: skip
    assert "\n+gateway.run(app, threads=50)\n" in flup["diff"]
    assert (new["verdict"], new["findings"], new["diff"]) == ("runs as it is", [], "")


def test_json_tells_what_was_written(folder: Path) -> None:
    result = migrate("--json", "--write", "a.fcgi")
    assert (result.exit_code, json.loads(result.output)[0]["written"]) == (0, True)


def test_a_command_in_a_shell_script_is_no_script_for_compat(folder: Path) -> None:
    (folder / "start.sh").write_text("exec ./manage.py runfcgi port=80\n")
    assert migrate("start.sh").output.endswith("\nstart.sh runs through gateway.compat\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--backup", "new.py"], "--backup is for --write: nothing is changed without it"),
        (["nowhere"], "'nowhere' does not exist"),
        ([], "Missing argument 'FILE|DIR...'"),
    ],
)
def test_a_mistake_says_what_to_do(folder: Path, words: list[str], complaint: str) -> None:
    result = migrate(*words)
    assert (result.exit_code, complaint in result.output) == (2, True), result.output


def test_without_the_extra_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway.migrate.report", raising=False)
    monkeypatch.setitem(sys.modules, "libcst", None)
    result = migrate("new.py")
    assert result.exit_code == 2
    assert "libcst is missing, which reads code: pip install 'gateway[migrate]'" in result.output


def test_a_terminal_gets_the_diff_in_colours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(migrate_module, "_is_terminal", lambda: True)
    output = migrate("--diff", "a.fcgi").output
    assert "\x1b[" in output
    assert "gateway.run(app, threads=50)" in output.replace("\x1b[0m", "")
