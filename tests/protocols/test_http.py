"""HTTP without a socket: bytes in, events out, and back; a connected pair of both sides."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.environ import base_environ, build_environ, needs_advice
from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    FILTER,
    WEB_SERVER,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Event,
    FilterData,
    Ping,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.head import TOKEN
from gateway.limits import Limits
from gateway.protocols.http import Connection, format_date
from tests.conversation import bytewise, heard, joined, refusal, said
from tests.corpus_files import RECORDINGS, Recording
from tests.pair import Pair

HTML = [("Content-Type", "text/html")]
FIVE = [("Content-Length", "5")]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECTING = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
ASKED = Request({"REQUEST_METHOD": "GET", "REQUEST_URI": "/", "HTTP_HOST": "a"}, 1)
UPLOAD = Request({"REQUEST_METHOD": "POST", "REQUEST_URI": "/", "HTTP_HOST": "a"}, 1)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


def application(*data: bytes, **options: object) -> Connection:
    """The APPLICATION side, without a clock, after some bytes from a client."""
    connection = Connection(APPLICATION, **{"clock": None, **options})  # type: ignore[arg-type]
    heard(connection, *data)
    return connection


def web_server(*events: Event, limits: Limits | None = None) -> Connection:
    """The WEB_SERVER side after some events were sent."""
    connection = Connection(WEB_SERVER, limits=limits)
    said(connection, *events)
    return connection


def pair(**options: object) -> Pair:
    return Pair(application(**options), Connection(WEB_SERVER))


def params_of(request: bytes, **options: object) -> dict[str, str]:
    """The params of a request."""
    event = heard(application(**options), request)[0]
    assert isinstance(event, Request)
    return event.params


# -- recordings: what an HTTP client sent to real web servers


def _name(recording: Recording) -> str:
    return f"{recording.method} {recording.uri} {recording.variant}"


REQUESTS = {recording.request: recording for recording in RECORDINGS}.values()
ONE_OF_EACH = {recording.variant: recording for recording in REQUESTS}.values()
HEADERS = [
    ("HTTP_HOST", "example.test"), ("HTTP_USER_AGENT", "gateway-probe/1"), ("HTTP_ACCEPT", "*/*"),
    ("HTTP_AUTHORIZATION", "Basic dTpw"), ("HTTP_COOKIE", "a=1; b=2"), ("HTTP_X_DUP", "one"), ("HTTP_X_DUP", "two"),
    ("HTTP_X_LATIN1", "caf\xe9"), ("HTTP_X_EMPTY", ""), ("HTTP_PROXY", "http://evil.invalid/"),
    ("HTTP_CONNECTION", "close"),
]  # fmt: skip
"""What the headers of every recorded request are, X_Under_Score left out."""


@pytest.mark.parametrize("recording", REQUESTS, ids=_name)
def test_a_recorded_request_is_understood(recording: Recording) -> None:
    connection = application()
    request, *rest = joined(heard(connection, recording.request))
    assert isinstance(request, Request)
    pairs = list(request.repeated or request.params.items())
    assert dict(pairs) == request.params
    headers = [pair for pair in pairs if pair[0].startswith("HTTP_")]
    assert headers[: len(HEADERS)] == (HEADERS[:1] if recording.variant == "get-bare" else HEADERS)
    assert rest == [*[RequestBody(recording.stdin)] * bool(recording.stdin), EndOfRequest()]
    assert request.params["PATH_INFO"] == recording.mount + recording.path_info.replace("//x/../y/./../z", "/z")


@pytest.mark.parametrize("recording", ONE_OF_EACH, ids=_name)
def test_the_environ_of_a_recorded_request_needs_no_advice(recording: Recording) -> None:
    request = heard(application(), recording.request)[0]
    assert isinstance(request, Request)
    base = base_environ(multithread=False, multiprocess=False, run_once=False)
    environ = build_environ(request.params, base, repeated=request.repeated)
    assert not any(map(needs_advice, environ["gateway.repairs"]))
    assert environ.get("HTTP_X_DUP", "one, two") == "one, two"


@pytest.mark.parametrize("recording", ONE_OF_EACH, ids=_name)
def test_a_recorded_request_means_the_same_byte_by_byte(recording: Recording) -> None:
    assert joined(heard(application(), *bytewise(recording.request))) == joined(heard(application(), recording.request))


@pytest.mark.parametrize("recording", ONE_OF_EACH, ids=_name)
def test_a_recorded_request_means_the_same_cut_in_two_anywhere(recording: Recording) -> None:
    data = recording.request
    whole = joined(heard(application(), data))
    for at in range(1, len(data)):
        assert joined(heard(application(), data[:at], data[at:])) == whole, f"cut at byte {at}"


@pytest.mark.parametrize("recording", ONE_OF_EACH, ids=_name)
def test_a_recorded_request_that_ends_anywhere_too_early_is_noticed(recording: Recording) -> None:
    for at in range(1, len(recording.request)):
        connection = application()
        events = heard(connection, recording.request[:at])
        try:
            connection.receive_eof()
        except RemoteProtocolError:
            assert events == [], f"cut at byte {at}"
        else:
            assert connection.events() == [AbortRequest()], f"cut at byte {at}"


# -- what a request means


def test_a_request_has_the_params_of_cgi() -> None:
    request = b"POST /a%20b/c%2Fd?x=1&y=%E2%82%AC HTTP/1.1\r\nHost: example.test:8080\r\nX-Y: z\r\n"
    assert params_of(request + b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\n") == {
        "REQUEST_METHOD": "POST", "REQUEST_URI": "/a%20b/c%2Fd?x=1&y=%E2%82%AC", "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/c/d", "QUERY_STRING": "x=1&y=%E2%82%AC", "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "example.test", "SERVER_PORT": "8080", "HTTP_HOST": "example.test:8080", "HTTP_X_Y": "z",
        "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("a", "a", "80"), ("a:81", "a", "81"), ("[::1]", "[::1]", "80"), ("[::1]:81", "[::1]", "81"),
        ("a:", "a:", "80"), ("a:b", "a:b", "80"), ("", "localhost", "80"),
    ],
)  # fmt: skip
def test_the_host_header_names_the_server(host: str, name: str, port: str) -> None:
    params = params_of(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert (params["SERVER_NAME"], params["SERVER_PORT"]) == (name, port)


@pytest.mark.parametrize(
    ("told", "port"), [({}, "80"), ({"HTTPS": "on"}, "443"), ({"HTTPS": "on", "SERVER_PORT": "8443"}, "8443")]
)
def test_a_host_without_a_port_has_the_one_that_was_told_or_the_scheme_s(told: dict[str, str], port: str) -> None:
    assert params_of(GET, params=told)["SERVER_PORT"] == port


def test_a_request_without_a_host_is_for_the_server_that_was_told() -> None:
    assert params_of(b"GET / HTTP/1.0\r\n\r\n", params={"SERVER_NAME": "b"})["SERVER_NAME"] == "b"


def test_what_http_does_not_say_is_told_with_every_request() -> None:
    told = {"REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "4567"}
    assert told.items() <= params_of(GET, params=told).items()


def test_what_is_told_is_among_the_repeated_params() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n"
    event = heard(application(params={"REMOTE_ADDR": "192.0.2.7"}), request)[0]
    assert isinstance(event, Request)
    assert [*event.repeated][:1] == [("REMOTE_ADDR", "192.0.2.7")]
    assert [*event.repeated][-3:] == [("HTTP_HOST", "a"), ("HTTP_X", "1"), ("HTTP_X", "2")]


def test_a_header_with_an_underscore_shadows_none_with_a_hyphen() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Real: yes\r\nX_Real: no\r\nContent_Length: 7\r\n\r\n"
    assert {name: value for name, value in params_of(request).items() if value in ("yes", "no", "7")} == {
        "HTTP_X_REAL": "yes"
    }


def test_a_url_as_target_overrides_the_host_header() -> None:
    params = params_of(b"GET http://b:81/x%20y?q HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (params["PATH_INFO"], params["QUERY_STRING"]) == ("/x y", "q")
    assert (params["HTTP_HOST"], params["SERVER_NAME"], params["SERVER_PORT"]) == ("b:81", "b", "81")


def test_the_options_of_the_server_are_asked_of_its_root() -> None:
    params = params_of(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (params["REQUEST_URI"], params["PATH_INFO"]) == ("*", "/")


@given(st.dictionaries(st.text(sorted(TOKEN - {"_"}), min_size=1), st.text(st.characters(max_codepoint=255))))
def test_the_headers_of_a_request_survive_the_round_trip(headers: dict[str, str]) -> None:
    params = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/", "HTTP_HOST": "a"}
    for name, value in headers.items():
        params[f"HTTP_X{name.upper().replace('-', '_')}"] = "".join(value.split()).replace("\0", "")
    request, _ = pair().ask(Request(params), EndOfRequest())
    assert isinstance(request, Request)
    assert params.items() <= request.params.items()


# -- bodies of requests


@given(st.lists(st.binary(max_size=3000)))
def test_the_body_of_a_request_survives_the_round_trip(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    for length in ({}, {"CONTENT_LENGTH": str(len(body))}):
        events = pair().ask(Request(UPLOAD.params | length), *map(RequestBody, pieces), EndOfRequest())
        assert joined(events)[1:] == [*[RequestBody(body)] * bool(body), EndOfRequest()]


def test_a_body_is_told_as_it_comes() -> None:
    connection = application(POST)
    assert heard(connection, b"ab", b"cde") == [RequestBody(b"ab"), RequestBody(b"cde"), EndOfRequest()]


def test_chunks_their_extensions_and_their_trailers_leave_nothing_but_the_body() -> None:
    chunks = b"2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nX-Trailer: z\r\n\r\n"
    assert heard(application(CHUNKED), chunks) == [RequestBody(b"ab"), RequestBody(b"cde"), EndOfRequest()]


def test_a_body_without_a_length_is_sent_in_chunks() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert said(Connection(WEB_SERVER), UPLOAD, RequestBody(b"hello", 1)) == head + b"5\r\nhello\r\n"


def test_a_head_waits_until_it_is_known_whether_a_body_follows() -> None:
    connection = Connection(WEB_SERVER)
    assert said(connection, UPLOAD, RequestBody(b"", 1)) == b""
    assert said(connection, EndOfRequest(1)) == b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def test_a_get_without_a_body_says_nothing_of_one() -> None:
    assert said(Connection(WEB_SERVER), ASKED, EndOfRequest(1)) == GET


def test_a_head_does_not_wait_for_a_body_that_came_in_chunks() -> None:
    params = UPLOAD.params | {"HTTP_TRANSFER_ENCODING": "chunked"}
    assert said(Connection(WEB_SERVER), Request(params, 1)) == CHUNKED


def test_a_length_is_sent_as_it_is_known() -> None:
    params = UPLOAD.params | {"CONTENT_LENGTH": "5", "HTTP_TRANSFER_ENCODING": "chunked", "HTTP_CONTENT_LENGTH": "5"}
    assert said(Connection(WEB_SERVER), Request(params, 1)) == POST


def test_the_client_is_told_to_go_on_when_the_body_is_wanted() -> None:
    connection = application(EXPECTING)
    assert connection.data_to_send() == []
    assert said(connection, BodyWanted(9)) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert said(connection, BodyWanted(9)) == b""


@pytest.mark.parametrize(
    "request_",
    [POST, EXPECTING + b"h", EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0")],
    ids=["not asked", "body begun", "HTTP/1.0"],
)
def test_a_client_that_does_not_wait_is_not_told_to_go_on(request_: bytes) -> None:
    assert said(application(request_), BodyWanted(9)) == b""


def test_a_client_that_waits_may_get_its_answer_at_once_and_then_the_connection_ends() -> None:
    connection = application(EXPECTING)
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    assert said(connection, Response("403 Forbidden", [("Content-Length", "0")]), EndOfResponse()) == head
    assert not connection.reusable


def test_both_sides_know_when_the_body_is_wanted() -> None:
    both = pair()
    both.ask(Request(UPLOAD.params | {"CONTENT_LENGTH": "5", "HTTP_EXPECT": "100-continue"}, 7))
    assert both.answer(BodyWanted(1)) == [BodyWanted(sys.maxsize, 7)]


# -- requests, as the web server sends them


def test_params_become_headers_but_for_those_of_the_connection_to_the_visitor() -> None:
    params = {
        "REQUEST_METHOD": "GET", "REQUEST_URI": "/x?y", "REMOTE_ADDR": "b", "SERVER_NAME": "c", "HTTP_HOST": "a",
        "HTTP_X_FORWARDED_FOR": "d", "HTTP_CONNECTION": "keep-alive, X-Private", "HTTP_X_PRIVATE": "e",
        "HTTP_KEEP_ALIVE": "f", "HTTP_TE": "g", "HTTP_UPGRADE": "h", "HTTP_PROXY_CONNECTION": "i", "CONTENT_TYPE": "",
        "HTTP_CONTENT_TYPE": "j",
    }  # fmt: skip
    wanted = b"GET /x?y HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: d\r\n\r\n"
    assert said(Connection(WEB_SERVER), Request(params, 1), EndOfRequest(1)) == wanted


def test_the_type_of_a_body_is_sent() -> None:
    request = Request(UPLOAD.params | {"CONTENT_TYPE": "text/plain"}, 1)
    assert b"\r\nContent-Type: text/plain\r\n" in said(Connection(WEB_SERVER), request, EndOfRequest(1))


@pytest.mark.parametrize(
    ("params", "host"),
    [
        ({"SERVER_NAME": "b", "SERVER_PORT": "80"}, b"b"), ({"SERVER_NAME": "b", "SERVER_PORT": "443"}, b"b"),
        ({"SERVER_NAME": "b", "SERVER_PORT": "81"}, b"b:81"), ({"SERVER_NAME": "b"}, b"b"), ({}, b""),
    ],
)  # fmt: skip
def test_a_request_without_a_host_header_is_for_the_server_s_name(params: dict[str, str], host: bytes) -> None:
    assert b"\r\nHost: " + host + b"\r\n" in said(Connection(WEB_SERVER), Request(params, 1), EndOfRequest(1))


@pytest.mark.parametrize(
    ("params", "target"),
    [
        ({"SCRIPT_NAME": "/a b", "PATH_INFO": "/\xe9"}, b"/a%20b/%E9"),
        ({"PATH_INFO": "/a", "QUERY_STRING": "x=1"}, b"/a?x=1"),
        ({}, b"/"),
    ],
)  # fmt: skip
def test_a_target_is_made_of_the_path_where_there_is_no_uri(params: dict[str, str], target: bytes) -> None:
    assert said(Connection(WEB_SERVER), Request(params, 1), EndOfRequest(1)).startswith(b"GET " + target + b" HTTP/1.1")


def test_repeated_params_are_sent_as_they_came() -> None:
    pairs = [("HTTP_HOST", "a"), ("HTTP_X", "1"), ("HTTP_X", "2")]
    request = Request(dict(pairs), 1, repeated=pairs)
    assert said(Connection(WEB_SERVER), request, EndOfRequest(1)).endswith(b"\r\nX: 1\r\nX: 2\r\n\r\n")


@pytest.mark.parametrize(
    "params",
    [
        {"REQUEST_METHOD": "G T"}, {"REQUEST_URI": "/a b"}, {"REQUEST_URI": "/\xe9"}, {"REQUEST_URI": "/\u20ac"},
        {"HTTP_X": "a\r\nY: b"}, {"HTTP_X": "\u20ac"}, {"HTTP_X Y": ""}, {"CONTENT_LENGTH": "+5"}, {"HTTP_X": "a\0"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_request_that_http_cannot_say_is_refused(params: dict[str, str]) -> None:
    connection = Connection(WEB_SERVER)
    with pytest.raises(LocalProtocolError, match="this request cannot be sent: "):
        connection.send(Request(ASKED.params | params, 1))
    assert connection.data_to_send() == []
    assert connection.idle


def test_a_body_longer_than_its_length_cannot_be_sent() -> None:
    connection = web_server(Request(UPLOAD.params | {"CONTENT_LENGTH": "2"}, 1))
    with pytest.raises(LocalProtocolError, match="HTTP: Too much data for declared Content-Length"):
        connection.send(RequestBody(b"hello", 1))


# -- responses


def test_a_response_of_known_length_is_sent_as_it_is() -> None:
    data = said(application(GET), Response("200 OK", [*HTML, *FIVE]), ResponseBody(b"hello"), EndOfResponse())
    assert data == b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello"


def test_a_response_of_unknown_length_is_sent_in_chunks() -> None:
    connection = application(GET)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert said(connection, Response("200 OK", HTML)) == head
    assert said(connection, ResponseBody(b"hello"), ResponseBody(b"")) == b"5\r\nhello\r\n"
    assert said(connection, EndOfResponse()) == b"0\r\n\r\n"


def test_a_response_of_unknown_length_ends_with_the_connection_in_http_1_0() -> None:
    connection = application(b"GET / HTTP/1.0\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
    assert said(connection, Response("200 OK", HTML), ResponseBody(b"hello"), EndOfResponse()) == head + b"hello"
    assert not connection.reusable


@pytest.mark.parametrize("length", [FIVE, []])
def test_a_response_to_head_has_the_head_of_one_to_get(length: list[tuple[str, str]]) -> None:
    to_get = said(application(GET), Response("200 OK", length))
    connection = application(GET.replace(b"GET", b"HEAD"))
    assert said(connection, Response("200 OK", length), EndOfResponse()) == to_get
    assert connection.reusable


@pytest.mark.parametrize(
    ("status", "headers", "data"),
    [
        ("204 No Content", [("Content-Length", "0")], b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("304 Not Modified", FIVE, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    ],
)
def test_a_response_without_content_ends_with_its_head(
    status: str, headers: list[tuple[str, str]], data: bytes
) -> None:
    connection = application(GET)
    assert said(connection, Response(status, headers), EndOfResponse()) == data
    assert connection.reusable


def test_a_response_is_dated() -> None:
    connection = Connection(APPLICATION, clock=lambda: 784111777.9)
    heard(connection, GET)
    assert b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in said(connection, Response("200 OK", HTML))


def test_a_response_that_the_application_dated_is_not_dated_again() -> None:
    connection = Connection(APPLICATION)
    heard(connection, GET)
    assert said(connection, Response("200 OK", [("date", "x")])).lower().count(b"\r\ndate: ") == 1


@given(st.integers(0, 2**33))
def test_dates_are_those_of_the_standard_library(second: int) -> None:
    from email.utils import formatdate

    assert format_date(second) == formatdate(second, usegmt=True)


@given(st.lists(st.binary(max_size=3000)))
def test_the_body_of_a_response_survives_the_round_trip(pieces: list[bytes]) -> None:
    both, body = pair(), b"".join(pieces)
    for headers in (HTML, [*HTML, ("Content-Length", str(len(body)))]):
        both.ask(ASKED, EndOfRequest(1))
        events = both.answer(Response("200 OK", headers), *map(ResponseBody, pieces), EndOfResponse())
        whole = [ResponseBody(body, 1)] * bool(body)
        assert joined(events) == [Response("200 OK", headers, 1), *whole, EndOfResponse(1)]


def test_spaces_around_a_value_are_not_sent() -> None:
    assert b"\r\nX: y\r\n" in said(application(GET), Response("200 OK", [("X", " y\t")]))


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK\r\nX: y", []), ("200 \u20ac", []), ("OK", []), ("100 Continue", []), ("200 OK", [("X", "a\r\nY: b")]),
        ("200 OK", [("X", "a\0b")]), ("200 OK", [("X Y", "a")]), ("200 OK", [("", "a")]), ("200 OK", [("X", "\u20ac")]),
    ],
)  # fmt: skip
def test_a_response_head_that_http_cannot_say_is_refused_and_another_can_be_sent(
    status: str, headers: list[tuple[str, str]]
) -> None:
    connection = application(GET)
    with pytest.raises(LocalProtocolError, match="this response head cannot be sent: "):
        connection.send(Response(status, headers))
    assert said(connection, Response("500 Internal Server Error", FIVE)).startswith(b"HTTP/1.1 500 Internal")


@pytest.mark.parametrize("headers", [FIVE, []])
def test_a_response_cut_short_is_not_ended(headers: list[tuple[str, str]]) -> None:
    both = pair()
    both.ask(ASKED, EndOfRequest(1))
    both.answer(Response("200 OK", headers), ResponseBody(b"he"), EndOfResponse(app_status=1))
    assert not both.application.reusable
    assert both.application.idle
    with pytest.raises(RemoteProtocolError, match="closed connection without sending complete message body") as caught:
        both.web_server.receive_eof()
    assert caught.value.status_hint == "502 Bad Gateway"


def test_a_request_that_is_not_answered_at_all_ends_the_connection() -> None:
    connection = application(GET)
    assert said(connection, EndOfResponse(app_status=1)) == b""
    assert not connection.reusable


# -- one request after the other


def test_a_kept_connection_carries_one_request_after_the_other() -> None:
    both = pair()
    for number in "123":
        request, end = both.ask(Request(ASKED.params | {"HTTP_N": number}, 1), EndOfRequest(1))
        assert isinstance(request, Request)
        assert (request.params["HTTP_N"], end) == (number, EndOfRequest())
        answer = both.answer(Response(f"20{number} OK", FIVE), ResponseBody(number.encode() * 5), EndOfResponse())
        assert answer[0] == Response(f"20{number} OK", FIVE, 1)
        assert both.application.idle and both.application.reusable
        assert both.web_server.idle and both.web_server.reusable


@pytest.mark.parametrize(
    "request_",
    [GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"],
    ids=["close", "1.0"],
)
def test_a_client_that_does_not_keep_its_connection_is_told_so(request_: bytes) -> None:
    connection = application(request_)
    assert b"\r\nConnection: close\r\n" in said(connection, Response("200 OK", FIVE))
    said(connection, ResponseBody(b"hello"), EndOfResponse())
    assert not connection.reusable


def test_what_follows_the_last_request_is_ignored() -> None:
    connection = application(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"\r\n")
    assert heard(connection, GET) == []
    said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse())
    assert heard(connection, GET) == []
    assert connection.idle


def test_a_pipelined_request_waits_until_the_one_before_is_answered() -> None:
    connection = application()
    assert [type(event) for event in heard(connection, POST + b"hello" + POST, b"world" + GET)] == [
        Request, RequestBody, EndOfRequest
    ]  # fmt: skip
    for body in (b"world", b""):
        said(connection, Response("200 OK", FIVE))
        assert connection.events() == []
        said(connection, ResponseBody(b"hello"), EndOfResponse())
        assert not connection.idle
        request, *rest = connection.events()
        assert isinstance(request, Request)
        assert rest == [*[RequestBody(body)] * bool(body), EndOfRequest()]
    said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse())
    assert connection.idle and connection.reusable


def test_pipelined_requests_are_answered_in_order_however_they_are_cut() -> None:
    requests = b"".join(CHUNKED.replace(b"/", b"/%d" % n, 1) + b"1\r\n%d\r\n0\r\n\r\n" % n for n in range(3))
    for size in (1, 7, len(requests)):
        connection, told = application(), []
        for at in range(0, len(requests), size):
            events = heard(connection, requests[at : at + size])
            while events:
                told += events
                if EndOfRequest() in events:
                    said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse())
                events = connection.events()
        assert [event.params["PATH_INFO"] for event in told if isinstance(event, Request)] == ["/0", "/1", "/2"]
        assert b"".join(event.data for event in told if isinstance(event, RequestBody)) == b"012"


def test_who_pipelines_more_than_is_kept_gets_one_answer_and_must_ask_again() -> None:
    connection = application(GET, limits=Limits(params_size=100))
    heard(connection, *[GET] * 50)
    assert b"\r\nConnection: close\r\n" in said(connection, Response("200 OK", FIVE))
    said(connection, ResponseBody(b"hello"), EndOfResponse())
    assert connection.events() == []
    assert not connection.reusable


def test_a_body_that_was_not_wanted_ends_the_connection() -> None:
    connection = application(POST + b"he")
    data = said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse())
    assert data == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    assert not connection.reusable
    assert heard(connection, b"llo") == []


def test_a_request_to_switch_protocols_is_answered_like_any_other() -> None:
    connection = application(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
    said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse())
    assert connection.reusable
    assert heard(connection, GET)[1:] == [EndOfRequest()]


# -- the end of what the peer says


def test_a_connection_may_end_between_requests() -> None:
    connection = application()
    connection.receive_eof()
    assert connection.events() == []
    assert not connection.reusable


def test_a_body_cut_by_the_end_of_the_connection_is_an_abort() -> None:
    connection = application(POST)
    connection.receive_data(b"he")
    connection.receive_eof()
    assert connection.events() == [RequestBody(b"he"), AbortRequest()]
    said(connection, Response("400 Bad Request", FIVE), ResponseBody(b"hello"), EndOfResponse())
    assert not connection.reusable


def test_a_client_that_has_said_all_may_wait_for_its_answer() -> None:
    connection = application()
    connection.receive_data(GET)
    connection.receive_eof()
    assert [type(event) for event in connection.events()] == [Request, EndOfRequest]
    assert said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse()) == OK + b"hello"
    assert not connection.reusable


def test_a_client_that_has_said_all_may_wait_for_all_its_answers() -> None:
    connection = application()
    connection.receive_data(GET + POST)
    connection.receive_eof()
    assert len(connection.events()) == 2
    said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse())
    assert connection.reusable
    assert [type(event) for event in connection.events()] == [Request]
    connection.receive_eof()
    assert connection.events() == [AbortRequest()]


def test_a_head_cut_by_the_end_of_the_connection_is_refused() -> None:
    connection = application(GET[:-1])
    with pytest.raises(RemoteProtocolError, match=r"closed the connection before the end of a head \(§8\)"):
        connection.receive_eof()
    assert b"".join(connection.data_to_send()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    connection.receive_eof()
    assert connection.events() == []


# -- bad requests


BAD_REQUESTS: list[tuple[bytes, str, str]] = [
    (b"\x16\x03\x01\x02\x00", "illegal request line", "400 Bad Request"),
    (b"GET /\r\n\r\n", "illegal request line", "400 Bad Request"),
    (b"GET / HTTP/1.1 \r\n\r\n", "illegal request line", "400 Bad Request"),
    (b"G@T / HTTP/1.1\r\n\r\n", "illegal request line", "400 Bad Request"),
    (b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", "illegal request line", "400 Bad Request"),
    (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", r"target 'a' is neither a path nor a URL \(§3.2\)", "400 Bad Request"),
    (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "target '\\*' is neither", "400 Bad Request"),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT is for proxies", "501 Not Implemented"),
    (b"PRI * HTTP/2.0\r\n\r\n", "HTTP version 2.0 is not 1.x", "505 HTTP Version Not Supported"),
    (b"GET / HTTP/0.9\r\n\r\n", "HTTP version 0.9 is not 1.x", "505 HTTP Version Not Supported"),
    (b"\r\nGET / HTTP/1.1\r\n\r\n", "no request line received", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\n\r\n", "Missing mandatory Host: header", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "multiple Host: headers", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "illegal header line", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "continuation line at start of headers", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", "illegal header line", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "illegal header line", "400 Bad Request"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \r y\r\n\r\n", "illegal header line", "400 Bad Request"),
    (POST.replace(b"5", b"+5"), "bad Content-Length", "400 Bad Request"),
    (POST.replace(b"5", b"-5"), "bad Content-Length", "400 Bad Request"),
    (POST.replace(b"5", b"0x5"), "bad Content-Length", "400 Bad Request"),
    (POST.replace(b"5", b"9" * 30), "bad Content-Length", "400 Bad Request"),
    (POST.replace(b"5", b"5, 6"), "conflicting Content-Length", "400 Bad Request"),
    (POST.replace(b"\r\n\r\n", b"\r\nContent-Length: 6\r\n\r\n"), "conflicting Content-Length", "400 Bad Request"),
    (CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 6\r\n\r\n"), "beside Content-Length", "400 Bad Request"),
    (CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0"), r"or in HTTP/1.0 \(§6.1\)", "400 Bad Request"),
    (CHUNKED.replace(b"chunked", b"gzip, chunked"), "Only Transfer-Encoding: chunked", "501 Not Implemented"),
    (CHUNKED.replace(b"chunked", b"identity"), "Only Transfer-Encoding: chunked", "501 Not Implemented"),
    (CHUNKED + b"g\r\n", "illegal chunk header", "400 Bad Request"),
    (CHUNKED + b"-5\r\n", "illegal chunk header", "400 Bad Request"),
    (CHUNKED + b"0x5\r\n", "illegal chunk header", "400 Bad Request"),
    (CHUNKED + b"\r\n", "illegal chunk header", "400 Bad Request"),
    (CHUNKED + b"f" * 21 + b"\r\n", "illegal chunk header", "400 Bad Request"),
    (CHUNKED + b"2\r\nabc\r\n", "malformed chunk footer", "400 Bad Request"),
    (CHUNKED + b"0\r\nX\r\n\r\n", "illegal header line", "400 Bad Request"),
]


@pytest.mark.parametrize(("data", "message", "status"), BAD_REQUESTS, ids=[repr(bad[0][-40:]) for bad in BAD_REQUESTS])
def test_a_bad_request_is_refused_and_answered(data: bytes, message: str, status: str) -> None:
    connection = application()
    error = refusal(connection, data)
    assert error.status_hint == status
    with pytest.raises(RemoteProtocolError, match=rf"^HTTP: .*{message}.* \(message at byte 0\)$"):
        raise error
    page = f"{status}\n".encode()
    assert b"".join(connection.data_to_send()) == (
        b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
        % (status.encode(), len(page), page)
    )
    assert not connection.reusable and not connection.idle


@pytest.mark.parametrize("data", [bad[0] for bad in BAD_REQUESTS], ids=[repr(bad[0][-40:]) for bad in BAD_REQUESTS])
def test_a_bad_request_is_refused_byte_by_byte(data: bytes) -> None:
    connection = application()
    with pytest.raises(RemoteProtocolError):
        heard(connection, *bytewise(data))


def test_the_message_tells_where_a_pipelined_request_began() -> None:
    connection = application(GET + b"nonsense\r\n\r\n")
    said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse())
    with pytest.raises(RemoteProtocolError, match=rf"message at byte {len(GET)}\)"):
        connection.events()


def test_a_body_that_goes_wrong_is_an_abort_and_the_application_speaks_to_nobody() -> None:
    connection = application(CHUNKED + b"2\r\nab\r\n")
    error = refusal(connection, b"1\r\nc\r\nnonsense\r\n")
    assert error.status_hint == "400 Bad Request"
    assert connection.events() == [RequestBody(b"c"), AbortRequest()]
    assert connection.events() == []
    assert b"".join(connection.data_to_send()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert said(connection, BodyWanted(1), Response("200 OK", FIVE), EndOfResponse(app_status=1)) == b""
    assert heard(connection, GET) == []


def test_a_body_that_goes_wrong_after_the_head_of_the_response_cuts_it() -> None:
    connection = application(CHUNKED)
    said(connection, Response("200 OK", []), ResponseBody(b"hello"))
    refusal(connection, b"nonsense\r\n")
    assert connection.data_to_send() == []
    assert said(connection, EndOfResponse()) == b""


def test_a_refusal_is_dated() -> None:
    connection = Connection(APPLICATION, clock=lambda: 0)
    refusal(connection, b"\0")
    assert b"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in b"".join(connection.data_to_send())


# -- limits


def _head(size: int) -> bytes:
    """The head of a request, of so many bytes."""
    return b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (size - len(GET) - 5) + b"\r\n\r\n"


@pytest.mark.parametrize("size", [101, 1000])
def test_a_head_longer_than_its_limit_is_refused(size: int) -> None:
    for pieces in ([_head(size)], [_head(size)[:-1]], [bytes((byte,)) for byte in _head(size)]):
        connection = application(limits=Limits(params_size=100))
        with pytest.raises(LimitExceeded, match="limit params_size=100 exceeded") as caught:
            heard(connection, *pieces, b"\n")
        assert caught.value.status_hint == "431 Request Header Fields Too Large"


def test_a_head_may_be_as_long_as_its_limit_whatever_follows() -> None:
    connection = application(limits=Limits(params_size=100))
    assert heard(connection, _head(100) + _head(100))[1:] == [EndOfRequest()]
    said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse())
    assert connection.events()[1:] == [EndOfRequest()]


def test_a_pipelined_head_longer_than_its_limit_is_refused() -> None:
    connection = application(GET + _head(101), limits=Limits(params_size=100))
    said(connection, Response("200 OK", FIVE), ResponseBody(b"hello"), EndOfResponse())
    with pytest.raises(LimitExceeded):
        connection.events()


def test_more_headers_than_their_limit_are_refused() -> None:
    limits = Limits(params_count=3)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 2
    assert len(heard(application(limits=limits), request + b"\r\n")) == 2
    error = refusal(application(limits=limits), request + b"X: y\r\n\r\n")
    assert isinstance(error, LimitExceeded)
    assert (error.limit, error.status_hint) == ("params_count", "431 Request Header Fields Too Large")


@pytest.mark.parametrize("data", [CHUNKED + b"1;" + b"x" * 200, CHUNKED + b"0\r\n" + b"x" * 200])
def test_chunk_extensions_and_trailers_without_end_are_refused(data: bytes) -> None:
    assert isinstance(refusal(application(limits=Limits(params_size=100)), data), LimitExceeded)


def test_a_response_head_longer_than_its_limit_is_refused() -> None:
    connection = web_server(ASKED, EndOfRequest(1), limits=Limits(head_size=100))
    error = refusal(connection, OK.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 100 + b"\r\n\r\n"))
    assert isinstance(error, LimitExceeded)
    assert (error.limit, error.status_hint) == ("head_size", "502 Bad Gateway")


# -- responses, as the web server hears them


def test_a_response_is_told_with_its_headers_as_they_are_written() -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    assert heard(connection, b"HTTP/1.1 404 Not there\r\nX-ABC: caf\xe9\r\nContent-Length: 5\r\n\r\nhello") == [
        Response("404 Not there", [("X-ABC", "caf\xe9"), ("Content-Length", "5")], 1), ResponseBody(b"hello", 1),
        EndOfResponse(1),
    ]  # fmt: skip


def test_a_response_means_the_same_cut_anywhere() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    for at in range(len(data)):
        events = heard(web_server(ASKED, EndOfRequest(1)), data[:at], data[at:])
        assert joined(events) == [Response("200 OK", [("X", "y")], 1), ResponseBody(b"abcde", 1), EndOfResponse(1)]


def test_a_response_that_is_cut_anywhere_is_an_error() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for at in range(len(data)):
        connection = web_server(ASKED, EndOfRequest(1))
        connection.receive_data(data[:at])
        with pytest.raises(RemoteProtocolError, match=r"^HTTP: .* \(message at byte 0\)$") as caught:
            connection.receive_eof()
        assert caught.value.status_hint == "502 Bad Gateway"


def test_a_response_without_a_length_ends_with_the_connection() -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    connection.receive_data(b"HTTP/1.1 200 OK\r\n\r\nhel")
    connection.receive_data(b"lo")
    connection.receive_eof()
    assert joined(connection.events()) == [Response("200 OK", [], 1), ResponseBody(b"hello", 1), EndOfResponse(1)]
    assert not connection.reusable


def test_a_response_without_a_reason_has_none() -> None:
    assert heard(web_server(ASKED, EndOfRequest(1)), b"HTTP/1.1 200\r\n\r\n") == [Response("200", [], 1)]


def test_headers_of_the_connection_are_not_told() -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close, X-Private\r\nX-Private: a\r\nKeep-Alive: b\r\nX: c\r\n\r\n"
    assert heard(web_server(ASKED, EndOfRequest(1)), head) == [Response("200 OK", [("X", "c")], 1)]


@pytest.mark.parametrize(
    "head", [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK.replace(b"1.1", b"1.0")]
)
def test_an_upstream_that_does_not_keep_its_connection_is_not_asked_again(head: bytes) -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    assert heard(connection, head + b"hello")[-1] == EndOfResponse(1)
    assert not connection.reusable
    with pytest.raises(LocalProtocolError, match="does not fit"):
        connection.send(ASKED)


def test_an_answer_that_does_not_wait_for_the_body_ends_the_connection() -> None:
    connection = web_server(UPLOAD, RequestBody(b"hello", 1))
    assert heard(connection, OK + b"hello")[-1] == EndOfResponse(1)
    assert not connection.reusable
    with pytest.raises(LocalProtocolError, match="RequestBody, and no request is active"):
        connection.send(RequestBody(b"world", 1))


def test_an_answer_may_come_before_the_head_is_sent() -> None:
    connection = web_server(UPLOAD)
    assert heard(connection, OK + b"hello")[-1] == EndOfResponse(1)
    assert not connection.reusable


@pytest.mark.parametrize("status", [b"103 Early Hints", b"100 Continue", b"102 Processing"])
def test_interim_responses_are_not_the_answer(status: bytes) -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    events = heard(connection, b"HTTP/1.1 " + status + b"\r\nLink: x\r\n\r\n" + OK + b"hello")
    assert next(event for event in events if not isinstance(event, BodyWanted)) == Response("200 OK", FIVE, 1)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_response_without_content_has_no_body(status: bytes) -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    assert heard(connection, b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n")[-1] == EndOfResponse(1)
    assert connection.reusable


def test_a_response_to_head_has_no_body() -> None:
    connection = web_server(Request({"REQUEST_METHOD": "HEAD", "HTTP_HOST": "a"}, 1), EndOfRequest(1))
    assert heard(connection, OK) == [Response("200 OK", FIVE, 1), EndOfResponse(1)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "illegal status line"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "HTTP version 2.0 is not 1.x"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "SWITCH_UPGRADE"),
        (OK.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), "beside Content-Length"),
        (OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 6\r\n\r\n"), "conflicting Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "illegal chunk header"),
    ],
)
def test_a_bad_response_is_a_bad_gateway(data: bytes, message: str) -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    error = refusal(connection, data)
    assert message in str(error)
    assert error.status_hint == "502 Bad Gateway"
    assert connection.data_to_send() == []
    assert not connection.reusable


def test_what_came_before_a_fault_is_not_lost() -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    refusal(connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nx\r\n")
    assert connection.events() == [Response("200 OK", [], 1), ResponseBody(b"a", 1)]


def test_a_response_that_nobody_asked_for_is_refused() -> None:
    assert "a response that nobody asked for" in str(refusal(Connection(WEB_SERVER), OK))


def test_an_interim_response_that_nobody_asked_for_is_refused() -> None:
    refusal(Connection(WEB_SERVER), b"HTTP/1.1 100 Continue\r\n\r\n")


def test_a_connection_on_which_something_was_said_unasked_is_not_idle() -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    heard(connection, OK + b"hello" + b"H")
    assert not connection.idle
    with pytest.raises(RemoteProtocolError, match="before the end of a head"):
        connection.receive_eof()


def test_an_upstream_may_close_an_idle_connection() -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    heard(connection, OK + b"hello")
    connection.receive_eof()
    assert connection.events() == []
    assert not connection.reusable


def test_an_upstream_may_close_the_connection_right_behind_its_answer() -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    heard(connection, OK)
    connection.receive_data(b"hello")
    connection.receive_eof()
    assert connection.events() == [ResponseBody(b"hello", 1), EndOfResponse(1)]
    assert not connection.reusable


def test_a_request_is_given_up_by_hanging_up() -> None:
    connection = web_server(ASKED, EndOfRequest(1))
    assert said(connection, AbortRequest(1)) == b""
    assert not connection.reusable
    assert heard(connection, OK) == []


# -- what cannot be said


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"", [Response("200 OK", [])]),
        (b"", [EndOfResponse()]),
        (b"", [BodyWanted(1)]),
        (GET, [ResponseBody(b"x")]),
        (GET, [ErrorOutput(b"x")]),
        (GET, [RequestBody(b"x")]),
        (GET, [Request({})]),
        (GET, [Response("200 OK", []), Response("200 OK", [])]),
        (GET, [Response("200 OK", []), EndOfResponse(), EndOfResponse()]),
        (GET, [Response("200 OK", FIVE), ResponseBody(b"too long")]),
        (GET, [Response("200 OK", FIVE), EndOfResponse()]),
    ],
    ids=repr,
)
def test_an_application_speaks_only_in_its_turn(data: bytes, events: list[Event]) -> None:
    connection = application(data)
    said(connection, *events[:-1])
    with pytest.raises(LocalProtocolError):
        connection.send(events[-1])


@pytest.mark.parametrize(
    "events",
    [
        [RequestBody(b"x", 1)],
        [EndOfRequest(1)],
        [AbortRequest(1)],
        [Ping()],
        [Request({}, 1, FILTER)],
        [ASKED, ASKED],
        [ASKED, FilterData(b"x", 1)],
        [ASKED, Response("200 OK", [], 1)],
        [ASKED, EndOfRequest(1), EndOfRequest(1)],
        [ASKED, EndOfRequest(1), RequestBody(b"x", 1)],
        [ASKED, EndOfRequest(1), AbortRequest(1), ASKED],
    ],
    ids=repr,
)
def test_a_web_server_speaks_only_in_its_turn(events: list[Event]) -> None:
    connection = web_server(*events[:-1])
    with pytest.raises(LocalProtocolError):
        connection.send(events[-1])


def test_a_response_that_was_begun_wrongly_is_cut() -> None:
    connection = application(GET)
    connection.send(Response("200 OK", FIVE))
    with pytest.raises(LocalProtocolError, match="Too much data"):
        connection.send(ResponseBody(b"too long"))
    connection.send(EndOfResponse(app_status=1))
    assert not connection.reusable


def test_there_is_no_way_to_the_error_log() -> None:
    assert not Connection(APPLICATION).error_channel


def test_the_body_is_pushed() -> None:
    assert Connection(WEB_SERVER).body_held == 0


def test_a_repr_shows_the_state() -> None:
    connection = application(POST)
    assert repr(connection) == "<http.Connection APPLICATION we=SEND_RESPONSE they=SEND_BODY reusable=True>"
    assert repr(web_server(ASKED)) == "<http.Connection WEB_SERVER we=IDLE they=IDLE reusable=True>"


def test_a_repr_shows_that_the_peer_broke_a_rule() -> None:
    connection = application()
    refusal(connection, b"\0")
    assert repr(connection) == "<http.Connection APPLICATION broken reusable=False>"
