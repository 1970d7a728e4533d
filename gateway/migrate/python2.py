"""Code as Python 2 reads it, and the same as Python 3 does: 2to3's fixers, which fissix keeps.

Of code that Python 3 can read, too, only names that are gone are replaced, and only where the code does not know of it
already: where it imports the successor as well, or binds the name itself.
"""

from __future__ import annotations

import ast
import warnings
from functools import cache, partial
from itertools import chain

from fissix.fixes import fix_imports, fix_imports2, fix_urllib
from fissix.pgen2 import token
from fissix.pgen2.parse import ParseError
from fissix.pgen2.tokenize import TokenError
from fissix.pygram import python_symbols as syms
from fissix.refactor import RefactoringTool

from gateway.errors import ConfigError
from gateway.migrate import CHANGE, Finding
from gateway.migrate.source import lies_beside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SYNTAX = {
    "except": ("except X, e", "except X as e"),
    "exec": ("the exec statement", "exec() is a function"),
    "ne": ("<>", "!="),
    "numliterals": ("a number of Python 2", "0o755 for 0755, 10 for 10L"),
    "paren": ("a tuple without parentheses", "[… for x in (1, 2)]"),
    "print": ("the print statement", "print() is a function"),
    "raise": ("raise X, text", "raise X(text)"),
    "repr": ("backquotes", "repr()"),
    "throw": ("throw(X, text)", "throw(X(text))"),
    "tuple_params": ("a tuple as a parameter", "take it apart in the function"),
}
"""What Python 3 cannot read: the fixer, what it finds, and what it writes."""

MEANING = {
    "filter": ("filter()", "it gives no list: list(filter(…))"),
    "funcattrs": ("an attribute of functions", "func_name is __name__, for one"),
    "input": ("input()", "it evaluates no more: eval(input())"),
    "map": ("map()", "it gives no list: list(map(…))"),
    "metaclass": ("__metaclass__", "class X(metaclass=…)"),
    "methodattrs": ("an attribute of methods", "im_func is __func__, for one"),
    "next": ("the method next", "next(…), and __next__"),
    "nonzero": ("__nonzero__", "__bool__"),
    "zip": ("zip()", "it gives no list: list(zip(…))"),
}
"""What Python 3 reads, and may well mean: looked for in code of Python 2 alone."""

GONE = {
    "apply": ("apply()", "f(*args)"),
    "basestring": ("basestring", "str"),
    "dict": ("a method of dict", "items(), keys() and values(), in list() where it must be one"),
    "execfile": ("execfile()", "exec() what the file holds"),
    "getcwdu": ("os.getcwdu()", "os.getcwd()"),
    "has_key": ("has_key()", "key in …"),
    "imports": ("", ""),  # they are told by their names
    "imports2": ("", ""),
    "intern": ("intern()", "sys.intern()"),
    "itertools": ("imap(), izip() or ifilter()", "map(), zip(), filter()"),
    "itertools_imports": ("imap, izip or ifilter", "map, zip, filter"),
    "long": ("long", "int"),
    "raw_input": ("raw_input()", "input()"),
    "reduce": ("reduce()", "functools.reduce()"),
    "reload": ("reload()", "importlib.reload()"),
    "renames": ("sys.maxint", "sys.maxsize"),
    "standarderror": ("StandardError", "Exception"),
    "sys_exc": ("sys.exc_type or its kin", "sys.exc_info()"),
    "types": ("a name of the module types", "str, list, dict and so on"),
    "unicode": ("unicode", "str is text"),
    "urllib": ("", ""),
    "xrange": ("xrange()", "range()"),
    "xreadlines": ("xreadlines()", "a file gives its lines itself"),
}
"""What Python 3 reads, and has not got."""

LOST = {"cmp": "(a > b) - (a < b)", "coerce": "float(), or what else it is for", "file": "open()"}
"""Functions that are gone, and that no fixer replaces."""

STRING_EXCEPTION = ("a string as an exception", CHANGE, "raise one of a class: raise ValueError(…)")

VIEWS = {f"{way}{what}" for way in ("iter", "view") for what in ("items", "keys", "values")}
"""Methods of dict that are gone."""
METHODS = {"has_key", *VIEWS}

SUCCESSORS = {
    "imports": {old: {new} for old, new in fix_imports.MAPPING.items()},
    "imports2": {old: {new} for old, new in fix_imports2.MAPPING.items()},
    "urllib": {old: {new for new, _ in news} for old, news in fix_urllib.MAPPING.items()},
}
"""What takes the place of a module, by the fixer that puts it there."""


class CannotRead(ConfigError):
    """Neither Python can read it."""


def refusal(text: str) -> SyntaxError | None:
    """What keeps Python 3 from reading a text; None if it can."""
    try:
        _parse(text)
    except SyntaxError as error:
        return error
    return None


def is_python3(text: str) -> bool:
    """Whether Python 3 reads it, and reads what was meant: ``print`` alone says nothing there.

    >>> is_python3("print('one')"), is_python3("print"), is_python3("print >>log, 'one'")
    (True, False, False)
    """
    if refusal(text):
        return False
    for node in ast.walk(_parse(text)):
        said = node.value if isinstance(node, ast.Expr) else node.left if isinstance(node, ast.BinOp) else None
        if isinstance(said, ast.Name) and said.id == "print":
            return False
    return True


def translate(text: str, path: str) -> tuple[str, list[Finding]]:
    """Code of Python 2 for Python 3, and what had to change.  Raises CannotRead."""
    if not is_python3(text):
        return _translator(modern=False).translate(text, path)
    try:
        return _translator(modern=True).translate(text, path)
    except CannotRead:
        return text, []  # its syntax is newer than fissix, and so is the code


def left_over(text: str) -> list[Finding]:
    """What no fixer knows: a string as an exception, and functions that are gone.

    >>> left_over("raise 'a fit'; file('x')")
    [<Finding '1: a string as an exception must change: ...'>, <Finding '1: file() must change: open()'>]
    """
    tree = _parse(text)
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.alias))}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Constant) and isinstance(node.exc.value, str):
            found.append(Finding(node.lineno, *STRING_EXCEPTION))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in LOST.keys() - bound:
            found.append(Finding(node.lineno, f"{node.func.id}()", CHANGE, LOST[node.func.id]))
    return found


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes, say
        return ast.parse(text)


@cache
def _translator(*, modern: bool) -> _Translator:
    """One for all files: the fixers take a while to be made."""
    return _Translator(GONE if modern else SYNTAX | MEANING | GONE, modern=modern)


class _Translator(RefactoringTool):  # type: ignore[misc]
    """2to3, which tells what it does; ``modern`` code can be read by Python 3."""

    def __init__(self, fixers: dict[str, tuple[str, str]], *, modern: bool) -> None:
        super().__init__([f"fissix.fixes.fix_{name}" for name in fixers])
        self._told = fixers
        self._modern = modern
        if modern:
            del self.grammar.keywords["print"], self.grammar.keywords["exec"]

    def translate(self, text: str, path: str) -> tuple[str, list[Finding]]:
        """The new text, and the findings.  Raises CannotRead."""
        self._findings: list[Finding] = []
        self._watching = False
        try:
            tree = self.refactor_string(text + "\n", path)  # the last line may have no end
        except (ParseError, TokenError, IndentationError) as error:
            raise CannotRead(_explain(text)) from error
        return str(tree)[:-1], sorted(self._findings, key=lambda finding: finding.line)

    def refactor_tree(self, tree: Any, name: str) -> Any:
        """Look at the imports before the first of them is changed."""
        self._path = name
        self._imported, self._bound = _imports(tree), _bound(tree)
        self._sets_encoding = "setdefaultencoding" in str(tree)
        return super().refactor_tree(tree, name)

    def get_fixers(self) -> Any:
        """The fixers, each of them watched."""
        orders = super().get_fixers()
        for fixer in chain(*orders):
            name = type(fixer).__module__.rpartition(".fix_")[2]
            fixer.transform = partial(self._watch, name, fixer.transform)
        return orders

    def _watch(self, name: str, transform: Any, node: Any, results: Any) -> Any:
        """Let a fixer do its work, and note what it was."""
        if self._watching:  # some fixers do one part after the other
            return transform(node, results)
        successors = SUCCESSORS.get(name, {})
        modules = sorted(successors.keys() & _named(node))
        if (name in GONE and self._is_cared_for(name, node)) or any(
            lies_beside(self._path, old) or not successors[old].isdisjoint(self._imported) for old in modules
        ):
            return None
        lines = [place.get_lineno() for place in _places(node)]
        before = str(node)
        self._watching = True
        new = transform(node, results)
        self._watching = False
        if name == "raise" and node.children[1].type == token.STRING:
            self._findings.append(Finding(lines[0], *STRING_EXCEPTION))
        elif str(node if new is None else new) != before:
            what, advice = self._told[name]
            if not what:
                what = " and ".join(modules)
                advice = ", ".join(sorted(set().union(*(successors[old] for old in modules))))
            for line in lines:
                if not any((found.line, found.advice) == (line, advice) for found in self._findings):
                    self._findings.append(Finding(line, what, CHANGE, advice, edited=True))
        return new

    def _is_cared_for(self, name: str, node: Any) -> bool:
        """Whether it runs under Python 3 as it is."""
        if node.type == token.STRING:  # u"…" is fine
            return self._modern or (node.value[0] in "uU" and node.value[1] not in "rR")
        if node.type == token.NAME:
            before, after = node.prev_sibling, node.next_sibling
            if (before and before.type == token.DOT) or (after and after.type == token.EQUAL):
                return True  # self.unicode, or f(unicode=1)
        if _is_guarded(node):
            return True
        words = [leaf.value for leaf in node.leaves()]
        if words[0] in self._bound and (node.type == token.NAME or words[0] == name):
            return True
        if not self._bound.isdisjoint(METHODS & {*words}):
            return True  # a class here has such a method
        if name == "reload" and "sys" in words and self._sets_encoding:
            return True  # the two go together, or stay
        # of Python 3, it is what it should be
        return self._modern and (words[0] == "range" or (name == "dict" and VIEWS.isdisjoint(words)))


def _places(node: Any) -> list[Any]:
    """Where a fixer finds something: of a ``try`` it is the clauses of Python 2."""
    clauses = [part for part in node.children if part.type == syms.except_clause]
    return [clause for clause in clauses if any(part.type == token.COMMA for part in clause.children)] or [node]


def _named(node: Any) -> set[str]:
    """The modules that an import names, or the first word of an expression."""
    imports = node.type in (syms.import_name, syms.import_from)
    named = (node.children[1] if imports else node.children[0]) if node.children else node
    return {leaf.value for leaf in named.leaves()}


def _is_guarded(node: Any) -> bool:
    """Whether code asks first which Python it is in: by the version, or by what it has."""
    while node.parent:
        node = node.parent
        asked = {"NameError"} if node.type == syms.try_stmt else {"version_info", "PY2", "PY3"}
        clauses = [child for child in node.children if child.type not in (syms.suite, syms.simple_stmt)]
        if node.type in (syms.try_stmt, syms.if_stmt) and any(
            leaf.value in asked for clause in clauses for leaf in clause.leaves()
        ):
            return True
    return False


def _bound(tree: Any) -> set[str]:
    """The names that a tree binds somewhere, or a few more."""
    names: set[str] = set()
    for node in tree.pre_order():
        if node.type in _TARGETS:
            start, stop = _TARGETS[node.type]
            for child in node.children[start:stop]:
                names.update(leaf.value for leaf in child.leaves() if leaf.type == token.NAME)
        elif node.type == syms.expr_stmt and node.children[1].type == token.EQUAL:
            names.update(leaf.value for child in node.children[:-2] for leaf in child.leaves() if not _is_use(leaf))
    return names


_TARGETS = {
    syms.classdef: (1, 2), syms.dotted_as_name: (2, 3), syms.for_stmt: (1, 2), syms.funcdef: (1, 3),
    syms.import_as_name: (2, 3), syms.import_from: (3, None), syms.lambdef: (1, -1),
}  # fmt: skip
"""Which children of a node bind names."""


def _is_use(leaf: Any) -> bool:
    """Whether a name in a target is no target: ``x`` in ``x.y = 1``."""
    return leaf.parent.type in (syms.power, syms.trailer)


def _imports(tree: Any) -> set[str]:
    """The modules that a tree imports, by their full names."""
    names = set()
    for node in tree.pre_order():
        if node.type == syms.import_from:
            names.add(str(node.children[1]).strip())
        elif node.type == syms.import_name:
            names.update(part.strip().partition(" ")[0] for part in str(node.children[1]).split(","))
    return names


def _explain(text: str) -> str:
    error = refusal(text)
    where = f"line {error.lineno}: {error.msg}" if error else "its end is missing"
    return f"neither Python 3 nor Python 2 can read it ({where}); correct that line"
