"""wfastcgi's environment variables and Web.config, without IIS: its part of the conversation is not spoken here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gateway.client import Client
from gateway.compat import wfastcgi
from gateway.errors import ConfigError, LoadError
from tests.compat.scripts import CGI, body_of, run, spawned
from tests.masters import environment

SITE = """\
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = ['SCRIPT_NAME', 'PATH_INFO', 'wsgi.multiprocess', 'wsgi.multithread']
    return [repr([os.getpid(), os.environ.get('SETTING')] + [environ[name] for name in names]).encode()]
def factory():
    return application
"""
WEB_CONFIG = """\
<configuration>
  <system.webServer><handlers><add name="Python FastCGI" path="*" verb="*" /></handlers></system.webServer>
  <appSettings>
    <add key="WSGI_HANDLER" value="mysite.app.factory()" />
    <add key="PYTHONPATH" value="%ROOT%/lib;" />
    <add key="SETTING" value="from Web.config" />
    <add key="WSGI_LOG" value="{folder}/site.log" />
    <add key="APPINSIGHTS_INSTRUMENTATIONKEY" value="x" />
  </appSettings>
</configuration>
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site as wfastcgi's documentation has it."""
    package = tmp_path / "site" / "lib" / "mysite"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "app.py").write_text(SITE)
    (tmp_path / "site" / "web.config").write_text(WEB_CONFIG.format(folder=tmp_path))
    (tmp_path / "wfastcgi.py").write_text("from wfastcgi import main\nmain()\n")
    return tmp_path / "site"


def variables(site: Path) -> dict[str, str]:
    return environment(site.parent) | {"ROOT": str(site), "APPL_PHYSICAL_PATH": str(site)}


def started(site: Path) -> AbstractContextManager[tuple[subprocess.Popen[bytes], Client]]:
    """The site, started with its socket as descriptor 0."""
    return spawned(site.parent / "wfastcgi.py", directory=site.parent, environ=variables(site))


def test_the_settings_of_web_config_are_the_environment(site: Path) -> None:
    with started(site) as (process, client):
        told = client.request("GET", "/x")[2].decode()
    assert told == repr([process.pid, "from Web.config", "", "/x", True, False])


def test_it_is_a_program_too(site: Path) -> None:
    by = (sys.executable, "-m", "gateway.compat.wfastcgi")
    with spawned(site.parent / "wfastcgi.py", directory=site.parent, by=by, environ=variables(site)) as (_, client):
        assert client.request("GET", "/x")[0] == "200 OK"


def test_the_log_says_what_is_not_served(site: Path) -> None:
    with started(site) as (_, client):
        client.request("GET", "/x")
    assert "APPINSIGHTS_INSTRUMENTATIONKEY is not served here: wrap the application in" in (
        site.parent / "site.log"
    ).read_text()  # fmt: skip


def test_a_changed_file_ends_the_process(site: Path) -> None:
    with started(site) as (process, client):
        client.request("GET", "/x")
        os.utime(site / "lib" / "mysite" / "app.py", (2**31, 2**31))
        assert process.wait(20) == 0


def test_an_empty_pattern_watches_no_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGI_RESTART_FILE_REGEX", "")
    os.utime(site / "web.config", (2**31, 2**31))
    assert list(wfastcgi.Server(print, str(site))._changed()) == []


def test_only_files_of_the_pattern_are_watched(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGI_RESTART_FILE_REGEX", r".*\.txt$")
    for name in ("a.txt", "b.py"):
        (site / name).touch()
        os.utime(site / name, (2**31, 2**31))
    assert list(wfastcgi.Server(print, str(site))._changed()) == [str(site / "a.txt")]


def test_sighup_ends_it_too(site: Path) -> None:
    with started(site) as (process, client):
        client.request("GET", "/x")
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == 0


@pytest.mark.parametrize(("settings", "split"), [
    ({}, ["", "/app/x"]),
    ({"SCRIPT_NAME": "/APP"}, ["/APP", "/x"]),
    ({"AllowPathInfoForScriptMappings": "1"}, ["/app", "/x"]),
])  # fmt: skip
def test_the_path_is_divided_as_wfastcgi_does_it(
    site: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], split: list[str]
) -> None:
    environ = {"SCRIPT_NAME": "/app", "PATH_INFO": "/x", "HTTP_X_ORIGINAL_URL": "/what/a/visitor/says"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    wfastcgi.Server(lambda environ, start_response: [], str(site)).application(environ, print)
    assert [environ["SCRIPT_NAME"], environ["PATH_INFO"]] == split


def test_by_cgi_it_answers_one_request(site: Path) -> None:
    done = run(site.parent / "wfastcgi.py", directory=site.parent, environ=CGI | variables(site))
    assert "'from Web.config', '', '/app/'" in body_of(done)


@pytest.mark.parametrize(("name", "found"), [
    ("wsgiref.simple_server.demo_app", "demo_app"), ("logging.getLogger().warning", "warning"),
    ("email.message.Message().get_all", "get_all"),
])  # fmt: skip
def test_a_handler_is_a_dotted_name_with_calls(name: str, found: str) -> None:
    assert wfastcgi.get_wsgi_handler(name).__name__ == found


@pytest.mark.parametrize("name", ["", "application", "none.such", "no.such.module()"])
def test_a_handler_that_is_none_says_what_to_write(name: str) -> None:
    with pytest.raises(LoadError, match=r"write module.application, or module.factory\(\)"):
        wfastcgi.get_wsgi_handler(name)


def test_an_import_that_fails_within_the_application_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lacking.py").write_text("import surely_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="surely_not_there"):
        wfastcgi.get_wsgi_handler("lacking.application")


def test_a_site_without_web_config_has_no_settings(tmp_path: Path) -> None:
    assert wfastcgi.read_settings(str(tmp_path)) == {}


def test_on_windows_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.compat.wfastcgi.os.name", "nt")
    with pytest.raises(SystemExit, match="IIS hands its FastCGI programs a named pipe"):
        wfastcgi.main()


def test_enabling_it_in_iis_is_refused() -> None:
    with pytest.raises(ConfigError, match="IIS, where gateway does not run"):
        wfastcgi.enable()
