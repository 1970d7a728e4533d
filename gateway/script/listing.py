"""The scripts that a server found, for whoever starts it: interpreter, strategy, and what is wrong with each."""

from __future__ import annotations

from gateway.script import CGIDirectory, CGIScript
from gateway.script.faults import name_interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def list_scripts(app: object) -> Iterator[str]:
    """A line for each script of a CGIDirectory or CGIScript; none for other applications."""
    if isinstance(app, CGIScript):
        how = app.executions.choose(app.path).name
        rows = [("/", " ".join(app.interpreter) or name_interpreter(app.path), how, app.problem())]
    elif isinstance(app, CGIDirectory):
        rows = [(row.url, row.interpreter, row.execution, row.problem) for row in app.inspect()]
        if not rows:
            yield f"There is no script in {app.root}: one is a file with chmod +x, or with an interpreter for its name."
    else:
        return
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for url, interpreter, how, problem in rows:
        line = f"  {url:{widths[0]}}  {interpreter:{widths[1]}}  {how:{widths[2]}}"
        yield f"{line}  PROBLEM: {problem}" if problem else line.rstrip()
