"""A web server of one call: what a WSGI application answers to one request, checked by ``wsgiref.validate``.

The validator complains about bad requests and about responses without a Content-Type as well; ``check=False`` is for
tests of those.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import IO, Any, NamedTuple
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator


class Answer(NamedTuple):
    """What came back."""

    status: str
    headers: dict[str, str]
    body: bytes
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Call:
    """One request to ``app``: made at once, its body read as the test pleases.

    Keywords are variables of the environ; ``body`` is its ``wsgi.input``, and CONTENT_LENGTH follows from bytes.
    """

    def __init__(
        self, app: Any, path: str = "/", *, body: bytes | IO[bytes] = b"", check: bool = True, **environ: Any
    ) -> None:
        self.status = ""
        self.headers: dict[str, str] = {}
        self.errors = io.StringIO()
        self.environ: dict[str, Any] = {"PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": ""}
        if isinstance(body, bytes):
            if body and not environ.get("HTTP_TRANSFER_ENCODING"):
                self.environ["CONTENT_LENGTH"] = str(len(body))
            body = io.BytesIO(body)
        self.environ |= {"wsgi.input": body, "wsgi.errors": self.errors} | environ
        setup_testing_defaults(self.environ)
        self.result = (validator(app) if check else app)(self.environ, self._start_response)
        self.blocks: Iterator[bytes] = iter(self.result)

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        self.status, self.headers = status, dict(headers)
        return lambda data: None

    def close(self) -> None:
        """End it, as a server does when the visitor has gone."""
        if hasattr(self.result, "close"):
            self.result.close()

    def answer(self) -> Answer:
        """All of it."""
        try:
            body = b"".join(self.blocks)
        finally:
            self.close()
        return Answer(self.status, self.headers, body, self.errors.getvalue())


def ask(app: Any, path: str = "/", **request: Any) -> Answer:
    """One request, from beginning to end; keywords as of :class:`Call`."""
    return Call(app, path, **request).answer()
