"""``gateway new``: what it writes is served by Apache, with Authorization and without its name; what fails is named."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import main
from gateway.cli.new import SHEBANG_SIZE, shebang
from gateway.errors import ConfigError
from gateway.script.diagnosis.trial import ENVIRONMENT
from tests import virtual_environment
from tests.peers.frontends.checks import PATHS, FrontEnd, Requests
from tests.peers.frontends.servers import APP, Site, apache

ME = pwd.getpwuid(os.geteuid()).pw_name
AGAIN = "env -i PATH={PATH} LANG={LANG} REQUEST_METHOD=GET QUERY_STRING= ".format(**ENVIRONMENT)

SHOP = """
import sys

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    print("asked", file=environ["wsgi.errors"])
    return ["Zoë at ".encode(), environ["PATH_INFO"].encode()]

def make(name):
    def named(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [name.encode()]
    return named

class site:
    inner = staticmethod(application)

def failing(environ, start_response):
    raise ValueError("on purpose")

def slow(environ, start_response):
    import threading
    threading.Event().wait()

def picture(environ, start_response):
    start_response("200 OK", [("Content-Type", "image/png")])
    return [b"\\x89PNG"]
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a virtual environment that has this checkout, without anything in the environment."""
    return virtual_environment.make(tmp_path_factory.mktemp("venv").resolve())


@pytest.fixture
def site(tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command is given: beside the application."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", python)
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def new(kind: str, *words: str) -> Result:
    return CliRunner().invoke(main, ["new", kind, "--user", ME, *words])


@pytest.mark.parametrize("kind", ["cgi", "fcgi"])
def test_a_new_script_is_tried_and_its_page_shown(site: Path, kind: str, python: str) -> None:
    result = new(kind, "shop:application")
    assert (result.exit_code, result.output) == (0, (
        f"dispatch.{kind}: written, executable, for {python}\n"
        f".htaccess: written, hides the name of dispatch.{kind}, and hands on Authorization\n"
        "A visitor gets:\n\n"
        "HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\n\nZoë at /\n"
    ))  # fmt: skip


def test_the_script_is_executable_text_without_cr(site: Path, python: str) -> None:
    before = os.umask(0o077)
    try:
        new("cgi", "shop:application")
    finally:
        os.umask(before)
    script = site / "dispatch.cgi"
    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    assert stat.S_IMODE((site / ".htaccess").stat().st_mode) == 0o644
    assert script.read_bytes() == (
        f"#!{python}\n"
        "# shop:application by CGI: the web server runs it for each request.  Written by gateway new.\n\n"
        "import sys\n\n"
        f"sys.path.insert(0, {str(site)!r})\n\n"
        "import gateway\n"
        "from shop import application\n\n"
        "gateway.run(application)\n"
    ).encode()


@pytest.mark.parametrize(
    ("app", "line", "page"),
    [
        ("shop:make('tea')", "from shop import make\n\ngateway.run(make('tea'))\n", "tea"),
        ("shop:site.inner", "from shop import site\n\ngateway.run(site.inner)\n", "Zoë at /"),
        ("shop.py:application", "from shop import application\n\ngateway.run(application)\n", "Zoë at /"),
        ("the-shop.wsgi:application", "gateway.run(load('{site}/the-shop.wsgi:application'))\n", "Zoë at /"),
    ],
)
def test_an_application_is_named_as_for_fcgi_run(site: Path, app: str, line: str, page: str) -> None:
    (site / "the-shop.wsgi").write_text(SHOP)
    result = new("cgi", app, "--output", "shop.cgi")
    assert result.output.endswith(f"\n\n{page}\n")
    assert (site / "shop.cgi").read_text().endswith(line.format(site=site))


@pytest.mark.parametrize("kind", ["cgi", "fcgi"])
@pytest.mark.parametrize(
    ("app", "fault"),
    [
        ("no_such_shop:app", "its Python lacks no_such_shop: {python} -m pip install no_such_shop"),
        ("shop:aplication", "cannot import name 'aplication' from 'shop'"),
        (
            "shop:failing",
            "it answers 500 Internal Server Error of its own accord, saying 'ValueError: on purpose': "
            f"read what it says: {AGAIN}./dispatch",
        ),
        ("shop:slow", "it has said nothing within 1 s, and was ended: find out what it waits for"),
    ],
)
def test_a_fault_is_told_in_the_words_of_the_doctor(site: Path, python: str, kind: str, app: str, fault: str) -> None:
    result = new(kind, app, "--timeout", "1" if "slow" in app else "20")
    assert result.exit_code == 1
    assert f"dispatch.{kind}: {'' if 'import name' in fault else fault.format(python=python)}" in result.output
    assert fault.format(python=python) in result.output


@pytest.mark.parametrize("kind", ["cgi", "fcgi"])
def test_a_python_that_is_none_is_told(site: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "python").write_bytes(b"\x7fELF of another machine")
    (site / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(site / "python"))
    result = new(kind, "shop:application")
    assert result.exit_code == 1
    assert f"Error: {site}/dispatch.{kind}: " in result.output


def test_a_page_that_is_no_text_is_counted(site: Path) -> None:
    assert new("fcgi", "shop:picture").output.endswith("\n\n(4 bytes that are no text)\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run what others are to run")
def test_rights_are_judged_as_the_web_servers(site: Path) -> None:
    result = CliRunner().invoke(main, ["new", "fcgi", "shop:application"])
    assert result.exit_code == 1
    assert "dispatch.fcgi: a web server may not enter " in result.output


@pytest.mark.parametrize("there", ["dispatch.cgi", ".htaccess"])
def test_nothing_is_overwritten_unless_forced(site: Path, there: str) -> None:
    (site / there).write_text("mine\n")
    result = new("cgi", "shop:application")
    assert (result.exit_code, (site / there).read_text()) == (2, "mine\n")
    assert f"{there} is there already: --force replaces it" in result.output
    assert len(list(site.glob("*.cgi")) + list(site.glob(".ht*"))) == 1
    assert new("cgi", "shop:application", "--force").exit_code == 0
    assert (site / there).read_text() != "mine\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["shop"], "'shop' does not say what to serve: name it after a colon, as in shop.wsgi:application"),
        (["shop:1"], "does not say what to serve"),
        (["shop:a b"], "does not say what to serve"),
        (["shop:app", "--output", "my shop.cgi"], "name it with letters, digits and . - _ alone"),
        (["shop:app", "--output", "nowhere/shop.cgi"], "No such file or directory; name a directory"),
        (["shop:app", "--user", "no-such-user"], "there is no user 'no-such-user'"),
    ],
)
def test_a_mistake_says_what_to_do(site: Path, words: list[str], complaint: str) -> None:
    result = new("cgi", *words)
    assert (result.exit_code, complaint in result.output) == (2, True), result.output


@pytest.mark.parametrize("place", ["my venv", "v" * SHEBANG_SIZE])
def test_a_python_at_a_long_path_or_with_a_space_is_named_by_a_shell(
    site: Path, place: str, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / place).mkdir()
    (site / place / "python").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    (site / place / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(site / place / "python"))
    assert new("cgi", "shop:application").output.endswith("Zoë at /\n")
    first, second, third, *_ = (site / "dispatch.cgi").read_text().splitlines()
    assert (first, second, third) == ("#!/bin/sh", f"'''exec' \"{site / place / 'python'}\" \"$0\" \"$@\"", "'''")


def test_a_shebang_ends_within_what_old_kernels_read() -> None:
    longest = "/" + "p" * (SHEBANG_SIZE - 4)
    assert shebang(longest) == f"#!{longest}"
    assert len(shebang(longest) + "\n") == SHEBANG_SIZE
    assert shebang(longest + "p").startswith("#!/bin/sh\n")


def test_a_python_that_no_shell_line_can_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="elsewhere"):
        shebang("/it's a venv/bin/python")


@contextmanager
def served(directory: Path, kind: str, python: str) -> Iterator[Site]:
    """The application of the front ends, by what is written for it, under Apache with ``AllowOverride All``."""
    folder = directory / "htdocs" / "app"
    folder.mkdir(parents=True)
    (folder / "style.css").write_text("body { }\n", "utf-8")
    command = [python, "-m", "gateway", "new", kind, "app:application", "--user", ME, "--output", f"{folder}/x.{kind}"]
    subprocess.run(command, check=True, cwd=APP.parent, timeout=60, capture_output=True)
    with apache(directory, f"AllowEncodedSlashes NoDecode\nDocumentRoot {folder.parent}") as site:
        yield site


class TestAsCGI(FrontEnd):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, tmp_path_factory: pytest.TempPathFactory, python: str) -> Iterator[Site]:
        with served(tmp_path_factory.mktemp("cgi"), "cgi", python) as site:
            yield site

    @pytest.mark.parametrize("target", ["/app/", "/app/c%2Fd"])
    def test_the_scripts_name_is_hidden(self, site: Site, target: str) -> None:
        told = site.get(target).json()
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/app", PATHS[target])

    def test_credentials_reach_the_application(self, site: Site) -> None:
        assert site.get("/app/", [("Authorization", "Basic dTpw")]).json()["HTTP_AUTHORIZATION"] == "Basic dTpw"

    def test_a_file_of_the_folder_is_served_by_apache(self, site: Site) -> None:
        assert site.get("/app/style.css").body == b"body { }\n"


class TestAsFastCGI(Requests):
    """Among the requests are those for hidden names and for credentials."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, tmp_path_factory: pytest.TempPathFactory, python: str) -> Iterator[Site]:
        with served(tmp_path_factory.mktemp("fcgi"), "fcgi", python) as site:
            yield site

    @pytest.mark.parametrize(("target", "path"), [pair for pair in PATHS.items() if pair[0] != "/app"])
    def test_the_path_is_split_and_decoded(self, site: Site, target: str, path: str) -> None:
        super().test_the_path_is_split_and_decoded(site, target, path)

    def test_a_process_serves_again(self, site: Site) -> None:
        assert len({site.get("/app/").json()["pid"] for _ in range(20)}) < 20
