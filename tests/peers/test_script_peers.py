"""CGIScript runs what others wrote, one program alone: git-http-backend under wsgiref, php-cgi, Perl.

``test_cgi_programs.py`` has more programs, under more servers, as one directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from gateway.script import CGIScript
from tests.house import ROOT
from tests.requirements import require

pytestmark = pytest.mark.usefixtures("nothing_left_over")

PROGRAMS = ROOT / "tests" / "programs"
MIB = 1024 * 1024

WSGIREF = """\
import socket
from wsgiref.simple_server import make_server
from gateway import CGIScript

server = make_server("127.0.0.1", 0, CGIScript({path!r}, environment={environment!r}, script_name="/git"))
server.server_close()
server.socket = socket.socket(fileno={fd})
server.serve_forever()
"""


@contextlib.contextmanager
def served(path: str, *, folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The URL at which wsgiref, a process of its own, runs the program at ``path`` by CGIScript."""
    with socket.create_server(("127.0.0.1", 0)) as listener, open(folder / "log", "wb") as log:
        program = WSGIREF.format(path=path, environment=environment, fd=listener.fileno())
        server = subprocess.Popen(
            [sys.executable, "-c", program], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log,
            stderr=log, pass_fds=[listener.fileno()],
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/git"
        finally:
            server.terminate()
            server.wait()


class TestGit:
    """A clone and a push are hundreds of lines of protocol that git checks by hash."""

    @pytest.fixture
    def git(self, tmp_path: Path) -> Callable[..., str]:
        """Runs git, away from the configuration of whoever runs the tests."""
        program = require("git", package="git")
        env = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
        }  # fmt: skip

        def run(*words: str, folder: Path = tmp_path) -> str:
            argv = [program, *words]
            done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, f"{argv}: {done.stderr}"
            return done.stdout.strip()

        return run

    @pytest.fixture
    def work(self, tmp_path: Path, git: Callable[..., str]) -> Path:
        """A working copy with two commits, and the bare repository that it was pushed to, projects/a.git."""
        bare = tmp_path / "projects" / "a.git"
        git("init", "-q", "--bare", "-b", "main", str(bare))
        git("config", "http.receivepack", "true", folder=bare)
        git("clone", "-q", str(bare), "work")
        work = tmp_path / "work"
        git("checkout", "-q", "-b", "main", folder=work)
        self.commit(git, work, b"one\n")
        self.commit(git, work, b"two\n")
        git("push", "-q", "-u", "origin", "main", folder=work)
        return work

    @staticmethod
    def commit(git: Callable[..., str], work: Path, data: bytes) -> None:
        (work / "file").write_bytes(data)
        git("add", "file", folder=work)
        git("commit", "-q", "-m", "A change", folder=work)

    @pytest.fixture
    def url(self, tmp_path: Path, git: Callable[..., str]) -> Iterator[str]:
        backend = os.path.join(git("--exec-path"), "git-http-backend")
        environment = {"GIT_PROJECT_ROOT": str(tmp_path / "projects"), "GIT_HTTP_EXPORT_ALL": "1"}
        with served(backend, folder=tmp_path, environment=environment) as url:
            yield url

    def test_clones(self, git: Callable[..., str], work: Path, url: str, tmp_path: Path) -> None:
        git("clone", "-q", f"{url}/a.git", "whole")
        assert (tmp_path / "whole" / "file").read_bytes() == b"two\n"
        git("clone", "-q", "--depth", "1", f"{url}/a.git", "shallow")
        assert git("rev-list", "--count", "HEAD", folder=tmp_path / "shallow") == "1"

    def test_pushes(self, git: Callable[..., str], work: Path, url: str, tmp_path: Path) -> None:
        self.commit(git, work, b"three\n")
        git("push", "-q", f"{url}/a.git", "main", folder=work)
        assert git("show", "main:file", folder=tmp_path / "projects" / "a.git") == "three"

    def test_is_told_that_there_is_no_such_repository(self, git: Callable[..., str], url: str) -> None:
        with pytest.raises(AssertionError, match="not found"):
            git("clone", "-q", f"{url}/b.git")


class TestPHP:
    @pytest.fixture
    def app(self, tmp_path: Path) -> Any:
        """A visitor of guestbook.php, with a cookie jar."""
        php = require("php-cgi", package="php-cgi")
        # As CGI, php-cgi takes the script from SCRIPT_FILENAME.
        script = CGIScript(PROGRAMS / "guestbook.php", interpreter=[php], environment={"SESSIONS": str(tmp_path)})
        return TestApp(script, extra_environ={"SCRIPT_NAME": "/guestbook.php"})

    def test_keeps_a_session(self, app: Any) -> None:
        assert "visit 1\n" in app.get("/", expect_errors=True)
        assert "visit 2\n" in app.get("/", expect_errors=True)

    def test_reads_a_form(self, app: Any) -> None:
        answer = app.post("/a b", {"name": "Zoë & co"}, expect_errors=True)
        assert answer.content_type == "text/plain"
        assert "path /a b\nname Zoë & co\n" in answer

    def test_takes_an_upload(self, app: Any) -> None:
        picture = random.Random(1).randbytes(MIB)
        answer = app.post("/", upload_files=[("picture", "p.png", picture)], expect_errors=True)
        assert f"file p.png {MIB} {hashlib.md5(picture).hexdigest()}\n" in answer

    def test_states_a_status(self, app: Any) -> None:
        assert app.get("/?status=404", expect_errors=True).status == "404 Not Found"

    def test_reports_errors_to_the_servers_log(self, app: Any) -> None:
        assert "guestbook.php: was here\n" in app.get("/", expect_errors=True).errors

    @pytest.mark.parametrize("query", ["-s", "%2Ds", "-d+display_errors%3D1", "+-s"])
    def test_takes_no_options_from_the_visitor(self, app: Any, query: str) -> None:
        answer = app.get(f"/?{query}", expect_errors=True)
        assert "visit 1\n" in answer
        assert "session_start" not in answer


class TestPerl:
    @pytest.fixture
    def app(self) -> Any:
        perl = require("perl", package="perl")
        return TestApp(CGIScript(PROGRAMS / "form.pl", interpreter=[perl]), extra_environ={"SCRIPT_NAME": "/form.pl"})

    def test_reads_a_query(self, app: Any) -> None:
        assert app.get("/ask?name=a%26b+c").body == b"/ask a&b c\n"

    def test_reads_a_form_and_redirects_on_this_server(self, app: Any) -> None:
        answer = app.post("/", {"name": "me"})
        assert (answer.status, answer.body) == ("200 OK", b"/thanks me\n")

    def test_warns_in_the_servers_log(self, app: Any) -> None:
        assert app.get("/?name=", expect_errors=True).errors == "form.pl: no name was given\n"
