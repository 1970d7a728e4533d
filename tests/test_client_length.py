"""``gateway.Client`` tells a wire that needs it the length of a body that came without one."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.client import Client
from gateway.limits import Limits
from tests.leftovers import Leftovers
from tests.serving import PLAIN, Serve
from tests.wsgi_calls import Answer, ask


def measured(environ: Any, start_response: Any) -> list[bytes]:
    """What was announced of a body, and the body."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [PLAIN, ("X-Announced", environ.get("CONTENT_LENGTH", ""))])
    return [body]


@pytest.fixture(params=["scgi", "uwsgi", "fastcgi"])
def url(request: pytest.FixtureRequest, serve: Serve) -> Iterator[str]:
    yield serve(measured, protocol=request.param).url


def upload(client: Client, body: bytes) -> Answer:
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    return ask(client, body=body, REQUEST_METHOD="POST", **chunked)


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_a_chunked_body_arrives(url: str, size: int) -> None:
    body = os.urandom(size)
    with Client(url, limits=Limits(body_memory=1000)) as client:
        answer = upload(client, body)
    assert answer.body == body
    assert answer.headers["X-Announced"] in (str(size), "")


@pytest.mark.parametrize("wire", ["scgi", "uwsgi"])
def test_a_chunked_body_longer_than_the_limit_is_a_413(serve: Serve, wire: str) -> None:
    with Client(serve(measured, protocol=wire).url, limits=Limits(body_size=10)) as client:
        assert upload(client, b"eleven byte").status == "413 Content Too Large"
        assert upload(client, b"ten bytes.").body == b"ten bytes."


@pytest.mark.parametrize("wire", ["scgi", "uwsgi"])
def test_nothing_is_left_of_a_body_that_nobody_takes(nothing_left_over: Leftovers, wire: str) -> None:
    with Client(f"{wire}:///nowhere/app.sock", limits=Limits(body_memory=10)) as client:
        assert upload(client, bytes(100)).status == "502 Bad Gateway"


@pytest.mark.parametrize("wire", ["scgi", "uwsgi"])
def test_a_body_that_breaks_off_is_the_servers_affair(nothing_left_over: Leftovers, wire: str) -> None:
    class Broken(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError("the visitor has gone")

    with Client(f"{wire}:///nowhere/app.sock") as client, pytest.raises(ConnectionResetError):
        ask(client, body=Broken(), check=False, **{"wsgi.input_terminated": True})
