"""What ``gateway compare`` takes a name for, and what it writes so that any server can serve it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.measure import target as the_target
from gateway.measure.load import ask
from gateway.measure.requests import Request
from gateway.measure.target import host, inherited, programs, recognize
from tests.house import ROOT

PYTHON = f"#!{sys.executable}\nimport os\nprint('Content-Type: text/plain\\n')\nprint(os.environ.get('COLOUR'))\n"
SHELL = "#!/bin/sh\necho 'Content-Type: text/plain'\necho\necho $COLOUR\n"


@pytest.fixture
def cgi_bin(tmp_path: Path) -> Path:
    """A directory with a program in Python, one for the shell, and a file that is none."""
    for name, text in {"a.py": PYTHON, "b.sh": SHELL}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "notes.txt").write_text("a note")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tests.measure.stateful:hello", "wsgi"),
        ("examples/hello.py:application", "wsgi"),
        ("examples/starlette_app/notes.py:app", "asgi"),
        ("examples/hello.py", "python"),
        ("cgi-bin", "python"),
        ("tests/programs/form.pl", "program"),
    ],
)
def test_a_name_is_recognized(name: str, kind: str) -> None:
    found = recognize(name, folder=str(ROOT))
    assert (found.kind, found.is_application) == (kind, kind in ("wsgi", "asgi"))


def test_a_directory_without_python_holds_programs(cgi_bin: Path) -> None:
    (cgi_bin / "a.py").unlink()
    assert repr(recognize(".", folder=str(cgi_bin))) == f"<Target '.' program in {str(cgi_bin)!r}>"


@pytest.mark.parametrize(
    ("name", "folder", "complaint"),
    [
        ("no_such_module:app", ".", "cannot load 'no_such_module:app'"),
        ("tests.measure.stateful:helo", ".", "did you mean tests.measure.stateful:hello?"),
        ("app:application", "no/such/folder", "start in a directory that exists"),
    ],
)
def test_what_cannot_be_loaded_says_why(name: str, folder: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        recognize(name, folder=str(ROOT / folder))
    assert complaint in str(caught.value)


def test_an_import_that_does_not_end_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "never")
    (tmp_path / "app.py").write_text("open('never').read()")
    monkeypatch.setattr(the_target, "LOAD_TIMEOUT", 0.5)
    with pytest.raises(ConfigError, match=r"is not loaded after 0\.5 s: find out what its import waits for"):
        recognize("app:application", folder=str(tmp_path))


def test_what_an_application_prints_at_its_import_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("print('asgi')\ndef application(environ, start_response): ...")
    assert recognize("app:application", folder=str(tmp_path)).kind == "wsgi"


def test_the_programs_of_a_directory_are_those_that_can_be_started(cgi_bin: Path) -> None:
    assert programs(str(cgi_bin)) == [str(cgi_bin / "a.py"), str(cgi_bin / "b.sh")]


@pytest.mark.parametrize("name", ["a.py", "b.sh"])
@pytest.mark.parametrize("directory", [True, False])
def test_programs_get_our_environment_and_more(cgi_bin: Path, name: str, *, directory: bool) -> None:
    app = host(str(cgi_bin if directory else cgi_bin / name), environment={"COLOUR": "blue"})
    answer = ask(app, Request("GET", f"/{name}" if directory else "/"))
    app.close()
    assert (answer.status, answer.body) == ("200 OK", b"blue\n")


def test_an_application_becomes_a_cgi_program(tmp_path: Path) -> None:
    script = recognize("tests.measure.stateful:hello", folder=str(ROOT)).write(tmp_path)
    app = host(script)
    answer = ask(app, Request("GET", "/?a+word"))
    app.close()
    assert (answer.fault, answer.body) == ("", b"hello\n")


def test_servers_inherit_the_environment_without_what_would_lead_them_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GUNICORN_CMD_ARGS", "GATEWAY_PROTOCOL", "FCGI_WEB_SERVER_ADDRS", "HTTP_PROXY", "DATABASE"):
        monkeypatch.setenv(name, "x")
    assert [name for name in inherited() if inherited()[name] == "x"] == ["DATABASE"]


def test_servers_find_this_package_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/lib/mine")
    once = inherited()
    assert once["PYTHONPATH"] == f"{ROOT}{os.pathsep}/lib/mine"
    monkeypatch.setattr(os, "environ", once)
    assert inherited() == once


def test_an_installed_package_is_found_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(the_target, "__file__", "/venv/lib/site-packages/gateway/measure/target.py")
    assert "PYTHONPATH" not in inherited()
