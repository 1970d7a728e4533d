"""Applications that answer in text: what Python 2 called str, flup takes, and PEP 3333 does not.

A literal becomes bytes; where text is put together, only whoever knows its encoding can say where it is encoded.
"""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.migrate.survey import Survey

_MAKING_TEXT = ("format", "join", "lower", "lstrip", "replace", "rstrip", "strip", "title", "upper")
"""Methods of str that give a str."""


def texts(survey: Survey) -> Iterator[cst.BaseExpression]:
    """What applications of a module answer with that is text for sure."""
    module = _Values()
    survey.module.visit(module)
    for function in survey.functions:
        if any(parameter.name.value == "start_response" for parameter in function.params.params):
            answers, values = _Answers(), _Values()
            function.body.visit(answers)
            function.body.visit(values)
            yield from (node for node in answers.found if _is_text(node, module.of | values.of))


def as_bytes(node: cst.BaseExpression) -> cst.SimpleString | None:
    """A literal of text as one of bytes; None if that is not the same in any encoding.

    >>> as_bytes(cst.SimpleString("r'hi'")).value, as_bytes(cst.SimpleString("'é'"))
    ("br'hi'", None)
    """
    if not isinstance(node, cst.SimpleString) or not str(node.evaluated_value).isascii():
        return None
    if "r" not in node.prefix and any(escape in node.value for escape in (r"\u", r"\U", r"\N")):
        return None
    return node.with_changes(value=f"b{node.value.lstrip('uU')}")


class _Within(cst.CSTVisitor):
    """A look at the body of a function, and not at those of functions in it."""

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        """Not this one."""
        return False

    def visit_Lambda(self, node: cst.Lambda) -> bool:
        """Nor this."""
        return False


class _Answers(_Within):
    """The blocks that an application returns or yields."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[cst.BaseExpression] = []

    def visit_Return(self, node: cst.Return) -> None:
        """A list of blocks, or something that gives them."""
        if isinstance(node.value, cst.List | cst.Tuple):
            self.found += [element.value for element in node.value.elements]
        elif node.value:
            self.found.append(node.value)

    def visit_Yield(self, node: cst.Yield) -> None:
        """A block."""
        if isinstance(node.value, cst.BaseExpression):
            self.found.append(node.value)


class _Values(_Within):
    """What the names of a function, or of a module, mean."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, list[cst.BaseExpression]] = {}

    def visit_Assign(self, node: cst.Assign) -> None:
        """``name = value``."""
        for target in node.targets:
            if isinstance(target.target, cst.Name):
                self.of.setdefault(target.target.value, []).append(node.value)


def _is_text(node: cst.BaseExpression, values: dict[str, list[cst.BaseExpression]]) -> bool:
    if isinstance(node, cst.SimpleString):
        return "b" not in node.prefix.lower()
    if isinstance(node, cst.FormattedString):
        return True
    if isinstance(node, cst.ConcatenatedString | cst.BinaryOperation):
        return _is_text(node.left, values)
    if isinstance(node, cst.Name):  # once: a name may be made of itself
        others = {name: found for name, found in values.items() if name != node.value}
        return any(_is_text(value, others) for value in values.get(node.value, ()))
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        return node.func.attr.value in _MAKING_TEXT and _is_text(node.func.value, values)
    return m.matches(node, m.Call(func=m.Name("str")))
