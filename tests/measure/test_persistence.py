"""Leaks of applications that shall stay, planted and found, each by its name; and nothing said of clean ones."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.doctor import command
from tests.house import ROOT
from tests.requirements import require_module

pytestmark = pytest.mark.usefixtures("nothing_left_over")

BEGIN = """\
import functools, locale, os, signal, sys, threading, time

"""
END = """
def application(environ, start_response):
    body = serve(environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body or b"hello"]
"""

LEAKS = {
    "a global": (
        "served = 0\ndef serve(environ):\n    global served; served += 1",
        "leak.served changes with each request: 5, then 6: keep it in a local variable, the session or a database",
    ),
    "a list": (
        "seen = []\ndef serve(environ):\n    seen.append(environ['PATH_INFO'])",
        "leak.seen changes with each request: a list of 5, then a list of 6: keep it",
    ),
    "a class": (
        "class User:\n    name = ''\ndef serve(environ):\n    User.name = environ['QUERY_STRING']",
        "leak.User.name changes with each request: '', then 'visitor=2': keep it",
    ),
    "an object": (
        "class User:\n    __slots__ = 'name',\nuser = User()\n"
        "def serve(environ):\n    user.name = environ['QUERY_STRING']",
        "leak.user.name changes with each request: '', then 'visitor=2': keep it",
    ),
    "a default argument": (
        "def add(item, all=[]):\n    all.append(item)\ndef serve(environ):\n    add(1)",
        "a default argument of leak.add() changes with each request: a list of 5, then a list of 6",
    ),
    "a closure": (
        "def make():\n    n = 0\n    def serve(environ):\n        nonlocal n; n += 1\n    return serve\n"
        "serve = make()",
        "n, which leak.serve() keeps changes with each request: 5, then 6",
    ),
    "an object anew": (
        "import random\nsource = None\n"
        "def serve(environ):\n    global source; source = [source and None, random.Random()]",
        "leak.source changes with each request: each time another a list of 2",
    ),
    "os.environ": (
        "def serve(environ):\n    os.environ['WHO'] = 'me'",
        "os.environ['WHO'] was unset, and is 'me' after GET /: hand it on as an argument, or to subprocess.run(env=…)",
    ),
    "the working directory": (
        "def serve(environ):\n    os.chdir('/tmp')",
        ", and is /tmp after GET /: use absolute paths",
    ),
    "the umask": (
        "def serve(environ):\n    os.umask(0o027)",
        ", and is 0o27 after GET /: name the mode",
    ),
    "a signal handler": (
        "def handle(*of): pass\ndef serve(environ):\n    signal.signal(signal.SIGUSR1, handle)",
        "the handler of SIGUSR1 was SIG_DFL, and is handle at 0x",
    ),
    "the locale": (
        "def serve(environ):\n    locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')",
        "the locale was ",
    ),
    "a descriptor": (
        "def serve(environ):\n    os.open('/dev/null', os.O_RDONLY)",
        "it leaves open: /dev/null: close it",
    ),
    "a thread": (
        "def serve(environ):\n    threading.Thread(target=time.sleep, args=[60], name='mine', daemon=True).start()",
        "it leaves the thread mine (",
    ),
    "a child": (
        "def serve(environ):\n    os.posix_spawn('/bin/true', ['true'], {})",
        "it leaves the process ",
    ),
    "memory": (
        "import json\njson.hidden = {}\ndef serve(environ):\n    json.hidden[len(json.hidden)] = bytearray(500)",
        "/leak.py:6, 5",
    ),
}
"""What a process per request forgets: a module, and what is said of it."""

ANSWERS = """
who = None
def serve(environ):
    global who
    who = who or environ["QUERY_STRING"]
    return f"hello {who}".encode()
"""
DIES = """
served = 0
def serve(environ):
    global served; served += 1
    if served == 3:
        os._exit(7)
"""
CLEAN = {
    "caches": (
        "import itertools, re\n"
        "numbers = itertools.count()\ncache = {}\nloaded = None\n"
        "@functools.lru_cache(maxsize=4)\ndef compiled(text): return re.compile(text)\n"
        "class Settings:\n    ready = False\nsettings = Settings()\n"
        "def serve(environ):\n"
        "    global loaded\n"
        "    loaded = loaded or open(__file__).read(10)\n"
        "    next(numbers); cache[environ['QUERY_STRING']] = 1; settings.ready = True\n"
        "    compiled(environ['PATH_INFO'])\n"
        "    with open(__file__) as file:\n        return f'{os.getpid()} {time.time()} {file.read(5)}'.encode()\n"
    ),
    "puts back": (
        "def serve(environ):\n"
        "    before = os.getcwd(); os.chdir('/'); os.environ['X'] = '1'; mask = os.umask(0)\n"
        "    thread = threading.Thread(target=time.sleep, args=[0]); thread.start(); thread.join()\n"
        "    del os.environ['X']; os.umask(mask); os.chdir(before)\n"
    ),
}


def judge(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner().invoke(command, ["--persistent", *words])


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    code, said = LEAKS[name]
    (tmp_path / "leak.py").write_text(BEGIN + code + END)
    result = judge(tmp_path, monkeypatch, "leak:application")
    assert said in result.output
    assert result.exit_code == 1
    assert result.output.endswith("until that is mended: fcgi-run --worker-model fork leak:application\n")


def test_a_visitor_who_is_taken_for_another_is_named_with_the_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leak.py").write_text(BEGIN + ANSWERS + END)
    result = judge(tmp_path, monkeypatch, "leak:application")
    assert result.exit_code == 1
    assert "request 3, GET /, is answered differently after GET /?visitor=2" in result.output
    assert "    +hello visitor=2\n" in result.output


def test_a_process_that_does_not_survive_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leak.py").write_text(BEGIN + DIES + END)
    result = judge(tmp_path, monkeypatch, "leak:application")
    assert result.exit_code == 1
    assert "request 3, GET /, fails after the 2 before it" in result.output


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_application_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "clean.py").write_text(BEGIN + CLEAN[name] + END)
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # it leaves something behind for each thread
    result = judge(tmp_path, monkeypatch, "clean:application")
    assert result.output.startswith("clean:application: safe to make persistent, as far as 2 requests tell, 3 times in")
    assert (result.exit_code, result.output.count("\n")) == (0, 1)


@pytest.mark.parametrize(
    ("folder", "name", "module"),
    [("django_project", "notes.wsgi:application", "django"), ("flask_app", "notes:app", "flask"),
     ("starlette_app", "notes:app", "starlette")],
)  # fmt: skip
def test_the_examples_are_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, name: str, module: str
) -> None:  # fmt: skip
    require_module(module, package=module)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes.sqlite"))
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    result = judge(ROOT / "examples" / folder, monkeypatch, name)
    assert (result.exit_code, result.output.count("\n")) == (0, 1), result.output


SCRIPT = f"""\
#!{sys.executable}
import counter
counter.n += 1
print("Content-Type: text/plain\\n\\n", counter.n)
"""


def test_a_script_is_judged_in_the_process_of_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counter.py").write_text("n = 0\n")
    (tmp_path / "count.cgi").write_text(SCRIPT)
    (tmp_path / "count.cgi").chmod(0o755)
    result = judge(tmp_path, monkeypatch, "count.cgi")
    assert "request 2, GET /?visitor=2, is answered differently after GET /" in result.output
    assert "counter.n changes with each request: 5, then 6" in result.output
    assert result.output.endswith("until that is mended: gateway serve --execution fork count.cgi\n")


def test_requests_of_ones_own_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "n = 0\ndef serve(environ):\n    global n; n += environ['PATH_INFO'] == '/add'\n"
    (tmp_path / "leak.py").write_text(BEGIN + code + END)
    assert judge(tmp_path, monkeypatch, "leak:application").exit_code == 0
    (tmp_path / "urls").write_text("/\n/add\n")
    assert "leak.n changes" in judge(tmp_path, monkeypatch, "leak:application", "--requests", "urls").output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no_such_module:app"], "no_such_module"),
        (["leak.pl"], "leak.pl is no application and no CGI script in Python: each request starts it anew"),
        (["leak:application", "--requests", "none"], "none: there is no such file; name a list of URLs, a HAR file"),
        (["leak:application", "--requests", "."], "holds no recordings"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    (tmp_path / "leak.py").write_text(BEGIN + CLEAN["puts back"] + END)
    (tmp_path / "leak.pl").write_text(textwrap.dedent("""\
        #!/usr/bin/perl
        print "Content-Type: text/plain\\n\\n";
    """))
    (tmp_path / "leak.pl").chmod(0o755)
    result = judge(tmp_path, monkeypatch, *words)
    assert result.exit_code == 2
    assert message in result.output
