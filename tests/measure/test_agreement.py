"""Whether answers agree, and after which request they part, on applications that are called in this process."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gateway.measure.agreement import Expected, Verdict, judge, replay, sequence
from gateway.measure.load import Answer, ask
from gateway.measure.requests import Request

HOME, LOGIN, OTHER = Request("GET", "/"), Request("GET", "/login"), Request("GET", "/other")
Make = Callable[[], Any]


def answering(*lines: str, status: str = "200 OK", headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """The answer of an application that says these lines."""
    return ask(lambda environ, start: start(status, list(headers)) or ["\n".join(lines).encode()], HOME)


def verdict(make: Make, requests: Sequence[Request]) -> Verdict:
    """Of an application made anew for each request, against one that stays."""

    def once() -> list[Answer]:
        return [ask(make(), request) for request in requests]

    expected = [Expected(*pair) for pair in zip(once(), once(), strict=True)]
    return judge(replay(make(), requests), expected, requests, fresh=lambda some: replay(make(), some))


def text(line: Callable[[str], str]) -> Any:
    """An application that answers a path with a line."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        said = line(environ["PATH_INFO"])
        start_response("200 OK" if said else "500 Internal Server Error", [("Content-Type", "text/plain")])
        return [said.encode()]

    return app


def stateless() -> Any:
    return text(lambda path: f"you asked for {path} at {random.random()}")


def leaky() -> Any:
    """Remembers a login for all."""
    seen: list[str] = []

    def line(path: str) -> str:
        if path == "/login":
            seen.append(path)
        return f"process {random.random()}, logged in: {bool(seen) and path != '/login'}"

    return text(line)


def crashing() -> Any:
    """Fails from the third request on."""
    ordinals = itertools.count(1)
    return text(lambda path: "fine" if next(ordinals) < 3 else "")


def seeing() -> Any:
    """Is another one each time that it is made, of two and then of the third kind."""
    kind = next(_kinds)
    return text(lambda path: f"I am {'a process' if kind < 6 else 'a worker'}")


_kinds = itertools.count()


def test_answers_that_agree_are_said_to() -> None:
    result = verdict(stateless, [HOME, LOGIN, OTHER])
    assert (str(result), result.ordinal, result.diff) == ("answers agree", 0, [])


def test_state_that_leaks_is_named_with_the_request_that_left_it() -> None:
    result = verdict(leaky, [HOME, OTHER, LOGIN, OTHER, HOME])
    assert str(result) == (
        "request 4, GET /other, is answered differently after GET /login, and not alone: "
        "state leaks from one request into another"
    )
    removed, added = result.diff
    assert removed == "-process …, logged in: False"
    assert added.startswith("+process 0.")
    assert added.endswith(", logged in: True")


def test_the_request_that_left_it_may_be_the_only_one_before() -> None:
    assert verdict(leaky, [LOGIN, HOME]).after == "GET /login"


def test_what_many_requests_together_leave_is_said_to_be_of_them_all() -> None:
    result = verdict(crashing, [HOME, LOGIN, OTHER])
    assert str(result) == "request 3, GET /other, fails after the 2 before it, and not alone: 500 Internal Server Error"


def test_an_application_that_sees_how_it_is_served_leaks_nothing() -> None:
    result = verdict(seeing, [HOME, LOGIN, OTHER])
    assert (result.ordinal, result.leaks) == (1, False)
    assert str(result).endswith("is answered differently, even alone: the application sees how it is served")


def test_a_request_that_fails_even_alone_leaks_nothing() -> None:
    assert str(Verdict(2, "GET /", fault="502 Bad Gateway")) == "request 2, GET /, fails, even alone: 502 Bad Gateway"


@pytest.mark.parametrize(
    ("once", "again", "other"),
    [
        (["pid 12"], ["pid 7"], ["pid 30001"]),
        (["at 10:15:03, all is well"], ["at 10:16:04, all is well"], ["at 10:17:59, all is well"]),
        (["token: a-b/c="], ["token: de+f=="], ["token: q"]),
        (["took 1 s (2 in all)"], ["took 3, 4 s"], ["took long"]),
        (["the same", "x1"], ["the same", "x2"], ["the same", "x33"]),
        (["one line"], ["two", "lines"], ["whatever"]),
        (["binary\0" + "a"], ["binary\0" + "b"], ["binary\0" + "c"]),
    ],
)
def test_what_differs_between_fresh_processes_may_differ_elsewhere(
    once: list[str], again: list[str], other: list[str]
) -> None:
    assert Expected(answering(*once), answering(*again)).diff(answering(*other)) == []


@pytest.mark.parametrize(
    ("other", "diff"),
    [
        (["pid 12 (request 2)"], ["-pid … (request 1)", "+pid 12 (request 2)"]),
        (["pid 12 (request 1)", "more"], [" pid … (request 1)", "+more"]),
        (["pid 12 (request 1)", "++ all", "@@"], [" pid … (request 1)", "+++ all", "+@@"]),
        ([], ["-pid … (request 1)"]),
    ],
)
def test_what_differs_beyond_that_is_shown(other: list[str], diff: list[str]) -> None:
    expected = Expected(answering("pid 9 (request 1)"), answering("pid 8 (request 1)"))
    assert expected.diff(answering(*other)) == diff


@pytest.mark.parametrize("name", ["Date", "Server", "Connection", "Content-Length"])
def test_headers_of_servers_are_not_compared(name: str) -> None:
    plain = answering("x")
    assert Expected(plain, plain).diff(answering("x", headers=[(name, "5")])) == []


def test_headers_of_the_application_are_compared_in_whatever_order() -> None:
    first = answering("x", headers=[("X-A", "1"), ("X-B", "2")])
    expected = Expected(first, first)
    assert expected.diff(answering("x", headers=[("x-b", "2"), ("x-a", "1")])) == []
    assert expected.diff(answering("x", headers=[("X-A", "1")])) == [" x-a: 1", "-x-b: 2"]


def test_a_status_is_compared_by_its_number() -> None:
    first = answering("x", status="200 OK")
    assert Expected(first, first).diff(answering("x", status="200 Fine")) == []
    assert Expected(first, first).diff(answering("x", status="302 OK")) == ["-200", "+302"]


def test_a_connection_without_an_answer_is_shown_as_that() -> None:
    def mute(environ: Any, start_response: Any) -> list[bytes]:
        raise OSError("gone")

    first = answering("x")
    assert "+no answer" in Expected(first, first).diff(ask(mute, HOME))


def test_a_long_body_is_compared_by_its_hash() -> None:
    first, other = answering("x" * 70_000), answering("x" * 69_999 + "y")
    assert Expected(first, first).diff(first) == []
    assert "(70000 bytes, sha256" in Expected(first, first).diff(other)[-1]


def test_a_short_list_is_replayed_again_and_a_long_one_whole() -> None:
    assert [str(request) for request in sequence([HOME, LOGIN])] == ["GET /", "GET /login"] * 4
    assert len(sequence([HOME] * 20)) == 20


def test_a_process_id_is_no_difference() -> None:
    assert verdict(lambda: text(lambda path: f"{os.getpid()} {path}"), [HOME]).ordinal == 0
