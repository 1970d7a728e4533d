"""Scripts as people have them in their cgi-bin: what is said of each, and that what was edited still does the same."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from gateway import Client
from gateway.migrate import AS_IS, CHANGE, COMPAT
from gateway.migrate.files import PYTHON, kind_of
from gateway.migrate.report import Report, examine
from tests.peers.frontends.processes import child_environ, running
from tests.requirements import require, require_module
from tests.wsgi_calls import Answer, ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

CORPUS = Path(__file__).parent / "corpus"
CGI = {
    "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/app", "PATH_INFO": "/a",
    "QUERY_STRING": "", "SERVER_NAME": "site.example", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
}  # fmt: skip

# The Python it was written for, the verdict, what is left to do once it is edited, and the findings: + is edited.
EXPECTED: dict[str, tuple[int, str, str, str]] = {
    "both.cgi": (3, AS_IS, AS_IS, ""),
    "code.fcgi": (3, COMPAT, COMPAT, "14 web.wsgi.runfcgi"),
    "counter.cgi": (
        2, CHANGE, CHANGE,
        "8 a string as an exception, 9 a number of Python 2, 10 backquotes, 14 a string as an exception, "
        "16 the print statement, 17 the print statement",
    ),
    "django.fcgi": (3, COMPAT, COMPAT, "13 django.core.servers.fastcgi.runfastcgi"),
    "fetch.cgi": (
        2, CHANGE, AS_IS, "2 urllib and urllib2 +, 3 StringIO +, 4 urlparse +, 8 a method of dict +, 9 urllib +"
    ),
    "flip.fcgi": (3, COMPAT, AS_IS, "17 flipflop.WSGIServer +"),
    "guestbook.cgi": (
        2, CHANGE, COMPAT,
        "4 cgitb.enable, 10 the print statement +, 11 the print statement +, 12 the print statement +, "
        "17 except X, e +, 18 the print statement +, 18 cgi.escape +, 25 cgi.FieldStorage, 26 has_key() +, "
        "28 the print statement +, 30 a number of Python 2 +, 32 the print statement +, 32 cgi.escape +, "
        "33 the print statement +, 34 the print statement +",
    ),
    "hello.cgi": (3, AS_IS, AS_IS, "13 wsgiref.handlers.CGIHandler +"),
    "hgweb.cgi": (3, AS_IS, AS_IS, ""),
    "httpd.cgi": (
        2, CHANGE, COMPAT,
        "2 BaseHTTPServer +, 3 CGIHTTPServer +, 4 cgitb.enable, 6 BaseHTTPServer +, 7 CGIHTTPServer +, "
        "7 http.server.CGIHTTPRequestHandler",
    ),
    "moin.fcgi": (3, COMPAT, COMPAT, "12 MoinMoin.web.flup_frontend.FCGIFrontEnd"),
    "prefork.fcgi": (3, COMPAT, COMPAT, "7 flup.server.fcgi_fork.WSGIServer"),
    "radicale.fcgi": (3, COMPAT, AS_IS, "17 flup.server.fcgi.WSGIServer +"),
    "scgi.fcgi": (3, COMPAT, COMPAT, "17 flup.server.scgi.WSGIServer"),
    "search.cgi": (
        3, CHANGE, AS_IS,
        "7 cgi.parse_qs +, 12 cgi.escape +, 14 cgi.escape +, 14 cgi.escape +, 14 cgi.escape +, 15 cgi.parse_qsl +",
    ),
    "start.sh": (3, COMPAT, COMPAT, "14 django's runfcgi"),
    "text.fcgi": (3, COMPAT, COMPAT, "9 text in a response, 13 flup.server.fcgi.WSGIServer"),
    "todo.cgi": (3, AS_IS, AS_IS, ""),
    "todo.fcgi": (3, COMPAT, COMPAT, "10 the server 'flup'"),
    "trac.fcgi": (
        2, CHANGE, AS_IS,
        "18 a number of Python 2 +, 19 a number of Python 2 +, 19 flup.server.fcgi.WSGIServer +, 22 except X, e +, "
        "23 the print statement +",
    ),
    "upload.cgi": (3, COMPAT, COMPAT, "5 cgitb.enable, 7 cgi.FieldStorage"),
    "viewvc.cgi": (3, AS_IS, AS_IS, ""),
    "web.config": (3, CHANGE, CHANGE, "9 wfastcgi"),
    "windows.cgi": (3, CHANGE, AS_IS, "5 cgi.escape +"),
}  # fmt: skip


def look(path: Path) -> Report:
    report = examine(str(path), kind_of(str(path)) or PYTHON)
    assert not report.problem
    return report


@cache
def judged(name: str) -> Report:
    """What is said of a script of the corpus."""
    return look(CORPUS / name)


def edited(name: str, folder: Path) -> Path:
    """A copy of a script with all its edits."""
    path = folder / name
    report = judged(name)
    assert report.source
    path.write_bytes(report.source.rejoin(report.text))
    return path


@pytest.mark.parametrize("name", EXPECTED)
def test_each_script_is_judged_rightly(name: str, tmp_path: Path) -> None:
    python, verdict, left, findings = EXPECTED[name]
    report = judged(name)
    told = ", ".join(f"{found.line} {found.what}{' +' * found.edited}" for found in report.findings)
    assert (report.python, report.verdict, told) == (python, verdict, findings)
    if report.diff:
        again = look(edited(name, tmp_path))
        assert (again.verdict, [str(found) for found in again.findings if found.edited], again.diff) == (left, [], "")


def test_the_corpus_is_what_is_judged() -> None:
    unread = {"perl.cgi"}
    assert {path.name for path in CORPUS.iterdir()} == EXPECTED.keys() | unread
    assert "line 2: invalid syntax" in examine(str(CORPUS / "perl.cgi")).problem


def run(path: Path, *, query: str = "", **more: str) -> tuple[list[str], str]:
    """The head and the body of what a CGI script says."""
    environ = child_environ(path.parent) | CGI | {"QUERY_STRING": query} | more
    done = subprocess.run([sys.executable, str(path)], env=environ, capture_output=True, timeout=60, input=b"")
    assert (done.returncode, done.stderr) == (0, b"")
    head, _, body = done.stdout.decode("latin-1").replace("\r\n", "\n").partition("\n\n")
    return sorted(head.split("\n")), body


def test_a_handler_of_wsgiref_says_the_same_as_before(tmp_path: Path) -> None:
    before = run(CORPUS / "hello.cgi")
    assert run(edited("hello.cgi", tmp_path)) == before
    assert before[1] == "hello from http://site.example/app/a"


def test_a_script_with_what_cgi_had_once_escapes_and_parses(tmp_path: Path) -> None:
    _, body = run(edited("search.cgi", tmp_path), query="a=%3C%22&%26=x")
    assert body.splitlines() == [
        "<p>&amp;</p>", '<a title="x">x</a>', "<p>a</p>", '<a title="&lt;&quot;">&amp;lt;"</a>',
        "[('a', '1'), ('b', '2')]",
    ]  # fmt: skip


def test_a_script_of_python_2_runs_under_python_3(tmp_path: Path) -> None:
    assert run(edited("fetch.cgi", tmp_path), query="b=%20&a=1")[1] == "a: 1\nb:  \nnobody\n"


def test_line_ends_of_windows_stay(tmp_path: Path) -> None:
    path = edited("windows.cgi", tmp_path)
    assert path.read_bytes() == (
        b"#!/usr/bin/env python3\r\nimport html\r\n\r\nprint(\"Content-Type: text/html\\n\")\r\n"
        b'print(html.escape("<b>", quote=False))\r\n'
    )
    assert run(path)[1] == "&lt;b&gt;\n"


def test_an_encoding_and_tabs_stay(tmp_path: Path) -> None:
    if sys.version_info >= (3, 13):
        require_module("cgi", package="legacy-cgi")
    path = edited("guestbook.cgi", tmp_path)
    assert b'\nheader("G\xe4stebuch")\n' in path.read_bytes()
    guests = tmp_path / "guests.txt"
    settings = {"GUESTS": str(guests), "PYTHONIOENCODING": "latin-1", "PYTHONWARNINGS": "ignore"}
    assert "<p>No guests yet (No such file or directory).</p>" in run(path, **settings)[1]
    head, body = run(path, query="name=Zo%C3%AB+%3C", **settings)
    assert head == ["Content-Type: text/html; charset=iso-8859-1"]
    assert "<title>Gästebuch</title>" in body
    assert "<p> Zoë &lt; </p>\n" in body
    assert stat.S_IMODE(guests.stat().st_mode) == 0o644


STUB = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Threads", str(environ["wsgi.multithread"]))])
    return [environ["SCRIPT_NAME"].encode(), b" ", environ["PATH_INFO"].encode(), environ["wsgi.input"].read()]
"""


@contextmanager
def spawned(path: Path, *by: str) -> Iterator[str]:
    """A FastCGI script that a web server, or spawn-fcgi in its place, has started on a socket: its URL."""
    socket = path.parent / "spawned.sock"
    spawn = [require("spawn-fcgi", package="spawn-fcgi"), "-n", "-s", str(socket), "--"]
    command = [*spawn, sys.executable, *by, str(path)]
    with running(command, directory=path.parent, name="spawned", listens=[str(socket)]):
        yield f"fastcgi://unix:{socket}"


def visit(url: str) -> Answer:
    with Client(url) as client:
        return ask(client, "/a", SCRIPT_NAME="/app", REQUEST_METHOD="POST", body=b" of it")


def test_a_dispatch_file_of_flup_serves_the_same_as_before(tmp_path: Path) -> None:
    require_module("flup", package="flup")
    (tmp_path / "radicale.py").write_text(STUB)
    path = tmp_path / "radicale.fcgi"
    path.write_bytes((CORPUS / path.name).read_bytes())
    with spawned(path) as url:
        before = visit(url)
    with spawned(edited(path.name, tmp_path)) as url:
        after = visit(url)
    assert (after.status, after.headers, after.body) == (before.status, before.headers, before.body)
    assert (after.headers["X-Threads"], after.body) == ("True", b"/app /a of it")


@pytest.mark.parametrize(
    ("name", "body"),
    [("radicale.fcgi", b"/app /a of it"), ("flip.fcgi", b"/app"), ("text.fcgi", b"Hello, world\n")],
)
def test_what_is_said_to_run_through_compat_does(tmp_path: Path, name: str, body: bytes) -> None:
    assert EXPECTED[name][1] == COMPAT
    (tmp_path / "radicale.py").write_text(STUB)
    path = tmp_path / name
    path.write_bytes((CORPUS / name).read_bytes())
    with spawned(path, "-m", "gateway.compat") as url:
        assert visit(url).body == body


def test_a_dispatch_file_of_flipflop_serves(tmp_path: Path) -> None:
    with spawned(edited("flip.fcgi", tmp_path)) as url:
        assert visit(url).body == b"/app"


def test_a_server_with_an_address_listens_there_with_the_same_mode(tmp_path: Path) -> None:
    (tmp_path / "trac" / "web").mkdir(parents=True)
    (tmp_path / "trac" / "web" / "main.py").write_text(STUB.replace("application", "dispatch_request"))
    socket = tmp_path / "trac.sock"
    path = tmp_path / "trac.fcgi"
    path.write_text((CORPUS / path.name).read_text().replace("/run/trac/project.sock", str(socket)))
    look(path).write()
    with running([sys.executable, str(path)], directory=tmp_path, name="trac", listens=[str(socket)]):
        assert visit(f"fastcgi://unix:{socket}").body == b"/app /a of it"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o770
