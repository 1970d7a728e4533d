"""SCGI without a socket: bytes in, events out, and back; a connected pair of both sides."""

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
    FilterData,
    Ping,
    Repair,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.limits import Limits
from gateway.protocols.scgi import Connection, decode_headers, encode_headers
from tests.conversation import heard, heard_to_the_end, joined, refusal, said
from tests.pair import Pair

TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=255))
NAME = TEXT.filter(lambda name: name not in ("", "CONTENT_LENGTH", "SCGI"))
HTML = [("Content-Type", "text/html")]
HEAD = b"Status: 200 OK\r\nContent-Type: text/html\r\n\r\n"
BAD_REQUEST = b"Status: 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n400 Bad Request\n"


def netstring(block: bytes) -> bytes:
    return str(len(block)).encode() + b":" + block + b","


def request(length: bytes = b"0", more: bytes = b"") -> bytes:
    """The head of a request, written down independently of the code under test."""
    return netstring(b"CONTENT_LENGTH\0" + length + b"\0SCGI\x001\0" + more)


GET = request()
GET_PARAMS = {"CONTENT_LENGTH": "0", "SCGI": "1"}
POST = request(b"4")
POST_PARAMS = {"CONTENT_LENGTH": "4", "SCGI": "1"}


def application(*data: bytes) -> Connection:
    """The APPLICATION side after some bytes from a web server."""
    connection = Connection(APPLICATION)
    heard(connection, *data)
    return connection


def asked(method: str = "GET") -> Connection:
    """The WEB_SERVER side after its request."""
    connection = Connection(WEB_SERVER)
    said(connection, Request({"REQUEST_METHOD": method}), EndOfRequest())
    return connection


# -- headers


@given(st.lists(st.tuples(NAME, TEXT)))
def test_headers_survive_the_round_trip(pairs: list[tuple[str, str]]) -> None:
    first = [("CONTENT_LENGTH", "0"), ("SCGI", "1")]
    block = encode_headers(pairs).partition(b":")[2][:-1]
    params, repeated = decode_headers(block)
    assert params == dict(first + pairs)
    assert list(repeated or params.items()) == first + pairs


def test_content_length_and_scgi_are_sent_first_and_once() -> None:
    pairs = [("SCGI", "2"), ("A", "B"), ("CONTENT_LENGTH", "4")]
    assert encode_headers(pairs) == b"28:CONTENT_LENGTH\x004\0SCGI\x001\0A\0B\0,"


@pytest.mark.parametrize("length", [[], [("CONTENT_LENGTH", "")]])
def test_a_body_without_a_length_is_announced_as_empty(length: list[tuple[str, str]]) -> None:
    assert encode_headers(length) == GET


def test_bytes_beyond_ascii_are_latin_1() -> None:
    (event, _) = heard(application(), request(b"0", b"A\0\xe2\x82\xac\xff\0"))
    assert event == Request(GET_PARAMS | {"A": "\xe2\x82\xac\xff"})


def test_a_name_that_comes_twice_is_told_with_all_pairs_in_order() -> None:
    (event, _) = heard(application(), request(b"0", b"A\x001\0B\0\0A\x002\0"))
    pairs = [("CONTENT_LENGTH", "0"), ("SCGI", "1"), ("A", "1"), ("B", ""), ("A", "2")]
    assert event == Request(GET_PARAMS | {"A": "2", "B": ""}, repeated=pairs)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("", "x", "SCGI: a name is empty, or a name or a value holds NUL"),
        ("A\0B", "x", "SCGI: a name is empty, or a name or a value holds NUL"),
        ("A", "\0", "SCGI: a name is empty, or a name or a value holds NUL"),
        ("A", "x€", "a param holds '€', which is not latin-1"),
    ],
)
def test_a_param_cannot_be_sent(name: str, value: str, message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        encode_headers([(name, value)])


# -- requests that break the rules


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\n", "'GET / HTTP/1.1\\r\\n' is not the beginning of a netstring: its length, then a colon"),
        (b"\x01", "is not the beginning of a netstring"),
        (b":", "is not the beginning of a netstring"),
        (b"0" + GET, "'024:CONTENT_LENGTH\\x000' is not the beginning of a netstring"),
        (b"00", "is not the beginning of a netstring"),
        (b"+" + GET, "'+24:CONTENT_LENGTH\\x000' is not the beginning of a netstring"),
        (b"-" + GET, "is not the beginning of a netstring"),
        (b" " + GET, "is not the beginning of a netstring"),
        (b"24 :", "is not the beginning of a netstring"),
        ("²4:".encode(), "is not the beginning of a netstring"),
        (GET[:-1] + b";", "a netstring of 24 bytes ends in ';', not in a comma"),
        (GET[:-1] + b"\0,", "a netstring of 24 bytes ends in '\\x00', not in a comma"),
        (b"0:,", "the first header is not CONTENT_LENGTH with a value (§3)"),
        (netstring(b"SCGI\x001\0CONTENT_LENGTH\x000\0"), "the first header is not CONTENT_LENGTH with a value (§3)"),
        (netstring(b"SCGI\x001\0"), "the first header is not CONTENT_LENGTH with a value (§3)"),
        (request(b""), "the first header is not CONTENT_LENGTH with a value (§3)"),
        (request(b"four"), "CONTENT_LENGTH is 'four', not a number of bytes"),
        (request(b"-4"), "CONTENT_LENGTH is '-4', not a number of bytes"),
        (request(b"+4"), "CONTENT_LENGTH is '+4', not a number of bytes"),
        (request(b"4, 4"), "CONTENT_LENGTH is '4, 4', not a number of bytes"),
        (request(b"9" * 5000), f"CONTENT_LENGTH is '{'9' * 40}', not a number of bytes"),
        (request(b"4", b"CONTENT_LENGTH\x005\0"), "there are two different CONTENT_LENGTH"),
        (netstring(b"CONTENT_LENGTH\x000\0"), "there is no header SCGI with the value 1 (§3)"),
        (netstring(b"CONTENT_LENGTH\x000\0SCGI\x002\0"), "there is no header SCGI with the value 1 (§3)"),
        (request(b"0", b"A"), "the headers are not each a name, NUL, a value and NUL (§3)"),
        (request(b"0", b"A\0"), "the headers are not each a name, NUL, a value and NUL (§3)"),
        (request(b"0", b"A\0B"), "the headers are not each a name, NUL, a value and NUL (§3)"),
        (request(b"0", b"\0B\0"), "a header has no name (§3)"),
        (request(b"0", b"\0\0"), "a header has no name (§3)"),
    ],
)
def test_a_request_is_refused_with_a_400(data: bytes, message: str) -> None:
    connection = Connection(APPLICATION)
    error = refusal(connection, data)
    assert str(error).startswith("SCGI: ")
    assert message in str(error)
    assert said(connection) == BAD_REQUEST


@pytest.mark.parametrize(
    ("data", "at"), [(b"x", 0), (GET[:-1] + b";", 27), (request(b"0", b"A"), 3), (request(b"no"), 3)]
)
def test_a_refusal_says_at_which_byte(data: bytes, at: int) -> None:
    assert str(refusal(Connection(APPLICATION), data)).endswith(f" (at byte {at})")


@pytest.mark.parametrize("length", [b"51", b"9" * 18, b"9" * 19, b"9" * 20, b"9" * 5000])
@pytest.mark.parametrize("colon", [b"", b":", b":CONTENT_LENGTH"])
def test_params_longer_than_the_limit_are_refused_by_their_length(length: bytes, colon: bytes) -> None:
    connection = Connection(APPLICATION, limits=Limits(params_size=50))
    error = refusal(connection, length + colon)
    assert isinstance(error, LimitExceeded)
    assert str(error) == "SCGI: limit params_size=50 exceeded (at byte 0)"
    assert said(connection).startswith(b"Status: 431 Request Header Fields Too Large\r\n")


def test_params_as_long_as_the_limit_are_taken() -> None:
    assert heard(Connection(APPLICATION, limits=Limits(params_size=24)), GET) == [Request(GET_PARAMS), EndOfRequest()]


@pytest.mark.parametrize("more", [b"A\0\0", b"SCGI\x001\0"])
def test_more_params_than_the_limit_are_refused(more: bytes) -> None:
    error = refusal(Connection(APPLICATION, limits=Limits(params_count=2)), request(b"0", more))
    assert str(error) == "SCGI: limit params_count=2 exceeded (at byte 3)"


@pytest.mark.parametrize("at", range(1, len(GET)))
def test_a_head_cut_short_is_refused(at: int) -> None:
    connection = application(GET[:at])
    with pytest.raises(RemoteProtocolError, match="closed the connection before the head of its request was"):
        connection.receive_eof()
    assert said(connection) == BAD_REQUEST


def test_nothing_is_heard_after_a_fault() -> None:
    connection = application()
    refusal(connection, b"x")
    assert repr(connection) == "<scgi.Connection APPLICATION broken>"
    assert heard_to_the_end(connection, GET) == []


def test_a_connection_that_says_nothing_is_no_request() -> None:
    assert heard_to_the_end(Connection(APPLICATION)) == []


# -- bodies


def test_a_body_ends_where_content_length_says() -> None:
    assert heard(application(), POST + b"bo", b"dy") == [
        Request(POST_PARAMS),
        RequestBody(b"bo"),
        RequestBody(b"dy"),
        EndOfRequest(),
    ]


def test_a_head_alone_says_nothing_of_its_body() -> None:
    assert heard(application(), POST) == [Request(POST_PARAMS)]


def test_content_length_may_come_twice_if_it_is_the_same() -> None:
    events = heard(application(), request(b"2", b"CONTENT_LENGTH\x002\0") + b"ab")
    assert events[1:] == [RequestBody(b"ab"), EndOfRequest()]


@pytest.mark.parametrize("data", [[POST + b"body more"], [POST + b"body", b" more"], [POST + b"bo", b"dy more"]])
def test_what_follows_the_body_breaks_the_request(data: list[bytes]) -> None:
    connection = application()
    error = refusal(connection, *data)
    assert str(error) == "SCGI: 5 bytes follow a body that CONTENT_LENGTH says is over (at byte 32)"
    assert connection.events()[-1] == AbortRequest()
    assert said(connection) == BAD_REQUEST


def test_what_follows_the_body_is_ignored_once_the_response_has_begun() -> None:
    connection = application(POST, b"body")
    said(connection, Response("200 OK", HTML))
    assert heard(connection, b"more") == []


def test_who_does_not_know_yet_that_the_request_broke_is_not_heard() -> None:
    connection = application(POST)
    refusal(connection, b"body more")
    said(connection)
    assert said(connection, BodyWanted(4), Response("200 OK", HTML), ResponseBody(b"page"), EndOfResponse()) == b""


@pytest.mark.parametrize("length", [b"0", b"3"])
def test_nginx_that_counts_only_the_beginning_of_a_body_is_mended(length: bytes) -> None:
    events = heard(application(), request(length, b"HTTP_CONTENT_LENGTH\x004\0") + b"bod", b"y")
    assert joined(events) == [
        Request(POST_PARAMS | {"HTTP_CONTENT_LENGTH": "4"}, repeated=[]),
        Repair("content-length"),
        RequestBody(b"body"),
        EndOfRequest(),
    ]


def test_a_mended_length_counts_among_repeated_params_too() -> None:
    (event, _) = heard(application(), request(b"0", b"A\0\0A\0\0HTTP_CONTENT_LENGTH\x004\0"))
    assert isinstance(event, Request)
    assert event.repeated[0] == ("CONTENT_LENGTH", "4")


@pytest.mark.parametrize(
    "more",
    [
        b"HTTP_CONTENT_LENGTH\0\0",
        b"HTTP_CONTENT_LENGTH\x003\0",
        b"HTTP_CONTENT_LENGTH\x004\0",
        b"HTTP_CONTENT_LENGTH\0five\0",
        b"SERVER_SOFTWARE\0lighttpd\0HTTP_CONTENT_LENGTH\x005\0",
    ],
)
def test_content_length_counts_otherwise(more: bytes) -> None:
    assert heard(application(), request(b"4", more) + b"body")[1:] == [RequestBody(b"body"), EndOfRequest()]


def test_a_body_shorter_than_content_length_is_an_abort() -> None:
    assert heard_to_the_end(application(POST), b"bod") == [RequestBody(b"bod"), AbortRequest()]


def test_the_end_of_the_connection_after_the_request_is_no_news() -> None:
    assert heard_to_the_end(application(GET)) == []


def test_the_end_of_the_connection_is_told_once() -> None:
    connection = application(POST)
    assert heard_to_the_end(connection) == [AbortRequest()]
    assert heard_to_the_end(connection) == []


@given(st.dictionaries(NAME, TEXT), st.lists(st.binary(min_size=1, max_size=100_000), max_size=3))
def test_a_request_survives_the_round_trip(params: dict[str, str], body: list[bytes]) -> None:
    params = {"CONTENT_LENGTH": str(sum(map(len, body))), "SCGI": "1"} | params
    pair = Pair(Connection(APPLICATION), Connection(WEB_SERVER))
    events = pair.ask(Request(params), *(RequestBody(data) for data in body), EndOfRequest())
    whole = b"".join(body)
    assert joined(events) == [Request(params), *[RequestBody(whole)] * bool(whole), EndOfRequest()]


# -- the application's response


def test_a_response_is_a_head_and_a_body() -> None:
    assert said(application(GET), Response("200 OK", HTML), ResponseBody(b"page"), EndOfResponse()) == HEAD + b"page"


def test_a_response_may_come_before_the_body_is_read() -> None:
    connection = application(POST)
    assert said(connection, Response("200 OK", HTML), EndOfResponse()) == HEAD
    assert not connection.idle


def test_a_response_may_end_before_its_head() -> None:
    assert said(application(GET), EndOfResponse(app_status=1)) == b""


def test_wanting_more_of_the_body_says_nothing() -> None:
    assert said(application(POST), BodyWanted(4)) == b""


def test_what_was_said_is_said_once() -> None:
    connection = application(GET)
    assert said(connection, Response("200 OK", HTML))
    assert connection.data_to_send() == []


OK = Response("200 OK", [])


@pytest.mark.parametrize(
    ("data", "events", "message"),
    [
        (b"", [OK], "Response does not fit <scgi.Connection APPLICATION request=head response=head>"),
        (b"", [EndOfResponse()], "EndOfResponse does not fit"),
        (GET, [ResponseBody(b"x")], "ResponseBody does not fit"),
        (GET, [OK, OK], "Response does not fit"),
        (GET, [OK, EndOfResponse(), ResponseBody(b"x")], "ResponseBody does not fit"),
        (GET, [EndOfResponse(), EndOfResponse()], "EndOfResponse does not fit"),
        (GET, [ErrorOutput(b"x")], "ErrorOutput does not fit"),
        (GET, [Request({})], "Request does not fit"),
        (GET, [Response("200 OK\n", [])], "CR, LF or NUL in the response head"),
    ],
)
def test_the_application_cannot_send(data: bytes, events: list[Event], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        said(application(data), *events)


# -- the web server


FOUR = Request({"CONTENT_LENGTH": "4"})


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([RequestBody(b"x")], "RequestBody does not fit <scgi.Connection WEB_SERVER request=head response=head>"),
        ([EndOfRequest()], "EndOfRequest does not fit"),
        ([AbortRequest()], "AbortRequest does not fit"),
        ([FOUR, FOUR], "Request does not fit"),
        ([FOUR, RequestBody(b"body!")], "the request's body is longer than its CONTENT_LENGTH"),
        ([Request({}), RequestBody(b"x")], "the request's body is longer than its CONTENT_LENGTH"),
        ([FOUR, RequestBody(b"bod"), EndOfRequest()], "the request's body ends 1 bytes before its CONTENT_LENGTH"),
        ([Request({}), EndOfRequest(), EndOfRequest()], "EndOfRequest does not fit"),
        ([Request({"CONTENT_LENGTH": "four"})], "CONTENT_LENGTH is 'four', not a number of bytes"),
        ([Ping()], "Ping does not fit"),
        ([FOUR, FilterData(b"x")], "FilterData does not fit"),
        ([FOUR, OK], "Response does not fit"),
        ([FOUR, AbortRequest(), RequestBody(b"x")], "RequestBody does not fit"),
    ],
)
def test_the_web_server_cannot_send(events: list[Event], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        said(Connection(WEB_SERVER), *events)


def test_an_abort_is_said_by_closing_the_connection() -> None:
    connection = asked()
    assert said(connection, AbortRequest()) == b""
    assert heard_to_the_end(connection, HEAD) == []


def test_a_response_without_a_length_ends_with_the_connection() -> None:
    connection = asked()
    assert heard(connection, HEAD, b"pa", b"ge") == [Response("200 OK", HTML), ResponseBody(b"pa"), ResponseBody(b"ge")]
    assert heard_to_the_end(connection) == [EndOfResponse()]


def sized(length: str, body: bytes = b"") -> bytes:
    return b"Status: 200 OK\r\nContent-Length: " + length.encode() + b"\r\n\r\n" + body


def test_a_response_with_a_length_ends_there() -> None:
    connection = asked()
    assert heard(connection, sized("4", b"pa"), b"ge") == [
        Response("200 OK", [("Content-Length", "4")]),
        ResponseBody(b"pa"),
        ResponseBody(b"ge"),
        EndOfResponse(),
    ]
    assert heard_to_the_end(connection) == []


@pytest.mark.parametrize("data", [[sized("4", b"page and more")], [sized("4", b"page"), b" and more"]])
def test_what_follows_the_length_of_a_response_is_no_part_of_it(data: list[bytes]) -> None:
    assert heard_to_the_end(asked(), *data)[1:] == [ResponseBody(b"page"), EndOfResponse()]


def test_a_response_shorter_than_its_length_is_refused() -> None:
    connection = asked()
    heard(connection, sized("4", b"pag"))
    with pytest.raises(RemoteProtocolError, match="the response ended 1 bytes before its Content-Length") as caught:
        connection.receive_eof()
    assert caught.value.status_hint == "502 Bad Gateway"


@pytest.mark.parametrize("length", ["", "four", "-1", "9" * 5000])
def test_a_length_that_is_none_is_ignored(length: str) -> None:
    assert heard_to_the_end(asked(), sized(length, b"page"))[1:] == [ResponseBody(b"page"), EndOfResponse()]


def test_a_response_to_head_has_no_body_whatever_its_length() -> None:
    events = heard(asked("HEAD"), sized("4", b"page"))
    assert events == [Response("200 OK", [("Content-Length", "4")]), EndOfResponse()]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_content_has_no_body(status: str) -> None:
    assert heard(asked(), f"Status: {status}\n\n".encode()) == [Response(status, []), EndOfResponse()]


def test_a_response_may_be_over_before_the_request_is() -> None:
    connection = Connection(WEB_SERVER)
    said(connection, FOUR)
    assert heard(connection, sized("0"))[1:] == [EndOfResponse()]
    assert said(connection, RequestBody(b"body"), EndOfRequest()) == b"body"


@given(st.binary(), st.integers(0, 60))
def test_a_response_survives_the_round_trip_cut_anywhere(body: bytes, at: int) -> None:
    data = said(application(GET), Response("200 OK", HTML), ResponseBody(body), EndOfResponse())
    head, *rest, last = heard_to_the_end(asked(), data[:at], data[at:])
    assert (head, last) == (Response("200 OK", HTML), EndOfResponse())
    assert b"".join(event.data for event in rest if isinstance(event, ResponseBody)) == body


@pytest.mark.parametrize("at", range(len(sized("4", b"page"))))
def test_a_response_with_a_length_that_is_cut_anywhere_is_refused(at: int) -> None:
    connection = asked()
    heard(connection, sized("4", b"page")[:at])
    with pytest.raises(RemoteProtocolError, match="SCGI: "):
        connection.receive_eof()


@pytest.mark.parametrize("data", [b"\n", b"no header\n\n", b"Status: 2\n\n", b"X: \0\n\n"])
def test_a_response_that_begins_with_no_head_is_refused(data: bytes) -> None:
    assert refusal(asked(), data).status_hint == "502 Bad Gateway"


def test_what_came_before_a_fault_is_not_lost() -> None:
    connection = asked()
    connection.receive_data(sized("4", b"pag"))
    with pytest.raises(RemoteProtocolError):
        connection.receive_eof()
    assert connection.events()[1:] == [ResponseBody(b"pag")]


def test_a_response_head_that_is_too_long_is_refused() -> None:
    connection = Connection(WEB_SERVER, limits=Limits(head_size=10))
    said(connection, Request({}))
    assert isinstance(refusal(connection, b"X: 12345678"), LimitExceeded)


def test_an_answer_before_the_request_is_refused() -> None:
    error = refusal(Connection(WEB_SERVER), b"Status")
    assert str(error) == "SCGI: the application answered before it was asked (at byte 0)"


def test_an_upstream_that_hangs_up_before_the_request_says_nothing() -> None:
    assert heard_to_the_end(Connection(WEB_SERVER)) == []


# -- state


def test_a_connection_is_never_reused() -> None:
    assert not Connection(WEB_SERVER).reusable


def test_a_connection_is_idle_before_its_request_and_after_its_response() -> None:
    connection = Connection(APPLICATION)
    idle = [connection.idle]
    for data in (POST[:5], POST[5:], b"body"):
        heard(connection, data)
        idle.append(connection.idle)
    said(connection, OK)
    idle.append(connection.idle)
    said(connection, EndOfResponse())
    assert [*idle, connection.idle] == [True, False, False, False, False, True]


STATES: list[tuple[Callable[[], Connection], str]] = [
    (lambda: application(), "<scgi.Connection APPLICATION request=head response=head>"),
    (lambda: application(POST, b"b"), "<scgi.Connection APPLICATION request=body response=head>"),
    (lambda: application(GET), "<scgi.Connection APPLICATION request=over response=head>"),
    (lambda: asked(), "<scgi.Connection WEB_SERVER request=over response=head>"),
]


@pytest.mark.parametrize(("make", "text"), STATES)
def test_the_repr_shows_the_state(make: Callable[[], Connection], text: str) -> None:
    assert repr(make()) == text
