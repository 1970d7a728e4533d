"""FastCGI without a socket: bytes in, events out, and back; a connected pair of both sides."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    AUTHORIZER,
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
    Request,
    RequestBody,
    Response,
    ResponseBody,
    Side,
)
from gateway.limits import Limits
from gateway.protocols.fastcgi import (
    ABORT_REQUEST,
    BEGIN_REQUEST,
    DATA,
    END_REQUEST,
    GET_VALUES,
    GET_VALUES_RESULT,
    PARAMS,
    STDERR,
    STDIN,
    STDOUT,
    UNKNOWN_TYPE,
    Connection,
    decode_pairs,
    encode_pairs,
    encode_record,
)
from tests.conversation import bytewise, heard, joined, refusal, said
from tests.corpus_files import Recording, recordings
from tests.pair import Pair

LATIN_1 = st.text(st.characters(max_codepoint=255))
HTML = [("Content-Type", "text/html")]
HEAD = b"Status: 200 OK\r\nContent-Type: text/html\r\n\r\n"
BAD_REQUEST = b"Status: 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n400 Bad Request\n"


def record(kind: int, content: bytes = b"", request_id: int = 1, *, padding: int = 0) -> bytes:
    """One record, written down independently of the code under test."""
    return struct.pack(">BBHHBB", 1, kind, request_id, len(content), padding, 0) + content + b"p" * padding


def begin(role: int = RESPONDER, *, flags: int = 1, request_id: int = 1) -> bytes:
    return record(BEGIN_REQUEST, bytes((0, role, flags, 0, 0, 0, 0, 0)), request_id)


def end(app_status: int = 0, protocol_status: int = 0, *, request_id: int = 1) -> bytes:
    return record(END_REQUEST, struct.pack(">IB3x", app_status, protocol_status), request_id)


PAIR_A_B = b"\1\1AB"
REQUEST = begin() + record(PARAMS, PAIR_A_B) + record(PARAMS)
GET = REQUEST + record(STDIN)
MALFORMED = b"\x02"


def unpadded(data: bytes) -> list[tuple[int, int, bytes]]:
    """The records of some bytes: type, request id, content."""
    records, at = [], 0
    while at < len(data):
        version, kind, request_id, length, padding = struct.unpack_from(">BBHHBx", data, at)
        assert version == 1
        records.append((kind, request_id, data[at + 8 : at + 8 + length]))
        at += 8 + length + padding
    return records


def application(*data: bytes, **options: object) -> Connection:
    """The APPLICATION side after some bytes from a web server."""
    connection = Connection(APPLICATION, **options)  # type: ignore[arg-type]
    heard(connection, *data)
    return connection


def web_server(*events: Event, **options: object) -> Connection:
    """The WEB_SERVER side after some events were sent."""
    connection = Connection(WEB_SERVER, **options)  # type: ignore[arg-type]
    said(connection, *events)
    return connection


def pair(**options: object) -> Pair:
    return Pair(Connection(APPLICATION, **options), Connection(WEB_SERVER))  # type: ignore[arg-type]


# -- recordings: more of them in test_recordings.py


@pytest.mark.parametrize("recording", recordings("fastcgi"), ids=repr)
def test_a_recorded_request_tells_whether_its_connection_is_kept(recording: Recording) -> None:
    connection = Connection(APPLICATION)
    heard(connection, recording.raw)
    assert connection.reusable == recording.keep_conn


# -- pairs and records


@given(st.lists(st.tuples(LATIN_1, LATIN_1)))
def test_pairs_survive_the_round_trip(pairs: list[tuple[str, str]]) -> None:
    params, repeated = decode_pairs(encode_pairs(pairs))
    assert params == dict(pairs)
    assert list(repeated or params.items()) == pairs


@pytest.mark.parametrize("size", [0, 1, 127, 128, 65535, 70000])
def test_a_pair_of_any_length_survives_the_round_trip(size: int) -> None:
    pairs = [("N" * size, "v"), ("n", "v" * size)]
    assert decode_pairs(encode_pairs(pairs)) == (dict(pairs), ())


def test_a_length_of_127_takes_one_byte_and_one_of_128_takes_four() -> None:
    assert encode_pairs([("N" * 127, "v" * 128)]) == b"\x7f\x80\x00\x00\x80" + b"N" * 127 + b"v" * 128


def test_a_short_length_written_in_four_bytes_is_understood() -> None:
    assert decode_pairs(b"\x80\x00\x00\x01\x80\x00\x00\x02ABC") == ({"A": "BC"}, ())


def test_bytes_beyond_ascii_are_latin_1() -> None:
    assert decode_pairs(b"\x01\x04A\xe2\x82\xac\xff") == ({"A": "\xe2\x82\xac\xff"}, ())


@pytest.mark.parametrize("value", [b"v", b"\xff"])
def test_a_name_that_comes_twice_is_told_with_all_pairs_in_order(value: bytes) -> None:
    text = value.decode("latin-1")
    block = b"\1\1A" + value + b"\1\0B" + b"\1\0A"
    assert decode_pairs(block) == ({"A": "", "B": ""}, [("A", text), ("B", ""), ("A", "")])


@pytest.mark.parametrize(
    "block",
    [
        b"\1",
        b"\5\1AB",
        b"\1\5AB",
        b"\1\1ABC",
        b"\x80",
        b"\x80\0\0",
        b"\x80\0\0\1",
        b"\x80\0\0\1\1A",
        b"\1\x80\0\0\5A\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xffA",
    ],
)  # fmt: skip
def test_a_length_that_points_past_the_block_is_refused(block: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=rf"claims more than its block of {len(block)} bytes has \(§3.4\)"):
        decode_pairs(block)


def test_a_param_that_is_not_latin_1_cannot_be_sent() -> None:
    with pytest.raises(LocalProtocolError, match="a param holds '€', which is not latin-1"):
        encode_pairs([("A", "€")])


@given(st.binary(max_size=100))
def test_a_record_is_padded_to_eight_bytes(content: bytes) -> None:
    data = encode_record(STDOUT, 7, content)
    assert len(data) % 8 == 0
    assert unpadded(data) == [(STDOUT, 7, content)]


def test_the_padding_of_a_record_is_skipped() -> None:
    padded = begin() + record(PARAMS, PAIR_A_B, padding=255) + record(PARAMS, padding=1) + record(STDIN, padding=7)
    assert heard(Connection(APPLICATION), padded) == [Request({"A": "B"}, 1), EndOfRequest(1)]


# -- requests


@given(
    st.dictionaries(LATIN_1, LATIN_1),
    st.lists(st.binary(min_size=1, max_size=200_000), max_size=3),
    st.sampled_from([RESPONDER, FILTER]),
)
def test_a_request_survives_the_round_trip(params: dict[str, str], body: list[bytes], role: int) -> None:
    request = [Request(params, 1, role), *(RequestBody(data, 1) for data in body), EndOfRequest(1)]
    events = pair().ask(*request)
    assert joined(events) == [Request(params, 1, role), *[RequestBody(b"".join(body), 1)] * any(body), EndOfRequest(1)]


def test_params_of_more_than_one_record_are_put_together() -> None:
    params = {"A": "x" * 200_000}
    assert pair().ask(Request(params, 1), EndOfRequest(1)) == [Request(params, 1), EndOfRequest(1)]


def test_a_pair_may_be_cut_anywhere_by_the_end_of_a_record() -> None:
    block = encode_pairs([("NAME", "v" * 200), ("N2", "")])
    for at in range(1, len(block)):
        cut = begin() + record(PARAMS, block[:at]) + record(PARAMS, block[at:]) + record(PARAMS)
        assert heard(Connection(APPLICATION), cut) == [Request({"NAME": "v" * 200, "N2": ""}, 1)]


@pytest.mark.parametrize(
    ("block", "limits"),
    [(b"\x09\0A", Limits()), (PAIR_A_B * 2, Limits(params_size=5)), (PAIR_A_B * 2, Limits(params_count=1))],
    ids=["malformed", "too large", "too many"],
)
def test_a_bad_request_that_comes_at_once_is_refused_as_in_pieces(block: bytes, limits: Limits) -> None:
    records = begin() + record(PARAMS, block) + record(PARAMS) + record(STDIN)
    messages = []
    for pieces in ([records], [records[at : at + 1] for at in range(len(records))]):
        connection = Connection(APPLICATION, limits=limits)
        with pytest.raises(RemoteProtocolError) as caught:
            for piece in pieces:
                heard(connection, piece)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_repeated_params_are_sent_as_they_came() -> None:
    request = Request({"A": "2"}, 1, repeated=[("A", "1"), ("A", "2")])
    assert pair().ask(request) == [request]


def test_a_body_ends_with_an_empty_stdin() -> None:
    data = said(Connection(WEB_SERVER), Request({"A": "B"}, 1), RequestBody(b"body", 1), EndOfRequest(1))
    assert unpadded(data) == [
        (BEGIN_REQUEST, 1, bytes((0, 1, 1, 0, 0, 0, 0, 0))),
        (PARAMS, 1, PAIR_A_B),
        (PARAMS, 1, b""),
        (STDIN, 1, b"body"),
        (STDIN, 1, b""),
    ]


def test_an_empty_piece_of_a_body_does_not_end_it() -> None:
    assert said(web_server(Request({}, 1)), RequestBody(b"", 1)) == b""


def test_a_second_end_of_stdin_is_ignored() -> None:
    assert heard(application(GET), record(STDIN)) == []


def test_the_web_server_asks_to_close_the_connection_after_the_request() -> None:
    (first, *_) = unpadded(said(Connection(WEB_SERVER, keep_conn=False), Request({}, 1)))
    assert first == (BEGIN_REQUEST, 1, bytes((0, 1, 0, 0, 0, 0, 0, 0)))


@pytest.mark.parametrize("flags", [0, 1])
def test_both_sides_know_whether_the_connection_is_kept(flags: int) -> None:
    both = Pair(Connection(APPLICATION), Connection(WEB_SERVER, keep_conn=bool(flags)))
    both.ask(Request({}, 1), EndOfRequest(1))
    both.answer(Response("200 OK", HTML, 1), EndOfResponse(1))
    assert both.application.reusable == both.web_server.reusable == bool(flags)


def test_a_kept_connection_carries_one_request_after_the_other() -> None:
    both = pair()
    for number in "123":
        assert both.ask(Request({"N": number}, 1), EndOfRequest(1)) == [Request({"N": number}, 1), EndOfRequest(1)]
        assert both.answer(Response(f"20{number} OK", [], 1), EndOfResponse(1))[0] == Response(f"20{number} OK", [], 1)
    assert both.application.idle
    assert both.application.reusable


# -- roles


def test_an_authorizer_is_asked_without_a_body() -> None:
    request = [Request({"A": "B"}, 1, AUTHORIZER), EndOfRequest(1)]
    data = said(Connection(WEB_SERVER), *request)
    assert STDIN not in [kind for kind, _, _ in unpadded(data)]
    assert heard(Connection(APPLICATION), data) == request


def test_the_end_of_an_authorizers_stdin_is_ignored() -> None:
    authorizer = application(begin(AUTHORIZER) + record(PARAMS))
    assert heard(authorizer, record(STDIN)) == []


def test_a_filter_gets_its_data_after_its_body() -> None:
    request = [Request({}, 1, FILTER), RequestBody(b"body", 1), FilterData(b"file", 1), EndOfRequest(1)]
    assert pair().ask(*request) == request


def test_the_data_of_a_filter_end_its_body() -> None:
    data = said(web_server(Request({}, 1, FILTER)), FilterData(b"one", 1), FilterData(b"two", 1), EndOfRequest(1))
    assert unpadded(data) == [(STDIN, 1, b""), (DATA, 1, b"one"), (DATA, 1, b"two"), (DATA, 1, b"")]


def test_a_filter_may_have_neither_body_nor_data() -> None:
    request = [Request({}, 1, FILTER), EndOfRequest(1)]
    assert pair().ask(*request) == request


# -- responses


@given(st.lists(st.binary(max_size=200_000), max_size=3))
def test_a_response_survives_the_round_trip(body: list[bytes]) -> None:
    both = pair()
    both.ask(Request({}, 1), EndOfRequest(1))
    answer = [Response("200 OK", HTML, 1), *(ResponseBody(data, 1) for data in body), EndOfResponse(1)]
    head, *rest, last = both.answer(*answer)
    assert (head, last) == (answer[0], answer[-1])
    assert b"".join(event.data for event in rest if isinstance(event, ResponseBody)) == b"".join(body)


def test_small_pieces_of_a_response_share_a_record() -> None:
    data = said(application(GET), Response("200 OK", HTML, 1), ResponseBody(b"a", 1), ResponseBody(b"b", 1))
    assert unpadded(data) == [(STDOUT, 1, HEAD + b"ab")]


def test_a_long_response_is_cut_into_records_that_need_no_padding() -> None:
    connection = application(GET)
    said(connection, Response("200 OK", HTML, 1))
    data = said(connection, ResponseBody(b"x" * 200_000, 1))
    assert [len(content) for _, _, content in unpadded(data)] == [65528, 65528, 65528, 3416]


def test_a_response_ends_with_an_empty_stdout_and_end_request() -> None:
    connection = application(GET)
    said(connection, Response("200 OK", HTML, 1))
    assert unpadded(said(connection, EndOfResponse(1))) == [(STDOUT, 1, b""), (END_REQUEST, 1, bytes(8))]


def test_any_other_request_id_ends_in_the_same_way() -> None:
    connection = application(begin(request_id=300), record(PARAMS, b"", 300), record(STDIN, b"", 300))
    assert unpadded(said(connection, EndOfResponse(300))) == [(STDOUT, 300, b""), (END_REQUEST, 300, bytes(8))]


def test_error_output_follows_what_was_said_before_and_its_stream_is_ended() -> None:
    data = said(application(GET), Response("200 OK", HTML, 1), ErrorOutput(b"oops", 1), EndOfResponse(1))
    assert unpadded(data) == [
        (STDOUT, 1, HEAD),
        (STDERR, 1, b"oops"),
        (STDERR, 1, b""),
        (STDOUT, 1, b""),
        (END_REQUEST, 1, bytes(8)),
    ]


def test_error_output_reaches_the_web_server() -> None:
    both = pair()
    both.ask(Request({}, 1), EndOfRequest(1))
    assert both.answer(ErrorOutput(b"oops", 1)) == [ErrorOutput(b"oops", 1)]
    assert heard(both.web_server, record(STDERR)) == []  # type: ignore[arg-type]


def test_wanting_more_of_the_body_says_nothing() -> None:
    assert said(application(REQUEST), BodyWanted(100, 1)) == b""


LIMIT = Limits(body_buffer=1000)


@pytest.mark.parametrize(
    ("announced", "sent"),
    [
        ({}, 0),  # the end of a GET comes in a record of its own
        ({"CONTENT_LENGTH": ""}, 0),
        ({"CONTENT_LENGTH": "1000"}, 0),
        ({"CONTENT_LENGTH": "1001"}, 1),
        ({"CONTENT_LENGTH": "5000"}, 5000),
    ],
)
def test_what_little_was_not_read_of_a_body_is_ignored(announced: dict[str, str], sent: int) -> None:
    connection = answered_before_the_end(announced, sent)
    assert connection.reusable
    rest = record(STDIN, b"x" * 500) + record(STDIN, b"x" * 500) + record(STDIN)
    assert heard(connection, rest + GET) == [Request({"A": "B"}, 1), EndOfRequest(1)]
    assert connection.reusable


@pytest.mark.parametrize(
    ("announced", "sent"),
    [
        ({"CONTENT_LENGTH": "1001"}, 0),
        ({"CONTENT_LENGTH": "5000"}, 3999),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 0),
        ({"CONTENT_LENGTH": "1" * 19}, 0),
        ({"CONTENT_LENGTH": "many"}, 0),
    ],
)
def test_a_long_body_that_was_not_read_ends_the_connection(announced: dict[str, str], sent: int) -> None:
    assert not answered_before_the_end(announced, sent).reusable


def answered_before_the_end(announced: dict[str, str], sent: int) -> Connection:
    """The APPLICATION side after an answer to a request whose STDIN did not end yet."""
    params = record(PARAMS, PAIR_A_B + encode_pairs(announced.items())) + record(PARAMS)
    connection = application(begin() + params, record(STDIN, b"x" * sent) if sent else b"", limits=LIMIT)
    said(connection, Response("413 Content Too Large", [], 1), EndOfResponse(1))
    assert connection.idle
    return connection


def test_a_web_server_may_hang_up_in_the_middle_of_what_was_not_read() -> None:
    connection = answered_before_the_end({"CONTENT_LENGTH": "900"}, 0)
    assert heard(connection, record(STDIN, b"x" * 900)[:100]) == []
    connection.receive_eof()
    assert connection.events() == []


def test_the_web_server_keeps_no_connection_on_which_its_body_was_not_read() -> None:
    connection = web_server(Request({}, 1))
    assert heard(connection, record(STDOUT, HEAD), end())[-1] == EndOfResponse(1)
    assert not connection.reusable


def test_an_app_status_before_the_head_is_told() -> None:
    assert unpadded(said(application(GET), EndOfResponse(1, 7))) == [
        (STDOUT, 1, b""),
        (END_REQUEST, 1, b"\0\0\0\7\0\0\0\0"),
    ]


def test_a_response_cut_short_ends_in_what_no_web_server_takes_for_an_end() -> None:
    connection = application(GET)
    data = said(connection, Response("200 OK", HTML, 1), ResponseBody(b"half", 1), EndOfResponse(1, 1))
    assert unpadded(data) == [(STDOUT, 1, HEAD + b"half"), (ABORT_REQUEST, 1, b"")]
    assert not connection.reusable


def test_a_multiplexed_response_cut_short_harms_no_other() -> None:
    connection = application(GET, begin(request_id=2), multiplex=True)
    data = said(connection, Response("200 OK", HTML, 1), EndOfResponse(1, -1))
    assert unpadded(data)[-1] == (END_REQUEST, 1, b"\xff\xff\xff\xff\0\0\0\0")
    assert connection.reusable


def test_a_response_cut_short_while_nobody_shares_the_connection_is_seen_to_be() -> None:
    connection = application(GET, multiplex=True)
    data = said(connection, Response("200 OK", HTML, 1), EndOfResponse(1, -1))
    assert unpadded(data)[-1] == (ABORT_REQUEST, 1, b"")
    assert not connection.reusable


def test_the_web_server_is_told_the_app_status() -> None:
    assert heard(web_server(Request({}, 1)), record(STDOUT, HEAD), end(42)) == [
        Response("200 OK", HTML, 1),
        EndOfResponse(1, 42),
    ]


def test_an_end_without_a_head_is_refused() -> None:
    error = refusal(web_server(Request({}, 1)), end())
    assert str(error).startswith("FastCGI: the response is empty")
    assert error.status_hint == "502 Bad Gateway"


def test_a_connection_closed_before_the_end_is_refused() -> None:
    connection = web_server(Request({}, 1))
    heard(connection, record(STDOUT, HEAD))
    with pytest.raises(RemoteProtocolError, match="closed the connection before END_REQUEST"):
        connection.receive_eof()


def test_a_connection_closed_between_requests_is_no_error() -> None:
    connection = web_server(Request({}, 1), EndOfRequest(1))
    heard(connection, record(STDOUT, HEAD), end())
    connection.receive_eof()
    assert connection.events() == []
    assert not connection.reusable


# -- several requests at once


@given(st.lists(st.integers(1, 9), unique=True, min_size=2), st.randoms(use_true_random=False))
def test_interleaved_requests_are_told_apart(numbers: list[int], random: object) -> None:
    told = {
        number: [Request({"N": str(number)}, number), RequestBody(bytes((number,)), number), EndOfRequest(number)]
        for number in numbers
    }
    order = [number for number in numbers for _ in range(3)]
    random.shuffle(order)  # type: ignore[attr-defined]
    waiting = {number: list(events) for number, events in told.items()}
    events = pair(multiplex=True).ask(*(waiting[number].pop(0) for number in order))
    assert {number: [event for event in events if event.request_id == number] for number in numbers} == told


def test_interleaved_responses_are_told_apart() -> None:
    both = pair(multiplex=True)
    both.ask(Request({}, 1), EndOfRequest(1), Request({}, 2), EndOfRequest(2))
    ones = [Response("200 OK", [], 1), ResponseBody(b"one", 1), EndOfResponse(1)]
    twos = [Response("404 Not Found", [], 2), ResponseBody(b"two", 2), EndOfResponse(2)]
    mixed = [event for both in zip(ones, twos, strict=True) for event in both]
    assert both.answer(*mixed) == mixed


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({}, "CANT_MPX_CONN"),
        ({"multiplex": True, "limits": Limits(requests_per_connection=1)}, "CANT_MPX_CONN"),
        ({"multiplex": True, "limits": Limits(requests_per_connection=2)}, "OVERLOADED"),
    ],
)
def test_a_request_too_many_is_refused(options: dict[str, object], refusal: str) -> None:
    both = pair(**options)
    both.ask(*(Request({}, number) for number in (1, 2, 3)))
    assert EndOfResponse(3, 0, refusal) in both.answer()


def test_a_request_after_a_whole_one_waits_for_its_turn() -> None:
    connection = application(GET)
    early = begin(request_id=3) + record(PARAMS, PAIR_A_B, 3) + record(PARAMS, b"", 3) + record(STDIN, b"", 3)
    assert heard(connection, early) == []
    assert (END_REQUEST, 3) not in [kind[:2] for kind in unpadded(said(connection, Response("200 OK", HTML, 1)))]
    said(connection, EndOfResponse(1))
    assert connection.events() == [Request({"A": "B"}, 3), EndOfRequest(3)]


def test_what_follows_of_a_refused_request_is_ignored() -> None:
    both = pair()
    both.ask(Request({}, 1))
    assert both.ask(Request({}, 2), RequestBody(b"lost", 2), EndOfRequest(2)) == []


def test_an_unknown_role_is_refused() -> None:
    connection = application(begin(9, flags=1))
    assert unpadded(said(connection)) == [(END_REQUEST, 1, b"\0\0\0\0\3\0\0\0")]
    assert connection.idle


def test_the_web_server_hears_of_an_unknown_role() -> None:
    assert heard(web_server(Request({}, 1)), end(0, 3)) == [EndOfResponse(1, 0, "UNKNOWN_ROLE")]


# -- aborts


def test_an_abort_reaches_the_application() -> None:
    both = pair()
    both.ask(Request({}, 1))
    assert both.ask(AbortRequest(1)) == [AbortRequest(1)]


def test_an_abort_reaches_the_application_after_the_request_was_complete() -> None:
    assert heard(application(GET), record(ABORT_REQUEST)) == [AbortRequest(1)]


def test_an_abort_before_the_params_are_whole_is_answered_at_once() -> None:
    connection = application(begin())
    assert heard(connection, record(ABORT_REQUEST)) == []
    assert unpadded(said(connection)) == [(END_REQUEST, 1, bytes(8))]


def test_an_abort_of_a_request_that_is_over_is_ignored() -> None:
    assert heard(Connection(APPLICATION), record(ABORT_REQUEST)) == []


def test_a_connection_that_ends_within_a_body_is_an_abort() -> None:
    connection = application(REQUEST)
    connection.receive_eof()
    assert connection.events() == [AbortRequest(1)]


def test_a_connection_half_closed_after_a_whole_request_is_answered() -> None:
    connection = application(GET)
    connection.receive_eof()
    assert connection.events() == []
    assert said(connection, Response("200 OK", HTML, 1), EndOfResponse(1))
    assert not connection.reusable


def test_bytes_that_came_together_with_the_end_are_not_lost() -> None:
    connection = Connection(APPLICATION)
    connection.receive_data(GET)
    connection.receive_eof()
    assert connection.events() == [Request({"A": "B"}, 1), EndOfRequest(1)]


# -- management records


def test_an_application_tells_about_itself() -> None:
    both = pair(limits=Limits(connections=50))
    both.ask(Ping())
    assert both.answer() == [Pong({"FCGI_MAX_CONNS": "50", "FCGI_MAX_REQS": "1", "FCGI_MPXS_CONNS": "0"})]


def test_an_application_that_multiplexes_says_so() -> None:
    both = pair(multiplex=True, limits=Limits(requests_per_connection=20))
    both.ask(Ping())
    (pong,) = both.answer()
    assert isinstance(pong, Pong)
    assert (pong.values["FCGI_MAX_REQS"], pong.values["FCGI_MPXS_CONNS"]) == ("20", "1")


def test_only_what_was_asked_for_and_is_known_is_told() -> None:
    connection = application(record(GET_VALUES, b"\x0f\0FCGI_MPXS_CONNS\5\0OTHER", 0))
    assert unpadded(said(connection)) == [(GET_VALUES_RESULT, 0, b"\x0f\1FCGI_MPXS_CONNS0")]


def test_an_unknown_management_record_is_answered() -> None:
    connection = application(record(200, b"what?", 0))
    assert unpadded(said(connection)) == [(UNKNOWN_TYPE, 0, bytes((200, 0, 0, 0, 0, 0, 0, 0)))]


def test_an_application_that_does_not_know_get_values_is_alive() -> None:
    assert heard(web_server(Ping()), record(UNKNOWN_TYPE, bytes((9, 0, 0, 0, 0, 0, 0, 0)), 0)) == [Pong({})]


# -- bad input

BAD: list[tuple[str, bytes, str]] = [
    ("a wrong version", b"\x02" + begin()[1:], "record version is 2, not 1 (§3.3) (record at byte 0)"),
    ("a wrong version, nothing else yet", b"G", "record version is 71, not 1 (§3.3) (record at byte 0)"),
    ("a later wrong version", begin() + b"\0", "record version is 0, not 1 (§3.3) (record at byte 16)"),
    (
        "a record longer than it says",
        begin() + record(PARAMS, PAIR_A_B)[:5] + b"\2" + record(PARAMS, PAIR_A_B)[6:],
        "record version is 65, not 1 (§3.3) (record at byte 26)",
    ),
    (
        "a record shorter than it says",
        begin() + record(PARAMS, PAIR_A_B)[:5] + b"\x08" + record(PARAMS, PAIR_A_B)[6:] + record(PARAMS),
        "record version is 0, not 1 (§3.3) (record at byte 32)",
    ),
    ("record type 0", record(0), "record type 0 for request 1 is not for the APPLICATION side (§8) (record at byte 0)"),
    ("an unknown type", GET + record(99), "record type 99 for request 1 is not for the APPLICATION side"),
    ("the other side's record", record(STDOUT, b"x"), "record type STDOUT for request 1 is not for the APPLICATION"),
    ("the other side's management", record(GET_VALUES_RESULT, b"", 0), "GET_VALUES_RESULT for request 0 is not for"),
    ("BEGIN_REQUEST of 7 bytes", record(BEGIN_REQUEST, bytes(7)), "BEGIN_REQUEST has 7 bytes, not 8 (§5.1)"),
    ("request id 0", begin(request_id=0), "request id 0, which is in use or reserved (§3.3) (record at byte 0)"),
    ("an id in use", begin() + begin(), "request id 1, which is in use or reserved (§3.3) (record at byte 16)"),
    ("PARAMS after their end", GET + record(PARAMS, PAIR_A_B), "PARAMS for request 1, which expects nothing (§6)"),
    ("PARAMS in the body", REQUEST + record(PARAMS, PAIR_A_B), "PARAMS for request 1, which expects STDIN (§6)"),
    ("STDIN before the end of PARAMS", begin() + record(STDIN, b"x"), "STDIN for request 1, which expects PARAMS (§6)"),
    ("the end of STDIN before that of PARAMS", begin() + record(STDIN), "STDIN for request 1, which expects PARAMS"),
    ("STDIN after its end", GET + record(STDIN, b"x"), "STDIN for request 1, which expects nothing (§6)"),
    ("STDIN of an authorizer", begin(2) + record(PARAMS) + record(STDIN, b"x"), "STDIN for request 1, which expects"),
    ("DATA of a responder", REQUEST + record(DATA, b"x"), "DATA for request 1, which expects STDIN (§6)"),
    (
        "DATA before the end of STDIN",
        begin(3) + record(PARAMS) + record(DATA),
        "DATA for request 1, which expects STDIN",
    ),
    (
        "a name longer than its block",
        begin() + record(PARAMS, b"\x10\0A") + record(PARAMS),
        "a name or value claims more than its block of 3 bytes has (§3.4) (record at byte 27)",
    ),
    (
        "a truncated length",
        begin() + record(PARAMS, b"\x80\0") + record(PARAMS),
        "a name or value claims more than its block of 2 bytes has (§3.4) (record at byte 26)",
    ),
    ("bad pairs in GET_VALUES", record(GET_VALUES, b"\x05", 0), "claims more than its block of 1 bytes has (§3.4)"),
]


@pytest.mark.parametrize(("data", "message"), [(data, text) for _, data, text in BAD], ids=[case[0] for case in BAD])
def test_the_application_refuses(data: bytes, message: str) -> None:
    connection = Connection(APPLICATION)
    error = refusal(connection, data)
    assert str(error).startswith("FastCGI: ")
    assert message in str(error)
    assert not connection.reusable


@pytest.mark.parametrize("data", [case[1] for case in BAD], ids=[case[0] for case in BAD])
def test_a_fault_is_found_byte_by_byte_as_well(data: bytes) -> None:
    whole = refusal(Connection(APPLICATION), data)
    assert str(refusal(Connection(APPLICATION), *bytewise(data))) == str(whole)


SOUND = {
    APPLICATION: GET + record(GET_VALUES, b"\x0f\0FCGI_MPXS_CONNS", 0) + begin(3, request_id=2) + record(ABORT_REQUEST),
    WEB_SERVER: record(STDOUT, HEAD + b"page") + record(STDERR, b"oops") + record(STDERR) + record(STDOUT) + end(),
}


def story(side: Side, data: bytes, *, step: int) -> tuple[list[Event], str, bytes]:
    """All that comes of some bytes and their end, fed in pieces: events, the error, and what is said in return."""
    connection = application() if side is APPLICATION else web_server(Request({}, 1))
    error, events = "", []
    try:
        for at in range(0, len(data), step):
            events += heard(connection, data[at : at + step])
        connection.receive_eof()
    except RemoteProtocolError as caught:
        error = str(caught)
    return [*events, *connection.events()], error, said(connection)


@given(
    st.sampled_from([APPLICATION, WEB_SERVER]),
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 2), st.binary(max_size=3)), min_size=1, max_size=3),
    st.integers(1, 30),
)
def test_damaged_bytes_mean_the_same_however_they_are_cut(
    side: Side, damages: list[tuple[int, int, bytes]], step: int
) -> None:
    data = SOUND[side]
    for at, lost, added in damages:
        data = data[:at] + added + data[at + lost :]
    assert story(side, data, step=step) == story(side, data, step=len(data))


WORSE: list[tuple[bytes, str]] = [
    (record(STDIN, b"x"), "record type STDIN for request 1 is not for the WEB_SERVER side (§8) (record at byte 0)"),
    (record(END_REQUEST, bytes(4)), "END_REQUEST has 4 bytes, not 8 (§5.5) (record at byte 0)"),
    (end(0, 4), "protocolStatus 4 is unknown (§5.5) (record at byte 0)"),
    (record(STDOUT, HEAD) + MALFORMED, "record version is 2, not 1 (§3.3) (record at byte 51)"),
    (record(STDOUT, b"\n"), "the head is empty"),
    (record(GET_VALUES_RESULT, b"\x05", 0), "a name or value claims more than its block of 1 bytes has (§3.4)"),
]


@pytest.mark.parametrize(("data", "message"), WORSE)
def test_the_web_server_refuses(data: bytes, message: str) -> None:
    connection = web_server(Request({}, 1), EndOfRequest(1))
    assert message in str(refusal(connection, data))
    assert not connection.reusable


def test_records_of_a_request_that_is_over_are_ignored_by_the_web_server() -> None:
    assert heard(Connection(WEB_SERVER), record(STDOUT, b"late") + record(STDERR, b"late") + end()) == []


def test_what_came_before_a_fault_is_not_lost() -> None:
    connection = web_server(Request({}, 1), EndOfRequest(1))
    refusal(connection, record(STDOUT, HEAD) + end() + MALFORMED)
    assert connection.events() == [Response("200 OK", HTML, 1), EndOfResponse(1)]


def test_after_a_fault_requests_in_progress_are_aborted() -> None:
    connection = Connection(APPLICATION)
    refusal(connection, GET + MALFORMED)
    assert connection.events() == [Request({"A": "B"}, 1), EndOfRequest(1), AbortRequest(1)]


def test_after_a_fault_nothing_more_is_received() -> None:
    connection = Connection(APPLICATION)
    refusal(connection, MALFORMED)
    assert heard(connection, GET) == []
    assert not connection.idle


LIMITED: list[tuple[Limits, bytes, str]] = [
    (Limits(params_size=3), record(PARAMS, PAIR_A_B), "limit params_size=3 exceeded (record at byte 16)"),
    (Limits(params_size=7), record(PARAMS, PAIR_A_B) * 2, "limit params_size=7 exceeded (record at byte 28)"),
    (Limits(params_count=1), record(PARAMS, b"\0\0\1\0A") + record(PARAMS), "limit params_count=1 exceeded"),
    (Limits(params_count=1), record(PARAMS, b"\0\0\0\0") + record(PARAMS), "limit params_count=1 exceeded"),
]


@pytest.mark.parametrize(("limits", "params", "message"), LIMITED)
def test_too_many_params_are_refused(limits: Limits, params: bytes, message: str) -> None:
    error = refusal(Connection(APPLICATION, limits=limits), begin() + params)
    assert isinstance(error, LimitExceeded)
    assert message in str(error)
    assert error.status_hint == "431 Request Header Fields Too Large"


def test_as_many_params_as_allowed_are_taken() -> None:
    connection = Connection(APPLICATION, limits=Limits(params_size=4, params_count=1))
    assert heard(connection, GET) == [Request({"A": "B"}, 1), EndOfRequest(1)]


@pytest.mark.parametrize("data", [begin(), begin() + record(PARAMS, PAIR_A_B), begin() + record(PARAMS, PAIR_A_B)[:9]])
def test_a_connection_that_ends_within_params_is_refused(data: bytes) -> None:
    connection = application(data)
    with pytest.raises(RemoteProtocolError, match=r"before the end of PARAMS \(§5.2\) \(record at byte \d+\)"):
        connection.receive_eof()


def test_a_connection_that_ends_within_its_first_record_is_refused() -> None:
    connection = application(begin()[:5])
    with pytest.raises(RemoteProtocolError, match=r"before the end of a record \(§3.3\) \(record at byte 0\)"):
        connection.receive_eof()


def test_a_connection_that_says_nothing_is_no_error() -> None:
    connection = Connection(APPLICATION)
    connection.receive_eof()
    assert connection.events() == []


# -- the farewell


@pytest.mark.parametrize("before", [begin(), REQUEST, GET], ids=["PARAMS", "STDIN", "complete"])
def test_a_web_server_that_waits_for_a_head_is_told_of_a_fault(before: bytes) -> None:
    connection = application(before)
    refusal(connection, MALFORMED)
    assert unpadded(said(connection)) == [(STDOUT, 1, BAD_REQUEST), (STDOUT, 1, b""), (END_REQUEST, 1, bytes(8))]


def test_the_farewell_names_the_status_of_a_limit() -> None:
    connection = Connection(APPLICATION, limits=Limits(params_size=3))
    refusal(connection, begin() + record(PARAMS, PAIR_A_B))
    (_, _, page), *_ = unpadded(said(connection))
    assert page.startswith(b"Status: 431 Request Header Fields Too Large\r\n")


def test_a_web_server_that_cut_its_params_is_told() -> None:
    connection = application(begin())
    with pytest.raises(RemoteProtocolError):
        connection.receive_eof()
    assert unpadded(said(connection))[0] == (STDOUT, 1, BAD_REQUEST)


def test_after_the_head_there_is_no_farewell() -> None:
    connection = application(GET)
    head = said(connection, Response("200 OK", HTML, 1))
    refusal(connection, MALFORMED)
    assert unpadded(head + said(connection)) == [(STDOUT, 1, HEAD)]


def test_without_a_request_there_is_no_farewell() -> None:
    connection = Connection(APPLICATION)
    refusal(connection, MALFORMED)
    assert said(connection) == b""


def test_a_farewell_closes_the_error_stream() -> None:
    connection = application(REQUEST)
    said(connection, ErrorOutput(b"oops", 1))
    refusal(connection, MALFORMED)
    assert (STDERR, 1, b"") in unpadded(said(connection))


def test_an_application_that_still_runs_speaks_to_nobody_after_the_farewell() -> None:
    connection = application(REQUEST)
    refusal(connection, MALFORMED)
    said(connection)
    events = [Response("200 OK", HTML, 1), ResponseBody(b"late", 1), ErrorOutput(b"late", 1), EndOfResponse(1, 1)]
    assert said(connection, *events) == b""


# -- what must not be sent

ILLEGAL_ANSWERS: list[tuple[bytes, list[Event], str]] = [
    (b"", [Response("200 OK", [], 1)], "Response for request 1, which is not active"),
    (begin(), [Response("200 OK", [], 1)], "Response for request 1, which is not active"),
    (GET, [Response("200 OK", [], 2)], "Response for request 2, which is not active"),
    (GET, [EndOfResponse(1), EndOfResponse(1)], "EndOfResponse for request 1, which is not active"),
    (GET, [ResponseBody(b"x", 1)], "ResponseBody does not fit <fastcgi.Connection APPLICATION expects=[1:nothing]"),
    (GET, [Response("200 OK", [], 1), Response("200 OK", [], 1)], "Response does not fit"),
    (
        REQUEST,
        [Request({}, 1)],
        "Request does not fit <fastcgi.Connection APPLICATION expects=[1:STDIN] reusable=True>",
    ),
    (GET, [Response("200 OK", [("X", "a\r\nb")], 1)], "CR, LF or NUL in the response head: 'X: a\\r\\nb'"),
]


@pytest.mark.parametrize(("data", "events", "message"), ILLEGAL_ANSWERS)
def test_the_application_cannot_send(data: bytes, events: list[Event], message: str) -> None:
    connection = application(data)
    with pytest.raises(LocalProtocolError) as caught:
        said(connection, *events)
    assert message in str(caught.value)


ILLEGAL_REQUESTS: list[tuple[list[Event], str]] = [
    ([Request({}, 0)], "request id 0 is in use or not within 1–65535 (§3.3)"),
    ([Request({}, 65536)], "request id 65536 is in use or not within 1–65535 (§3.3)"),
    ([Request({}, 1), Request({}, 1)], "request id 1 is in use or not within 1–65535 (§3.3)"),
    ([Request({}, 1, 9)], "role 9 is none of 1, 2, 3 (§6)"),
    ([Request({"A": "€"}, 1)], "a param holds '€', which is not latin-1"),
    ([RequestBody(b"x", 1)], "RequestBody for request 1, which is not active"),
    ([Request({}, 1), EndOfRequest(1), RequestBody(b"x", 1)], "RequestBody does not fit"),
    ([Request({}, 1), EndOfRequest(1), EndOfRequest(1)], "EndOfRequest does not fit"),
    ([Request({}, 1), FilterData(b"x", 1)], "FilterData does not fit"),
    ([Request({}, 1, AUTHORIZER), RequestBody(b"x", 1)], "RequestBody does not fit"),
    ([Request({}, 1, FILTER), FilterData(b"x", 1), RequestBody(b"x", 1)], "RequestBody does not fit"),
    ([Request({}, 1, FILTER), EndOfRequest(1), FilterData(b"x", 1)], "FilterData does not fit"),
    ([Request({}, 1), Response("200 OK", [], 1)], "Response does not fit <fastcgi.Connection WEB_SERVER"),
]


@pytest.mark.parametrize(("events", "message"), ILLEGAL_REQUESTS)
def test_the_web_server_cannot_send(events: list[Event], message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        said(Connection(WEB_SERVER), *events)
    assert message in str(caught.value)


def test_a_request_that_could_not_be_sent_leaves_nothing_behind() -> None:
    connection = Connection(WEB_SERVER)
    with pytest.raises(LocalProtocolError):
        connection.send(Request({"A": "€"}, 1))
    assert said(connection) == b""
    assert connection.idle


# -- state


STATES: list[tuple[Callable[[], Connection], str]] = [
    (lambda: Connection(WEB_SERVER), "<fastcgi.Connection WEB_SERVER expects=[] reusable=True>"),
    (lambda: application(begin()), "<fastcgi.Connection APPLICATION expects=[1:PARAMS] reusable=True>"),
    (lambda: application(REQUEST), "<fastcgi.Connection APPLICATION expects=[1:STDIN] reusable=True>"),
    (lambda: application(begin(3, flags=0) + record(PARAMS) + record(STDIN)),
     "<fastcgi.Connection APPLICATION expects=[1:DATA] reusable=False>"),
    (lambda: application(GET, begin(request_id=2), multiplex=True),
     "<fastcgi.Connection APPLICATION expects=[1:nothing 2:PARAMS] reusable=True>"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), STATES)
def test_the_repr_shows_the_state(make: Callable[[], Connection], text: str) -> None:
    assert repr(make()) == text


def test_the_repr_shows_a_broken_connection() -> None:
    connection = application(begin())
    refusal(connection, MALFORMED)
    assert repr(connection) == "<fastcgi.Connection APPLICATION broken expects=[] reusable=False>"


@pytest.mark.parametrize("data", [b"\1", begin(), GET])
def test_a_connection_with_something_begun_is_not_idle(data: bytes) -> None:
    assert not application(data).idle


def test_a_connection_is_idle_between_requests() -> None:
    connection = application(GET)
    said(connection, EndOfResponse(1))
    assert connection.idle
