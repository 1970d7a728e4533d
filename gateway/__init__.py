"""Web servers and Python applications meet here: CGI and FastCGI, both directions, one pipe.

``run(app)`` serves one application in whatever context it finds itself; ``serve(app, bind=…)`` serves it where you say;
``Client(url)``, ``CGIScript(path)`` and ``CGIDirectory(root)`` are WSGI applications that call other people's programs.
Importing this module loads nothing else (PEP 562): a CGI process pays for what it uses.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOME = {
    "run": "gateway.entry",
    "serve": "gateway.entry",
    "Client": "gateway.client",
    "CGIScript": "gateway.script",
    "CGIDirectory": "gateway.script",
    "Recorder": "gateway.recorder",
    "Limits": "gateway.limits",
    "Worker": "gateway.prefork",
    "GatewayError": "gateway.errors",
}
"""The public names and where they live."""

__all__ = [
    "CGIDirectory", "CGIScript", "Client", "GatewayError", "Limits", "Recorder", "Worker", "__version__",
    "run", "serve",
]  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.client import Client as Client
    from gateway.entry import run as run
    from gateway.entry import serve as serve
    from gateway.errors import GatewayError as GatewayError
    from gateway.limits import Limits as Limits
    from gateway.prefork import Worker as Worker
    from gateway.recorder import Recorder as Recorder
    from gateway.script import CGIDirectory as CGIDirectory
    from gateway.script import CGIScript as CGIScript


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'gateway' has no attribute {name!r}; it has: {', '.join(__all__)}")
    value: object = getattr(__import__(home, fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
