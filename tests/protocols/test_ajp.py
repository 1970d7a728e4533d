"""AJP13 without a socket: packets in, events out, and back; a connected pair of both sides; then over real sockets."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.address import connect, parse_connect
from gateway.client import Client
from gateway.environ import base_environ, build_environ, encode_path
from gateway.errors import ConfigError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    WEB_SERVER,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Event,
    Ping,
    Pong,
    Repair,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.limits import Limits
from gateway.protocols.ajp import Connection
from gateway.protocols.ajp_codes import METHODS, REQUEST_HEADERS, RESPONSE_HEADERS, Payload, decode_request
from tests.conversation import bytewise, heard, refusal, said
from tests.corpus_files import Recording, recordings
from tests.pair import Pair
from tests.serving import PLAIN, Log, Serve, echo, hello

OK = Response("200 OK", [("Content-Type", "text/plain")])
OK_PACKET = b"AB\0\x19\x04\0\xc8\0\2OK\0\0\1\xa0\1\0\x0atext/plain\0"
END, END_AND_CLOSE, FLUSH = b"AB\0\2\5\1", b"AB\0\2\5\0", b"AB\0\4\3\0\0\0"
CPING, CPONG, EMPTY = b"\x12\x34\0\1\x0a", b"AB\0\1\x09", b"\x12\x34\0\0"
CHUNKED = (b"transfer-encoding", b"chunked")


def packet(payload: bytes, *, length: int | None = None) -> bytes:
    """One packet of the web server, written down independently of the code under test."""
    return b"\x12\x34" + struct.pack(">H", len(payload) if length is None else length) + payload


def answered(payload: bytes) -> bytes:
    """One packet of the application."""
    return b"AB" + struct.pack(">H", len(payload)) + payload


def string(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data + b"\0"


def forward(
    *headers: tuple[bytes, bytes], method: int = 2, uri: bytes = b"/a", attributes: bytes = b"", is_ssl: int = 0,
    remote_host: bytes = b"\xff\xff", server_name: bytes = string(b"example.test"),
) -> bytes:  # fmt: skip
    """A Forward Request, no name in it coded."""
    return packet(
        bytes((2, method)) + string(b"HTTP/1.1") + string(uri) + string(b"127.0.0.1") + remote_host + server_name
        + struct.pack(">HBH", 80, is_ssl, len(headers))
        + b"".join(string(name) + string(value) for name, value in headers) + attributes + b"\xff"
    )  # fmt: skip


def head(status: int, reason: bytes, *headers: bytes) -> bytes:
    """Send Headers."""
    line = struct.pack(">BH", 4, status) + string(reason)
    return answered(line + struct.pack(">H", len(headers)) + b"".join(headers))


def chunk(data: bytes) -> bytes:
    """A packet of a request's body."""
    return packet(struct.pack(">H", len(data)) + data)


def of_length(length: bytes) -> bytes:
    return forward((b"content-length", length))


def attribute(code: int, value: bytes) -> bytes:
    return bytes((code,)) + string(value)


def asking(size: int) -> bytes:
    """Get Body Chunk."""
    return answered(b"\6" + struct.pack(">H", size))


TEXT = b"\xa0\1" + string(b"text/plain")
GET = forward()
UPLOAD = forward(CHUNKED)


def application(*data: bytes, **options: Any) -> Connection:
    """The APPLICATION side after some bytes from a web server."""
    connection = Connection(APPLICATION, **options)
    heard(connection, *data)
    return connection


def web_server(*events: Event, **options: Any) -> Connection:
    """The WEB_SERVER side after some events were sent."""
    connection = Connection(WEB_SERVER, **options)
    said(connection, *events)
    return connection


def pair(**options: Any) -> Pair:
    return Pair(Connection(APPLICATION, **options), Connection(WEB_SERVER, **options))


def upload(both: Pair, request: Request, *body: bytes, wanted: int = 65536) -> list[Event]:
    """Send a request with a body; what the application hears when it asks for all of it."""
    events = both.ask(request, *map(RequestBody, body), EndOfRequest())
    while not isinstance(events[-1], EndOfRequest):
        both.answer(BodyWanted(wanted))
        events += both.ask()
    return events


def body_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, RequestBody | ResponseBody))


def params_of(data: bytes) -> dict[str, str]:
    """The params of a Forward Request."""
    (request, *_) = heard(Connection(APPLICATION), data)
    assert isinstance(request, Request)
    return request.params


# -- recordings

CORPUS = Path(__file__).parent.parent / "corpus"


def fields(recording: Recording) -> dict[str, Any]:
    """What the recorder wrote down of the packets it decoded."""
    fields: dict[str, Any] = json.loads((CORPUS / f"{recording.name}.json").read_text("utf-8"))
    return fields


def packets(recording: Recording) -> Iterator[bytes]:
    at = 0
    while at < len(recording.raw):
        end = at + 4 + int.from_bytes(recording.raw[at + 2 : at + 4], "big")
        yield recording.raw[at:end]
        at = end


def replay(pieces: list[bytes]) -> list[Event]:
    """What an application hears that asks for more after each piece, as the recorder did after each packet."""
    connection = Connection(APPLICATION)
    events = []
    for piece in pieces:
        events += heard(connection, piece)
        if not connection.idle and any(isinstance(event, Request) for event in events):
            connection.send(BodyWanted(8186))
    return events


@pytest.mark.parametrize("recording", recordings("ajp13"), ids=repr)
def test_a_recorded_request_is_understood(recording: Recording) -> None:
    known = fields(recording)
    attributes = {name: rest for name, *rest in known["attributes"] if name != "req_attribute"}
    request, *rest = replay(list(packets(recording)))
    assert isinstance(request, Request)
    params = request.params
    assert params["REQUEST_METHOD"] == known["method"]
    assert params["SERVER_PROTOCOL"] == known["protocol_version"]
    assert params["REQUEST_URI"].partition("?")[0] == known["req_uri"]
    assert params["QUERY_STRING"] == attributes.get("query_string", [""])[0]
    assert (params["REMOTE_ADDR"], params["SERVER_NAME"]) == (known["remote_addr"], known["server_name"])
    assert params["SERVER_PORT"] == str(known["server_port"])
    assert params.get("HTTPS", "") == ("on" if known["is_ssl"] else "")
    assert params.get("SSL_CIPHER") == attributes.get("ssl_cipher", [None])[0]
    assert params.get("SSL_CIPHER_USEKEYSIZE") == (
        str(attributes["ssl_key_size"][0]) if "ssl_session" in attributes else None
    )
    for name, value in known["headers"]:
        variable = name.upper().replace("-", "_")
        assert params.get(variable if variable in params else f"HTTP_{variable}") == (None if "_" in name else value)
    for name, *pair in known["attributes"]:
        if name == "req_attribute":
            assert params[pair[0]] == pair[1]
    assert body_of(rest) == recording.stdin
    assert rest[-1] == EndOfRequest()
    assert (Repair("body-length") in rest) == known.get("body_packet_without_inner_length", False)


@pytest.mark.parametrize("recording", recordings("ajp13"), ids=repr)
def test_a_recorded_request_means_the_same_byte_by_byte(recording: Recording) -> None:
    assert replay(bytewise(recording.raw)) == replay(list(packets(recording)))


@pytest.mark.parametrize("recording", recordings("ajp13"), ids=repr)
def test_a_recorded_request_means_the_same_cut_anywhere(recording: Recording) -> None:
    whole = list(packets(recording))
    events = replay(whole)
    for number, one in enumerate(whole):
        for at in range(1, len(one)):
            assert replay([*whole[:number], one[:at], one[at:], *whole[number + 1 :]]) == events, (number, at)


@pytest.mark.parametrize("recording", recordings("ajp13"), ids=repr)
def test_a_recorded_request_that_ends_anywhere_too_early_is_noticed(recording: Recording) -> None:
    for at in range(1, len(recording.raw)):
        connection = Connection(APPLICATION)
        events: list[Event] = []
        try:
            for byte in recording.raw[:at]:
                events += heard(connection, bytes((byte,)))
                if events and not connection.idle:
                    connection.send(BodyWanted(8186))
            connection.receive_eof()
        except RemoteProtocolError:
            assert events == [], f"cut at byte {at}"
        else:
            assert connection.events() == ([] if EndOfRequest() in events else [AbortRequest()]), f"cut at byte {at}"


@pytest.mark.parametrize("recording", recordings("ajp13"), ids=repr)
def test_a_mount_parts_a_recorded_path(recording: Recording) -> None:
    (request, *_) = replay(list(packets(recording)))
    assert isinstance(request, Request)
    base = base_environ(multithread=False, multiprocess=False, run_once=False)
    by_lighttpd = recording.configuration == "lighttpd-ajp"  # which drops what follows its mount
    mount = recording.mount if by_lighttpd else "/app"  # as which Apache passes on what it has as /ajp/app
    environ = build_environ(request.params, base, mount)
    assert environ["SCRIPT_NAME"] == mount
    assert environ["PATH_INFO"] == ("" if by_lighttpd else recording.path_info)


def test_without_a_mount_the_path_is_all_of_it() -> None:
    base = base_environ(multithread=False, multiprocess=False, run_once=False)
    environ = build_environ(params_of(forward(uri=b"/app/a%20b/c%2Fd")), base)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/app/a b/c/d")
    assert environ["gateway.repairs"] == ()


# -- Forward Request


@pytest.mark.parametrize(("code", "method"), [pair for pair in enumerate(METHODS) if pair[0]])
def test_every_method_has_its_code(code: int, method: str) -> None:
    assert params_of(forward(method=code))["REQUEST_METHOD"] == method
    assert said(Connection(WEB_SERVER), Request({"REQUEST_METHOD": method}))[5] == code


def test_a_method_without_a_code_is_spelled() -> None:
    assert params_of(forward(method=0xFF, attributes=attribute(13, b"BREW")))["REQUEST_METHOD"] == "BREW"
    data = said(Connection(WEB_SERVER), Request({"REQUEST_METHOD": "BREW"}))
    assert data[5] == 0xFF
    assert data.endswith(attribute(13, b"BREW") + b"\xff")


@pytest.mark.parametrize(("code", "name"), [pair for pair in enumerate(REQUEST_HEADERS) if pair[0]])
def test_every_common_request_header_has_its_code(code: int, name: str) -> None:
    variable = name.upper().replace("-", "_")
    variable = variable if variable in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{variable}"
    coded = bytes((0xA0, code)) + string(b"7")
    data = said(Connection(WEB_SERVER), Request({variable: "7"}))
    assert data.endswith(b"\0\1" + coded + b"\xff")
    assert decode_request(data[4:])[0][-1] == (variable, "7")


@pytest.mark.parametrize(
    ("code", "name"),
    [(2, "AJP_SERVLET_PATH"), (3, "REMOTE_USER"), (4, "AUTH_TYPE"), (5, "QUERY_STRING"), (6, "AJP_ROUTE"),
     (7, "SSL_CLIENT_CERT"), (8, "SSL_CIPHER"), (9, "SSL_SESSION_ID")],
)  # fmt: skip
def test_every_attribute_becomes_a_param_and_back(code: int, name: str) -> None:
    assert params_of(forward(attributes=attribute(code, b"v")))[name] == "v"
    assert said(Connection(WEB_SERVER), Request({name: "v"})).endswith(attribute(code, b"v") + b"\xff")


def test_the_key_size_is_a_number() -> None:
    assert params_of(forward(attributes=b"\x0b\1\0"))["SSL_CIPHER_USEKEYSIZE"] == "256"
    assert said(Connection(WEB_SERVER), Request({"SSL_CIPHER_USEKEYSIZE": "256"})).endswith(b"\x0b\1\0\xff")


def test_other_attributes_are_params_by_their_name() -> None:
    data = forward(attributes=attribute(10, b"JK_LB_ACTIVATION") + string(b"ACT"))
    assert params_of(data)["JK_LB_ACTIVATION"] == "ACT"


def test_what_web_servers_spell_has_its_usual_name_as_well() -> None:
    params = params_of(forward(attributes=attribute(10, b"AJP_REMOTE_PORT") + string(b"999")))
    assert (params["AJP_REMOTE_PORT"], params["REMOTE_PORT"]) == ("999", "999")


def test_of_the_params_without_a_code_the_container_gets_only_what_it_expects() -> None:
    params = {"SERVER_ADDR": "10.0.0.1", "AJP_OWN": "x", "GATEWAY_INTERFACE": "CGI/1.1", "SSL_CLIENT_S_DN": "CN=x"}
    data = said(Connection(WEB_SERVER), Request(params))
    assert data.endswith(
        attribute(10, b"AJP_OWN") + string(b"x") + attribute(10, b"AJP_LOCAL_ADDR") + string(b"10.0.0.1") + b"\xff"
    )


def test_a_header_with_an_underscore_shadows_none() -> None:
    params = params_of(forward((b"X-User", b"good"), (b"X_User", b"evil"), (b"X_Other", b"evil")))
    assert params["HTTP_X_USER"] == "good"
    assert "HTTP_X_OTHER" not in params


def test_a_repeated_header_is_told_with_all_pairs_in_order() -> None:
    (request, _) = heard(Connection(APPLICATION), forward((b"X-A", b"1"), (b"X-B", b""), (b"X-A", b"2")))
    assert isinstance(request, Request)
    assert request.params["HTTP_X_A"] == "2"
    assert list(request.repeated)[-3:] == [("HTTP_X_A", "1"), ("HTTP_X_B", ""), ("HTTP_X_A", "2")]


def test_repeated_params_are_sent_as_they_came() -> None:
    pairs = [("HTTP_X_A", "1"), ("HTTP_X_A", "2")]
    data = said(Connection(WEB_SERVER), Request({"HTTP_X_A": "2"}, repeated=pairs))
    assert string(b"x-a") + string(b"1") + string(b"x-a") + string(b"2") in data


def test_a_name_that_nobody_knows_is_left_out() -> None:
    params = params_of(forward(server_name=b"\xff\xff"))
    assert not {"SERVER_NAME", "REMOTE_HOST", "HTTPS"} & params.keys()


def test_a_host_name_and_tls_are_told() -> None:
    params = params_of(forward(remote_host=string(b"visitor.test"), is_ssl=1))
    assert (params["REMOTE_HOST"], params["HTTPS"]) == ("visitor.test", "on")
    data = said(Connection(WEB_SERVER), Request({"REMOTE_HOST": "visitor.test", "HTTPS": "on", "REMOTE_ADDR": "::1"}))
    assert string(b"::1") + string(b"visitor.test") + string(b"") + b"\1\xbb\1" in data


def test_the_query_belongs_to_the_uri() -> None:
    params = params_of(forward(uri=b"/a%2Fb//c/../d;p", attributes=attribute(5, b"x=1&y")))
    assert params["REQUEST_URI"] == "/a%2Fb//c/../d;p?x=1&y"
    assert (params["SCRIPT_NAME"], params["PATH_INFO"], params["QUERY_STRING"]) == ("", "/a/b/d;p", "x=1&y")


def test_the_mount_travels_as_the_context() -> None:
    data = said(Connection(WEB_SERVER), Request({"SCRIPT_NAME": "/app", "REQUEST_URI": "/app/x"}))
    assert data.endswith(attribute(1, b"/app") + b"\xff")
    params = params_of(data)
    assert (params["SCRIPT_NAME"], params["PATH_INFO"]) == ("/app", "/x")


def test_a_context_that_the_path_is_not_under_is_ignored() -> None:
    params = params_of(forward(uri=b"/apple", attributes=attribute(1, b"/app")))
    assert (params["SCRIPT_NAME"], params["PATH_INFO"]) == ("", "/apple")


@pytest.mark.parametrize(
    ("params", "uri"),
    [
        ({}, b"/"),
        ({"PATH_INFO": "/a b"}, b"/a%20b"),
        ({"SCRIPT_NAME": "/m", "PATH_INFO": "/\xe9"}, b"/m/%E9"),
        ({"REQUEST_URI": "/a%2Fb?x", "PATH_INFO": "/a/b"}, b"/a%2Fb"),
        ({"REQUEST_URI": "http://example.test/a", "PATH_INFO": "/a"}, b"/a"),
    ],
)
def test_the_path_is_sent_as_the_visitor_wrote_it(params: dict[str, str], uri: bytes) -> None:
    assert said(Connection(WEB_SERVER), Request(params))[6:].startswith(string(b"HTTP/1.1") + string(uri))


def test_a_length_makes_the_transfer_coding_void() -> None:
    params = {"CONTENT_LENGTH": "3", "HTTP_CONTENT_LENGTH": "9", "HTTP_TRANSFER_ENCODING": "chunked"}
    data = said(Connection(WEB_SERVER), Request(params))
    assert data.endswith(b"\0\1\xa0\x08" + string(b"3") + b"\xff")


LATIN_1 = st.text(st.characters(max_codepoint=255), max_size=50)
VARIABLES = st.from_regex(r"HTTP_[A-Z0-9]+(_[A-Z0-9]+){0,2}", fullmatch=True).filter(
    lambda name: name not in ("HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING")
)


@given(
    st.dictionaries(VARIABLES, LATIN_1, max_size=20),
    st.lists(st.text(st.characters(max_codepoint=255, exclude_characters="/"), min_size=3), max_size=4),
    st.dictionaries(st.sampled_from(["REMOTE_USER", "AUTH_TYPE", "SSL_CIPHER", "AJP_X", "QUERY_STRING"]), LATIN_1),
    st.sampled_from(["GET", "POST", "VERSION-CONTROL", "BREW"]),
)
def test_a_request_survives_the_round_trip(
    headers: dict[str, str], path: list[str], attributes: dict[str, str], method: str
) -> None:
    attributes = {name: value for name, value in attributes.items() if value or name == "AJP_X"}
    uri = encode_path("/" + "/".join(path))
    request = {
        "REQUEST_METHOD": method, "SERVER_PROTOCOL": "HTTP/1.0", "REMOTE_ADDR": "::1", "SERVER_PORT": "8009",
        "REQUEST_URI": uri, "SERVER_NAME": "example.test", **headers, **attributes,
    }  # fmt: skip
    query = attributes.get("QUERY_STRING", "")
    (told, end) = pair().ask(Request(request), EndOfRequest())
    assert isinstance(told, Request)
    assert told.params == {
        **request, "SCRIPT_NAME": "", "PATH_INFO": "/" + "/".join(path), "QUERY_STRING": query,
        "REQUEST_URI": uri + (query and "?" + query),
    }  # fmt: skip
    assert end == EndOfRequest()


# -- the secret


@pytest.mark.parametrize(
    ("attributes", "what"), [(b"", "no secret"), (attribute(12, b""), "no secret"), (attribute(12, b"x"), "the wrong")]
)
def test_who_does_not_know_the_secret_is_refused(attributes: bytes, what: str) -> None:
    connection = Connection(APPLICATION, secret="sesame")
    error = refusal(connection, forward(attributes=attributes))
    assert error.status_hint == "403 Forbidden"
    assert f"AJP: the web server sends {what}" in str(error)
    assert connection.events() == []
    assert said(connection).startswith(head(403, b"Forbidden", TEXT))


@pytest.mark.parametrize("secret", ["sesame", "Zauberflöte", ""])
def test_who_knows_the_secret_is_let_in_and_nobody_else_hears_it(secret: str) -> None:
    (request, end) = pair(secret=secret).ask(Request({}), EndOfRequest())
    assert isinstance(request, Request)
    assert not any("SECRET" in name for name in request.params)
    assert end == EndOfRequest()


def test_a_secret_that_was_not_asked_for_is_ignored() -> None:
    assert "AJP_SECRET" not in params_of(forward(attributes=attribute(12, b"sesame")))


def test_no_param_can_name_the_secret() -> None:
    data = said(Connection(WEB_SERVER, secret="sesame"), Request({"AJP_SECRET": "other"}))
    assert data.endswith(attribute(12, b"sesame") + b"\xff")


# -- bodies


def test_a_request_without_a_length_has_no_body() -> None:
    assert heard(Connection(APPLICATION), forward(method=4))[1:] == [EndOfRequest()]
    assert heard(Connection(APPLICATION), of_length(b"0"))[1:] == [EndOfRequest()]


def test_after_a_length_the_first_chunk_comes_unasked() -> None:
    connection = application(of_length(b"8"))
    assert said(connection, BodyWanted(100)) == b""
    assert heard(connection, chunk(b"hello")) == [RequestBody(b"hello")]
    assert said(connection, BodyWanted(100)) == asking(3)
    assert heard(connection, chunk(b"...")) == [RequestBody(b"..."), EndOfRequest()]


def test_a_chunked_upload_comes_when_it_is_asked_for() -> None:
    connection = application(UPLOAD)
    for data in (b"one", b"two"):
        assert said(connection, BodyWanted(100)) == asking(100)
        assert heard(connection, chunk(data)) == [RequestBody(data)]
    said(connection, BodyWanted(100))
    assert heard(connection, EMPTY) == [EndOfRequest()]


@pytest.mark.parametrize("end", [EMPTY, chunk(b"")], ids=["as the reference has it", "as Apache has it"])
def test_an_empty_chunk_ends_the_body(end: bytes) -> None:
    assert heard(application(UPLOAD), end) == [EndOfRequest()]
    assert heard(application(of_length(b"8"), chunk(b"hello")), end) == [EndOfRequest()]


@pytest.mark.parametrize("before", [GET, GET + CPING, of_length(b"1") + chunk(b"x")])
def test_an_empty_chunk_too_many_says_nothing(before: bytes) -> None:
    assert heard(application(before), EMPTY) == []


def test_nobody_asks_twice_for_the_same_chunk() -> None:
    connection = application(UPLOAD)
    assert said(connection, BodyWanted(10), BodyWanted(10)) == asking(10)


def test_nobody_asks_for_more_than_a_packet_holds() -> None:
    assert said(application(UPLOAD), BodyWanted(100_000)) == asking(8186)
    assert said(application(UPLOAD, packet_size=65536), BodyWanted(100_000)) == asking(65530)


def test_nobody_asks_for_a_body_that_is_whole() -> None:
    assert said(application(GET), BodyWanted(10)) == b""


def test_the_web_server_sends_the_first_chunk_of_a_known_length_at_once() -> None:
    connection = web_server(Request({"CONTENT_LENGTH": "10000"}))
    assert said(connection, RequestBody(b"x" * 10_000)) == chunk(b"x" * 8186)
    assert connection.body_held == 1814


def test_the_web_server_holds_a_chunked_body_until_it_is_asked() -> None:
    connection = web_server(Request({"HTTP_TRANSFER_ENCODING": "chunked"}))
    assert said(connection, RequestBody(b"hello"), EndOfRequest()) == b""
    assert connection.body_held == 5
    assert heard(connection, asking(3)) == [BodyWanted(3)]
    assert said(connection) == chunk(b"hel")
    heard(connection, asking(100))
    assert said(connection) == chunk(b"lo")
    assert connection.body_held == 0
    heard(connection, asking(100))
    assert said(connection) == EMPTY


def test_the_web_server_answers_when_there_is_something_to_say() -> None:
    connection = web_server(Request({}))
    heard(connection, asking(100))
    assert said(connection) == b""
    assert said(connection, RequestBody(b"late")) == chunk(b"late")
    heard(connection, asking(100))
    assert said(connection, EndOfRequest()) == EMPTY


def test_a_length_without_a_body_is_answered_with_an_empty_chunk() -> None:
    assert said(web_server(Request({"CONTENT_LENGTH": "3"})), EndOfRequest()) == EMPTY


@pytest.mark.parametrize("length", ["0", "00", ""])
def test_a_length_of_zero_invites_no_chunk(length: str) -> None:
    assert said(web_server(Request({"CONTENT_LENGTH": length})), EndOfRequest()) == b""


@given(
    body=st.lists(st.binary(min_size=1, max_size=20_000), max_size=4),
    wanted=st.integers(1, 70_000),
    known=st.booleans(),
)
def test_a_body_survives_the_round_trip(body: list[bytes], wanted: int, *, known: bool) -> None:
    whole = b"".join(body)
    params = {"CONTENT_LENGTH": str(len(whole))} if known else {"HTTP_TRANSFER_ENCODING": "chunked"}
    wanted = max(wanted, len(whole) // 50)  # in some fifty chunks at most
    assert body_of(upload(pair(), Request(params), *body, wanted=wanted)) == whole


def test_a_body_travels_in_packets_of_the_size_that_both_ends_know() -> None:
    both = pair(packet_size=65536)
    events = upload(both, Request({"CONTENT_LENGTH": "100000"}), b"x" * 100_000)
    assert [len(event.data) for event in events if isinstance(event, RequestBody)] == [65530, 34470]


# -- bodies without their inner length


def test_chunks_without_their_inner_length_are_taken_as_they_are() -> None:
    connection = application(of_length(b"16376"))
    first = b"x" * 8188
    assert heard(connection, packet(first)) == [Repair("body-length"), RequestBody(first)]
    assert said(connection, BodyWanted(65536)) == asking(8186)
    assert heard(connection, packet(b"\x1f\xf8" + b"y" * 8184)) == [RequestBody(b"\x1f\xf8" + b"y" * 8184)]


@pytest.mark.parametrize("data", [b"\0", b"\1", b"\0\1", b"\0\0\0", b"hello"])
def test_a_short_body_without_its_inner_length_is_whole(data: bytes) -> None:
    events = heard(application(of_length(b"%d" % len(data))), packet(data))
    assert events == [Repair("body-length"), RequestBody(data), EndOfRequest()]


def test_what_was_asked_for_may_come_in_several_packets() -> None:
    connection = application(of_length(b"9"), packet(b"abc"))
    said(connection, BodyWanted(100))
    assert heard(connection, packet(b"de"), packet(b"fghi"))[-2:] == [RequestBody(b"fghi"), EndOfRequest()]


def test_nobody_is_told_twice_of_the_same_fault() -> None:
    connection = application(of_length(b"6"), packet(b"abc"))
    assert heard(connection, packet(b"def")) == [RequestBody(b"def"), EndOfRequest()]


# -- responses


def test_a_response_is_three_packets() -> None:
    answer = said(application(GET), OK, ResponseBody(b"hello"), EndOfResponse())
    assert answer == OK_PACKET + answered(b"\3\0\5hello\0") + END


@pytest.mark.parametrize(("code", "name"), [pair for pair in enumerate(RESPONSE_HEADERS) if pair[0]])
def test_every_common_response_header_has_its_code(code: int, name: str) -> None:
    data = said(application(GET), Response("404 Not Found", [(name.upper(), "v")]))
    assert data == head(404, b"Not Found", bytes((0xA0, code)) + string(b"v"))
    assert heard(web_server(Request({})), data) == [Response("404 Not Found", [(name, "v")])]


def test_any_other_response_header_is_spelled() -> None:
    data = said(application(GET), Response("200 OK", [("X-A", "\xe9"), ("X-A", "")]))
    assert data.endswith(b"\0\2" + string(b"X-A") + string(b"\xe9") + string(b"X-A") + string(b""))


@given(st.lists(st.binary(max_size=30_000), max_size=4))
def test_a_response_survives_the_round_trip(body: list[bytes]) -> None:
    both = pair()
    both.ask(Request({}), EndOfRequest())
    head, *rest, last = both.answer(OK, *map(ResponseBody, body), EndOfResponse())
    assert (head, last) == (OK, EndOfResponse())
    assert body_of(rest) == b"".join(body)


def test_a_long_body_is_cut_into_packets_that_are_not_too_large() -> None:
    data = said(application(GET), OK, ResponseBody(b"x" * 20_000), EndOfResponse())
    chunks = [8184, 8184, 3632]
    assert data == OK_PACKET + b"".join(answered(b"\3%b%b\0" % (n.to_bytes(2, "big"), b"x" * n)) for n in chunks) + END


def test_an_empty_piece_of_a_body_says_nothing() -> None:
    connection = application(GET)
    said(connection, OK)
    assert said(connection, ResponseBody(b"")) == b""


def test_a_response_that_pauses_is_flushed() -> None:
    connection = application(GET)
    assert said(connection, OK) == OK_PACKET
    assert said(connection, ResponseBody(b"tick")) == answered(b"\3\0\4tick\0") + FLUSH
    assert said(connection) == b""
    assert said(connection, EndOfResponse()) == END


def test_a_flush_is_no_body() -> None:
    connection = web_server(Request({}))
    assert heard(connection, OK_PACKET, FLUSH, END) == [OK, EndOfResponse()]


def test_a_reason_that_repeats_the_status_is_none() -> None:
    assert heard(web_server(Request({})), head(200, b"200")) == [Response("200", [])]


def test_a_reason_that_is_null_is_none() -> None:
    assert heard(web_server(Request({})), answered(b"\4\0\xcc\xff\xff\0\0")) == [Response("204", [])]


def test_a_connection_carries_one_request_after_the_other() -> None:
    both = pair()
    for number in "123":
        (request, _) = both.ask(Request({"REMOTE_USER": number}), EndOfRequest())
        assert isinstance(request, Request)
        assert request.params["REMOTE_USER"] == number
        assert both.answer(OK, EndOfResponse()) == [OK, EndOfResponse()]
    assert both.application.idle
    assert both.application.reusable
    assert both.web_server.reusable


def test_a_request_whose_body_was_not_read_ends_the_connection() -> None:
    both = pair()
    both.ask(Request({"CONTENT_LENGTH": "10"}))
    both.answer(Response("413 Content Too Large", []), EndOfResponse())
    assert not both.application.reusable
    assert not both.web_server.reusable


@pytest.mark.parametrize(("end", "kept"), [(END, "True"), (END_AND_CLOSE, "False"), (answered(b"\5\2"), "False")])
def test_the_application_says_whether_the_connection_is_kept(end: bytes, kept: str) -> None:
    connection = web_server(Request({}), EndOfRequest())
    heard(connection, OK_PACKET, end)
    assert repr(connection) == f"<ajp.Connection WEB_SERVER idle reusable={kept}>"


def test_the_web_server_keeps_a_connection_whose_body_was_not_asked_for() -> None:
    connection = web_server(Request({"CONTENT_LENGTH": "10000"}), RequestBody(b"x" * 10_000))
    heard(connection, OK_PACKET, END)
    assert connection.reusable
    assert connection.body_held == 0


def test_the_web_server_keeps_no_connection_on_which_it_still_owes_a_chunk() -> None:
    connection = web_server(Request({}))
    heard(connection, asking(10), OK_PACKET, END)
    assert not connection.reusable


def test_a_response_cut_short_lacks_its_end() -> None:
    connection = application(GET)
    assert said(connection, OK, ResponseBody(b"half"), EndOfResponse(0, 1)) == OK_PACKET + answered(b"\3\0\4half\0")
    assert connection.idle
    assert not connection.reusable


def test_a_request_given_up_before_its_head_is_ended() -> None:
    assert said(application(GET), EndOfResponse(0, 1)) == END


# -- what else is said


def test_a_ping_is_answered_by_the_wire() -> None:
    connection = Connection(APPLICATION)
    assert heard(connection, CPING) == []
    assert said(connection) == CPONG
    assert connection.idle


def test_a_ping_and_its_answer_meet() -> None:
    both = pair()
    assert both.ask(Ping()) == []
    assert both.answer() == [Pong({})]


def test_a_ping_during_a_response_is_answered() -> None:
    connection = application(GET)
    heard(connection, CPING)
    assert said(connection) == CPONG


@pytest.mark.parametrize("before", [b"", GET])
def test_a_shutdown_is_ignored(before: bytes) -> None:
    connection = application(before)
    assert heard(connection, packet(b"\7")) == []
    assert said(connection) == b""


def test_an_abort_ends_the_web_servers_connection() -> None:
    connection = web_server(Request({}))
    assert said(connection, AbortRequest()) == b""
    assert not connection.reusable


# -- the end of a connection


def test_a_connection_that_ends_within_a_body_is_an_abort() -> None:
    connection = application(of_length(b"10"), chunk(b"hello"))
    connection.receive_eof()
    assert connection.events() == [AbortRequest()]
    assert not connection.reusable


def test_a_connection_half_closed_after_a_whole_request_is_answered() -> None:
    connection = application(GET)
    connection.receive_eof()
    assert connection.events() == []
    assert said(connection, OK, EndOfResponse()) == OK_PACKET + END_AND_CLOSE


def test_bytes_that_came_together_with_the_end_are_not_lost() -> None:
    connection = Connection(APPLICATION)
    connection.receive_data(GET)
    connection.receive_eof()
    assert connection.events()[-1] == EndOfRequest()


def test_a_connection_that_ends_within_a_packet_is_refused() -> None:
    connection = application(GET[:9])
    with pytest.raises(
        RemoteProtocolError, match=r"AJP: .* closed the connection within a packet \(packet at byte 0\)"
    ):
        connection.receive_eof()


@pytest.mark.parametrize("before", [b"", OK_PACKET, OK_PACKET[:5]])
def test_a_connection_closed_before_the_end_of_the_response_is_refused(before: bytes) -> None:
    connection = web_server(Request({}))
    heard(connection, before)
    with pytest.raises(RemoteProtocolError, match="closed the connection before End Response"):
        connection.receive_eof()
    assert connection.events() == []


@pytest.mark.parametrize("make", [lambda: Connection(APPLICATION), lambda: Connection(WEB_SERVER)])
def test_a_connection_closed_between_requests_is_no_error(make: Callable[[], Connection]) -> None:
    connection = make()
    connection.receive_eof()
    assert connection.events() == []
    assert not connection.reusable


# -- bad input

BAD: list[tuple[str, bytes, str]] = [
    ("HTTP", b"GET / HTTP/1.1\r\n\r\n", 'begins with 47 45, not with 12 34 ("Packet Headers") (packet at byte 0)'),
    ("the other side's magic", END, "a packet begins with 41 42, not with 12 34"),
    ("garbage later", GET + bytes(4), "a packet begins with 00 00, not with 12 34"),
    ("a packet too long", packet(b"", length=8189), "a packet of 8193 bytes is longer than packet_size=8192: give"),
    ("an unknown prefix code", packet(b"\x63"), "prefix code 99 has no meaning for <ajp.Connection APPLICATION idle"),
    ("the login phase", packet(b"\x08"), "prefix code 8 has no meaning"),
    ("a request too early", GET + GET, f"complete reusable=True> (packet at byte {len(GET)})"),
    ("an unknown method code", forward(method=28), 'method code 28 is unknown, or its name is missing ("method")'),
    ("method code 0", forward(method=0), "method code 0 is unknown"),
    ("a method that is nowhere", forward(method=0xFF), "method code 255 is unknown, or its name is missing"),
    ("an unknown header code", packet(GET[4:-3] + b"\0\1\xa0\x0f\0\0\0\xff"), "header code A00F is unknown"),
    ("an unknown attribute code", forward(attributes=attribute(14, b"x")), "attribute code 14 is unknown"),
    ("attribute code 0", forward(attributes=attribute(0, b"x")), 'attribute code 0 is unknown ("Attributes")'),
    ("a string longer than its packet", packet(b"\2\2\x7f\xffHTTP"), "what it says needs 32764 bytes more than its 8"),
    ("a string longer than it says", packet(b"\2\2\0\3HTTP\0"), 'a string of 3 bytes does not end in NUL ("String")'),
    ("more headers than there are", packet(GET[4:-3] + b"\0\5\xff"), "bytes more than its"),
    ("no end of attributes", packet(GET[4:-1]), "what it says needs 1 bytes more than its 52"),
    ("an empty request", packet(b"\2"), "what it says needs 1 bytes more than its 1"),
    ("a length that is no number", of_length(b"1x"), "content-length is '1x', not a number of bytes"),
    ("a negative length", of_length(b"-1"), "content-length is '-1', not a number"),
    ("an empty length", of_length(b""), "content-length is '', not a number"),
    ("a length of many digits", of_length(b"9" * 5000), "content-length is '9999"),
    ("two lengths", forward((b"content-length", b"1"), (b"Content-Length", b"2")), "content-length has a rival"),
    ("a length and a transfer coding", forward((b"content-length", b"1"), CHUNKED), "content-length has a rival"),
    ("a chunk unasked", UPLOAD + chunk(b"x"), 'a chunk of 1 bytes came where 0 were due ("Get Body Chunk")'),
    ("more body than its length", of_length(b"3") + chunk(b"four"), "a chunk of 4 bytes came where 3 were due"),
    ("a second chunk unasked", of_length(b"9000") + chunk(b"x" * 8000) + chunk(b"y" * 200), "came where 188 were due"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), [(data, text) for _, data, text in BAD], ids=[case[0] for case in BAD])
def test_the_application_refuses(data: bytes, message: str) -> None:
    connection = Connection(APPLICATION)
    error = refusal(connection, data)
    assert str(error).startswith("AJP: ")
    assert message in str(error)
    assert not connection.reusable


@pytest.mark.parametrize("data", [case[1] for case in BAD], ids=[case[0] for case in BAD])
def test_a_fault_is_found_byte_by_byte_as_well(data: bytes) -> None:
    whole = refusal(Connection(APPLICATION), data)
    assert str(refusal(Connection(APPLICATION), *bytewise(data))) == str(whole)


def test_a_chunk_larger_than_what_was_asked_for_is_refused() -> None:
    connection = application(UPLOAD)
    said(connection, BodyWanted(5))
    assert "a chunk of 6 bytes came where 5 were due" in str(refusal(connection, chunk(b"123456")))


WORSE: list[tuple[str, bytes, str]] = [
    ("the other side's magic", GET, "a packet begins with 12 34, not with 41 42"),
    ("an empty packet", answered(b""), "what it says needs 1 bytes more than its 0"),
    ("an unknown prefix code", answered(b"\x0b"), "prefix code 11 has no meaning for <ajp.Connection WEB_SERVER body"),
    ("a body before its head", answered(b"\3\0\1x\0"), "a response has one Send Headers, and before anything else"),
    ("an end without a head", END, "a response has one Send Headers"),
    ("two heads", OK_PACKET + OK_PACKET, "a response has one Send Headers"),
    ("a body shorter than it says", OK_PACKET + answered(b"\3\0\5x\0"), "what it says needs 3 bytes more than its 5"),
    ("an end that says nothing", OK_PACKET + answered(b"\5"), "what it says needs 1 bytes more"),
    ("an unknown header code", head(200, b"OK", b"\xa0\x0c" + string(b"")), "header code A00C is unknown"),
    ("a status of two digits", head(20, b""), 'status 20 has not three digits ("Send Headers")'),
    ("a status of four digits", head(1000, b""), "status 1000 has not three digits"),
    ("header injection", head(200, b"", string(b"X") + string(b"a\r\nb")), "CR, LF or NUL in the response head"),
    ("injection by the reason", head(200, b"OK\nX: y"), "CR, LF or NUL in the response head"),
    ("a header name with a space", head(200, b"", string(b"X Y") + string(b"")), "'X Y' is not a token"),
    ("a chunk of nothing", asking(0), "0 bytes were asked for, <ajp.Connection WEB_SERVER body"),
    ("two chunks at once", asking(5) + asking(5), "5 bytes were asked for, <ajp.Connection WEB_SERVER body asked"),
    ("a packet too long", b"AB\xff\xff", "a packet of 65539 bytes is longer than packet_size=8192"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in WORSE], ids=[case[0] for case in WORSE])
def test_the_web_server_refuses(data: bytes, message: str) -> None:
    connection = web_server(Request({}))
    assert message in str(refusal(connection, data))
    assert not connection.reusable
    assert said(connection) == b""


@pytest.mark.parametrize("data", [OK_PACKET, END, asking(5)])
def test_an_answer_without_a_question_is_refused(data: bytes) -> None:
    assert "has no meaning for <ajp.Connection WEB_SERVER idle" in str(refusal(Connection(WEB_SERVER), data))


def damaged(data: bytes) -> Iterator[bytes]:
    """The same with one byte wrong, in every place."""
    for at, byte in enumerate(data):
        for wrong in {0, 0xFF, 0xA0, byte ^ 1} - {byte}:
            yield data[:at] + bytes((wrong,)) + data[at + 1 :]


@pytest.mark.parametrize("recording", recordings("ajp13"), ids=repr)
def test_a_wrong_byte_in_a_request_is_understood_or_refused(recording: Recording) -> None:
    for data in damaged(recording.raw):
        connection = Connection(APPLICATION)
        try:
            heard(connection, data)
        except RemoteProtocolError:
            assert not connection.reusable


def test_a_wrong_byte_in_an_answer_is_understood_or_refused() -> None:
    for data in damaged(asking(5) + OK_PACKET + answered(b"\3\0\5hello\0") + END):
        connection = web_server(Request({}))
        try:
            heard(connection, data)
        except RemoteProtocolError:
            assert not connection.reusable


def test_what_came_before_a_fault_is_not_lost() -> None:
    connection = web_server(Request({}))
    refusal(connection, OK_PACKET + b"garbage")
    assert connection.events() == [OK]


def test_after_a_fault_the_request_in_progress_is_aborted() -> None:
    connection = application(UPLOAD)
    refusal(connection, chunk(b"x"))
    assert connection.events() == [AbortRequest()]


def test_after_a_fault_nothing_more_is_received() -> None:
    connection = Connection(APPLICATION)
    refusal(connection, b"garbage")
    assert heard(connection, GET) == []
    assert not connection.idle


LIMITED: list[tuple[Limits, str]] = [
    (Limits(params_size=52), "limit params_size=52 exceeded (packet at byte 0)"),
    (Limits(params_count=8), "limit params_count=8 exceeded (packet at byte 0)"),
]


@pytest.mark.parametrize(("limits", "message"), LIMITED)
def test_too_many_params_are_refused(limits: Limits, message: str) -> None:
    connection = Connection(APPLICATION, limits=limits)
    error = refusal(connection, GET)
    assert isinstance(error, LimitExceeded)
    assert message in str(error)
    assert said(connection).startswith(head(431, b"Request Header Fields Too Large", TEXT))


def test_as_many_params_as_allowed_are_taken() -> None:
    assert heard(Connection(APPLICATION, limits=Limits(params_size=53, params_count=9)), GET)[1:] == [EndOfRequest()]


# -- the farewell

BAD_REQUEST = head(400, b"Bad Request", TEXT) + answered(b"\3\0\x10400 Bad Request\n\0") + END_AND_CLOSE


@pytest.mark.parametrize("before", [GET, UPLOAD], ids=["complete", "body"])
def test_a_web_server_that_waits_for_a_head_is_told_of_a_fault(before: bytes) -> None:
    connection = application(before)
    refusal(connection, b"garbage")
    assert said(connection) == BAD_REQUEST


def test_a_web_server_whose_request_makes_no_sense_is_told() -> None:
    connection = Connection(APPLICATION)
    refusal(connection, forward(method=0))
    assert connection.events() == []
    assert said(connection) == BAD_REQUEST


def test_a_web_server_whose_head_is_too_long_is_told_so() -> None:
    connection = Connection(APPLICATION)
    assert refusal(connection, packet(b"", length=9000)).status_hint == "431 Request Header Fields Too Large"
    assert string(b"Request Header Fields Too Large") in said(connection)


def test_a_web_server_whose_chunk_is_too_long_is_told() -> None:
    connection = application(UPLOAD)
    assert refusal(connection, packet(b"", length=9000)).status_hint == "400 Bad Request"
    assert said(connection) == BAD_REQUEST


def test_after_the_head_there_is_no_farewell() -> None:
    connection = application(UPLOAD)
    assert said(connection, OK) == OK_PACKET
    refusal(connection, b"garbage")
    assert said(connection) == b""


def test_without_a_request_there_is_no_farewell() -> None:
    connection = Connection(APPLICATION)
    refusal(connection, b"garbage")
    assert said(connection) == b""


def test_an_application_that_still_runs_speaks_to_nobody_after_the_farewell() -> None:
    connection = application(UPLOAD)
    refusal(connection, b"garbage")
    said(connection)
    assert said(connection, BodyWanted(10), OK, ResponseBody(b"late"), EndOfResponse()) == b""


# -- what must not be sent

ILLEGAL_ANSWERS: list[tuple[bytes, list[Event], str]] = [
    (b"", [OK], "Response does not fit <ajp.Connection APPLICATION idle reusable=True>"),
    (b"", [EndOfResponse()], "EndOfResponse does not fit"),
    (b"", [BodyWanted(1)], "BodyWanted does not fit"),
    (GET, [EndOfResponse(), ResponseBody(b"")], "ResponseBody does not fit <ajp.Connection APPLICATION idle"),
    (GET, [ResponseBody(b"x")], "ResponseBody does not fit <ajp.Connection APPLICATION complete reusable=True>"),
    (GET, [OK, OK], "Response does not fit"),
    (GET, [ErrorOutput(b"oops")], "ErrorOutput does not fit"),
    (GET, [Response("200 OK", [("X", "a\r\nb")])], "CR, LF or NUL in the response head"),
    (GET, [Response("200 OK", [("X", "x" * 9000)])], "does not fit into a packet of packet_size=8192: give both ends"),
]


@pytest.mark.parametrize(("data", "events", "message"), ILLEGAL_ANSWERS)
def test_the_application_cannot_send(data: bytes, events: list[Event], message: str) -> None:
    connection = application(data)
    with pytest.raises(LocalProtocolError) as caught:
        said(connection, *events)
    assert message in str(caught.value)
    assert caught.value.status_hint == "500 Internal Server Error"


def test_a_head_that_could_not_be_sent_may_be_replaced() -> None:
    connection = application(GET)
    with pytest.raises(LocalProtocolError):
        connection.send(Response("200 OK", [("X", "x" * 9000)]))
    assert said(connection, OK) == OK_PACKET


ILLEGAL_REQUESTS: list[tuple[list[Event], str]] = [
    ([Request({}), Request({})], "Request does not fit <ajp.Connection WEB_SERVER body reusable=True>"),
    ([Request({}), Ping()], "Ping does not fit"),
    ([RequestBody(b"x")], "RequestBody does not fit <ajp.Connection WEB_SERVER idle reusable=True>"),
    ([AbortRequest()], "AbortRequest does not fit"),
    ([Request({}), EndOfRequest(), RequestBody(b"x")], "RequestBody does not fit <ajp.Connection WEB_SERVER complete"),
    ([Request({}), EndOfRequest(), EndOfRequest()], "EndOfRequest does not fit"),
    ([Request({}), OK], "Response does not fit"),
    ([Request({"HTTP_EURO": "€"})], "a param is not latin-1: '€'"),
    ([Request({"SERVER_PORT": "http"})], "SERVER_PORT is 'http', not a number up to 65535 (\"Integer\")"),
    ([Request({"SERVER_PORT": "65536"})], "SERVER_PORT is '65536', not a number"),
    ([Request({"SERVER_PORT": "9" * 5000})], "SERVER_PORT is '9999"),
    ([Request({"SSL_CIPHER_USEKEYSIZE": "-1"})], "SSL_CIPHER_USEKEYSIZE is '-1', not a number"),
    ([Request({"HTTP_X": "x" * 65535})], "has 65535 bytes, a string less than 65535"),
    ([Request({"HTTP_" + "X" * 40960: ""})], "has more than 40959 bytes"),
]


@pytest.mark.parametrize(("events", "message"), ILLEGAL_REQUESTS)
def test_the_web_server_cannot_send(events: list[Event], message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        said(Connection(WEB_SERVER, packet_size=65536), *events)
    assert message in str(caught.value)


def test_a_request_that_could_not_be_sent_leaves_nothing_behind() -> None:
    connection = Connection(WEB_SERVER)
    with pytest.raises(LocalProtocolError, match=r"a head of 9\d+ bytes does not fit into a packet") as caught:
        connection.send(Request({"HTTP_COOKIE": "x" * 9000}))
    assert caught.value.status_hint == "431 Request Header Fields Too Large"
    assert said(connection) == b""
    assert connection.idle


@pytest.mark.parametrize("size", [0, 8191, 65537])
def test_a_packet_size_that_ajp_does_not_know_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"packet_size is {size}; AJP knows 8192 to 65536 bytes"):
        Connection(APPLICATION, packet_size=size)


# -- state

STATES: list[tuple[Callable[[], Any], str]] = [
    (lambda: Connection(WEB_SERVER), "<ajp.Connection WEB_SERVER idle reusable=True>"),
    (lambda: application(GET), "<ajp.Connection APPLICATION complete reusable=True>"),
    (lambda: application(UPLOAD), "<ajp.Connection APPLICATION body reusable=True>"),
    (lambda: application(of_length(b"1")), "<ajp.Connection APPLICATION body asked reusable=True>"),
    (lambda: web_server(Request({"CONTENT_LENGTH": "1"})), "<ajp.Connection WEB_SERVER body asked reusable=True>"),
    (lambda: Payload(b"abc"), "<Payload 0 of 3 bytes read>"),
]


@pytest.mark.parametrize(("make", "text"), STATES)
def test_the_repr_shows_the_state(make: Callable[[], Any], text: str) -> None:
    assert repr(make()) == text


def test_the_repr_shows_a_broken_connection() -> None:
    connection = application(UPLOAD)
    refusal(connection, b"garbage")
    assert repr(connection) == "<ajp.Connection APPLICATION idle broken reusable=False>"


@pytest.mark.parametrize("data", [b"\x12", UPLOAD, GET])
def test_a_connection_with_something_begun_is_not_idle(data: bytes) -> None:
    assert not application(data).idle


# -- over real sockets

SECRET = {"secret": "sesame"}
BODY = bytes(range(256)) * 1000


@pytest.fixture(params=["buffered", "streamed", "fork"])
def client(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Client]:
    """A client of the application that gives bodies back, with every way a worker has to read them."""
    options: dict[str, Any] = {"streamed": {"limits": Limits(body_buffer=1)}, "fork": {"worker_model": "fork"}}
    server = serve(echo, protocol="ajp", wire_options=SECRET, **options.get(request.param, {}))
    with Client(server.url, wire_options=SECRET) as client:
        yield client


def test_a_body_is_fetched_chunk_by_chunk(client: Client) -> None:
    status, _, body = client.request("POST", "/", body=BODY)
    assert (status, body) == ("200 OK", BODY)


def test_a_body_of_unknown_length_is_fetched_chunk_by_chunk(client: Client) -> None:
    chunked = [("Transfer-Encoding", "chunked")]
    client._params["CONTENT_LENGTH"] = ""
    assert client.request("POST", "/", headers=chunked, body=BODY)[2] == BODY


def test_a_connection_is_kept_for_the_next_request(client: Client) -> None:
    for body in (b"one", b"", b"three"):
        assert client.request("POST", "/", body=body)[2] == body
    assert "idle=1/8" in repr(client)


def test_the_client_pings(client: Client) -> None:
    assert client.ping() == {}


def test_an_application_does_not_run_for_who_does_not_know_the_secret(serve: Serve, log: Log) -> None:
    ran = []
    server = serve(lambda *call: ran.append(call) or hello(*call), protocol="ajp", wire_options=SECRET)
    with Client(server.url) as client:
        assert client.request("GET", "/")[0] == "403 Forbidden"
    assert not ran
    ((level, message),) = log.wait()
    assert level == "warning"
    assert "AJP: the web server sends no secret: tell it ours" in message


def test_headers_too_large_for_a_packet_are_the_visitors_fault(serve: Serve) -> None:
    with Client(serve(hello, protocol="ajp").url) as client:
        cookie = [("Cookie", "x" * 9000)]
        assert client.request("GET", "/", headers=cookie)[0] == "431 Request Header Fields Too Large"


def test_what_was_mended_is_in_the_environ_and_logged_once(serve: Serve, log: Log) -> None:
    def repairs(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [PLAIN])
        return [" ".join(environ["gateway.repairs"]).encode()]

    server = serve(repairs, protocol="ajp")
    for _ in range(2):
        with connect(parse_connect(server.url), timeout=5) as sock:
            sock.sendall(of_length(b"5") + packet(b"hello"))
            assert b"body-length" in sock.recv(4096)
    assert [message.partition(":")[0] for _, message in log.wait()] == ["environ repaired (body-length)"]


def test_an_option_that_ajp_does_not_have_is_refused_before_anybody_connects(serve: Serve) -> None:
    with pytest.raises(ConfigError, match="packet_size is 1; AJP knows"):
        serve(hello, protocol="ajp", wire_options={"packet_size": 1})
