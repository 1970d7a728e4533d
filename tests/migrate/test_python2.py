"""Code of Python 2 becomes code of Python 3, and code that knows of both stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.migrate.python2 import CannotRead, is_python3, left_over, translate

# What Python 2 has, what is told of it, and what Python 3 gets.
TRANSLATED = {
    "print 'a', b,\n": ("the print statement", "print('a', b, end=' ')\n"),
    "print >>log, 'a'\n": ("the print statement", "print('a', file=log)\n"),
    "print\n": ("the print statement", "print()\n"),
    "try: f()\nexcept OSError, e: g()\n": ("except X, e", "try: f()\nexcept OSError as e: g()\n"),
    "raise ValueError, 'a'\n": ("raise X, text", "raise ValueError('a')\n"),
    "exec code in names\n": ("the exec statement", "exec(code, names)\n"),
    "a = 0755\n": ("a number of Python 2", "a = 0o755\n"),
    "a = b <> c\n": ("<>", "a = b != c\n"),
    "a = `b`\n": ("backquotes", "a = repr(b)\n"),
    "if a.has_key('b'): pass\n": ("has_key()", "if 'b' in a: pass\n"),
    "for a in b.iteritems(): pass\n": ("a method of dict", "for a in b.items(): pass\n"),
    "a = raw_input('b')\n": ("raw_input()", "a = input('b')\n"),
    "a = unicode(b)\n": ("unicode", "a = str(b)\n"),
    "for a in xrange(3): pass\n": ("xrange()", "for a in range(3): pass\n"),
    "import urllib2\nurllib2.urlopen(a)\n": (
        "urllib2", "import urllib.request, urllib.error, urllib.parse\nurllib.request.urlopen(a)\n"
    ),
    "from cStringIO import StringIO\n": ("cStringIO", "from io import StringIO\n"),
    "import Cookie\na = Cookie.SimpleCookie()\n": ("Cookie", "import http.cookies\na = http.cookies.SimpleCookie()\n"),
}  # fmt: skip

SOUND = [
    "print('a', end='')\n",
    "a = u'b', ur, self.unicode, f(unicode=1)\n",
    "a = '\\u20ac', {}.keys(), list(range(3)), b.items()\n",
    "try:\n    from urllib.parse import quote\nexcept ImportError:\n    from urllib import quote\n",
    "try:\n    import cStringIO as io\nexcept ImportError:\n    import io\n",
    "try:\n    text = unicode\nexcept NameError:\n    text = str\n",
    "if sys.version_info < (3,):\n    text = unicode\n",
    "if PY2:\n    items = d.iteritems()\n",
    "lat, long = f()\ndef g(xrange): return xrange(long)\n",
    "from functools import reduce\na = reduce(f, b)\n",
    "for unicode in a: unicode(b)\n",
    "class A:\n    def iteritems(self): pass\n    def has_key(self, key): pass\nA().iteritems(); A().has_key(1)\n",
    "f.func_name, f.im_func\n",
    "match a:\n    case [b]: pass\n",
    "import urllib.parse as parse, os\nparse.quote(a)\n",
]


@pytest.mark.parametrize("text", TRANSLATED)
def test_it_is_translated_and_told(text: str) -> None:
    what, new = TRANSLATED[text]
    translated, findings = translate(text, "a.cgi")
    assert (translated, {found.what for found in findings}) == (new, {what})
    assert all(found.edited for found in findings)
    assert translate(new, "a.cgi") == (new, [])


@pytest.mark.parametrize("text", SOUND)
def test_what_python_3_runs_stays(text: str) -> None:
    assert translate(text, "a.cgi") == (text, [])


def test_each_clause_of_a_try_is_told_by_its_line() -> None:
    text = "try: f()\nexcept (A, B):\n    pass\nexcept C, e:\n    pass\nexcept D , e: pass\n"
    assert [found.line for found in translate(text, "a.cgi")[1]] == [4, 6]


def test_in_python_2_a_backslash_u_was_no_escape() -> None:
    assert translate("print '\\u20ac', u'\\u20ac'\n", "a.cgi")[0] == "print('\\\\u20ac', u'\\u20ac')\n"


def test_what_python_3_cannot_read_is_translated_wherever_it_stands() -> None:
    text = "try:\n    print 'a'\nexcept NameError:\n    print unicode\n"
    assert translate(text, "a.cgi")[0] == "try:\n    print('a')\nexcept NameError:\n    print(unicode)\n"


def test_a_module_of_the_folder_is_no_module_of_python_2(tmp_path: Path) -> None:
    text = "import commands\ncommands.run()\n"
    assert translate(text, str(tmp_path / "a.cgi"))[0] == "import subprocess\nsubprocess.run()\n"
    (tmp_path / "commands.py").touch()
    assert translate(text, str(tmp_path / "a.cgi")) == (text, [])


def test_a_list_of_python_2_stays_a_list() -> None:
    assert translate("print map(f, a), a.keys()\n", "a.cgi")[0] == "print(list(map(f, a)), list(a.keys()))\n"


def test_modules_are_told_with_their_successors() -> None:
    (found,) = translate("import urlparse, StringIO\n", "a.cgi")[1][:1]
    assert str(found) == "1: StringIO and urlparse must change: io, urllib.parse"


def test_reload_goes_where_the_default_encoding_goes() -> None:
    text = "import sys\nreload(sys)\nsys.setdefaultencoding('utf-8')\n"
    assert translate(text, "a.cgi") == (text, [])
    assert translate("reload(sys)\n", "a.cgi")[0] == "import importlib\nimportlib.reload(sys)\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = (\n", "line 1: '(' was never closed"), ("a b c\n", "line 1: invalid syntax"), ("if a:\nb\n", "line 2: ")],
)
def test_what_nobody_can_read_is_told_by_its_line(text: str, line: str) -> None:
    with pytest.raises(CannotRead) as caught:
        translate(text, "a.cgi")
    assert str(caught.value).startswith(f"neither Python 3 nor Python 2 can read it ({line}")


def test_a_string_as_an_exception_has_to_be_replaced_by_hand() -> None:
    (found,) = translate("raise 'a', b\n", "a.cgi")[1]
    assert (str(found).partition(" must")[0], found.edited) == ("1: a string as an exception", False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise 'a'", ["1: a string as an exception must change: raise one of a class: raise ValueError(…)"]),
        ("a = file('b')", ["1: file() must change: open()"]),
        ("def file(a): pass\nfile('b')", []),
        ("from a import file\nfile('b')", []),
        ("file = open\nfile('b'); raise ValueError", []),
        ("def f(file): file('b')", []),
    ],
)
def test_what_no_fixer_knows_is_told(text: str, told: list[str]) -> None:
    assert [str(found) for found in left_over(text)] == told


def test_an_escape_that_python_warns_of_is_no_matter() -> None:
    assert is_python3("a = '\\d'")
