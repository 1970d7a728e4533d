"""The idle section: what kept connections cost that ask for nothing, and what they cost others."""

from __future__ import annotations

import resource
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median, quantiles

from .contenders import OURS_ASGI, OURS_KEPT, Contender
from .hello import BODY
from .measure import Result, resident
from .nginx import socket_path
from .report import Column, Section
from .servers import SOURCE, StartError, running

CONNECTIONS = 5000
SPARE = 200
"""Descriptors that a process needs beside those of the connections."""
WARM_UP = 50
"""Connections after which a server has what it has only once."""
REQUESTS_PER_ROUND = 2000

APPLICATIONS = {
    OURS_ASGI: "benchmarks.hello:asgi_application",
    OURS_KEPT: "benchmarks.hello:application",
}
WORKERS = {contender: f"{CONNECTIONS} idle, {contender.name}" for contender in APPLICATIONS}
NAMES = list(WORKERS.values())

TITLE = f"{CONNECTIONS:,} idle kept connections on one worker, and one active client"
COLUMNS = [
    Column("KiB each", "each", "{:.2f}"),
    Column("p50 ms alone", "p50_alone", "{:.3f}"),
    Column("p50 ms among", "p50_among", "{:.3f}"),
    Column("p99 ms alone", "p99_alone", "{:.3f}"),
    Column("p99 ms among", "p99_among", "{:.3f}"),
    Column("p99 ÷ alone", "p99_ratio", "{:.2f}"),
]
NOTE = (
    "Each connection has carried one FastCGI request. KiB is by how much VmRSS of the worker grew for each of them. "
    "The active client asks for one thing after the other over a connection of its own, in rounds that alternate "
    "between this worker and one that has no other connections; figures are medians over the rounds. There is no nginx."
)


class Client:
    """One connection to a worker, by which it asks again and again."""

    def __init__(self, path: Path) -> None:
        from gateway.events import WEB_SERVER, EndOfRequest, Request
        from gateway.protocols import connection_class

        connection = connection_class("fastcgi")(WEB_SERVER)
        params = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": ""}
        params |= {"SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1"}
        connection.send(Request(params, 1))
        connection.send(EndOfRequest(1))
        self._request = b"".join(connection.data_to_send())
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(path))

    def ask(self) -> float:
        """Return the seconds that one request took."""
        start = time.perf_counter()
        self._socket.sendall(self._request)
        answer = self._socket.recv(4096)
        taken = time.perf_counter() - start
        if BODY not in answer:
            raise OSError(f"answered {answer[:60]!r}")
        return taken

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def run(names: Collection[str], *, seconds: float, rounds: int, progress: Callable[[str], None]) -> Section:
    """Measure the workers called `names`; `seconds` has no meaning here."""
    results = []
    for contender, name in WORKERS.items():
        if name in names:
            progress(f"idle: {name}")
            results.append(measure(name, contender, rounds=rounds))
    return Section("idle", TITLE, COLUMNS, results, NOTE)


def measure(name: str, contender: Contender, *, rounds: int) -> Result:
    """Compare a worker that has idle connections with one that has none."""
    if contender.peer.version() is None:
        return Result(name, "skipped", f"needs {contender.peer.name}: {contender.peer.install}")
    if not may_open(CONNECTIONS + SPARE):
        return Result(name, "skipped", f"needs {CONNECTIONS + SPARE} descriptors: see ulimit -Hn")
    try:
        with ExitStack() as stack:
            _, quiet = stack.enter_context(started(contender))
            pid, busy = stack.enter_context(started(contender))
            for _ in range(WARM_UP):
                open_idle(busy, stack=stack)
            before = resident(pid)["VmRSS"]
            for _ in range(CONNECTIONS):
                open_idle(busy, stack=stack)
            each = (resident(pid)["VmRSS"] - before) / CONNECTIONS / 1024
            alone, among = (stack.enter_context(closing(Client(path))) for path in (quiet, busy))
            return Result(name, figures=compare(alone, among, rounds=rounds) | {"each": each})
    except (StartError, OSError) as error:
        return Result(name, "failed", str(error))


def may_open(count: int) -> bool:
    """Allow this process, and those that it starts, so many descriptors; tell whether that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        return False
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return True


@contextmanager
def started(contender: Contender) -> Iterator[tuple[int, Path]]:
    """Start one worker; its process and its socket."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as place:
        path = socket_path(contender, Path(place))
        application = APPLICATIONS[contender]
        command = contender.start_command(application=application, socket=path, build=Path(place), source=SOURCE)
        with running(command, address=str(path), log=path.with_suffix(".log")) as process:
            yield process.pid, path


def open_idle(path: Path, *, stack: ExitStack) -> None:
    """Leave a connection open that has carried a request."""
    stack.enter_context(closing(Client(path))).ask()


def compare(alone: Client, among: Client, *, rounds: int) -> dict[str, float | str]:
    """Return the response times of both, in milliseconds."""
    taken: dict[str, list[list[float]]] = {"alone": [], "among": []}
    for _ in range(rounds):
        for key, client in (("alone", alone), ("among", among)):
            taken[key].append(quantiles((client.ask() for _ in range(REQUESTS_PER_ROUND)), n=100))
    figures: dict[str, float | str] = {
        f"p{percent}_{key}": median(cuts[percent - 1] for cuts in rounds_) * 1000
        for key, rounds_ in taken.items()
        for percent in (50, 99)
    }
    return figures | {"p99_ratio": float(figures["p99_among"]) / float(figures["p99_alone"])}
