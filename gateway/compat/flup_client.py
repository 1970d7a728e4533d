"""``flup.client``: WSGI applications that pass requests on to a FastCGI or SCGI server, over ``gateway.Client``."""

from __future__ import annotations

from gateway.client import Client
from gateway.environ import build_params

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from gateway.environ import Environ
    from gateway.events import Params


class _App:
    """What both have in common; ``filterEnviron`` False sends every variable whose name is in capitals.

    A subclass may say otherwise what is sent, by flup's attributes and methods.  Each request has a connection of its
    own, as with flup.
    """

    _wire = ""
    _environPrefixes = ("SERVER_", "HTTP_", "REQUEST_", "REMOTE_", "PATH_", "CONTENT_")
    _environCopies = ("SCRIPT_NAME", "QUERY_STRING", "AUTH_TYPE")
    _environRenames: dict[str, str] = {}

    def __init__(
        self, connect: Any = None, host: str | None = None, port: int | None = None,
        filterEnviron: bool = True,  # noqa: FBT001, FBT002
    ) -> None:  # fmt: skip
        if host is not None:
            connect = (host, port)
        if connect is None or (host is not None and port is None):
            raise ValueError("say where the server is: connect='/path/of/socket', or host= and port=")
        if isinstance(connect, str):
            place = f"unix:{connect}"
        else:
            host, port = connect[:2]
            place = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
        self._filter = self._defaultFilterEnviron if filterEnviron else self._lightFilterEnviron
        self._client = Client(f"{self._wire}://{place}", pool_size=0, params_from=self._params)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Pass one request on."""
        return self._client(environ, start_response)

    def _params(self, environ: Environ) -> Params:
        complete = build_params(environ)
        params = {name: value for name, value in self._filter(environ | complete).items() if isinstance(value, str)}
        params.pop("HTTP_PROXY", None)
        return params

    def _defaultFilterEnviron(self, environ: Environ) -> Environ:
        sent = {
            name: value
            for name, value in environ.items()
            if name.startswith(self._environPrefixes) or name in self._environCopies
        }
        return sent | {new: environ[old] for old, new in self._environRenames.items() if old in environ}

    def _lightFilterEnviron(self, environ: Environ) -> Environ:
        return {name: value for name, value in environ.items() if name.isupper()}


class FCGIApp(_App):
    """``flup.client.fcgi_app.FCGIApp``."""

    _wire = "fastcgi"

    def __init__(
        self, command: Any = None, connect: Any = None, host: str | None = None, port: int | None = None,
        filterEnviron: bool = True,  # noqa: FBT001, FBT002
    ) -> None:  # fmt: skip
        if command is not None:
            raise NotImplementedError("flup never started a command either: start it yourself, and name its socket")
        super().__init__(connect, host, port, filterEnviron)


class SCGIApp(_App):
    """``flup.client.scgi_app.SCGIApp``."""

    _wire = "scgi"
