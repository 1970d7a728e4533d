"""A server of flup, flipflop or wsgiref and the call of ``run()``: as one call of gateway, if it says the same.

What says the same is judged by literals alone: an address or an option that the code computes is left to a human.
"""

from __future__ import annotations

import ast

import libcst as cst

from gateway.migrate import edits
from gateway.migrate.edits import ByHand
from gateway.migrate.survey import dotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.migrate.edits import Change, Editor
    from gateway.migrate.survey import Use

WIRES = {"fcgi": "fastcgi", "fcgi_single": "fastcgi", "scgi": "scgi", "ajp": "ajp"}
"""The modules of flup.server, and what they speak; those that fork are replaced by a command, not by a call."""
ADDRESSES = {"scgi": "localhost:4000", "ajp": "localhost:8009"}
"""Where flup listens if nobody says."""
THREADS = 50
"""As many requests at once as ``gateway.compat`` lets flup's threaded servers have."""
IDLE = {"debug", "loggingLevel", "maxSpare", "minSpare", "multiplexed"}
"""Options that change nothing of what a visitor gets from gateway."""


def run(editor: Editor, use: Use) -> dict[cst.CSTNode, Change]:
    """A server that is where the web server started it: CGI, or a listening socket on fd 0."""
    return _edit(editor, use, wire="", threads=1)


def handle(editor: Editor, use: Use) -> dict[cst.CSTNode, Change]:
    """A handler of wsgiref, which gets the application by ``run(app)``."""
    if editor.call_of(use).args:
        raise ByHand("it is given arguments")
    return _edit(editor, use, wire="", threads=1)


def serve(editor: Editor, use: Use) -> dict[cst.CSTNode, Change]:
    """A server of flup, threaded or single."""
    module = use.name.split(".")[2]
    return _edit(editor, use, wire=WIRES[module], threads=1 if module == "fcgi_single" else THREADS)


_SERVERS = {f"flup.server.{module}.WSGIServer": serve for module in WIRES} | {
    "flipflop.WSGIServer": run,
    "flup.server.cgi.WSGIServer": run,
    "wsgiref.handlers.CGIHandler": handle,
    "wsgiref.handlers.IISCGIHandler": handle,
}
EDITS = edits.EDITS | {name: (edit, "gateway") for name, edit in _SERVERS.items()}
"""All that can be edited: the name, what decides on it, and the module that the new code needs."""


def _edit(editor: Editor, use: Use, *, wire: str, threads: int) -> dict[cst.CSTNode, Change]:
    made = editor.call_of(use)
    called = _run_of(editor, made)
    arguments = [*made.args, *called.args]
    if not arguments or arguments[0].keyword or any(not argument.keyword for argument in arguments[1:]):
        raise ByHand("its arguments are not an application and options by their names")
    if editor.answers_text and not use.name.startswith("wsgiref."):
        raise ByHand("an application here answers in text, which gateway.compat accepts and PEP 3333 does not")
    words = _options({dotted(argument.keyword): argument.value for argument in arguments[1:]}, wire, threads=threads)
    name = editor.name_of("gateway")
    call = cst.ensure_type(cst.parse_expression(f"{name}.{words}"), cst.Call)
    application = arguments[0].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    new = call.with_changes(args=[application, *call.args])
    assignment = editor.survey.parent(made)
    if isinstance(assignment, cst.Assign):
        return {assignment: lambda _: cst.Expr(new)} | editor.remove(editor.survey.parent(called))
    return {called: lambda _: new}


def _run_of(editor: Editor, made: cst.Call) -> cst.Call:
    """The call of a server's ``run``: in the same statement, or in the one after.  Raises ByHand."""
    survey = editor.survey
    server = survey.parent(made)
    if isinstance(server, cst.Assign):
        name = dotted(server.targets[0].target) if len(server.targets) == 1 else ""
        uses = survey.uses_of(name, server)
        if len(uses) != 1 or not _follows(editor, server, uses[0]):
            raise ByHand("more is done with the server than to run it")
        server = survey.parent(uses[0])
    called = survey.parent(server)
    if not isinstance(server, cst.Attribute) or server.attr.value != "run" or not isinstance(called, cst.Call):
        raise ByHand("it is not run here")
    if not isinstance(survey.parent(called), cst.Expr):
        raise ByHand("what its run() gives is used")
    return called


def _options(given: dict[str, cst.BaseExpression], wire: str, *, threads: int) -> str:
    """The call of gateway with what was given to flup.  Raises ByHand."""
    values = {name: _literal(name, node) for name, node in given.items() if name not in IDLE}
    bind = _bind(values.pop("bindAddress", None)) or ADDRESSES.get(wire, "")
    umask = values.pop("umask", None)
    script_name = values.pop("scriptName", None)
    if not values.pop("multithreaded", True):
        threads = 1
    threads = values.pop("maxThreads", threads)
    if not isinstance(threads, int) or not isinstance(umask, int | None):
        raise ByHand("its options are not what flup takes")
    for name, value in values.items():
        if value or name not in ("multiprocess", "forceCGI", "environ"):
            raise ByHand(f"it is given {name}")
    options = {
        "bind": bind or None,
        "protocol": wire if wire not in ("", "fastcgi") else None,
        "threads": threads if threads > 1 else None,
        "mount": script_name,
    }
    words = "".join(f", {name}={_quoted(value)}" for name, value in options.items() if value is not None)
    if umask is not None and bind.startswith("unix:"):
        words += f", socket_mode=0o{0o777 & ~umask:o}"
    return f"{'serve' if bind else 'run'}({words[2:]})"


def _literal(name: str, node: cst.BaseExpression) -> Any:
    try:
        return ast.literal_eval(cst.Module([]).code_for_node(node))
    except (SyntaxError, TypeError, ValueError):
        raise ByHand(f"{name} is no literal") from None


def _bind(address: Any) -> str:
    """An address of flup's as gateway has it: a path, or host and port, where no host is any."""
    if isinstance(address, str):
        return f"unix:{address}"
    if address is None:
        return ""
    try:
        host, port = address
        return f"[{host}]:{port:d}" if ":" in host else f"{host}:{port:d}"
    except (TypeError, ValueError):
        raise ByHand(f"bindAddress={address!r} is no address") from None


def _quoted(value: object) -> str:
    """A literal as this house writes it, in double quotes."""
    return '"' + repr(value)[1:-1].replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)


def _follows(editor: Editor, made: cst.Assign, use: cst.CSTNode) -> bool:
    """Whether a server is used in the statement that follows the one that makes it."""
    survey = editor.survey
    line = survey.parent(made)
    body = getattr(survey.parent(line), "body", ())
    after = body[body.index(line) + 1 :][:1] if line in body else ()
    while use is not survey.module and use not in after:
        use = survey.parent(use)
    return use in after
