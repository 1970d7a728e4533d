"""CGI as a wire, without a process: params out of band, stdin and stdout as bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    WEB_SERVER,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Event,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.limits import Limits
from gateway.protocols.cgi import Connection
from tests.conversation import heard, heard_to_the_end, said
from tests.corpus_files import Recording, recordings
from tests.pair import Pair

CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}
FOUR = {"CONTENT_LENGTH": "4"}


def application(params: dict[str, str] | None = None, stdin: bytes = b"", *, nph: bool = False) -> Connection:
    """The APPLICATION side, after its request and some bytes on stdin."""
    connection = Connection(APPLICATION, params=params or {}, nph=nph)
    heard(connection, stdin)
    return connection


def asked(*events: Event) -> Connection:
    """The WEB_SERVER side, after some events were sent."""
    connection = Connection(WEB_SERVER)
    for event in (Request({}), *events):
        connection.send(event)
    return connection


# -- the application: its request


@pytest.mark.parametrize("recording", recordings("cgi"), ids=repr)
def test_a_recorded_request_is_understood(recording: Recording) -> None:
    events = heard_to_the_end(Connection(APPLICATION, params=dict(recording.params)), recording.stdin)
    body = [RequestBody(recording.stdin)] if recording.stdin else []
    assert events == [Request(dict(recording.params)), *body, EndOfRequest()]


@pytest.mark.parametrize("recording", recordings("cgi"), ids=repr)
def test_a_recorded_body_means_the_same_cut_in_two_anywhere(recording: Recording) -> None:
    for at in range(len(recording.stdin)):
        connection = Connection(APPLICATION, params=dict(recording.params))
        first, *body, last = heard_to_the_end(connection, recording.stdin[:at], recording.stdin[at:])
        assert b"".join(event.data for event in body if isinstance(event, RequestBody)) == recording.stdin
        assert isinstance(first, Request)
        assert isinstance(last, EndOfRequest)


@pytest.mark.parametrize("params", [{}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "0"}])
def test_a_request_without_a_body_is_whole_at_once(params: dict[str, str]) -> None:
    connection = Connection(APPLICATION, params=params)
    assert connection.body_left == 0
    assert connection.events() == [Request(params), EndOfRequest()]


def test_a_body_ends_where_content_length_says() -> None:
    assert heard(application(FOUR), b"bo", b"dy") == [
        RequestBody(b"bo"),
        RequestBody(b"dy"),
        EndOfRequest(),
    ]


def test_bytes_beyond_content_length_are_no_part_of_the_body() -> None:
    assert heard(application(FOUR), b"body beyond", b"more") == [RequestBody(b"body"), EndOfRequest()]


def test_a_body_shorter_than_content_length_is_an_abort() -> None:
    assert heard_to_the_end(application(FOUR), b"bod") == [RequestBody(b"bod"), AbortRequest()]


def test_a_chunked_body_ends_where_stdin_ends() -> None:
    events = heard_to_the_end(application(CHUNKED), b"bo", b"dy")
    assert events == [RequestBody(b"bo"), RequestBody(b"dy"), EndOfRequest()]


def test_content_length_counts_where_both_are_given() -> None:
    assert heard(application({"CONTENT_LENGTH": "2"} | CHUNKED), b"body") == [RequestBody(b"bo"), EndOfRequest()]


@pytest.mark.parametrize("length", ["four", "-4", "+4", "4.0", "4,4", "²", "9" * 5000])
def test_a_content_length_that_is_none_is_left_to_the_environ(length: str) -> None:
    connection = Connection(APPLICATION, params={"CONTENT_LENGTH": length})
    assert connection.events() == [Request({"CONTENT_LENGTH": length}), EndOfRequest()]


def test_nothing_read_is_no_event() -> None:
    assert heard(application(FOUR), b"") == []


def test_the_end_of_stdin_after_the_body_is_no_news() -> None:
    assert heard_to_the_end(application()) == []


# -- the application: its response


def test_a_response_is_a_head_and_a_body() -> None:
    data = said(application(), Response("200 OK", [("X", "1")]), ResponseBody(b"body"), EndOfResponse())
    assert data == b"Status: 200 OK\r\nX: 1\r\n\r\nbody"


def test_a_script_that_parses_no_headers_writes_a_status_line() -> None:
    assert said(application(nph=True), Response("404 Not Found", [])) == b"HTTP/1.1 404 Not Found\r\n\r\n"


def test_wanting_more_of_the_body_says_nothing() -> None:
    assert said(application(FOUR), BodyWanted(4)) == b""


def test_what_was_said_is_said_once() -> None:
    connection = application()
    assert said(connection, Response("200 OK", []))
    assert connection.data_to_send() == []


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([ResponseBody(b"x")], "ResponseBody does not fit <cgi.Connection APPLICATION in=ended out='nothing sent'>"),
        ([Response("200 OK", []), Response("200 OK", [])], "Response does not fit"),
        ([Response("200 OK", []), EndOfResponse(), ResponseBody(b"x")], "ResponseBody after EndOfResponse"),
        ([EndOfResponse(), EndOfResponse()], "EndOfResponse after EndOfResponse"),
        ([ErrorOutput(b"x")], "ErrorOutput does not fit"),
        ([Request({})], "Request does not fit"),
        ([Response("200 OK\n", [])], "CR, LF or NUL in the response head"),
    ],
)
def test_the_application_cannot_send(events: list[Event], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        said(application(), *events)


# -- the web server


def test_only_the_body_goes_to_stdin() -> None:
    assert said(Connection(WEB_SERVER), Request({"A": "B"}), RequestBody(b"bo"), RequestBody(b"dy")) == b"body"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([RequestBody(b"x")], "RequestBody does not fit <cgi.Connection WEB_SERVER in=open out='nothing sent'>"),
        ([EndOfRequest()], "EndOfRequest does not fit"),
        ([Request({}), Request({})], "Request does not fit"),
        ([Request({}), EndOfRequest(), RequestBody(b"x")], "RequestBody does not fit"),
        ([Request({}), EndOfRequest(), EndOfRequest()], "EndOfRequest does not fit"),
        ([Request({}), Response("200 OK", [])], "Response does not fit"),
    ],
)
def test_the_web_server_cannot_send(events: list[Event], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        said(Connection(WEB_SERVER), *events)


def test_a_response_ends_where_stdout_ends() -> None:
    assert heard_to_the_end(asked(), b"X: 1\n\n", b"body") == [
        Response("200 OK", [("X", "1")]),
        ResponseBody(b"body"),
        EndOfResponse(),
    ]


@given(st.binary(), st.integers(0, 40))
def test_a_response_survives_the_round_trip_cut_anywhere(body: bytes, at: int) -> None:
    data = said(application(), Response("200 OK", [("X", "1")]), ResponseBody(body), EndOfResponse())
    head, *rest, last = heard_to_the_end(asked(), data[:at], data[at:])
    assert (head, last) == (Response("200 OK", [("X", "1")]), EndOfResponse())
    assert b"".join(event.data for event in rest if isinstance(event, ResponseBody)) == body


def test_both_sides_understand_each_other() -> None:
    pair = Pair(Connection(APPLICATION, params=FOUR), Connection(WEB_SERVER))
    request = [Request(FOUR), RequestBody(b"body"), EndOfRequest()]
    assert pair.ask(*request) == request
    response = [Response("200 OK", []), ResponseBody(b"page")]
    assert pair.answer(*response, EndOfResponse()) == response


def test_a_local_redirect_is_recognised() -> None:
    (response,) = heard(asked(), b"Location: /other\n\n")
    assert response == Response("302 Found", [("Location", "/other")], local_redirect="/other")


@pytest.mark.parametrize("data", [b"", b"Content-Type: text/html\n", b"Content-Type"])
def test_a_program_that_ends_within_its_head_is_refused(data: bytes) -> None:
    connection = asked()
    connection.receive_data(data)
    with pytest.raises(RemoteProtocolError, match="a response is header lines, a blank line, then the body"):
        connection.receive_eof()


@pytest.mark.parametrize(
    "data", [b"\n", b"no header\n\n", b"Status: 2\n\n", b"X: a\rb\n\n", b"X: \0\n\n", b"X Y: 1\n\n"]
)
def test_a_head_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        asked().receive_data(data)


def test_a_head_that_is_too_long_is_refused() -> None:
    connection = Connection(WEB_SERVER, limits=Limits(head_size=10))
    with pytest.raises(LimitExceeded, match="limit head_size=10 exceeded"):
        connection.receive_data(b"X: 12345678")


def test_the_default_limit_of_a_head_is_that_of_limits() -> None:
    connection = asked()
    connection.receive_data(b"X: ".ljust(Limits.head_size, b"x"))
    with pytest.raises(LimitExceeded, match="limit head_size=65536 exceeded"):
        connection.receive_data(b"x")


# -- state


@pytest.mark.parametrize(
    "make",
    [lambda: Connection(APPLICATION), lambda: Connection(WEB_SERVER, params={})],
    ids=["APPLICATION", "WEB_SERVER"],
)
def test_only_the_application_begins_with_params(make: Callable[[], Connection]) -> None:
    with pytest.raises(
        LocalProtocolError, match="params are what the APPLICATION side of CGI begins with, and only it"
    ):
        make()


def test_a_connection_is_never_reused() -> None:
    assert not Connection(WEB_SERVER).reusable


def test_a_connection_is_idle_only_at_its_end() -> None:
    connection = application({"CONTENT_LENGTH": "1"})
    assert not connection.idle
    said(connection, EndOfResponse())
    assert not connection.idle
    heard(connection, b"x")
    assert connection.idle


STATES: list[tuple[Callable[[], Connection], str]] = [
    (lambda: application(), "<cgi.Connection APPLICATION in=ended out='nothing sent'>"),
    (lambda: application(FOUR, b"b"), "<cgi.Connection APPLICATION in=open out='nothing sent'>"),
    (lambda: asked(), "<cgi.Connection WEB_SERVER in=open out='head sent'>"),
    (lambda: asked(EndOfRequest()), "<cgi.Connection WEB_SERVER in=open out='ended'>"),
]


@pytest.mark.parametrize(("make", "text"), STATES)
def test_the_repr_shows_the_state(make: Callable[[], Connection], text: str) -> None:
    assert repr(make()) == text
