"""What is edited without a doubt, and what is left to a human, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.migrate import CHANGE, COMPAT
from gateway.migrate import report as report_module
from gateway.migrate.report import Report, examine
from gateway.migrate.survey import Survey

Look = Callable[[str], Report]

FCGI = "from flup.server.fcgi import WSGIServer\n"
CGI = "from wsgiref.handlers import CGIHandler\n"


@pytest.fixture
def look(tmp_path: Path) -> Look:
    def look(text: str) -> Report:
        path = tmp_path / "a.cgi"
        path.write_text(text, "utf-8")
        return examine(str(path))

    return look


EDITED = {
    # A server of flup: where it listens, and how many requests it takes at once.
    FCGI + "WSGIServer(app).run()\n": "import gateway\ngateway.run(app, threads=50)\n",
    FCGI + "WSGIServer(app, bindAddress=None).run()\n": "import gateway\ngateway.run(app, threads=50)\n",
    FCGI + "WSGIServer(app, multithreaded=False).run()\n": "import gateway\ngateway.run(app)\n",
    FCGI + "WSGIServer(app, maxThreads=3, debug=1).run()\n": "import gateway\ngateway.run(app, threads=3)\n",
    FCGI + "WSGIServer(make('a', b=1), bindAddress='/run/it\"s.sock').run()\n": (
        'import gateway\ngateway.serve(make(\'a\', b=1), bind="unix:/run/it\\"s.sock", threads=50)\n'
    ),
    FCGI + "WSGIServer(app, bindAddress=('', 9000), umask=0).run()\n": (
        'import gateway\ngateway.serve(app, bind=":9000", threads=50)\n'
    ),
    FCGI + "WSGIServer(app, bindAddress=('::1', 9000), multiprocess=False).run()\n": (
        'import gateway\ngateway.serve(app, bind="[::1]:9000", threads=50)\n'
    ),
    FCGI + "WSGIServer(app, bindAddress='/a', umask=0o111).run()\n": (
        'import gateway\ngateway.serve(app, bind="unix:/a", threads=50, socket_mode=0o666)\n'
    ),
    "from flup.server.fcgi_single import WSGIServer as W\nW(app).run()\n": "import gateway\ngateway.run(app)\n",
    "import flup.server.scgi\nflup.server.scgi.WSGIServer(app, scriptName='/a').run()\n": (
        'import gateway\ngateway.serve(app, bind="localhost:4000", protocol="scgi", threads=50, mount="/a")\n'
    ),
    "from flup.server import ajp\najp.WSGIServer(app, bindAddress=('127.0.0.1', 8009)).run()\n": (
        'import gateway\ngateway.serve(app, bind="127.0.0.1:8009", protocol="ajp", threads=50)\n'
    ),
    "from flup.server.cgi import WSGIServer\nWSGIServer(app).run()\n": "import gateway\ngateway.run(app)\n",
    # The server, made and then run; in a function; beside what stays.
    CGI + "handler = CGIHandler()\nhandler.run(app)\n": "import gateway\ngateway.run(app)\n",
    "# one\n" + CGI + "# two\nhandler = CGIHandler()  # three\nhandler.run(app)\nf()  # four\n": (
        "# one\nimport gateway\n# two\ngateway.run(app)  # three\nf()  # four\n"
    ),
    "def main():\n    from flipflop import WSGIServer\n    WSGIServer(app).run()\n": (
        "def main():\n    import gateway\n    gateway.run(app)\n"
    ),
    "import os, wsgiref.handlers\nwsgiref.handlers.IISCGIHandler().run(app)\n": (
        "import gateway\nimport os\ngateway.run(app)\n"
    ),
    "import wsgiref.handlers, wsgiref.util\nwsgiref.handlers.CGIHandler().run(app)\nwsgiref.util.guess_scheme({})\n": (
        "import gateway\nimport wsgiref.util\ngateway.run(app)\nwsgiref.util.guess_scheme({})\n"
    ),
    "import gateway\n" + CGI + "CGIHandler().run(app)\n": "import gateway\ngateway.run(app)\n",
    "if main:\n    " + CGI + "    CGIHandler().run(app)\n": "if main:\n    import gateway\n    gateway.run(app)\n",
    "gateway = 1\n" + CGI + "CGIHandler().run(app)\n": (
        "gateway = 1\nimport gateway as gateway_\ngateway_.run(app)\n"
    ),
    # What cgi had.
    "import cgi\ncgi.escape(a)\n": "import html\nhtml.escape(a, quote=False)\n",
    "import cgi\ncgi.escape(a, True)\n": "import html\nhtml.escape(a, True)\n",
    "import cgi\ncgi.escape(a, quote=1,)\n": "import html\nhtml.escape(a, quote=1,)\n",
    "import cgi, os\nhtml = cgi.escape(cgi.escape(a))\n": (
        "import html as html_\nimport os\nhtml = html_.escape(html_.escape(a, quote=False), quote=False)\n"
    ),
    "import cgi\nmap(cgi.parse_qs, a)\n": "import urllib.parse\nmap(urllib.parse.parse_qs, a)\n",
    "from cgi import parse_qsl\nurllib = parse_qsl(a)\n": (
        "import urllib.parse as urllib_parse\nurllib = urllib_parse.parse_qsl(a)\n"
    ),
    "import cgi; import os\ncgi.escape(a)\n": "import html; import os\nhtml.escape(a, quote=False)\n",
    "import cgi # for one thing\ncgi.escape(a)\n": "import html # for one thing\nhtml.escape(a, quote=False)\n",
    # The default encoding.
    "import sys\nreload(sys)\nsys.setdefaultencoding('utf-8')\nf()\n": "import sys\nf()\n",
    "import sys\nif a:\n    sys.setdefaultencoding('utf-8')\n": "if a:\n    pass\n",
    # Text in the body of a response.
    "def app(environ, start_response):\n    return ['a', r'b\\d', u\"c\"]\n": (
        "def app(environ, start_response):\n    return [b'a', br'b\\d', b\"c\"]\n"
    ),
    "def app(environ, start_response):\n    return 'a'\n": "def app(environ, start_response):\n    return [b'a']\n",
    "def app(environ, start_response):\n    yield 'a'\n    yield\n    return\n": (
        "def app(environ, start_response):\n    yield b'a'\n    yield\n    return\n"
    ),
}  # fmt: skip

BY_HAND = {
    FCGI + "WSGIServer(app, bindAddress=ADDRESS).run()\n": "bindAddress is no literal",
    FCGI + "WSGIServer(app, umask=1\n    if a else 2).run()\n": "umask is no literal",
    FCGI + "WSGIServer(app, maxThreads='8').run()\n": "its options are not what flup takes",
    FCGI + "WSGIServer(app, bindAddress='/a', umask='0').run()\n": "its options are not what flup takes",
    FCGI + "WSGIServer(app, bindAddress=80).run()\n": "bindAddress=80 is no address",
    FCGI + "WSGIServer(app, environ={'a': 'b'}).run()\n": "it is given environ",
    FCGI + "WSGIServer(app, roles=(1, 2)).run()\n": "it is given roles",
    FCGI + "WSGIServer(app, None).run()\n": "its arguments are not an application and options by their names",
    FCGI + "WSGIServer(application=app).run()\n": "its arguments are not an application and options by their names",
    FCGI + "WSGIServer(app, **options).run()\n": "its arguments cannot be seen",
    FCGI + "again = WSGIServer(app).run()\n": "what its run() gives is used",
    FCGI + "WSGIServer(app).serve()\n": "it is not run here",
    FCGI + "WSGIServer(app)\n": "it is not run here",
    FCGI + "run(WSGIServer)\n": "it is not called here",
    FCGI + "a = b = WSGIServer(app)\na.run()\n": "more is done with the server than to run it",
    FCGI + "a = WSGIServer(app)\na.debug = 1\na.run()\n": "more is done with the server than to run it",
    FCGI + "a = WSGIServer(app)\nfork()\na.run()\n": "more is done with the server than to run it",
    "try:\n    " + FCGI + "except ImportError:\n    from flipflop import WSGIServer\nWSGIServer(app).run()\n": (
        "it may be something else as well"
    ),
    FCGI + "def app(environ, start_response):\n    return [str(environ)]\nWSGIServer(app).run()\n": (
        "an application here answers in text, which gateway.compat accepts and PEP 3333 does not"
    ),
    CGI + "CGIHandler(1).run(app)\n": "it is given arguments",
    "import cgi\nmap(cgi.escape, a)\n": "it is not called here",
    "import cgi\ncgi.escape(*a)\n": "its arguments cannot be seen",
    "import sys\na = sys.setdefaultencoding('utf-8')\n": "it is a part of something",
}

UNTOUCHED = {
    "from flup.server import ajp_fork\najp_fork.WSGIServer(app).run()\n": (COMPAT, "flup.server.ajp_fork.WSGIServer"),
    "class Server(WSGIServer): pass\n" + FCGI + "Server(app).run()\n": (COMPAT, "flup.server.fcgi.WSGIServer"),
    "from flup.client.fcgi_app import FCGIApp\nFCGIApp(connect='/a')\n": (COMPAT, "flup.client.fcgi_app.FCGIApp"),
    "from flup.middleware import gzip\ngzip.GzipMiddleware(a)\n": (CHANGE, "flup.middleware.gzip.GzipMiddleware"),
    "from flup.server.fcgi import *\nWSGIServer(app).run()\n": (COMPAT, "flup.server.fcgi.*"),
    "import cgitb\n": (COMPAT, "cgitb"),
    "import string\nstring.atoi(a)\n": (CHANGE, "string.atoi"),
    "call_command('runfcgi', method='threaded')\n": (COMPAT, "django's runfcgi"),
}


@pytest.mark.parametrize("text", EDITED)
def test_an_edit_is_made(look: Look, text: str) -> None:
    report = look(text)
    assert (report.problem, report.text) == ("", EDITED[text])
    assert all(found.edited for found in report.findings)
    assert report.findings


@pytest.mark.parametrize("text", BY_HAND)
def test_what_is_not_sure_is_left_with_the_reason(look: Look, text: str) -> None:
    report = look(text)
    assert report.text == text
    assert f"(by hand, because {BY_HAND[text]})" in " ".join(map(str, report.findings))
    assert not any(found.edited for found in report.findings)


@pytest.mark.parametrize("text", UNTOUCHED)
def test_what_has_no_edit_is_told(look: Look, text: str) -> None:
    report = look(text)
    assert (report.text, report.verdict) == (text, UNTOUCHED[text][0])
    assert UNTOUCHED[text][1] in [found.what for found in report.findings]


@pytest.mark.parametrize(
    "answer",
    [
        "'a %s' % b", "'a' + b", "f'{a}'", "'a' 'b'", "'é'", "'\\u0041'", "', '.join(b)", "page", "MODULE",
        "'a'.upper()", "str(a)",
    ],
)  # fmt: skip
def test_text_that_is_put_together_is_told(look: Look, answer: str) -> None:
    app = f"MODULE = 'a'\ndef app(environ, start_response):\n    page = 'a' + b\n    return [{answer}]\n"
    (found,) = look(app).findings
    assert (found.line, found.what, found.verdict, found.edited) == (4, "text in a response", CHANGE, False)


@pytest.mark.parametrize("answer", ["b'a'", "'a'.encode()", "a", "a.read()", "f(a)", "lambda: 'a'", "b'' + a"])
def test_what_may_be_bytes_is_not_told(look: Look, answer: str) -> None:
    app = f"def app(environ, start_response):\n    def inner():\n        return ['a']\n    return [{answer}]\n"
    assert look(app).findings == []


def test_what_an_application_hands_on_may_be_bytes(look: Look) -> None:
    assert look("def app(environ, start_response):\n    return other(environ, start_response)\n").findings == []


@pytest.mark.parametrize("server", ["flup.server.fcgi", "flipflop"])
def test_text_is_no_fault_where_compat_takes_it(look: Look, server: str) -> None:
    report = look(
        f"from {server} import WSGIServer\ndef app(environ, start_response):\n    yield 'a'\n    yield str(b)\n"
        "WSGIServer(app).run()\n"
    )
    assert (report.verdict, [found.edited for found in report.findings]) == (COMPAT, [True, False, False])


def test_what_stays_of_an_import_stays_behind_what_comes(look: Look) -> None:
    text = "from cgi import parse_qsl, FieldStorage  # both\nFieldStorage(parse_qsl(a))\n"
    assert look(text).text == (
        "import urllib.parse  # both\nfrom cgi import FieldStorage\nFieldStorage(urllib.parse.parse_qsl(a))\n"
    )


def test_functions_that_are_no_applications_may_return_text(look: Look) -> None:
    assert look("start_response = 1\ndef app(environ):\n    return ['a']\n").findings == []


def test_a_module_of_that_name_in_the_folder_is_in_the_way(look: Look, tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "html.py").touch()
    found, other = look(CGI + "import cgi\nCGIHandler().run(app)\ncgi.escape(a)\n").findings
    assert "(by hand, because another gateway lies beside it)" in str(found)
    assert "(by hand, because another html lies beside it)" in str(other)


def test_lines_are_those_of_the_file_whatever_was_translated(look: Look) -> None:
    text = "import urllib2, StringIO\nprint 'a'\nreload(b)\nimport cgi\n\ncgi.escape('a')\nraise 'b'\n"
    told = [(found.line, found.what) for found in look(text).findings]
    assert told == [
        (1, "StringIO"), (1, "urllib2"), (2, "the print statement"), (3, "reload()"), (6, "cgi.escape"),
        (7, "a string as an exception"),
    ]  # fmt: skip


def test_tabs_and_spaces_that_only_python_2_reads_are_told(look: Look) -> None:
    report = look("if a:\n\tprint 1\n        print 2\n")
    assert (report.text, report.verdict) == (report.source.text, CHANGE)
    assert "3: what stands here must change: Python 3 says: " in str(report.findings[-1])
    assert not any(found.edited for found in report.findings)


def test_an_edit_that_python_cannot_read_is_never_kept(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "_edit", lambda text, path: ("a b", []))
    report = look("import cgi\ncgi.escape(a)\n")
    assert report.problem == (
        "its edits would give what Python cannot read (invalid syntax (<unknown>, line 1)); edit it by hand"
    )
    assert report.diff == ""


def test_what_libcst_cannot_read_is_told(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libcst.parse_module", _give_up)
    assert look("import cgi\n").problem == "LibCST cannot read what Python can (too deep); edit it by hand"


def _give_up(text: str) -> None:
    raise RecursionError("too deep")


def test_a_file_that_cannot_be_read_is_a_problem_of_its_report(tmp_path: Path) -> None:
    report = examine(str(tmp_path / "nothing.cgi"))
    assert repr(report) == f"<Report '{report.path}' not read: No such file or directory; let this user read it>"


def test_a_module_beside_it_is_no_old_one(look: Look) -> None:
    text = "from .cgi import escape\nfrom . import cgi\nfrom .flup import *\nescape(cgi.escape(a))\n"
    assert look(text).findings == []


def test_reprs_tell_what_they_are(look: Look, tmp_path: Path) -> None:
    report = look("import cgi\ncgi.escape(a)\n")
    assert repr(report.findings) == "[<Finding '2: cgi.escape must change: html.escape(…, quote=False)' edited>]"
    assert repr(report) == f"<Report '{tmp_path}/a.cgi' must change>"
    assert repr(Survey("import cgi\ncgi.parse()\n").uses) == "[<Use 2: cgi.parse>]"
