"""The process that serves while it is watched: by the worker that ``fcgi-run`` runs, with a look after each request.

After each of the first requests it tells what has changed; then it counts the memory that many more of them take for
ever.  All it says are lines of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import tracemalloc
from itertools import pairwise

from gateway.measure import residue
from gateway.script.execution.inprocess import THREAD_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from gateway.environ import Environ

PLAN = "GATEWAY_RESIDUE"
"""The environment variable that says what to do, and where to tell.  It is gone before the application is loaded."""
WINDOWS = 5
"""Parts of the time in which memory is counted: the first fills caches; what each of the others adds stays for ever."""
FRAMES = 12
"""Calls that are known of each block of memory: the application is in one of them."""
UNSET = "unset"
_NOTHING = ((), UNSET)


class Watcher:
    """Looks at this process after each request.

    ``looked`` requests are looked at, one by one; after them come WINDOWS windows of ``window`` requests each.
    """

    def __init__(self, report: str, *, looked: int, window: int, own: Sequence[str]) -> None:
        self._report = open(report, "w", buffering=1, encoding="utf-8")
        self._looked = looked
        self._window = window
        self._own = own
        self._served = 0
        self._process: dict[str, str] = {}
        self._globals: dict[str, Any] = {}
        self._snapshot: tracemalloc.Snapshot
        self._blocks: list[int] = []

    def before(self, environ: Environ) -> None:
        """The first request has come: that is how the process was."""
        if not self._process:
            self._process = residue.process_state()
            self._globals = self._look()

    def after(self, environ: Environ, exchange: object) -> None:
        """A response is over."""
        self._served += 1
        for thread in threading.enumerate():
            if thread.name.startswith(THREAD_NAME):
                thread.join(1)  # it has given its answer, and is about to end
        if self._served <= self._looked:
            self._tell_changes()
            if self._served == self._looked:
                tracemalloc.start(FRAMES)
        elif (self._served - self._looked) % self._window == 0 and len(self._blocks) < WINDOWS:
            gc.collect()
            if not self._blocks:
                self._snapshot = tracemalloc.take_snapshot()
            self._blocks.append(sys.getallocatedblocks())
            if len(self._blocks) == WINDOWS:
                self._tell_growth()

    def _look(self) -> dict[str, Any]:
        return residue.globals_state(residue.own_modules(self._own))

    def _tell_changes(self) -> None:
        process, held = residue.process_state(), self._look()
        self._tell(
            process={
                name: (self._process.get(name, UNSET), process.get(name, UNSET))
                for name in residue.changes(self._process, process)
            },
            globals={
                name: (self._globals.get(name, _NOTHING)[1], held.get(name, _NOTHING)[1])
                for name in residue.changes(self._globals, held)
            },
            descriptors=residue.descriptors(), threads=residue.threads(), children=residue.children(),
        )  # fmt: skip
        self._globals = held

    def _tell_growth(self) -> None:
        last = tracemalloc.take_snapshot()
        tracemalloc.stop()
        ours = [tracemalloc.Filter(False, file) for file in (tracemalloc.__file__, residue.__file__, __file__)]
        grown = last.filter_traces(ours).compare_to(self._snapshot.filter_traces(ours), "traceback")
        most = max(grown, key=lambda one: one.size_diff)
        foreign = residue.foreign_folders()
        frames = list(reversed(most.traceback))  # the most recent one first
        frame = next((frame for frame in frames if not frame.filename.startswith(foreign)), frames[0])
        self._tell(
            blocks=[(after - before) / self._window for before, after in pairwise(self._blocks)],
            size=most.size_diff / (WINDOWS - 1) / self._window, place=f"{frame.filename}:{frame.lineno}",
        )  # fmt: skip

    def _tell(self, **values: object) -> None:
        self._report.write(f"{json.dumps(values)}\n")


def main(arguments: Sequence[str]) -> int:
    """Serve TARGET at BIND until SIGTERM.  Exits with 3 if it cannot be loaded."""
    import logging
    import signal

    from gateway.address import listen, parse_bind
    from gateway.entry import build_worker
    from gateway.loader import load_or_exit

    target, bind = arguments
    watcher = Watcher(**json.loads(os.environ.pop(PLAN)))
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    app = load_or_exit(target)
    with listen(parse_bind(bind)) as listener:
        worker = build_worker(app, [listener], before=watcher.before, after=watcher.after)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        worker.run()
    return 0


if __name__ == "__main__":
    del sys.path[0]  # this directory, whose files are no modules of the application
    sys.exit(main(sys.argv[1:]))
