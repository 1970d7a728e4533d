"""The application that a command line names, such as ``shop.wsgi:application``: load it, or say what is there instead.

Loading is on the path of every CGI request, so it imports nothing; what explains a failure is imported by then.
"""

from __future__ import annotations

import os
import sys

from gateway.errors import LoadError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from traceback import FrameSummary
    from types import FrameType, ModuleType
    from typing import Any

DEFAULT_NAMES = ("application", "app")
"""What is looked for in a module when no attribute is named: PEP 3333's example and mod_wsgi, then Flask's habit."""


def load(target: str, *, chdir: str | None = None) -> Callable[..., Any]:
    """Load the application that ``target`` names; the current directory is put first on ``sys.path``.

    ``module``, ``module:attribute``, ``module:object.attribute`` and ``module:factory('argument', key=1)``, whose
    arguments are literals; instead of the module also the path of a file with any suffix: ``cgi-bin/shop.cgi:app``.

    Raises LoadError when that is not there or no application.  What the application itself raises while it is imported
    or made passes through unchanged; :func:`explain` renders both.
    """
    try:
        if chdir is not None:
            os.chdir(chdir)
        _put_first(os.getcwd())
    except OSError as error:
        where = f"the directory {chdir!r}" if chdir is not None else "the current directory"
        raise _refusal(target, f"{where}: {error.strerror}", "start in a directory that exists") from error
    name, expression = _split(target)
    if not name:
        raise _refusal(target, "it names no module", "name one and what to take from it: module:application")
    module = _import_file(target, name) if _is_path(name) else _import_module(target, name)
    return _application(target, module, expression)


def _put_first(folder: str) -> None:
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)


def _split(target: str) -> tuple[str, str]:
    if os.path.isfile(target):
        return target, ""
    drive, rest = os.path.splitdrive(target.strip())
    name, _, expression = rest.partition(":")
    return drive + name, expression.strip()


def _is_path(name: str) -> bool:
    """``shop.wsgi`` may be a module of the package shop, as Django makes it, or a file: what is there decides."""
    if "/" in name or os.sep in name or name.endswith(".py"):
        return True
    return os.path.isfile(name) and not os.path.isfile(f"{name}.py")


def _import_module(target: str, name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        file = target.replace(name, f"./{name}.py", 1)
        raise _refusal(target, f"{name!r} cannot be a module: its parts are letters, digits and _", f"a file? {file}")
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if f"{name}.".startswith(f"{missing}.") and not _frames(error):
            raise _no_module(target, missing) from error
        raise  # the module is there, and misses one itself
    return sys.modules[name]


def _import_file(target: str, path: str) -> ModuleType:
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise _no_file(target, path)
    folder, filename = os.path.split(path)
    stem, suffix = os.path.splitext(filename)
    parts = [stem]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, parent = os.path.split(folder)
        parts.insert(0, parent)
    if stem == "__init__":
        parts.pop()
    _put_first(folder)
    name = ".".join(parts)
    if suffix == ".py" and all(part.isidentifier() for part in parts):
        __import__(name)
        module = sys.modules[name]
        if os.path.samefile(getattr(module, "__file__", None) or os.devnull, path):
            return module
    return _execute(path, name)


def _execute(path: str, name: str) -> ModuleType:
    """Import a file that the import system cannot: for its suffix, a dash, or a name that an imported module has.

    Nothing is cached: ``shop.cgi`` and ``shop.py`` would share one ``.pyc``.
    """
    name = "".join(letter if letter.isalnum() or letter == "." else "_" for letter in name)
    while name in sys.modules:
        if getattr(sys.modules[name], "__file__", None) == path:
            return sys.modules[name]
        name += "_"
    with open(path, "rb") as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    module = type(sys)(name)
    module.__file__ = path
    module.__package__ = name.rpartition(".")[0]
    if module.__package__:
        __import__(module.__package__)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _application(target: str, module: ModuleType, expression: str) -> Callable[..., Any]:
    if not expression:
        expression = next((name for name in DEFAULT_NAMES if hasattr(module, name)), "")
        if not expression:
            raise _no_attribute(target, module, " or ".join(DEFAULT_NAMES))
    path, parenthesis, arguments = expression.partition("(")
    found: Any = module
    for part in path.strip().split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise _no_attribute(target, found, part) from error
    if parenthesis and callable(found):
        found = _call(target, found, arguments)
    if not callable(found):
        raise _not_callable(target, module, expression, found)
    if not parenthesis and _is_factory(found):
        raise _refusal(
            target,
            f"{path} in {_where(module)} is a function without required parameters; an application takes two or three",
            f"if it makes the application, call it: {_completed(target, path, f'{path}()')}",
        )
    return found  # type: ignore[no-any-return]


def _call(target: str, factory: Callable[..., Any], arguments: str) -> Any:
    positional, keywords = _literals(target, arguments) if arguments.strip() != ")" else ([], {})
    try:
        return factory(*positional, **keywords)
    except TypeError as error:
        if error.__traceback__ and error.__traceback__.tb_next:
            raise  # from inside the factory
        raise _refusal(
            target, f"{error}", "give its arguments as literals: module:factory('name', debug=True)"
        ) from error


def _literals(target: str, arguments: str) -> tuple[list[Any], dict[str, Any]]:
    import ast

    try:
        call = ast.parse(f"_({arguments}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("more than one call")
        keywords = {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in call.keywords}
        if "**" in keywords or len(keywords) < len(call.keywords):
            raise ValueError("a keyword that is unknown or repeated")
        return [ast.literal_eval(argument) for argument in call.args], keywords
    except (SyntaxError, ValueError) as error:
        raise _refusal(
            target,
            f"({arguments} is no list of literal arguments",
            "numbers, strings, True, None, and lists and dicts of them; quote the whole for the shell",
        ) from error


def _is_factory(found: object) -> bool:
    """A function that can be called without arguments, and not with the two an application would get."""
    code = getattr(found, "__code__", None)
    if code is None or code.co_flags & 0x04:  # CO_VARARGS
        return False
    required = code.co_argcount - len(getattr(found, "__defaults__", None) or ())
    return required == 0 and code.co_argcount < 2  # type: ignore[no-any-return]


# From here on something went wrong, and time no longer matters.


def _refusal(target: str, found: str, hint: str) -> LoadError:
    return LoadError(f"cannot load {target!r}\n  found: {found}\n  hint: {hint}")


def _close(name: str, names: Iterable[str]) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)), "")


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:8]) + (", …" if len(shown) > 8 else "")


def _where(module: object) -> str:
    return getattr(module, "__file__", None) or f"module {getattr(module, '__name__', module)}"


def _completed(target: str, name: str, better: str) -> str:
    """The target with its attribute replaced, or with one if it had none."""
    stem = target if ":" in target else f"{target}:{name}"
    return stem[: stem.rindex(name)] + better


def _modules_in(folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []  # a zip file, or a directory that is gone or closed to us: nothing to suggest
    return [
        name.removesuffix(".py")
        for name in names
        if name.removesuffix(".py").isidentifier() and name != "__init__.py" and name != "__pycache__"
        if name.endswith(".py") or os.path.isdir(os.path.join(folder, name))
    ]


def _no_module(target: str, missing: str) -> LoadError:
    parent, _, last = missing.rpartition(".")
    package = sys.modules.get(parent)
    folders = list(getattr(package, "__path__", [])) if package else [os.getcwd()]
    if not folders:
        hint = f"the attribute follows a colon: {parent}:{last}" if hasattr(package, last) else f"drop .{last}"
        return _refusal(target, f"{_where(package)} is a module, not a package of modules", hint)
    there = [name for folder in folders for name in _modules_in(folder)]
    found = f"no module {last!r} in {folders[0]}" + (f" (there: {_listed(there)})" if there else "")
    if close := _close(last, there):
        return _refusal(target, found, f"did you mean {target.replace(missing, f'{parent}.{close}'.lstrip('.'), 1)}?")
    if package:
        return _refusal(target, found, "correct the name")
    found += f", nor one installed for {sys.executable}"
    for name in there:
        if last in _modules_in(name):
            return _refusal(target, found, f"it is in the directory {name}: start there, with --chdir {name}")
    return _refusal(target, found, f"start in the directory that holds it, with --chdir; or {_install(last)}")


def _no_file(target: str, path: str) -> LoadError:
    folder, filename = os.path.split(path)
    if os.path.isdir(path):
        files = [f"{name}.py" for name in _modules_in(path) if os.path.isfile(os.path.join(path, f"{name}.py"))]
        found = f"{path} is a directory" + (f" with {_listed(files)}" if files else " without Python files")
        return _refusal(target, found, f"name a file in it: {os.path.join(path, (*files, 'app.py')[0])}")
    if not os.path.isdir(folder):
        return _refusal(target, f"there is no directory {folder}", "correct the path, or start elsewhere with --chdir")
    files = sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))
    close = _close(filename, files)
    found = f"there is no file {filename} in {folder}" + (f", but {_listed(files)}" if files else "")
    hint = f"did you mean {target.replace(filename, close, 1)}?" if close else "correct the path"
    return _refusal(target, found, hint)


def _no_attribute(target: str, owner: object, name: str) -> LoadError:
    there = _candidates(owner)
    found = f"{_where(owner) if isinstance(owner, type(sys)) else f'an object of {type(owner)}'} has no {name}"
    found += f" (there: {_listed(there)})" if there else ""
    known = {text.removesuffix("()"): text for text in [*dir(owner), *there] if text[0] != "_"}
    if close := _close(name, known):
        return _refusal(target, found, f"did you mean {_completed(target, name, known[close])}?")
    if there:
        return _refusal(target, found, f"name one of them: {_completed(target, name, there[0])}")
    modules = [module for folder in getattr(owner, "__path__", ()) for module in _modules_in(folder)]
    if modules:
        likely = next((module for module in ("wsgi", "app") if module in modules), modules[0])
        hint = f"name a module in it: {_split(target)[0]}.{likely}:{name.partition(' ')[0]}"
        return _refusal(target, f"{found}; it is a package of {_listed(modules)}", hint)
    return _refusal(target, found, f"define it: def {name.partition(' ')[0]}(environ, start_response): …")


def _candidates(owner: object) -> list[str]:
    """What in a module looks like an application: objects first, then factories, then functions of two or three.

    Asks types only: a proxy such as Flask's ``request`` raises when it is asked anything itself.
    """
    if not isinstance(owner, type(sys)):
        return []
    objects, factories, functions = [], [], []
    for name, value in vars(owner).items():
        if type(value) is type(load):
            if value.__module__ != owner.__name__:
                continue
            if _is_factory(value) and "app" in name:
                factories.append(f"{name}()")
            elif value.__code__.co_argcount in (2, 3):
                functions.append(name)
        elif callable(value):
            code = getattr(type(value).__call__, "__code__", None)
            if code and code.co_argcount in (3, 4):  # self among them
                objects.append(name)
    return objects + factories + functions


def _not_callable(target: str, module: ModuleType, expression: str, found: object) -> LoadError:
    kind = type(found).__name__
    if found is None and expression.endswith(")"):
        hint = "end the function by returning the application"
    elif isinstance(found, type(sys)):
        hint = f"name the application in that module: {found.__name__}:{(*_candidates(found), 'application')[0]}"
    else:
        there = _candidates(module)
        hint = (
            f"name one that is: {_listed(there)}" if there else "define it: def application(environ, start_response): …"
        )
    found_text = f"{expression} in {_where(module)} is not callable: it is {'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    return _refusal(target, found_text, hint)


def load_or_exit(target: str) -> Callable[..., Any]:
    """Load an application for a process that is nothing without it: else it says why on stderr, and exits with 3."""
    try:
        return load(target)
    except BaseException as error:
        print(explain(target, error), file=sys.stderr)
        sys.exit(3)


def explain(target: str, exception: BaseException) -> str:
    """What ``load(target)`` failed with, as one short block: asked, found, the application's own frames, one hint."""
    if isinstance(exception, LoadError):
        return str(exception)
    import traceback

    frames = _frames(exception)
    text = [line for entry in traceback.format_exception_only(exception) for line in entry.rstrip().split("\n")]
    place = len(text) - 1 if isinstance(exception, SyntaxError) else 0  # file, line and caret stand before the message
    stack = _own(traceback.StackSummary.extract(iter(frames), capture_locals=False))
    cause = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)
    lines = [
        f"cannot load {target!r}",
        f"  found: {text[place]}",
        *(f"    {line}".rstrip() for line in text[place + 1 :]),
        *(f"  {line}" for line in [*stack, *text[:place]]),
        *([f"  caused by: {traceback.format_exception_only(cause)[-1].strip()}"] if cause else []),
        f"  hint: {_hint(target, exception, frames)}",
    ]
    return "\n".join(lines)


def _frames(exception: BaseException) -> list[tuple[FrameType, int]]:
    """The frames below this module's and the import system's; those above belong to whoever called ``load``."""
    found: list[tuple[FrameType, int]] = []
    entry = exception.__traceback__
    while entry:
        filename = entry.tb_frame.f_code.co_filename
        if filename == load.__code__.co_filename:
            found.clear()
        elif not filename.startswith("<frozen importlib"):
            found.append((entry.tb_frame, entry.tb_lineno))
        entry = entry.tb_next
    return found


def _own(stack: list[FrameSummary]) -> list[str]:
    """The first and the last frame and those outside libraries, at most ten; how many are left out stands between."""
    import traceback

    kept = [n for n, frame in enumerate(stack) if n in (0, len(stack) - 1) or not _is_library(frame.filename)]
    lines: list[str] = []
    before = -1
    for n in kept if len(kept) <= 10 else kept[:5] + kept[-5:]:
        if n - before > 1:
            lines.append(f"  … {n - before - 1} more calls")
        lines += traceback.format_list([stack[n]])[0].rstrip().split("\n")
        before = n
    return lines


def _is_library(filename: str) -> bool:
    if filename.startswith(("<", os.path.dirname(os.__file__))):
        return True
    return not {"site-packages", "dist-packages"}.isdisjoint(filename.split(os.sep))


def _hint(target: str, exception: BaseException, frames: list[tuple[FrameType, int]]) -> str:
    last = frames[-1][0].f_code if frames else load.__code__
    if isinstance(exception, ModuleNotFoundError) and exception.name:
        return _missing_hint(exception.name, importer=last.co_filename)
    if isinstance(exception, ImportError) and exception.path == last.co_filename:
        return f"{last.co_filename} hides the library that it wants to import; give the file another name"
    if "null bytes" in str(exception):
        return "a compiled program is no Python module; gateway.CGIScript runs programs"
    if isinstance(exception, SyntaxError):
        return _syntax_hint(exception.filename or "")
    if isinstance(exception, SystemExit):
        return "importing must not end the program; put what does under: if __name__ == '__main__':"
    if isinstance(exception, KeyError) and last is type(os.environ).__getitem__.__code__:
        return f"set the environment variable {exception.args[0]}"
    name = _split(target)[0]
    command = name if _is_path(name) else f"-c 'import {name}'"
    return f"the application raised this itself; to see all of it: {sys.executable} {command}"


def _missing_hint(missing: str, *, importer: str) -> str:
    parent, _, last = missing.rpartition(".")
    package = sys.modules.get(parent)
    folders = {os.getcwd(), os.path.dirname(os.path.abspath(importer)), *getattr(package, "__path__", ())}
    if close := _close(last, {name for folder in folders for name in _modules_in(folder)}):
        return f"did you mean {f'{parent}.{close}'.lstrip('.')}?"
    if package:
        return f"the {parent} that was found is {_where(package)}; is it the one, and the version, that has {last}?"
    return _install(missing.partition(".")[0])


def _syntax_hint(filename: str) -> str:
    import linecache

    first = linecache.getline(filename, 1).strip()
    if first.startswith("#!") and "python" not in first:
        return f"it is a program for {first[2:]}, no Python module; gateway.CGIScript runs such programs"
    return f"correct that line; Python {sys.version_info[0]}.{sys.version_info[1]} read it ({sys.executable})"


def _install(name: str) -> str:
    """How the Python that was asked, or the one that should have been, gets a module."""
    package = {"cgi": "legacy-cgi", "cgitb": "legacy-cgi", "distutils": "setuptools"}.get(name, name)
    for folder in (".venv", "venv", "env"):
        python = os.path.join(folder, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
        if os.path.isfile(python) and os.path.realpath(folder) != os.path.realpath(sys.prefix):
            return f"start with {python}, the virtual environment here; {sys.executable} was asked"
    marker = os.path.join(os.path.dirname(os.__file__), "EXTERNALLY-MANAGED")  # PEP 668
    if sys.prefix == sys.base_prefix and os.path.isfile(marker):
        return f"install it in a virtual environment: python3 -m venv .venv && .venv/bin/pip install gateway {package}"
    return f"install it: {sys.executable} -m pip install {package}"
