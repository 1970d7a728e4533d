"""Process models: they move bytes between sockets and connections, nothing else.  One file each."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from gateway.apps import Application, Runner
    from gateway.environ import Environ
    from gateway.exchange import Exchange, Log
    from gateway.limits import Limits
    from gateway.workers.threads import ThreadsWorker

_WSGI, _ASGI, _SOLO = "gateway.apps.wsgi.WSGIRunner", "gateway.apps.asgi.ASGIRunner", "gateway.apps.solo.SoloRunner"
_FORK = "gateway.workers.fork.ForkWorker"

MODELS: dict[str, dict[str, tuple[str, str]]] = {
    "threads": {"wsgi": ("gateway.workers.threads.ThreadsWorker", _WSGI)},
    "fork": {"wsgi": (_FORK, _WSGI), "asgi": (_FORK, _SOLO)},
    "aio": {"asgi": ("gateway.workers.aio.AioWorker", _ASGI), "wsgi": ("gateway.workers.pool.PoolWorker", _WSGI)},
}
"""Persistent process models by the name that ``--worker-model`` takes: worker and runner for each kind of app."""
USUAL = {"wsgi": "threads", "asgi": "aio"}
"""The model of each kind of application, where none is named."""
AUTO = "auto"


def choose(app: object, *, interface: str = AUTO, model: str = AUTO) -> tuple[str, str]:
    """The interface of an application, and the process model to serve it with.  Raises ConfigError.

    An application whose type has a method ``check_model`` is asked whether it can do with that model.

    >>> choose(lambda environ, start_response: [])
    ('wsgi', 'threads')
    """
    from gateway.apps import interface_of
    from gateway.errors import ConfigError

    kind = interface_of(app, named=interface)
    model = USUAL[kind] if model == AUTO else model
    if model not in MODELS:
        raise ConfigError(f"no worker model is called {model!r}; there are: {', '.join(MODELS)}")
    if kind not in MODELS[model]:
        able = [name for name, kinds in MODELS.items() if kind in kinds]
        raise ConfigError(f"worker model {model} serves no {kind.upper()} applications; use {' or '.join(able)}")
    check = getattr(type(app), "check_model", None)  # of its type: a proxy may seem to have it
    if check is not None:
        check(app, model)
    return kind, model


def build_worker(
    app: Application, sockets: Iterable[tuple[socket.socket, str]], *, limits: Limits, log: Log,
    interface: str = AUTO, model: str = AUTO, mount: str | None = None, threads: int = 1, multiprocess: bool = False,
    allowed: frozenset[str] | None = None, wire_options: Mapping[str, Any] | None = None,
    before: Callable[[Environ], None] | None = None, after: Callable[[Environ, Exchange], None] | None = None,
    **options: Any,
) -> ThreadsWorker:  # fmt: skip
    """A worker for an application, on sockets that listen already, each with its wire.  Raises ConfigError."""
    from gateway.workers.listener import build_listeners

    kind, model = choose(app, interface=interface, model=model)
    worker, runner = (_load(name) for name in MODELS[model][kind])
    listeners = build_listeners(
        sockets, limits=limits, options={"multiplex": worker.multiplexes} | {**(wire_options or {})}, allowed=allowed
    )
    run: Runner = runner(
        app, log=log, mount=mount, multithread=threads > 1 and model != "fork",
        multiprocess=multiprocess or model == "fork", before=before, after=after,
    )  # fmt: skip
    built: ThreadsWorker = worker(run, listeners, limits=limits, log=log, threads=threads, allowed=allowed, **options)
    return built


def _load(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(__import__(module, fromlist=[attribute]), attribute)
