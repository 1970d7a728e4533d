"""The ASGI section: what the load section measures, of servers of ASGI applications."""

from __future__ import annotations

from collections.abc import Callable, Collection

from .contenders import ASGI_CONTENDERS, CONNECTIONS, DAPHNE_HTTP, HYPERCORN_HTTP, UVICORN_HTTP
from .load import compared, race
from .report import Section

NAMES = [contender.name for contender in ASGI_CONTENDERS]
REFERENCES = {"uvicorn": UVICORN_HTTP, "hypercorn": HYPERCORN_HTTP, "daphne": DAPHNE_HTTP}

TITLE = f"A hello-world ASGI application behind nginx, {CONNECTIONS} connections"


def run(names: Collection[str], *, seconds: float, rounds: int, progress: Callable[[str], None]) -> Section:
    """Measure the contenders called `names`."""
    chosen = [contender for contender in ASGI_CONTENDERS if contender.name in names]
    application = "benchmarks.hello:asgi_application"
    results = race(chosen, application=application, seconds=seconds, rounds=rounds, progress=progress)
    return compared("asgi", TITLE, results, references=REFERENCES)
