"""Dispatch files as public projects wrote them, and the projects themselves where they can be installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from gateway.script import CGIDirectory
from gateway.testing import serve_in_thread
from tests.compat.scripts import CGI, COMPAT, DISPATCH, body_of, run, spawned, started
from tests.masters import environment
from tests.requirements import require, require_module

TELL = """\
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain; charset=utf-8')])
    told = environ['SCRIPT_NAME'] + ' ' + environ['PATH_INFO'] + ' ' + environ.get('trac.env_path', '')
    return [told.encode('utf-8')]
"""
STAND_INS = {
    "trac/web/main.py": TELL + "dispatch_request = application\n",
    "MoinMoin/log.py": "from logging import getLogger\n",
    "MoinMoin/web/serving.py": TELL + "def make_application(shared):\n    return application\n",
    "radicale/__init__.py": TELL + "from radicale import log\ndef Application():\n    return application\n",
    "radicale/log.py": (
        "import logging\nLOGGER = logging.getLogger('radicale')\n"
        "def start():\n    logging.basicConfig(filename='radicale.log', level='INFO', format='%(message)s')\n"
    ),
    "viewvc.py": "def load_config(path, server):\n    return {}\ndef main(server, cfg):\n    server.write('a page')\n",
    "sapi.py": (
        "class WsgiServer:\n"
        "    def __init__(self, environ, start_response):\n"
        "        self.write = start_response('200 OK', [('Content-Type', 'text/html')])\n"
    ),
}  # fmt: skip
"""What the dispatch files of projects import that are of Python 2, or need more than a package: in a few lines."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-ins."""
    folder = tmp_path_factory.mktemp("library")
    for name, text in STAND_INS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for package in [parent for parent in path.parents if folder in parent.parents]:
            (package / "__init__.py").touch()
    return folder


def with_library(library: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(library), environment(library)["PYTHONPATH"]])}


def get(client: Client, path: str) -> bytes:
    status, _, body = client.request("GET", path)
    assert status == "200 OK", body
    return body


class TestDispatchFiles:
    """The files, unedited; the applications are stand-ins."""

    def test_trac(self, tmp_path: Path, library: Path) -> None:
        path = str(tmp_path / "s")
        environ = with_library(library)
        with started("trac.fcgi", path, directory=tmp_path, listens=[path], environ=environ):
            assert os.stat(path).st_mode & 0o777 == 0o770
            with Client(f"fastcgi://{path}") as client:
                assert get(client, "/wiki") == b" /wiki /srv/trac/env"

    def test_moinmoin(self, tmp_path: Path, library: Path) -> None:
        with spawned("moin.fcgi", directory=tmp_path, environ=with_library(library)) as (_, client):
            assert get(client, "/FrontPage") == b"/mywiki /FrontPage "

    def test_moinmoin_by_cgi(self, tmp_path: Path, library: Path) -> None:
        done = run("moin.fcgi", directory=tmp_path, environ=CGI | with_library(library))
        assert body_of(done) == "/mywiki / "

    def test_radicale_goes_on_after_the_end(self, tmp_path: Path, library: Path) -> None:
        with spawned("radicale.fcgi", directory=tmp_path, environ=with_library(library)) as (_, client):
            assert get(client, "/calendar") == b" /calendar "
        assert (tmp_path / "radicale.log").read_text().splitlines() == [
            "Starting Radicale FastCGI server", "Stopping Radicale FastCGI server"
        ]  # fmt: skip

    def test_viewvc(self, tmp_path: Path, library: Path) -> None:
        with spawned("viewvc.fcgi", directory=tmp_path, environ={"LIBRARY_DIR": str(library)}) as (_, client):
            assert get(client, "/") == b"a page"


class TestFrameworks:
    """Bottle and web.py as they are installed today, by their own adapters for flup and CGI."""

    def test_bottle_by_flup(self, tmp_path: Path) -> None:
        require_module("bottle", package="bottle")
        with spawned("bottle.fcgi", "flup", directory=tmp_path) as (_, client):
            assert get(client, "/hello/w%C3%B6rld") == "Hello wörld!".encode()
            assert client.request("POST", "/echo", body=b"\xff" * 100_000)[2] == b"\xff" * 100_000
            assert client.request("GET", "/none")[0] == "404 Not Found"

    def test_bottle_by_cgi(self, tmp_path: Path) -> None:
        require_module("bottle", package="bottle")
        environ = CGI | {"PATH_INFO": "/hello/world"}
        assert body_of(run("bottle.fcgi", "cgi", directory=tmp_path, environ=environ)) == "Hello world!"

    def test_web_py(self, tmp_path: Path) -> None:
        require_module("web", package="web.py")
        code = tmp_path / "code.py"  # it imports itself once more, and so wants such a name
        shutil.copy(DISPATCH / "webpy.fcgi", code)
        with spawned(code, directory=tmp_path) as (_, client):
            assert get(client, "/?name=you") == b"Hello, world! you"
            assert client.request("POST", "/", body=b"a body")[2] == b"a body"


class TestRoundup:
    """Roundup's WSGI application behind flup's name."""

    @pytest.fixture(scope="class")
    @classmethod
    def tracker(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A tracker as its administrator sets it up."""
        require_module("roundup", package="roundup")
        folder = tmp_path_factory.mktemp("roundup")
        admin = [sys.executable, "-m", "roundup.scripts.roundup_admin", "-i", str(folder / "tracker")]
        subprocess.run([*admin, "install", "minimal", "anydbm"], cwd=folder, check=True, capture_output=True)
        config = folder / "tracker" / "config.ini"
        text = config.read_text("utf-8")
        stated = {"web": "http://site.example/app/bugs/", "domain": "site.example", "host": "localhost"}
        for name, value in stated.items():
            text = text.replace(f"#{name} = NO DEFAULT", f"{name} = {value}")
        config.write_text(text, "utf-8")
        subprocess.run([*admin, "initialise", "secret"], cwd=folder, check=True, capture_output=True)
        return folder / "tracker"

    def test_it_shows_its_tracker(self, tmp_path: Path, tracker: Path) -> None:
        with spawned("roundup.fcgi", directory=tmp_path, environ={"TRACKER_HOME": str(tracker)}) as (_, client):
            assert b"Roundup issue tracker" in get(client, "/")
            assert client.request("GET", "/none1")[0][:3] == "404"


class TestMercurial:
    """``hg clone`` over hgweb's scripts as Debian ships them, but for the line that says where the repository is."""

    PYTHON = "/usr/bin/python3"
    HG = {"HGRCPATH": "", "PATH": "/usr/bin:/bin"}
    EXAMPLES = Path("/usr/share/doc/mercurial-common/examples")

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A repository of two changes, and the scripts for it."""
        folder = tmp_path_factory.mktemp("hg")
        require("hg", package="mercurial")
        cls.hg(folder, "init", "repository")
        for text in ("one", "two"):
            (folder / "repository" / "file").write_text(text)
            cls.hg(folder / "repository", "commit", "-q", "-A", "-m", text, "-u", "me", "-d", "0 0")
        (folder / "cgi-bin").mkdir()
        for name in ("hgweb.cgi", "hgweb.fcgi", "hgweb.wsgi"):
            script = folder / "cgi-bin" / name
            shutil.copy(require(str(cls.EXAMPLES / name), package="mercurial"), script)
            script.write_text(script.read_text().replace("/path/to/repo/or/config", str(folder / "repository")))
            script.chmod(0o755)
        return folder

    @staticmethod
    def hg(folder: Path, *words: str) -> str:
        env = {"PATH": os.environ["PATH"], "HOME": str(folder), "HGRCPATH": "", "HGPLAIN": "1"}
        done = subprocess.run(["hg", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def clones_from(self, folder: Path, app: Any, path: str, *, into: Path) -> bool:
        """Is what ``hg clone`` gets over HTTP the repository?"""
        with serve_in_thread(app, protocol="http", tcp=True, threads=4) as site:
            self.hg(into, "clone", "-q", f"http://{site.address}{path}", "clone")
        assert (into / "clone" / "file").read_text() == "two"
        theirs, ours = (self.hg(one, "log", "-T", "{node}\n") for one in (folder / "repository", into / "clone"))
        return ours == theirs

    @pytest.mark.parametrize("execution", ["spawn", "fork"])
    def test_as_cgi(self, folder: Path, tmp_path: Path, execution: str) -> None:
        app = CGIDirectory(folder / "cgi-bin", execution=execution, environment=self.HG | {"HOME": str(folder)})
        try:
            assert self.clones_from(folder, app, "/hgweb.cgi", into=tmp_path)
        finally:
            app.close()

    @pytest.mark.parametrize("model", ["threads", "fork"])
    def test_its_wsgi_file(self, folder: Path, tmp_path: Path, model: str) -> None:
        path = tmp_path / "wsgi.sock"
        code = (
            "import gateway; from gateway.loader import load\n"
            f"gateway.serve(load('{folder}/cgi-bin/hgweb.wsgi:application'), 'unix:{path}', worker_model={model!r})\n"
        )
        script = tmp_path / "serve.py"
        script.write_text(code)
        with (
            started(script, directory=tmp_path, listens=[str(path)], by=[self.PYTHON], environ=self.HG),
            Client(f"fastcgi://{path}") as client,
        ):
            assert self.clones_from(folder, client, "/", into=tmp_path)

    def test_its_flup_script(self, folder: Path, tmp_path: Path) -> None:
        by = [self.PYTHON, *COMPAT[1:]]
        with spawned(folder / "cgi-bin" / "hgweb.fcgi", directory=tmp_path, by=by, environ=self.HG) as (_, client):
            assert self.clones_from(folder, client, "/", into=tmp_path)
