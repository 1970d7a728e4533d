"""A request that comes before the response to the one before has ended, as HAProxy sends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.events import EndOfRequest, EndOfResponse, Request, RequestBody, ResponseBody
from gateway.events import Response as Head
from tests.serving import PARAMS, PLAIN, Serve, WebServer, until

pytestmark = pytest.mark.usefixtures("unmeasured_children")

BODY = bytes(100_000)
"""More than a worker reads at once, and less than a socket holds."""


@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 4}, {"worker_model": "fork"}], ids=str)
@pytest.mark.parametrize("body", [b"", BODY], ids=len)
def test_it_is_answered_in_its_turn(serve: Serve, tmp_path: Path, options: dict[str, Any], body: bytes) -> None:
    flag = tmp_path / "the next request was sent"

    def in_two_pieces(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [PLAIN])
        yield b"one"
        until(flag.exists)
        yield b"two"
        yield str(len(environ["wsgi.input"].read())).encode()

    with WebServer(serve(in_two_pieces, **options)) as client:
        client.ask()
        assert isinstance(client.hear(), Head)
        length = {"CONTENT_LENGTH": str(len(body))} if body else {}
        client.say(Request(PARAMS | length, 2), *[RequestBody(body, 2)] * bool(body), EndOfRequest(2))
        flag.touch()
        heard = [client.hear()]
        while heard[-1] != EndOfResponse(2):
            heard.append(client.hear())
        assert EndOfResponse(1) in heard
        told = [b"".join(e.data for e in heard if e.__class__ is ResponseBody and e.request_id == n) for n in (1, 2)]
        assert told == [b"onetwo0", b"onetwo%d" % len(body)]
