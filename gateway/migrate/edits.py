"""What is written in the place of old names, where it does the same without a doubt.

An edit is decided for each use alone, by a function of ``EDITS`` or ``servers.EDITS``; then all are made at once, and
imports follow: a name that nobody uses any more goes, and what the new code needs comes in its place.
"""

from __future__ import annotations

from functools import partial

import libcst as cst

from gateway.migrate import bodies
from gateway.migrate.source import lies_beside
from gateway.migrate.survey import dotted, first_name, first_part, imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from gateway.migrate.survey import Survey, Use

    Change: TypeAlias = Callable[[Any], Any]
    Importing: TypeAlias = cst.Import | cst.ImportFrom


class ByHand(Exception):
    """Why an edit is left to whoever knows the code."""


class Editor(cst.CSTTransformer):
    """The edits of one module, which is in a file at ``path``."""

    def __init__(self, survey: Survey, path: str) -> None:
        super().__init__()
        self._path = path
        self.survey = survey
        self._changes: dict[cst.CSTNode, Change] = {}
        self._done: set[cst.Name | None] = set()
        self.answers_text = False
        """Whether an application here answers with text, and goes on doing so."""
        self._wanted: dict[Importing, list[str]] = {}
        """The modules that take the place of what an import has imported."""

    def decide(self, use: Use, edit: Callable[[Editor, Use], dict[cst.CSTNode, Change]], module: str) -> None:
        """Make an edit of a use, for which the new code needs a module, "" for none.  Raises ByHand."""
        if not use.sure:
            raise ByHand("it may be something else as well")
        if module and lies_beside(self._path, first_part(module)):
            raise ByHand(f"another {first_part(module)} lies beside it")
        first = first_name(use.node)
        node = next(node for node in self.survey.imports if first in self.survey.references(node))
        changes = edit(self, use)
        self._changes |= changes
        self._done.add(first)
        wanted = self._wanted.setdefault(node, [])
        if module and module not in wanted:
            wanted.append(module)

    def encode_answers(self) -> list[tuple[cst.BaseExpression, bool]]:
        """The text that applications answer with, and whether it could be made bytes."""
        told = []
        for node in bodies.texts(self.survey):
            new: cst.BaseExpression | None = bodies.as_bytes(node)
            if new and isinstance(self.survey.parent(node), cst.Return):
                new = cst.List([cst.Element(new)])  # bytes alone would be taken for numbers
            if new:
                self._changes[node] = partial(_instead, new)
            told.append((node, new is not None))
        self.answers_text = not all(done for _, done in told)
        return told

    def name_of(self, module: str) -> str:
        """By which name the new code has a module, which an old variable may bear.

        ``html`` is what many a script calls its page.
        """
        if not self.survey.is_bound(first_part(module), but_by=module):
            return module
        return module.replace(".", "_") if "." in module else f"{module}_"

    def call_of(self, use: Use) -> cst.Call:
        """The call of what is used.  Raises ByHand."""
        call = self.survey.parent(use.node)
        if not isinstance(call, cst.Call) or call.func is not use.node:
            raise ByHand("it is not called here")
        if any(argument.star for argument in call.args):
            raise ByHand("its arguments cannot be seen")
        return call

    def remove(self, statement: cst.CSTNode) -> dict[cst.CSTNode, Change]:
        """The change that takes a statement out; ``pass`` where it is the only one."""
        around = self.survey.parent(self.survey.parent(statement))
        only = not isinstance(around, cst.Module) and len(getattr(around, "body", ())) < 2
        return {statement: partial(_instead, cst.Pass() if only else cst.RemoveFromParent())}

    def write(self) -> str:
        """The text with all edits."""
        brought: set[str] = set()
        for node in self.survey.imports:
            if node in self._wanted:
                modules = [name for name in self._wanted[node] if name not in brought and not self._has(name)]
                self._changes |= self._import_instead(node, modules)
                if self._is_for_all(self.survey.parent(node)):
                    brought.update(modules)
        return self.survey.module.visit(self).code

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        """Make what was decided, and give each statement that came to a line a line of its own."""
        updated_node = super().on_leave(original_node, updated_node)
        if original_node in self._changes:
            return self._changes[original_node](updated_node)
        if isinstance(updated_node, cst.SimpleStatementLine):
            if not updated_node.body:
                return cst.RemoveFromParent()
            if len(original_node.body) == 1 < len(updated_node.body):
                more = [cst.SimpleStatementLine([statement]) for statement in updated_node.body[1:]]
                return cst.FlattenSentinel([updated_node.with_changes(body=updated_node.body[:1]), *more])
        return updated_node

    def _import_instead(self, node: Importing, modules: list[str]) -> dict[cst.CSTNode, Change]:
        names = () if isinstance(node.names, cst.ImportStar) else node.names
        kept = [alias for alias in names if not self._is_idle(node, alias)]
        new: list[cst.BaseSmallStatement] = [_import(module, self.name_of(module)) for module in modules]
        if kept:
            kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            new.append(node.with_changes(names=kept))
        if not new:
            return self.remove(node)
        return {node: partial(_instead, cst.FlattenSentinel(new))}

    def _is_idle(self, node: Importing, alias: cst.ImportAlias) -> bool:
        """Whether the edits leave nothing of what an import is for."""
        used = self.survey.references(node, alias)
        return bool(used) and used <= self._done

    def _has(self, module: str) -> bool:
        """Whether all of the code has a module already."""
        return any(
            isinstance(node, cst.Import) and module in imported(node) and not any(alias.asname for alias in node.names)
            for node in self.survey.imports
            if self._is_for_all(self.survey.parent(node))
        )

    def _is_for_all(self, line: cst.CSTNode) -> bool:
        """Whether a line stands in no function, class or condition."""
        return line in self.survey.module.body


def _instead(new: Any, updated: Any) -> Any:
    """The change that looks at nothing."""
    return new


def _import(module: str, name: str) -> cst.Import:
    text = f"import {module}" if name == module else f"import {module} as {name}"
    return cst.ensure_type(cst.ensure_type(cst.parse_statement(text), cst.SimpleStatementLine).body[0], cst.Import)


def _escape(editor: Editor, use: Use) -> dict[cst.CSTNode, Change]:
    """``cgi.escape`` left quotes alone unless told."""
    call = editor.call_of(use)
    new = cst.parse_expression(f"{editor.name_of('html')}.escape")
    more = [] if len(call.args) > 1 else [_keyword("quote", "False")]
    return {call: lambda updated: updated.with_changes(func=new, args=[*updated.args, *more])}


def _parse(editor: Editor, use: Use) -> dict[cst.CSTNode, Change]:
    """``cgi.parse_qs`` and ``cgi.parse_qsl`` have moved."""
    new = cst.parse_expression(f"{editor.name_of('urllib.parse')}.{use.name.rpartition('.')[2]}")
    return {use.node: partial(_instead, new)}


def _default_encoding(editor: Editor, use: Use) -> dict[cst.CSTNode, Change]:
    """The statement, and the ``reload(sys)`` that made it possible."""
    statement = editor.survey.parent(editor.call_of(use))
    if not isinstance(statement, cst.Expr):
        raise ByHand("it is a part of something")
    idle = [node for node in editor.survey.statements if _reloads_sys(node)]
    return {node: change for found in (statement, *idle) for node, change in editor.remove(found).items()}


def _reloads_sys(statement: cst.Expr) -> bool:
    call = statement.value
    return (
        isinstance(call, cst.Call)
        and dotted(call.func) in ("reload", "imp.reload", "importlib.reload")
        and [dotted(argument.value) for argument in call.args] == ["sys"]
    )


def _keyword(name: str, value: str) -> cst.Arg:
    equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    return cst.Arg(cst.parse_expression(value), keyword=cst.Name(name), equal=equal)


EDITS = {
    "cgi.escape": (_escape, "html"),
    "cgi.parse_qs": (_parse, "urllib.parse"),
    "cgi.parse_qsl": (_parse, "urllib.parse"),
    "sys.setdefaultencoding": (_default_encoding, ""),
}
"""The name, what decides on its edit, and the module that the new code needs."""
