"""Every exception the library raises, on one screen (DESIGN.md §6)."""

from __future__ import annotations


class GatewayError(Exception):
    """The root of everything this library raises on purpose."""


class ProtocolError(GatewayError):
    """A wire's rules were broken; raised only as one of its two subclasses.

    ``status_hint`` is the HTTP status a gateway would answer with, for example ``"400 Bad Request"``.
    """

    def __init__(self, message: str, *, status_hint: str = "400 Bad Request") -> None:
        super().__init__(message)
        self.status_hint = status_hint


class LocalProtocolError(ProtocolError):
    """We, or the application behind us, tried to say something the wire does not allow now."""

    def __init__(self, message: str, *, status_hint: str = "500 Internal Server Error") -> None:
        super().__init__(message, status_hint=status_hint)


class RemoteProtocolError(ProtocolError):
    """The peer said something the wire does not allow; the connection cannot go on."""


class LimitExceeded(RemoteProtocolError):
    """The peer went past a named limit of :mod:`gateway.limits`."""

    def __init__(self, limit: str, size: int, *, status_hint: str = "413 Content Too Large") -> None:
        super().__init__(f"limit {limit}={size} exceeded", status_hint=status_hint)
        self.limit = limit
        self.size = size


class RequestAborted(GatewayError, OSError):
    """The web server gave the request up, or its connection broke, while the application read or wrote."""


class ApplicationError(GatewayError):
    """The application broke PEP 3333 or ASGI; the message names the rule."""


class StartupError(GatewayError):
    """An ASGI application refused to start (lifespan), or took too long about it; the message has its reason."""


class ScriptError(GatewayError):
    """A CGI program gave no usable head, or died.

    ``stderr`` is the tail of what it wrote there, ``returncode`` as :mod:`subprocess` has it (negative: a signal).
    """

    def __init__(
        self, message: str, *, stderr: bytes = b"", returncode: int | None = None,
        status_hint: str = "502 Bad Gateway",
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.stderr = stderr
        self.returncode = returncode
        self.status_hint = status_hint


class ConfigError(GatewayError):
    """Something the user configured cannot work: a bad bind string, two options that exclude each other."""


class LoadError(ConfigError):
    """``module:attribute`` names no application.  An ImportError inside the application passes through unchanged."""
