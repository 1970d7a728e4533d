"""The vocabulary: events compare and show themselves by what they carry."""

from __future__ import annotations

import pytest

from gateway import events
from gateway.events import (
    APPLICATION,
    FILTER,
    RESPONDER,
    WEB_SERVER,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Event,
    FilterData,
    Ping,
    Pong,
    Repair,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)

SHOWN: list[tuple[Event, str]] = [
    (Request({"A": "B"}), "Request(params={'A': 'B'}, role=1, repeated=(), request_id=0)"),
    (Request({}, 3, FILTER, [("A", "B")]), "Request(params={}, role=3, repeated=[('A', 'B')], request_id=3)"),
    (RequestBody(b"x", 1), "RequestBody(data=b'x', request_id=1)"),
    (FilterData(b"x", 1), "FilterData(data=b'x', request_id=1)"),
    (EndOfRequest(1), "EndOfRequest(request_id=1)"),
    (AbortRequest(1), "AbortRequest(request_id=1)"),
    (BodyWanted(10, 1), "BodyWanted(size=10, request_id=1)"),
    (Repair("body-length", 1), "Repair(name='body-length', request_id=1)"),
    (Response("200 OK", [], 1), "Response(status='200 OK', headers=[], local_redirect='', request_id=1)"),
    (ResponseBody(b"x", 1), "ResponseBody(data=b'x', request_id=1)"),
    (ErrorOutput(b"x", 1), "ErrorOutput(data=b'x', request_id=1)"),
    (EndOfResponse(1, 2, "OVERLOADED"), "EndOfResponse(app_status=2, refusal='OVERLOADED', request_id=1)"),
    (Ping(), "Ping(request_id=0)"),
    (Pong({"A": "B"}), "Pong(values={'A': 'B'}, request_id=0)"),
]


@pytest.mark.parametrize(("event", "text"), SHOWN)
def test_an_event_shows_what_it_carries(event: Event, text: str) -> None:
    assert repr(event) == text


def test_every_event_is_shown_above() -> None:
    every = {value for value in vars(events).values() if isinstance(value, type) and issubclass(value, Event)}
    assert {type(event) for event, _ in SHOWN} == every - {Event}


@pytest.mark.parametrize("event", [event for event, _ in SHOWN], ids=lambda event: type(event).__name__)
def test_events_carry_nothing_else(event: Event) -> None:
    with pytest.raises(AttributeError):
        event.other = 1  # type: ignore[attr-defined]


def test_events_are_equal_when_they_carry_the_same() -> None:
    assert RequestBody(b"x", 1) == RequestBody(b"x", 1)


@pytest.mark.parametrize(
    "other", [RequestBody(b"y", 1), RequestBody(b"x", 2), ResponseBody(b"x", 1), FilterData(b"x", 1), "RequestBody"]
)
def test_events_differ_when_they_carry_something_else(other: object) -> None:
    assert RequestBody(b"x", 1) != other


def test_events_can_change_and_so_are_no_keys() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        {Ping(): 1}


def test_a_request_is_a_responders_unless_it_says_otherwise() -> None:
    assert Request({}).role == RESPONDER


def test_the_two_sides_are_known_by_name() -> None:
    assert (repr(APPLICATION), f"{WEB_SERVER}") == ("APPLICATION", "WEB_SERVER")
