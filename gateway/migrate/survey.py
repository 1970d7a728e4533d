"""Where code of Python 3 uses the names of ``rules``, and what binds them there: read only, by LibCST."""

from __future__ import annotations

import libcst as cst
from libcst import metadata

from gateway.migrate import COMPAT, Finding
from gateway.migrate.rules import RULES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SERVERS = ("flup", "flup-cgi", "flupcgi")
"""What frameworks call the servers that they take from flup, as in ``bottle.run(server="flup")``."""


class Use:
    """A place where an old name is used, with what became of it; ``sure`` if it can mean nothing else there."""

    __slots__ = ("node", "name", "rule", "line", "sure")

    def __init__(
        self, node: cst.BaseExpression, name: str, *, rule: tuple[str, str], line: int, sure: bool
    ) -> None:
        self.node = node
        self.name = name
        self.rule = rule
        self.line = line
        self.sure = sure

    def __repr__(self) -> str:
        return f"<Use {self.line}: {self.name}>"


class Survey(cst.CSTVisitor):
    """What one module uses and binds, and what stands around each of its nodes.  Raises cst.ParserSyntaxError."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.uses: list[Use] = []
        self.findings: list[Finding] = []
        """What is told and not edited."""
        self.imports: list[cst.Import | cst.ImportFrom] = []
        self.functions: list[cst.FunctionDef] = []
        self.statements: list[cst.Expr] = []
        wrapper = metadata.MetadataWrapper(cst.parse_module(text))
        self.module = wrapper.module
        self._parents = wrapper.resolve(metadata.ParentNodeProvider)
        self._positions = wrapper.resolve(metadata.PositionProvider)
        self._names = wrapper.resolve(metadata.QualifiedNameProvider)
        self._scope_of = wrapper.resolve(metadata.ScopeProvider)
        self._scopes = {scope for scope in self._scope_of.values() if scope}
        self.module.visit(self)
        self._tell_idle_imports()

    def visit_Import(self, node: cst.Import) -> bool:
        """Remember it; what it binds is found where it is used."""
        self.imports.append(node)
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        """Likewise."""
        self.imports.append(node)
        return False

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Remember it: it may be an application."""
        self.functions.append(node)

    def visit_Expr(self, node: cst.Expr) -> None:
        """Remember it: it may belong to what is edited."""
        self.statements.append(node)

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        """A use if all of it is a name; else one may begin it."""
        return first_name(node) is None or not self._look(node)

    def visit_Name(self, node: cst.Name) -> None:
        """A use if it is an old name."""
        self._look(node)

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        """What is asked for by a string."""
        value = node.evaluated_value
        if value == "runfcgi":
            self.tell(node, "django's runfcgi", COMPAT, "fcgi-run PROJECT.wsgi:application -b ADDRESS")
        elif value in SERVERS and isinstance(self.parent(node), cst.Arg):
            self.tell(node, f"the server {value!r}", COMPAT, "gateway.run(app)")

    def tell(self, node: cst.CSTNode, what: str, verdict: str, advice: str) -> None:
        """Note what is to be told of a node."""
        self.findings.append(Finding(self.line(node), what, verdict, advice))

    def line(self, node: cst.CSTNode) -> int:
        """The line where a node begins."""
        return self._positions[node].start.line

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """What a node is a part of."""
        return self._parents[node]

    def is_bound(self, name: str, *, but_by: str) -> bool:
        """Whether a name means something here, but for what an import of that module binds."""
        for scope in self._scopes:
            for assignment in scope.assignments[name]:
                sources = assignment.get_qualified_names_for(name)
                if not isinstance(assignment, metadata.ImportAssignment) or {first_part(but_by)}.isdisjoint(
                    first_part(source.name) for source in sources
                ):
                    return True
        return False

    def references(self, node: cst.Import | cst.ImportFrom, alias: cst.ImportAlias | None = None) -> set[cst.Name]:
        """Where the names are used that an import binds, or one alias of it: the first word of each use."""
        return {
            first
            for scope in self._scopes
            for assignment in scope.assignments
            if getattr(assignment, "node", None) is node and (alias is None or _binds(alias, assignment.name))
            for access in assignment.references
            if (first := first_name(access.node))
        }

    def uses_of(self, name: str, statement: cst.Assign) -> list[cst.CSTNode]:
        """Where a name is used that a statement binds, and no other does."""
        scope = self._scope_of[statement]
        found = scope[name] if scope and name in scope else set()
        return [access.node for assignment in found for access in assignment.references] if len(found) == 1 else []

    def _look(self, node: cst.Attribute | cst.Name) -> bool:
        known = self._names.get(node, ())
        found = known() if callable(known) else known
        for name in sorted(name.name for name in found if name.source is metadata.QualifiedNameSource.IMPORT):
            rule = rule_of(name)
            if rule:
                self.uses.append(Use(node, name, rule=rule, line=self.line(node), sure=len(found) == 1))
                return True
        return False

    def _tell_idle_imports(self) -> None:
        """What is imported and not used by its name needs to be there nonetheless."""
        for node in self.imports:
            for name in imported(node):
                rule = rule_of(name)
                if rule and not any(f"{use.name}.".startswith(f"{name}.") for use in self.uses):
                    self.tell(node, name, *rule)


def may_concern(text: str) -> bool:
    """Whether a survey may find anything in a text: most files have none of the words.

    >>> may_concern("import cgi"), may_concern("import os, sys")
    (True, False)
    """
    needed = [*(name.split(".") for name in RULES), ["start_response"], ["runfcgi"], *([name] for name in SERVERS)]
    return any(all(word in text for word in words) for words in needed)


def rule_of(name: str) -> tuple[str, str] | None:
    """What became of a name.

    >>> rule_of("cgi.FieldStorage")[0], rule_of("cgistuff")
    ('runs through gateway.compat', None)
    """
    while name and name not in RULES:
        name = name.rpartition(".")[0]
    return RULES.get(name)


def first_part(name: str) -> str:
    """The ``a`` of ``"a.b.c"``."""
    return name.partition(".")[0]


def first_name(node: cst.CSTNode) -> cst.Name | None:
    """The ``a`` of ``a.b.c``; None for what is no mere name."""
    while isinstance(node, cst.Attribute):
        node = node.value
    return node if isinstance(node, cst.Name) else None


def dotted(node: cst.CSTNode | None) -> str:
    """The text of a name with dots; "" for anything else."""
    if isinstance(node, cst.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr.value}" if before else ""
    return node.value if isinstance(node, cst.Name) else ""


def _binds(alias: cst.ImportAlias, name: str) -> bool:
    """Whether an alias binds a name; without ``as``, ``a.b`` binds ``a``, and gives ``a.b`` as well."""
    bound = alias.evaluated_alias or alias.evaluated_name
    return f"{bound}.".startswith(f"{name}.")


def imported(node: cst.Import | cst.ImportFrom) -> Iterator[str]:
    """The full names of what an import imports."""
    if isinstance(node, cst.Import):
        yield from (dotted(alias.name) for alias in node.names)
    elif not node.relative and isinstance(node.names, cst.ImportStar):
        yield f"{dotted(node.module)}.*"
    elif not node.relative and not isinstance(node.names, cst.ImportStar):
        yield from (f"{dotted(node.module)}.{dotted(alias.name)}" for alias in node.names)
