"""The memory section: how much a worker grows while a body of one GiB passes through it, up and down."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing

from .contenders import OURS_KEPT
from .measure import Result, forget_peak, resident
from .report import Column, Section
from .servers import Stage, behind_nginx
from .streams import BLOCK, zeros

GIB = 1 << 30
MIB = 1 << 20

TITLE = f"Memory: one GiB through {OURS_KEPT.name}, nginx streaming"
COLUMNS = [
    Column("MiB/s", "rate", "{:,.0f}"),
    Column("VmRSS before, MiB", "before", "{:.1f}"),
    Column("VmRSS grew, MiB", "grew", "{:.2f}"),
    Column("VmHWM grew, MiB", "peak", "{:.2f}"),
]
NOTE = (
    "VmRSS is the worker's resident memory, VmHWM its highest value on the way; both are compared with VmRSS after "
    "a small request of each kind."
)


def upload(connection: http.client.HTTPConnection, path: str, *, size: int) -> int:
    """Send `size` bytes; return how many the application says it read."""
    connection.request("POST", path, body=zeros(size), headers={"Content-Length": str(size)})
    return int(connection.getresponse().read())


def download(connection: http.client.HTTPConnection, path: str, *, size: int) -> int:
    """Ask for `size` bytes; return how many came."""
    connection.request("GET", f"{path}?{size}")
    response = connection.getresponse()
    buffer = bytearray(len(BLOCK))
    return sum(iter(lambda: response.readinto(buffer), 0))


TRANSFERS = {"upload of 1 GiB": upload, "download of 1 GiB": download}
NAMES = list(TRANSFERS)


def run(names: Collection[str], *, seconds: float, rounds: int, progress: Callable[[str], None]) -> Section:
    """Measure the transfers called `names`, each once; `seconds` and `rounds` have no meaning here."""
    peer = OURS_KEPT.peer
    if peer.version() is None:
        results = [Result(name, "skipped", f"needs {peer.name}: {peer.install}") for name in names]
        return Section("memory", TITLE, COLUMNS, results, NOTE)
    with behind_nginx([OURS_KEPT], application="benchmarks.streams:application", streaming=True) as stage:
        return Section("memory", TITLE, COLUMNS, list(measure_transfers(names, stage=stage, progress=progress)), NOTE)


def measure_transfers(names: Collection[str], *, stage: Stage, progress: Callable[[str], None]) -> Iterator[Result]:
    """Yield the result of each transfer called in `names`."""
    for name in names:
        progress(f"memory: {name}")
        if OURS_KEPT in stage.failures:
            yield Result(name, "failed", stage.failures[OURS_KEPT])
        else:
            yield measure_transfer(name, stage=stage)


def measure_transfer(name: str, *, stage: Stage) -> Result:
    """Make one transfer and compare the worker's memory before and after."""
    pid, path = stage.pids[OURS_KEPT], f"/{OURS_KEPT.slug}"
    with closing(http.client.HTTPConnection("127.0.0.1", stage.port, timeout=60)) as connection:
        try:
            for transfer in TRANSFERS.values():
                transfer(connection, path, size=len(BLOCK))
            forget_peak(pid)
            before = resident(pid)
            start = time.monotonic()
            moved = TRANSFERS[name](connection, path, size=GIB)
            taken = time.monotonic() - start
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Result(name, "failed", f"{type(error).__name__}: {error}")
        after = resident(pid)
    if moved != GIB:
        return Result(name, "failed", f"{moved} of {GIB} bytes arrived")
    figures: dict[str, float | str] = {
        "rate": GIB / MIB / taken,
        "before": before["VmRSS"] / MIB,
        "grew": (after["VmRSS"] - before["VmRSS"]) / MIB,
        "peak": (after["VmHWM"] - before["VmRSS"]) / MIB,
    }
    return Result(name, figures=figures)
