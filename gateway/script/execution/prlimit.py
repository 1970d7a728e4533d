"""prlimit(2): limits for a program that has been started already, and for what it has started (Linux)."""

from __future__ import annotations

import ctypes
import os
from resource import prlimit

from gateway.script.faults import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.script.rlimits import Rlimits

_library = ctypes.PyDLL(None)
"""Keeps the interpreter's lock, for which others may compete: each time it is let go of, the program runs on."""
_ROOM = 4096


def impose(pid: int, rlimits: Rlimits, *, path: str) -> None:
    """Limit the program ``path`` that was started this moment, and the children that it has already.

    Before it starts none but a shell can do that, which takes as long again as a small program.  What it does in the
    meantime, some microseconds, or milliseconds where our other threads are busy, counts as all else does: processor
    time and memory are those since its start.  Only a child that it has forked would be free for good, and so it is
    looked for.  What is missed is a child whose parent has ended by then: a daemon that made haste.
    """
    try:
        for number, pair in rlimits.items():
            prlimit(pid, number, pair)
        for child in _children(pid):  # what is forked from now on inherits the limits
            impose(child, rlimits, path=path)
    except ProcessLookupError:
        return  # it has ended
    except PermissionError:  # its file is set-user-ID
        log().warning("%s: no limit script_* holds for process %d, which is another user's", path, pid)


def _children(pid: int) -> list[int]:
    """Those of its first thread; none if it has ended, or if this kernel does not tell (CONFIG_PROC_CHILDREN)."""
    descriptor = _library.open(b"/proc/%d/task/%d/children" % (pid, pid), os.O_RDONLY | os.O_CLOEXEC)
    if descriptor < 0:
        return []
    data = ctypes.create_string_buffer(_ROOM)
    size = _library.read(descriptor, data, _ROOM)
    _library.close(descriptor)
    return list(map(int, data.raw[: max(size, 0)].rpartition(b" ")[0].split()))  # a space ends each
