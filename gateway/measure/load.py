"""Asking: one request and its whole answer, and many at once for some time, by threads that each are one visitor."""

from __future__ import annotations

import hashlib
import io
import itertools
import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway.client.visit import visit
from gateway.measure.processes import Tree, started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from gateway.environ import Environ
    from gateway.events import Headers
    from gateway.measure.requests import Request

    WSGIApplication: TypeAlias = Callable[[Environ, Callable[..., object]], Iterable[bytes]]

BODY_KEPT = 64 * 1024
"""Bytes of a body that are kept to be shown; of what follows there is a hash."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request, and when: seconds to the head and to the last byte.

    ``fault`` says what went wrong, "" if nothing did: a status from 500 on, or a connection that broke.
    """

    status: str
    headers: Headers
    body: bytes
    size: int
    digest: str
    first_byte: float
    seconds: float
    fault: str = ""


def ask(application: WSGIApplication, request: Request) -> Answer:
    """One request, and its answer to the last byte, whatever happens."""
    errors = io.StringIO()
    environ = visit(request.method, request.path, headers=request.headers, body=request.body)
    environ["wsgi.errors"] = errors
    head: tuple[str, Headers] = ("", [])
    kept, size, digest, broken = bytearray(), 0, hashlib.sha256(), ""
    first_byte = 0.0

    def start_response(status: str, headers: Headers, *_: object) -> None:
        nonlocal head, first_byte
        head, first_byte = (status, headers), time.perf_counter() - began

    began = time.perf_counter()
    try:
        result = application(environ, start_response)
        try:
            for block in result:
                size += len(block)
                digest.update(block)
                kept += block[: BODY_KEPT - len(kept)]
        finally:
            if hasattr(result, "close"):
                result.close()
    except Exception as error:  # of whatever kind: it is what there is to report
        broken = f"broken off: {error}"
    seconds = time.perf_counter() - began
    status, headers = head
    fault = broken or (status if status >= "500" else "")
    if fault and (last := errors.getvalue().strip().rpartition("\n")[2]):
        fault += f": {last}"
    return Answer(status, headers, bytes(kept), size, digest.hexdigest(), first_byte, seconds, fault)


@contextmanager
def quiet() -> Iterator[None]:
    """What our client and our CGI hosts log in the block are faults of answers, and not for the terminal."""
    log, handler = logging.getLogger("gateway"), logging.NullHandler()
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


@dataclass(slots=True)
class Round:
    """Some seconds of one load on one model; ``latencies`` and ``first_bytes`` are of the answers without fault.

    ``cpu`` are seconds of the whole process tree, ``started`` the processes that began, ``pss`` bytes in the middle.
    """

    concurrency: int
    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0
    started: int = 0
    pss: int = 0

    @property
    def requests(self) -> int:
        """How many were answered, also with a fault."""
        return len(self.latencies) + len(self.faults)


def load(
    application: WSGIApplication, requests: Sequence[Request], *, tree: Tree, concurrency: int, seconds: float
) -> Round:
    """Ask the requests one after the other, and again, from so many visitors at once.

    Each asks until the time is over, and once at least; what is under way then is waited for.
    """
    round_ = Round(concurrency)
    ordinal = itertools.count()  # next() of it is atomic
    deadline = 0.0

    def be_visitor() -> None:
        while True:
            answer = ask(application, requests[next(ordinal) % len(requests)])
            if answer.fault:
                round_.faults.append(answer.fault)
            else:
                round_.latencies.append(answer.seconds)
                round_.first_bytes.append(answer.first_byte)
            if time.perf_counter() >= deadline:
                return

    visitors = [threading.Thread(target=be_visitor) for _ in range(concurrency)]
    started_before, cpu_before = started(), tree.cpu()
    began = time.perf_counter()
    deadline = began + seconds
    for visitor in visitors:
        visitor.start()
    time.sleep(seconds / 2)
    round_.pss = tree.pss()
    for visitor in visitors:
        visitor.join()
    round_.seconds = time.perf_counter() - began
    round_.cpu = tree.cpu() - cpu_before
    round_.started = started() - started_before - concurrency  # the visitors are threads that began, too
    return round_
