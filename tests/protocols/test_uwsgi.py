"""uwsgi without a socket: bytes in, events out, and back.  What it shares with SCGI is tested there."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    WEB_SERVER,
    EndOfRequest,
    EndOfResponse,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.limits import Limits
from gateway.protocols.uwsgi import Connection, decode_vars, encode_request
from tests.conversation import heard, joined, refusal, said
from tests.corpus_files import Recording, recordings
from tests.pair import Pair

LATIN_1 = st.text(st.characters(max_codepoint=255))
FRAMING = {"CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"}
HTML = [("Content-Type", "text/html")]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n400 Bad Request\n"


def pair(name: bytes, value: bytes) -> bytes:
    """One name and value, written down independently of the code under test."""
    return struct.pack("<H", len(name)) + name + struct.pack("<H", len(value)) + value


def packet(block: bytes, modifier1: int = 0, modifier2: int = 0) -> bytes:
    return struct.pack("<BHB", modifier1, len(block), modifier2) + block


A_B = pair(b"A", b"B")
GET = packet(A_B)
POST = packet(pair(b"CONTENT_LENGTH", b"4"))
POST_PARAMS = {"CONTENT_LENGTH": "4"}


# -- recordings: more of them in test_recordings.py


@pytest.mark.parametrize("recording", recordings("uwsgi"), ids=repr)
def test_a_recorded_request_is_sent_as_it_was_recorded(recording: Recording) -> None:
    params = dict(recording.params)
    assert said(Connection(WEB_SERVER), Request(params, repeated=recording.params)) == recording.raw


# -- packets


@given(st.lists(st.tuples(LATIN_1, LATIN_1)))
def test_pairs_survive_the_round_trip(pairs: list[tuple[str, str]]) -> None:
    params, repeated = decode_vars(encode_request(pairs)[4:])
    assert params == dict(pairs)
    assert list(repeated or params.items()) == pairs


@pytest.mark.parametrize("size", [0, 255, 256, 65531])
def test_a_value_of_any_length_survives_the_round_trip(size: int) -> None:
    assert decode_vars(encode_request([("", "v" * size)])[4:]) == ({"": "v" * size}, ())


def test_sizes_are_little_endian() -> None:
    assert encode_request([("N" * 258, "v")]) == b"\0\x07\x01\0" + b"\x02\x01" + b"N" * 258 + b"\x01\0v"


def test_bytes_beyond_ascii_are_latin_1() -> None:
    assert decode_vars(pair(b"A", b"\xe2\x82\xac\xff")) == ({"A": "\xe2\x82\xac\xff"}, ())


def test_a_name_that_comes_twice_is_told_with_all_pairs_in_order() -> None:
    block = pair(b"A", b"1") + pair(b"B", b"") + pair(b"A", b"2")
    assert decode_vars(block) == ({"A": "2", "B": ""}, [("A", "1"), ("B", ""), ("A", "2")])


def test_a_packet_without_params_is_a_request() -> None:
    assert heard(Connection(APPLICATION), packet(b"")) == [Request({}), EndOfRequest()]


def test_modifier2_says_nothing() -> None:
    assert heard(Connection(APPLICATION), packet(A_B, modifier2=5)) == [Request({"A": "B"}), EndOfRequest()]


@pytest.mark.parametrize("pairs", [[("A", "v" * 65531)], [("A", "v" * 70000)], [("A" * 255, "")] * 255])
def test_params_that_no_packet_takes_cannot_be_sent(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(LocalProtocolError, match=r"uwsgi: the params have \d+ bytes, a packet takes 65535") as caught:
        encode_request(pairs)
    assert caught.value.status_hint == "431 Request Header Fields Too Large"


def test_a_param_that_is_not_latin_1_cannot_be_sent() -> None:
    with pytest.raises(LocalProtocolError, match="a param holds '€', which is not latin-1"):
        encode_request([("A", "€")])


# -- requests that break the rules


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (packet(A_B, 5), "modifier1 is 5, and only requests, modifier1 0, are served (at byte 0)"),
        (b"\x64", "modifier1 is 100, and only requests"),
        (b"GET / HTTP/1.1\r\n", "modifier1 is 71, and only requests"),
        (packet(b"\1"), "a name or value claims more than its packet of 1 bytes has (at byte 4)"),
        (packet(b"\1\0"), "a name or value claims more than its packet of 2 bytes has"),
        (packet(b"\1\0A"), "a name or value claims more than its packet of 3 bytes has"),
        (packet(b"\1\0A\1"), "a name or value claims more than its packet of 4 bytes has"),
        (packet(b"\1\0A\1\0"), "a name or value claims more than its packet of 5 bytes has"),
        (packet(b"\2\0A\1\0B"), "a name or value claims more than its packet of 6 bytes has"),
        (packet(b"\1\0A\2\0B"), "a name or value claims more than its packet of 6 bytes has"),
        (packet(b"\xff\xffA\xff\xffB"), "a name or value claims more than its packet of 6 bytes has"),
        (packet(A_B + b"\0"), "a name or value claims more than its packet of 7 bytes has"),
        (packet(pair(b"CONTENT_LENGTH", b"four")), "CONTENT_LENGTH is 'four', not a number of bytes"),
        (packet(pair(b"CONTENT_LENGTH", b"-1")), "CONTENT_LENGTH is '-1', not a number of bytes"),
        (packet(POST[4:] + pair(b"CONTENT_LENGTH", b"5")), "there are two different CONTENT_LENGTH"),
    ],
)
def test_a_request_is_refused_with_a_400(data: bytes, message: str) -> None:
    connection = Connection(APPLICATION)
    error = refusal(connection, data)
    assert str(error).startswith(f"uwsgi: {message}")
    assert said(connection) == BAD_REQUEST


def test_a_chunked_body_without_a_length_is_refused_with_a_411() -> None:
    connection = Connection(APPLICATION)
    error = refusal(connection, packet(pair(b"HTTP_TRANSFER_ENCODING", b"chunked")))
    assert str(error) == "uwsgi: a chunked body, and no CONTENT_LENGTH (at byte 4)"
    assert said(connection).startswith(b"HTTP/1.1 411 Length Required\r\n")


def test_params_longer_than_the_limit_are_refused_by_their_length() -> None:
    connection = Connection(APPLICATION, limits=Limits(params_size=5))
    error = refusal(connection, GET[:4])
    assert isinstance(error, LimitExceeded)
    assert str(error) == "uwsgi: limit params_size=5 exceeded (at byte 0)"
    assert said(connection).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_more_params_than_the_limit_are_refused() -> None:
    error = refusal(Connection(APPLICATION, limits=Limits(params_count=1)), packet(A_B + A_B))
    assert str(error) == "uwsgi: limit params_count=1 exceeded (at byte 4)"


@pytest.mark.parametrize("at", range(1, len(GET)))
def test_a_packet_cut_short_is_refused(at: int) -> None:
    connection = Connection(APPLICATION)
    assert heard(connection, GET[:at]) == []
    with pytest.raises(RemoteProtocolError, match="closed the connection before the head of its request was whole"):
        connection.receive_eof()


# -- bodies


@pytest.mark.parametrize("length", [b"", b"0"])
def test_a_request_without_a_body_is_whole_with_its_packet(length: bytes) -> None:
    params = {"CONTENT_LENGTH": length.decode()}
    assert heard(Connection(APPLICATION), packet(pair(b"CONTENT_LENGTH", length))) == [Request(params), EndOfRequest()]


def test_a_body_ends_where_content_length_says() -> None:
    assert heard(Connection(APPLICATION), POST + b"bo", b"dy") == [
        Request(POST_PARAMS),
        RequestBody(b"bo"),
        RequestBody(b"dy"),
        EndOfRequest(),
    ]


@pytest.mark.parametrize("lengths", [(b"2", b"2"), (b"2", b""), (b"", b"2")])
def test_content_length_may_come_twice_if_it_says_the_same(lengths: tuple[bytes, bytes]) -> None:
    block = b"".join(pair(b"CONTENT_LENGTH", length) for length in lengths)
    assert heard(Connection(APPLICATION), packet(block) + b"ab")[1:] == [RequestBody(b"ab"), EndOfRequest()]


@given(
    st.dictionaries(LATIN_1.filter(lambda name: name not in FRAMING), LATIN_1),
    st.lists(st.binary(min_size=1, max_size=100_000), max_size=3),
)
def test_a_request_survives_the_round_trip(params: dict[str, str], body: list[bytes]) -> None:
    params = params | {"CONTENT_LENGTH": str(sum(map(len, body)))}
    both = Pair(Connection(APPLICATION), Connection(WEB_SERVER))
    events = both.ask(Request(params), *(RequestBody(data) for data in body), EndOfRequest())
    whole = b"".join(body)
    assert joined(events) == [Request(params), *[RequestBody(whole)] * bool(whole), EndOfRequest()]


# -- responses


def test_a_response_begins_with_an_http_status_line() -> None:
    connection = Connection(APPLICATION)
    heard(connection, GET)
    assert said(connection, Response("200 OK", HTML), ResponseBody(b"page"), EndOfResponse()) == HEAD + b"page"


@given(st.binary(), st.integers(0, 60))
def test_a_response_survives_the_round_trip_cut_anywhere(body: bytes, at: int) -> None:
    connection = Connection(WEB_SERVER)
    said(connection, Request({"A": "B"}), EndOfRequest())
    data = HEAD + body
    head, *rest = heard(connection, data[:at], data[at:])
    connection.receive_eof()
    assert (head, connection.events()) == (Response("200 OK", HTML), [EndOfResponse()])
    assert b"".join(event.data for event in rest if isinstance(event, ResponseBody)) == body


# -- state


def test_the_repr_shows_the_state() -> None:
    connection = Connection(APPLICATION)
    heard(connection, POST)
    assert repr(connection) == "<uwsgi.Connection APPLICATION request=body response=head>"
