"""Which targets load, what each wrong one is answered, and how an application's own failure is shown."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError, LoadError
from gateway.loader import explain, load
from tests.imports import modules_imported

ROOT = Path(__file__).parent.parent
APP = "def application(environ, start_response):\n    return [b'hello']\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; what is imported from it is forgotten."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(**files: str) -> None:
    """Write files; ``a__b_py`` is a/b.py."""
    for name, source in files.items():
        stem, _, suffix = name.replace("___", "-").replace("__", "/").rpartition("_")
        path = Path(f"{stem.replace('INIT', '__init__')}.{suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))


def answer(application: Any) -> object:
    return application({}, lambda status, headers: None)


def refused(target: str, **options: Any) -> str:
    with pytest.raises(LoadError) as caught:
        load(target, **options)
    asked, found, hint = str(caught.value).split("\n")
    assert asked == f"cannot load {target!r}"
    assert found.startswith("  found: ")
    assert hint.startswith("  hint: ")
    assert explain(target, caught.value) == str(caught.value)
    return f"{found}\n{hint}"


def explained(target: str) -> str:
    """What is said about a failure that is the application's own."""
    try:
        load(target)
    except LoadError:
        raise
    except BaseException as error:
        return explain(target, error)
    raise AssertionError(f"{target} loads")


# What loads.


@pytest.mark.parametrize(
    "target",
    [
        "shop",
        "shop:application",
        "shop:application ",
        "shop:",
        "shop:site.wsgi",
        "shop:make()",
        "shop:make( )",
        "shop:site.make('hello', times=1)",
        "shop:make(greeting='he' 'llo')",
        "package.wsgi",
        "package.wsgi:application",
        "package:application",
        "shop.py",
        "shop.py:application",
        "./shop.py:make()",
        "package/wsgi.py",
        "package/__init__.py:application",
        "two-words.py",
        "./two-words.py:application",
        "hello.fcgi",
        "hello.cgi:application",
        "site.wsgi",
        "bin/hello",
        "bin/json.py:application",
        "with:colon.py",
    ],
)
def test_a_target_loads(target: str, folder: Path) -> None:
    shop = f"""
{APP}
def make(greeting="hello", times=1):
    return lambda environ, start_response: [greeting.encode() * times]
class site:
    wsgi = application
    make = make
"""
    (folder / "package").mkdir()
    (folder / "bin").mkdir()
    (folder / "shop.py").write_text(shop)
    (folder / "package" / "__init__.py").write_text("from .wsgi import application")
    (folder / "package" / "wsgi.py").write_text(f"from . import part\n{APP}")
    (folder / "package" / "part.py").write_text("")
    for name in ("two-words.py", "hello.fcgi", "hello.cgi", "site.wsgi", "bin/hello", "bin/json.py", "with:colon.py"):
        (folder / name).write_text(APP)
    assert answer(load(target)) == [b"hello"]


def test_application_is_preferred_and_app_comes_next() -> None:
    write(one_py="app = lambda e, s: 1\napplication = lambda e, s: 2", two_py="app = lambda e, s: 1")
    assert (answer(load("one")), answer(load("two"))) == (2, 1)


def test_the_current_directory_comes_first_on_the_path(folder: Path) -> None:
    write(shop_py=APP)
    sys.path.append(str(folder))
    load("shop")
    assert sys.path[0] == str(folder)
    assert sys.path.count(str(folder)) == 1


def test_another_directory_can_be_the_current_one(folder: Path) -> None:
    write(site__shop_py=APP)
    assert answer(load("shop", chdir="site")) == [b"hello"]
    assert Path.cwd() == folder / "site"


def test_a_file_finds_the_modules_beside_it() -> None:
    write(site__shop_cgi="from stock import application", site__stock_py=APP)
    assert answer(load("site/shop.cgi")) == [b"hello"]


def test_a_file_of_a_package_is_the_module_that_others_import() -> None:
    write(src__shop__INIT_py="", src__shop__web__INIT_py="", src__shop__web__wsgi_py=APP)
    application = load("src/shop/web/wsgi.py")
    assert application.__module__ == "shop.web.wsgi"
    assert sys.modules["shop.web.wsgi"].application is application


def test_a_file_with_a_dash_can_import_relatively_from_its_package() -> None:
    write(shop__INIT_py="", shop__stock_py=APP, shop__my___app_py="from .stock import application")
    assert answer(load("shop/my-app.py")) == [b"hello"]


def test_a_file_loaded_twice_is_executed_once() -> None:
    write(counter_cgi="calls = []\ndef application(environ, start_response):\n    calls.append(1)\n    return calls")
    answer(load("counter.cgi"))
    assert answer(load("./counter.cgi:application")) == [1, 1]


def test_two_files_of_one_name_are_two_modules() -> None:
    write(a__shop_cgi="application = lambda e, s: 'a'", b__shop_cgi="application = lambda e, s: 'b'")
    assert answer(load("a/shop.cgi")) + answer(load("b/shop.cgi")) == "ab"  # type: ignore[operator]


def test_a_file_that_fails_leaves_no_half_module() -> None:
    write(shop_cgi="1 / 0")
    with pytest.raises(ZeroDivisionError):
        load("shop.cgi")
    assert "shop" not in sys.modules


def test_a_source_encoding_is_honoured(folder: Path) -> None:
    source = "# coding: latin-1\ndef application(environ, start_response):\n    return 'é'\n"
    (folder / "shop.wsgi").write_bytes(source.encode("latin-1"))
    assert answer(load("shop.wsgi")) == "é"


def test_loading_imports_nothing_but_the_application() -> None:
    write(shop_py=f"{APP}\nmake = lambda: application", hello_cgi=APP)
    for target in ("shop", "shop:make()", "shop.py", "hello.cgi"):
        program = f"from gateway.loader import load; load({target!r})"
        imported = modules_imported([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)})
        assert imported <= {"__future__", "gateway", "gateway.errors", "gateway.loader", "shop"}


# What is asked for and not there.


def test_a_misspelled_module_is_answered_with_the_closest() -> None:
    write(shop_py=APP, stock_py="")
    text = refused("shpo:application")
    assert f"no module 'shpo' in {Path.cwd()} (there: shop, stock), nor one installed for" not in text
    assert f"no module 'shpo' in {Path.cwd()} (there: shop, stock)" in text
    assert "did you mean shop:application?" in text


def test_a_misspelled_submodule_is_answered_with_the_closest() -> None:
    write(shop__INIT_py="", shop__wsgi_py=APP)
    text = refused("shop.wsgii:application")
    assert f"no module 'wsgii' in {Path.cwd()}/shop (there: wsgi)" in text
    assert "did you mean shop.wsgi:application?" in text
    assert "correct the name" in refused("shop.quite_another")


def test_a_module_in_a_directory_below_is_found() -> None:
    write(site__shop_py=APP)
    text = refused("shop")
    assert f"nor one installed for {sys.executable}" in text
    assert "it is in the directory site: start there, with --chdir site" in text


def test_a_module_that_is_nowhere_may_be_elsewhere_or_not_installed() -> None:
    text = refused("nowhere:application")
    assert f"no module 'nowhere' in {Path.cwd()}, nor one installed for {sys.executable}" in text
    assert "start in the directory that holds it, with --chdir; or install it" in text


def test_a_dot_in_place_of_the_colon_is_seen() -> None:
    write(shop_py=APP)
    text = refused("shop.application")
    assert "shop.py is a module, not a package of modules" in text
    assert "the attribute follows a colon: shop:application" in text
    assert "drop .other" in refused("shop.other")


@pytest.mark.parametrize("target", ["", ":application", "  "])
def test_a_target_without_a_module_is_refused(target: str) -> None:
    assert "name one and what to take from it: module:application" in refused(target)


def test_a_name_that_can_be_no_module_may_be_a_file() -> None:
    text = refused("my-app:application")
    assert "'my-app' cannot be a module" in text
    assert "a file? ./my-app.py:application" in text


def test_a_missing_file_is_answered_with_the_closest() -> None:
    write(site__shop_py=APP)
    text = refused("site/shpo.py:app")
    assert f"there is no file shpo.py in {Path.cwd()}/site, but shop.py" in text
    assert "did you mean site/shop.py:app?" in text
    assert "did you mean site/shop.py?" in refused("site/shop")
    assert "correct the path" in refused("site/quite_another.txt")


def test_a_missing_directory_is_named() -> None:
    text = refused("no/where/app.py")
    assert f"there is no directory {Path.cwd()}/no/where" in text
    assert "start elsewhere with --chdir" in text


def test_a_directory_is_answered_with_the_files_in_it() -> None:
    write(site__shop_py=APP, empty__readme_txt="")
    text = refused("./site")
    assert f"{Path.cwd()}/site is a directory with shop.py" in text
    assert f"name a file in it: {Path.cwd()}/site/shop.py" in text
    assert "without Python files" in refused("./empty")


@pytest.mark.parametrize("chdir", ["nowhere", ""])
def test_a_directory_that_is_not_there_cannot_be_changed_to(chdir: str) -> None:
    text = refused("shop", chdir=chdir)
    assert f"the directory {chdir!r}: No such file or directory" in text
    assert "start in a directory that exists" in text


def test_a_current_directory_that_is_gone_is_said() -> None:
    Path("gone").mkdir()
    os.chdir("gone")
    os.rmdir("../gone")
    assert "the current directory: No such file or directory" in refused("shop")


def test_a_misspelled_attribute_is_answered_with_the_closest() -> None:
    write(shop_py=APP)
    text = refused("shop:aplication")
    assert f"{Path.cwd()}/shop.py has no aplication (there: application)" in text
    assert "did you mean shop:application?" in text


def test_a_misspelled_factory_is_answered_with_its_call() -> None:
    write(shop_py="def create_app(config=None): ...")
    assert "did you mean shop:create_app()?" in refused("shop:crate_app")
    assert "did you mean shop:create_app()?" in refused("shop:crate_app()")
    assert "did you mean shop.py:create_app()?" in refused("shop.py:crate_app()")


def test_a_misspelled_attribute_of_an_object_is_answered_with_the_closest() -> None:
    write(shop_py="class Site:\n    def wsgi_app(self, environ, start_response): ...\nsite = Site()")
    text = refused("shop:site.wsgi_ap")
    assert "an object of <class 'shop.Site'> has no wsgi_ap" in text
    assert "did you mean shop:site.wsgi_app?" in text


def test_what_could_be_the_application_is_listed_when_none_has_a_usual_name() -> None:
    write(
        shop_py="""
        from wsgiref.simple_server import demo_app as imported
        class Site:
            def __call__(self, environ, start_response): ...
        class Proxy:
            __class__ = __module__ = property(lambda self: 1 / 0)
            def __call__(self, *args): ...
        request = Proxy()
        def handle(environ, start_response): ...
        def helper(text): ...
        def index(): ...
        def make_app(config={}): ...
        site = Site()
        """
    )
    text = refused("shop")
    assert "shop.py has no application or app (there: site, make_app(), handle)" in text
    assert "name one of them: shop:site" in text


def test_a_module_with_nothing_in_it_is_told_what_to_define() -> None:
    write(shop_py="")
    assert "define it: def application(environ, start_response): …" in refused("shop")
    assert "define it: def main(environ, start_response): …" in refused("shop:main")


def test_a_package_is_answered_with_its_modules() -> None:
    write(shop__settings_py="", shop__wsgi_py=APP)
    text = refused("shop")
    assert "has no application or app; it is a package of settings, wsgi" in text
    assert "name a module in it: shop.wsgi:application" in text


@pytest.mark.parametrize(
    ("source", "kind"), [("{}", "a dict"), ("5", "an int"), ("None", "a NoneType"), ("'text'", "a str")]
)
def test_what_is_not_callable_is_named_by_its_type(source: str, kind: str) -> None:
    write(shop_py=f"{APP}\nconfig = {source}")
    text = refused("shop:config")
    assert f"config in {Path.cwd()}/shop.py is not callable: it is {kind}" in text
    assert "name one that is: application" in text


def test_a_module_is_no_application() -> None:
    write(shop__INIT_py="from . import wsgi", shop__wsgi_py=APP)
    assert "name the application in that module: shop.wsgi:application" in refused("shop:wsgi")


def test_a_factory_that_returns_nothing_is_told_to_return() -> None:
    write(shop_py="def create_app(): app = 1")
    text = refused("shop:create_app()")
    assert "create_app() in" in text
    assert "end the function by returning the application" in text


@pytest.mark.parametrize("parameters", ["", "config=None"])
def test_a_factory_that_is_not_called_is_told_to_be(parameters: str) -> None:
    write(shop_py=f"def create_app({parameters}): ...\napp = create_app")
    assert "call it: shop:create_app()" in refused("shop:create_app")
    assert "call it: shop:app()" in refused("shop")


@pytest.mark.parametrize(
    "application",
    [
        "lambda environ, start_response: 1",
        "lambda *args, **options: 1",
        "lambda scope: 1",
        "type('Site', (), {'__call__': lambda self, environ, start_response: 1})()",
        "type('Site', (), {})",
        "__import__('functools').partial(print)",
    ],
)
def test_what_may_be_an_application_is_not_taken_for_a_factory(application: str) -> None:
    write(shop_py=f"application = {application}")
    assert callable(load("shop"))


@pytest.mark.parametrize(
    "arguments", ["(name)", "(1", "()()", "(1) or f(2)", "(**{})", "(*[1])", "(print())", "(a=1, a=2)"]
)
def test_arguments_that_are_no_literals_are_refused(arguments: str) -> None:
    write(shop_py="def make(*args, **options): return print")
    text = refused(f"shop:make{arguments}")
    assert f"{arguments} is no list of literal arguments" in text
    assert "numbers, strings, True, None, and lists and dicts of them" in text


def test_a_factory_called_with_the_wrong_arguments_says_which() -> None:
    write(shop_py="def make(name): ...")
    assert "make() missing 1 required positional argument: 'name'" in refused("shop:make()")


def test_a_wrong_target_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError):
        load("nowhere")


# What the application does wrong itself.


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import missing_library", ModuleNotFoundError),
        ("from os import nothing", ImportError),
        ("def application(:", SyntaxError),
        ("1 / 0", ZeroDivisionError),
        ("raise SystemExit(2)", SystemExit),
        ("import shop.part", ModuleNotFoundError),
    ],
)
@pytest.mark.parametrize("target", ["shop", "shop.py"])
def test_the_applications_own_exception_passes_through(target: str, source: str, error: type[BaseException]) -> None:
    write(shop_py=source)
    with pytest.raises(error) as caught:
        load(target)
    assert not isinstance(caught.value, LoadError)


@pytest.mark.parametrize(
    "source", ["def make(): return len(5)", "def make(): return helper()\ndef helper(): raise TypeError"]
)
def test_a_type_error_inside_a_factory_is_the_applications_own(source: str) -> None:
    write(shop_py=source.replace("return len(5)", "return make(1)"))
    with pytest.raises(TypeError) as caught:
        load("shop:make()")
    assert not isinstance(caught.value, LoadError)


def test_an_own_failure_is_one_block_with_the_applications_frames_only(folder: Path) -> None:
    write(shop_py="import stock\n", stock_py="def count():\n    return 1 / 0\n\ncount()\n")
    assert explained("shop:application") == (
        "cannot load 'shop:application'\n"
        "  found: ZeroDivisionError: division by zero\n"
        f'    File "{folder}/shop.py", line 1, in <module>\n'
        "      import stock\n"
        f'    File "{folder}/stock.py", line 4, in <module>\n'
        "      count()\n"
        f'    File "{folder}/stock.py", line 2, in count\n'
        "      return 1 / 0\n"
        f"  hint: the application raised this itself; to see all of it: {sys.executable} -c 'import shop'"
    )


def test_an_own_failure_in_a_file_is_shown_alike(folder: Path) -> None:
    write(shop_cgi="1 / 0\n")
    text = explained("./shop.cgi")
    assert f'\n    File "{folder}/shop.cgi", line 1, in <module>\n      1 / 0\n' in text
    assert text.endswith(f"to see all of it: {sys.executable} ./shop.cgi")
    assert "loader.py" not in text


def test_calls_inside_libraries_are_counted_not_shown() -> None:
    write(shop_py="import json\ndef hook(pairs): return 1 / 0\njson.loads('{}', object_hook=hook)\n")
    text = explained("shop")
    assert "  … 3 more calls\n" in text
    assert "/json/" not in text
    assert "in hook\n" in text


def test_a_recursion_without_end_is_cut_short() -> None:
    write(shop_py="def ping(): pong()\ndef pong(): ping()\nping()\n")
    text = explained("shop")
    assert "more calls" in text
    assert len(text.split("\n")) < 30


def test_a_syntax_error_is_shown_at_its_place(folder: Path) -> None:
    write(shop_py="import stock\n", stock_py="x = 1\ndef f(:\n    pass\n")
    lines = explained("shop").split("\n")
    assert lines[1] == "  found: SyntaxError: invalid syntax"
    assert f'    File "{folder}/shop.py", line 1, in <module>' in lines
    at = lines.index(f'    File "{folder}/stock.py", line 2')
    assert lines[at + 1].strip() == "def f(:"
    assert lines[at + 2].strip() == "^"
    assert lines[-1].startswith("  hint: correct that line; Python 3.")


def test_a_program_in_another_language_is_no_syntax_error_to_correct() -> None:
    write(hello_cgi="#!/usr/bin/perl\nprint $x;\n")
    assert "it is a program for /usr/bin/perl, no Python module" in explained("hello.cgi")


def test_a_compiled_program_is_no_module(folder: Path) -> None:
    (folder / "hello.cgi").write_bytes(b"\x7fELF\0\0")
    assert "a compiled program is no Python module; gateway.CGIScript runs programs" in explained("hello.cgi")


def test_a_missing_library_is_to_be_installed_for_the_python_that_was_asked() -> None:
    write(shop_py="import missing_library.part\n")
    text = explained("shop")
    assert "found: ModuleNotFoundError: No module named 'missing_library'" in text
    assert "import missing_library.part\n" in text
    assert text.endswith(f"hint: install it: {sys.executable} -m pip install missing_library")


def test_a_missing_library_may_be_in_the_virtual_environment_beside() -> None:
    write(shop_py="import missing_library\n")
    Path(".venv/bin").mkdir(parents=True)
    Path(".venv/bin/python").touch()
    expected = f"start with .venv/bin/python, the virtual environment here; {sys.executable} was asked"
    assert explained("shop").endswith(expected)


def test_a_python_managed_by_the_system_is_not_to_be_installed_into(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(shop_py="import missing_library\n")
    (folder / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(os, "__file__", str(folder / "os.py"))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert "python3 -m venv .venv && .venv/bin/pip install gateway missing_library" in explained("shop")


def test_a_module_that_left_the_standard_library_has_a_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cgi", None)
    write(shop_py="import cgi\n")
    assert explained("shop").endswith("-m pip install legacy-cgi")


def test_a_misspelled_import_is_answered_with_the_closest() -> None:
    write(shop__INIT_py="", shop__stock_py="", shop__wsgi_py="from shop.stok import count\n", models_py="")
    assert explained("shop.wsgi").endswith("did you mean shop.stock?")
    write(web_py="import modles\n")
    assert explained("web").endswith("did you mean models?")


def test_a_library_of_another_version_is_named_by_its_place() -> None:
    import wsgiref

    write(shop_py="import wsgiref.no_such_part\n")
    expected = (
        f"the wsgiref that was found is {wsgiref.__file__}; is it the one, and the version, that has no_such_part?"
    )
    assert explained("shop").endswith(expected)


def test_a_file_that_hides_the_library_it_imports_is_named(folder: Path) -> None:
    write(flasque_py="from flasque import Flask\n")
    assert explained("flasque").endswith(
        f"{folder}/flasque.py hides the library that it wants to import; give the file another name"
    )


def test_a_missing_environment_variable_is_named() -> None:
    write(shop_py="import os\nos.environ['SHOP_SECRET']\n")
    assert explained("shop").endswith("hint: set the environment variable SHOP_SECRET")


def test_a_module_that_ends_the_program_is_told_how_not_to() -> None:
    write(shop_py="import sys\nsys.exit('bye')\n")
    text = explained("shop")
    assert "found: SystemExit: bye" in text
    assert "put what does under: if __name__ == '__main__':" in text


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("try:\n    {}['key']\nexcept KeyError as error:\n    raise ValueError('no key') from error\n", True),
        ("try:\n    {}['key']\nexcept KeyError:\n    raise ValueError('no key')\n", True),
        ("try:\n    {}['key']\nexcept KeyError:\n    raise ValueError('no key') from None\n", False),
    ],
)
def test_the_cause_of_an_own_failure_is_one_line(source: str, shown: bool) -> None:  # noqa: FBT001
    write(shop_py=source)
    assert ("\n  caused by: KeyError: 'key'\n" in explained("shop")) is shown


def test_a_message_of_many_lines_stays_inside_the_block() -> None:
    write(shop_py="raise ValueError('one\\n\\ntwo')\n")
    assert "\n  found: ValueError: one\n\n    two\n    File" in explained("shop")


def test_frames_of_whoever_called_load_are_not_shown(folder: Path) -> None:
    write(
        shop_py="1 / 0\n",
        caller_py="""
        from gateway.loader import explain, load
        try:
            load("shop")
        except ZeroDivisionError as error:
            print(explain("shop", error))
        """,
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "caller.py"], capture_output=True, text=True, env=environ, timeout=20)
    assert done.stdout.count("File ") == 1
    assert f'File "{folder}/shop.py", line 1' in done.stdout
