"""The front door of ``gateway demo``, by HTTP: an index page, and the sample application behind three paths.

What the page shows is asked anew for every visitor; a script in it asks again, and without scripts a reload does.
"""

from __future__ import annotations

import html
import io
import json
import logging
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from gunicorn.app.base import BaseApplication

from gateway import __version__
from gateway.cli import demo_app
from gateway.client import Client
from gateway.errors import GatewayError
from gateway.script import CGIScript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.environ import Environ
    from gateway.events import Headers

PAGE = Path(__file__).with_name("demo.html")

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
"""The page needs nothing but itself, and the browser sees to it."""


class Answer(NamedTuple):
    """What comes back for one request."""

    status: str
    headers: Headers
    body: bytes
    milliseconds: float = 0.0


class Door:
    """``models`` are the applications by the name that is their path: ``"cgi"`` answers at ``/cgi/``."""

    def __init__(self, models: Mapping[str, Callable[..., Iterable[bytes]]]) -> None:
        self._models = models
        self._page = Template(PAGE.read_text("utf-8"))

    def __call__(self, environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer one visitor."""
        name, _, rest = environ["PATH_INFO"].removeprefix("/").partition("/")
        if not name:
            answer = self._index(environ)
        elif name in self._models:
            answer = self._ask(name, environ | {"SCRIPT_NAME": f"/{name}", "PATH_INFO": f"/{rest}"})
        else:
            there = " ".join(f"/{name}/" for name in self._models)
            answer = _text("404 Not Found", f"there is nothing at {environ['PATH_INFO']}; there are / {there}")
        start_response(answer.status, answer.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _ask(self, name: str, environ: Environ) -> Answer:
        """The whole answer of a model, timed from handing the request over to the last byte."""
        head: list[tuple[str, Headers]] = []
        began = time.perf_counter()
        try:
            result = self._models[name](environ, lambda *started: head.append(started[:2]))
            try:
                body = b"".join(result)
            finally:
                if hasattr(result, "close"):
                    result.close()
        except GatewayError as error:
            logging.getLogger("gateway").error("/%s/ failed: %s", name, error)
            return _text("502 Bad Gateway", "the terminal says why")
        took = 1000 * (time.perf_counter() - began)
        status, headers = head[-1]
        return Answer(status, [*headers, ("Server-Timing", f"gateway;dur={took:.2f}")], body, took)

    def _index(self, environ: Environ) -> Answer:
        """The page, with an answer of each model in it."""
        answers = {name: self._ask(name, _visit(environ, f"/{name}")) for name in self._models}
        values: dict[str, Any] = {
            "host": html.escape(environ.get("HTTP_HOST", "127.0.0.1")),
            "versions": f"gateway {__version__}, {platform.python_implementation()} {platform.python_version()}",
        }
        for name, answer in answers.items():
            values |= {f"{name}_{key}": value for key, value in _shown(answer).items()}
        headers = [
            ("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store"),
            ("Content-Security-Policy", POLICY),
        ]  # fmt: skip
        return Answer("200 OK", headers, self._page.substitute(values).encode())


def _visit(environ: Environ, path: str) -> Environ:
    """A request for a model's own root, in the name of who asked for the page."""
    of_the_body = ("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING")
    kept = {name: value for name, value in environ.items() if name not in of_the_body}
    return kept | {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": path, "PATH_INFO": "/", "QUERY_STRING": "", "RAW_URI": f"{path}/",
        "wsgi.input": io.BytesIO(),
    }  # fmt: skip


def _shown(answer: Answer) -> dict[str, Any]:
    """An answer as the page shows it."""
    if answer.status != "200 OK":
        return {"pid": "–", "served": "–", "took": "0", "error": f"{answer.status}: the terminal says why"}
    took = answer.milliseconds
    return {**json.loads(answer.body), "took": f"{took:.2f}" if took < 10 else f"{took:.1f}", "error": ""}


def _text(status: str, message: str) -> Answer:
    return Answer(status, [("Content-Type", "text/plain; charset=utf-8")], f"{status}: {message}\n".encode())


class _HTTPServer(BaseApplication):  # type: ignore[misc]
    """gunicorn, with one worker of many threads."""

    def __init__(self, fd: int, door: Door, *, grace: int) -> None:
        self._door = door
        self._settings = {
            "bind": f"fd://{fd}", "worker_class": "gthread", "threads": 16, "graceful_timeout": grace,
            "loglevel": "warning", "control_socket_disable": True,
        }  # fmt: skip
        super().__init__()

    def load_config(self) -> None:
        """Settings that this version of gunicorn does not know are left out."""
        for name in self._settings.keys() & self.cfg.settings.keys():
            self.cfg.set(name, self._settings[name])

    def load(self) -> Door:
        """The application."""
        return self._door


def serve_door(fd: int, upstreams: Mapping[str, str], *, grace: int) -> None:
    """Serve the front door on a listening socket until SIGTERM; ``upstreams`` are the URLs of models by their names."""
    script = Path(demo_app.__file__)
    # With the Python and the gateway that run now, installed or not.
    cgi = CGIScript(script, interpreter=[sys.executable], environment={"PYTHONPATH": str(script.parents[2])})
    door = Door({"cgi": cgi, **{name: Client(url) for name, url in upstreams.items()}})
    _HTTPServer(fd, door, grace=grace).run()
