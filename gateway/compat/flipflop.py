"""``flipflop``: FastCGI on the socket that the web server hands over, with threads; CGI where there is none."""

from __future__ import annotations

from inspect import Parameter, Signature

from gateway.compat import flup


class WSGIServer(flup.WSGIServer):
    """``flipflop.WSGIServer(application).run()``."""

    __signature__ = Signature([Parameter("application", Parameter.POSITIONAL_OR_KEYWORD)])


MODULES: dict[str, dict[str, object]] = {"flipflop": {"WSGIServer": WSGIServer}}
