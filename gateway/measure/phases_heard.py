"""What is heard of requests that are measured: the processes that serve them write lines into a FIFO."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from ast import literal_eval
from time import monotonic, monotonic_ns

from gateway.measure.phases_child import FIFO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.events import Side

PATIENCE = 2.0
"""Seconds in which a process that has answered tells of it."""
_END = -1
_LOOK = 0.05
"""Seconds between two looks at whether a process that is waited for still lives."""


class Record:
    """What is known so far of one request."""

    __slots__ = ("id", "moments", "pid", "served", "born", "status", "size", "wire")

    def __init__(self, number: int) -> None:
        self.id = str(number)
        self.moments = {"asked": monotonic_ns()}
        self.pid = self.served = self.born = self.size = 0
        self.status = ""
        self.wire: list[tuple[Side, bytes]] = []

    def note(self, moment: str) -> None:
        """It happens now, once more perhaps."""
        self.moments[moment] = monotonic_ns()


class Ear:
    """Hears what processes tell of requests, from a FIFO in a folder of its own."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="gateway-phases-")
        self.folder = self._directory.name
        path = os.path.join(self.folder, FIFO)
        os.mkfifo(path, 0o600)
        self._fd = os.open(path, os.O_RDWR)  # both ends: then it has no end, whoever comes and goes
        self._records: dict[str, Record] = {}
        self._numbers = itertools.count(1)
        self._ready: dict[int, dict[str, int]] = {}
        self._mark = 0
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen, name="gateway-phases", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._say(mark=_END)
        self._thread.join()
        os.close(self._fd)
        self._directory.cleanup()

    def open(self) -> Record:
        """A request begins."""
        record = Record(next(self._numbers))
        with self._news:
            self._records[record.id] = record
        return record

    def find(self, request: str) -> Record:
        """The record of a request that has begun."""
        return self._records[request]

    def forget(self, record: Record) -> dict[str, str]:
        """No more is heard of a request: what its application was called with, if that was told."""
        with self._news:
            del self._records[record.id]
        path = os.path.join(self.folder, record.id)
        try:
            with open(path, encoding="utf-8") as file:
                environ: dict[str, str] = literal_eval(file.read())
        except FileNotFoundError:
            return {}
        os.unlink(path)
        return environ

    def wait(self, condition: Callable[[], bool], seconds: float, *, alive: Callable[[], bool]) -> bool:
        """Wait until something is told, as long as somebody is alive to tell it."""
        deadline = monotonic() + seconds
        with self._news:
            while not self._news.wait_for(condition, _LOOK):
                if monotonic() > deadline or not alive():
                    return condition()
        return True

    def is_ready(self, pid: int) -> bool:
        """Has a process told that it can serve whoever comes?"""
        return pid in self._ready

    def note_start(self, pid: int, record: Record) -> None:
        """It was started for this request."""
        record.moments.update(self._ready[pid])

    def catch_up(self) -> None:
        """Wait until all is heard that was told so far, by whomever."""
        mark = next(self._numbers)
        self._say(mark=mark)
        self.wait(lambda: self._mark >= mark, PATIENCE, alive=lambda: True)

    def _say(self, *, mark: int) -> None:
        os.write(self._fd, f"{mark}\n".encode())

    def _listen(self) -> None:
        with open(self._fd, "rb", closefd=False) as file:
            for line in file:
                told = literal_eval(line.decode())
                with self._news:
                    if told == _END:
                        return
                    if isinstance(told, int):
                        self._mark = told
                    else:
                        self._take(**told)
                    self._news.notify_all()

    def _take(self, *, request: str, moments: dict[str, int], pid: int, served: int = 0, born: int = 0) -> None:
        if not request:
            self._ready[pid] = moments
        elif (record := self._records.get(request)) is not None:
            record.moments.update(moments)
            record.pid, record.served, record.born = pid, served or record.served, born or record.born
