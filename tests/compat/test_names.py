"""The old names: what stands behind them, who keeps his own, and what a script hears that cannot run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.compat import AMENDED, MODERN, REPLACED, flup
from tests.compat.scripts import CGI, DISPATCH, body_of, run
from tests.masters import environment
from tests.requirements import require_module

QUIET = "import gateway.compat; gateway.compat.install(quiet=True)\n"
MODULE_OF = "from {module} import {name}; print({name}.__module__)\n"


def python(code: str, folder: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code], env=environment(folder) | environ, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


def said(code: str, folder: Path) -> str:
    done = python(code, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("module", "name", "home"), [
    ("flup.server.fcgi", "WSGIServer", "flup.server.fcgi"),
    ("flup.client.fcgi_app", "FCGIApp", "gateway.compat.flup_client"),
    ("flipflop", "WSGIServer", "gateway.compat.flipflop"),
    ("wfastcgi", "main", "gateway.compat.wfastcgi"),
    ("wsgiref.handlers", "CGIHandler", "gateway.compat.wsgiref"),
    ("http.server", "CGIHTTPRequestHandler", "gateway.compat.http_server"),
    ("django.core.servers.fastcgi", "runfastcgi", "gateway.compat.django.fastcgi"),
])  # fmt: skip
def test_a_name_is_ours(tmp_path: Path, module: str, name: str, home: str) -> None:
    assert said(QUIET + MODULE_OF.format(module=module, name=name), tmp_path) == home


def test_each_name_has_a_modern_form() -> None:
    assert MODERN.keys() == REPLACED.keys()


@pytest.mark.parametrize("module", flup.MODULES)
def test_every_module_of_flup_can_be_imported(tmp_path: Path, module: str) -> None:
    loaded = said(QUIET + f"import {module}; print(__import__('sys').modules[{module!r}].__spec__.origin)", tmp_path)
    assert loaded == "gateway.compat.flup"


def test_a_module_that_flup_does_not_have_is_missed(tmp_path: Path) -> None:
    done = python(QUIET + "import flup.middleware", tmp_path)
    assert "No module named 'flup.middleware'" in done.stderr


def test_what_was_imported_before_is_replaced(tmp_path: Path) -> None:
    require_module("flup", package="flup")
    code = "import flup.server.fcgi, wsgiref.handlers\n" + QUIET
    assert said(code + "import flup.server; print(flup.__spec__.origin)", tmp_path) == "gateway.compat.flup"
    told = said(code + MODULE_OF.format(module="wsgiref.handlers", name="CGIHandler"), tmp_path)
    assert told == "gateway.compat.wsgiref"


@pytest.mark.parametrize(("keep", "module", "name", "home"), [
    ("flup", "flup.server.fcgi", "WSGIServer", "flup.server.fcgi"),
    ("wsgiref.handlers", "wsgiref.handlers", "CGIHandler", "wsgiref.handlers"),
])  # fmt: skip
def test_who_is_kept_is_left_alone(tmp_path: Path, keep: str, module: str, name: str, home: str) -> None:
    require_module("flup", package="flup")
    code = f"import gateway.compat; gateway.compat.install(keep=[{keep!r}])\n"
    told = said(code + MODULE_OF.format(module=module, name=name) + f"print({name}.run.__module__)", tmp_path)
    assert (told.splitlines()[0], "gateway" in told) == (home, False)


def test_installing_twice_is_installing_once(tmp_path: Path) -> None:
    assert said(QUIET * 2 + "import sys; print(len(sys.meta_path))", tmp_path) == said(
        QUIET + "import sys; print(len(sys.meta_path))", tmp_path
    )


def test_the_loader_of_an_amended_module_is_its_own_still(tmp_path: Path) -> None:
    code = QUIET + "import inspect, wsgiref.handlers; print(inspect.getsource(wsgiref.handlers)[:3])"
    assert said(code, tmp_path) == '"""'


def test_installing_imports_nothing_that_is_not_used(tmp_path: Path) -> None:
    code = QUIET + "import sys; print(*(name for name in sys.modules if name.startswith('gateway')))"
    assert said(code, tmp_path) == "gateway gateway.compat"


class TestAdvice:
    """What the operator hears."""

    def test_a_name_says_once_what_one_writes_today(self, tmp_path: Path) -> None:
        code = "import gateway.compat; gateway.compat.install()\nimport flup.server.fcgi, flup.server.scgi, flup.client"
        assert python(code, tmp_path).stderr == (
            "gateway: flup is gateway's stand-in here; today one writes gateway.run(application), or the command "
            "fcgi-run module:application; its clients: gateway.Client(url)\n"
        )

    def test_a_cgi_process_does_not_say_it_for_every_visitor(self, tmp_path: Path) -> None:
        code = "import gateway.compat; gateway.compat.install()\nimport flup"
        assert python(code, tmp_path, **CGI).stderr == ""

    @pytest.mark.parametrize("module", ["cgi", "cgitb"])
    def test_a_module_that_python_dropped_is_said_where_it_is(self, tmp_path: Path, module: str) -> None:
        code = QUIET + f"import sys; sys.meta_path[:] = sys.meta_path[-1:]; import {module}"
        assert f"No module named '{module}': Python 3.13 dropped it; pip install 'gateway[legacy]'" in python(
            code, tmp_path
        ).stderr  # fmt: skip


class TestCommand:
    """``python -m gateway.compat``."""

    def command(self, folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gateway.compat", *words], cwd=folder, env=environment(folder) | environ,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def test_a_script_runs_as_python_runs_it(self, tmp_path: Path) -> None:
        (tmp_path / "beside.py").write_text("NAME = 'beside'")
        (tmp_path / "a.fcgi").write_text(
            "import sys, beside\nprint(__name__, __file__, sys.argv, beside.NAME, sys.path[0] == sys.argv[2])\n"
            "sys.exit(7)\n"
        )
        done = self.command(tmp_path, "a.fcgi", "-x", str(tmp_path.resolve()))
        told = f"__main__ a.fcgi ['a.fcgi', '-x', '{tmp_path.resolve()}'] beside True\n"
        assert (done.returncode, done.stdout, done.stderr) == (7, told, "")

    def test_an_error_is_shown_without_our_frames(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").write_text("raise KeyError('mine')\n")
        done = self.command(tmp_path, "a.py")
        assert (done.returncode, done.stderr.count("File "), "KeyError: 'mine'" in done.stderr) == (1, 1, True)

    def test_a_script_that_interrupts_itself_has_the_status_of_a_shell(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").write_text("raise KeyboardInterrupt\n")
        assert self.command(tmp_path, "a.py").returncode == 130

    @pytest.mark.parametrize(("code", "line"), [
        ("x = 1\nprint 'hello'\n", "line 2, \"print 'hello'\","),
        ("try:\n    pass\nexcept ValueError, error:\n    pass\n", "line 3, 'except ValueError, error:',"),
        ("mode = 0777\n", "line 1, 'mode = 0777',"),
    ])  # fmt: skip
    def test_python_2_is_named_with_its_line(self, tmp_path: Path, code: str, line: str) -> None:
        (tmp_path / "a.fcgi").write_text(code)
        done = self.command(tmp_path, "a.fcgi")
        assert (done.returncode, done.stderr.splitlines()[-1]) == (
            1, f"gateway: a.fcgi: {line} is Python 2: `gateway migrate a.fcgi` says what to change"
        )  # fmt: skip

    def test_python_2_in_a_module_that_is_imported_is_named_too(self, tmp_path: Path) -> None:
        (tmp_path / "old.py").write_text("print 'hello'\n")
        (tmp_path / "a.fcgi").write_text("import old\n")
        last = self.command(tmp_path, "a.fcgi").stderr.splitlines()[-1]
        assert last.endswith(f"`gateway migrate {tmp_path.resolve() / 'old.py'}` says what to change")

    def test_a_module_of_python_2_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.fcgi").write_text("import urlparse\n")
        assert self.command(tmp_path, "a.fcgi").stderr.splitlines()[-1] == (
            "gateway: a.fcgi: the module urlparse is Python 2: `gateway migrate a.fcgi` says what to change"
        )

    def test_a_name_may_be_kept(self, tmp_path: Path) -> None:
        require_module("flup", package="flup")
        (tmp_path / "a.py").write_text("import flup; print(flup.__spec__.origin)")
        told = self.command(tmp_path, "--keep", "flup", "a.py").stdout
        assert told.endswith(f"flup{os.sep}__init__.py\n")

    @pytest.mark.parametrize(("words", "status", "said"), [
        ([], 1, "usage: python -m gateway.compat"),
        (["-h"], 0, "usage: python -m gateway.compat"),
        (["--kept", "x"], 1, "--kept: there is no such option"),
        (["--keep"], 1, "--keep: there is no such option, or it lacks its NAME"),
        (["none.py"], 1, "gateway: there is no file none.py; name the script to run"),
    ])  # fmt: skip
    def test_a_wrong_command_line_says_so(self, tmp_path: Path, words: list[str], status: int, said: str) -> None:
        done = self.command(tmp_path, *words)
        assert (done.returncode, said in done.stdout + done.stderr) == (status, True)

    def test_the_first_line_of_a_script_may_name_it(self, tmp_path: Path) -> None:
        script = tmp_path / "a.cgi"
        told = (DISPATCH / "hello.fcgi").read_text().split("\n", 1)[1]
        script.write_text(f"#!{sys.executable} -mgateway.compat\n{told}")  # one word: a #! line may have but one
        script.chmod(0o755)
        assert body_of(run(script, directory=tmp_path, by=())) == "Hello World!\n"

    def test_one_line_at_the_top_of_a_script_does_the_same(self, tmp_path: Path) -> None:
        script = tmp_path / "a.cgi"
        script.write_text(
            QUIET + "from flup.server.cgi import WSGIServer\n"
            "def app(environ, start_response):\n"
            "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
            "    return ['hello']\n"
            "WSGIServer(app).run()\n"
        )
        done = run(script, directory=tmp_path, by=(sys.executable,))
        assert done.stdout.endswith(b"\n\nhello") or done.stdout.endswith(b"\r\n\r\nhello"), done.stderr


def test_what_is_amended_is_there(tmp_path: Path) -> None:
    for module, home in AMENDED.items():
        code = f"import {module}, {home}; print(all(hasattr({home}, name) for name in {home}.__all__))"
        assert said(code, tmp_path) == "True"
