"""Process models: they move bytes between sockets and connections, nothing else.  One file each."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.workers.threads import ThreadsWorker

MODELS = {
    "threads": ("gateway.workers.threads", "ThreadsWorker"),
    "fork": ("gateway.workers.fork", "ForkWorker"),
}
"""Persistent process models by the name that ``--worker-model`` takes."""


def worker_class(model: str) -> type[ThreadsWorker]:
    """The class of a process model.  Raises ConfigError."""
    if model not in MODELS:
        from gateway.errors import ConfigError

        raise ConfigError(f"no worker model is called {model!r}; there are: {', '.join(MODELS)}")
    module, name = MODELS[model]
    worker: type[ThreadsWorker] = getattr(__import__(module, fromlist=[name]), name)
    return worker
