"""One request and its answer, and many visitors at once, on applications that are called in this process."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.measure.load import BODY_KEPT, ask, load, quiet
from gateway.measure.processes import Tree
from gateway.measure.requests import Request
from tests.measure import stateful

GET = Request("GET", "/")


def echo(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("X-Colour", environ["HTTP_X_COLOUR"])])
    return [environ["REQUEST_METHOD"].encode(), environ["QUERY_STRING"].encode(), environ["wsgi.input"].read()]


def breaking(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"some"
    raise OSError("the upstream is gone")


class Late:
    """An answer whose body comes some time after its head, and that wants to be closed."""

    closed = False

    def __call__(self, environ: Any, start_response: Any) -> Late:
        start_response("200 OK", [])
        return self

    def __iter__(self) -> Iterator[bytes]:
        time.sleep(0.05)
        yield b"late"

    def close(self) -> None:
        self.closed = True


def test_a_request_is_asked_as_it_is() -> None:
    answer = ask(echo, Request("POST", "/?a=b", (("X-Colour", "blue"),), b" body"))
    assert (answer.status, answer.headers, answer.body) == ("200 OK", [("X-Colour", "blue")], b"POSTa=b body")


def test_the_first_byte_comes_before_the_last_and_the_answer_is_closed() -> None:
    late = Late()
    answer = ask(late, GET)
    assert answer.seconds - answer.first_byte >= 0.05
    assert late.closed


def test_of_a_long_body_the_beginning_is_kept_and_all_is_hashed() -> None:
    block = b"x" * 50_000
    answer = ask(lambda environ, start_response: start_response("200 OK", []) or [block, block], GET)
    assert (answer.size, answer.body) == (100_000, b"x" * BODY_KEPT)
    assert answer.digest == hashlib.sha256(block * 2).hexdigest()


def test_an_answer_that_breaks_off_is_a_fault() -> None:
    assert ask(breaking, GET).fault == "broken off: the upstream is gone"


def test_an_error_page_is_a_fault_with_the_last_words_of_the_error_output() -> None:
    def failing(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("Traceback:\nValueError: no\n")
        start_response("500 Internal Server Error", [])
        return []

    assert ask(failing, GET).fault == "500 Internal Server Error: ValueError: no"


def test_what_is_refused_is_no_fault() -> None:
    answer = ask(lambda environ, start_response: start_response("404 Not Found", []) or [], GET)
    assert (answer.status, answer.fault) == ("404 Not Found", "")


def test_what_our_client_logs_is_kept_from_the_terminal(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with quiet():
        logging.getLogger("gateway.client").error("it is gone")
    assert (caplog.records, capsys.readouterr().err) == ([], "")
    assert logging.getLogger("gateway").propagate


def test_a_load_asks_all_requests_in_turn_from_all_visitors() -> None:
    paths: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        paths.append(environ["PATH_INFO"])
        return stateful.hello(environ, start_response)

    requests = [Request("GET", "/a"), Request("GET", "/b")]
    taken = load(app, requests, tree=Tree(None), concurrency=3, seconds=0.05)
    assert taken.requests == len(taken.latencies) == len(taken.first_bytes) == len(paths) >= 3
    assert abs(paths.count("/a") - paths.count("/b")) <= 1
    assert 0.05 <= taken.seconds < 5


def test_a_slow_answer_is_waited_for_by_each_visitor() -> None:
    taken = load(stateful.slow, [GET], tree=Tree(None), concurrency=2, seconds=0.01)
    assert taken.requests == 2
    assert all(latency >= 0.1 for latency in taken.latencies)


def test_faults_have_no_latency() -> None:
    taken = load(breaking, [GET], tree=Tree(None), concurrency=1, seconds=0.01)
    assert (taken.latencies, {*taken.faults}) == ([], {"broken off: the upstream is gone"})
    assert taken.requests == len(taken.faults)
