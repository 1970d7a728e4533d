"""What stands between an application of old and the pipe."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.compat.lenient import Lenient
from gateway.errors import RequestAborted
from tests.serving import PLAIN

PAGE = ("500 Sorry", [PLAIN], b"sorry")


class Said:
    """The server's side of one call."""

    def __init__(self, app: Any) -> None:
        self.head: list[Any] = []
        self.written: list[bytes] = []
        self.result = Lenient(app, on_error=lambda environ: PAGE)({"wsgi.errors": io.StringIO()}, self.start)

    def start(self, *head: Any) -> Any:
        self.head.append(head)
        return self.written.append


class Result:
    """A body that tells whether it was closed."""

    closed = False

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def __iter__(self) -> Iterator[str]:
        yield ""
        if self._error:
            raise self._error
        yield "text"

    def close(self) -> None:
        self.closed = True


def gives(result: Any, *, headers: Any = (PLAIN,)) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", list(headers) if isinstance(headers, tuple) else headers)
        return result

    return app


def test_headers_that_are_no_list_are_for_the_pipe_to_refuse() -> None:
    assert Said(gives([], headers={"a": "b"})).head[0][1] == {"a": "b"}


@pytest.mark.parametrize("error", [None, ValueError("on purpose"), RequestAborted("gone")])
def test_a_body_is_closed_however_it_ends(error: Exception | None) -> None:
    result = Result(error)
    blocks = iter(Said(gives(result)).result)
    try:
        assert b"".join(blocks) in (b"text", b"sorry")
    except RequestAborted:
        assert isinstance(error, RequestAborted)  # nobody is there to be told
    assert result.closed


def test_an_aborted_request_has_no_error_page() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise RequestAborted("gone")

    with pytest.raises(RequestAborted):
        Said(app)


def test_an_error_after_write_is_for_the_pipe_to_show() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [PLAIN])("begun")
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        Said(app)
