"""One request/response cycle: where the body is kept, the order of the response, its length, its abort."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import ApplicationError, LocalProtocolError, ProtocolError, RemoteProtocolError, RequestAborted
from gateway.events import (
    APPLICATION,
    FILTER,
    AbortRequest,
    BodyWanted,
    EndOfRequest,
    EndOfResponse,
    Event,
    FilterData,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.exchange import BLOCK, ErrorStream, Exchange, Spool
from gateway.head import HOP_BY_HOP
from gateway.limits import Limits
from gateway.protocols import cgi
from tests.front_end import FrontEnd, Log

TEXT = [("Content-Type", "text/plain")]
HEAD = {"REQUEST_METHOD": "HEAD"}


def streaming(*later: Any, memory: int = 100) -> FrontEnd:
    """A front end that has sent 21 bytes, one more than are waited for, and will say more when asked."""
    limits = Limits(body_memory=memory, body_buffer=20, body_size=500_000)
    return FrontEnd(RequestBody(b"x" * 21), later=later, limits=limits)


def answering(*, length: int | None = None, status: str = "200 OK", is_head: bool = False) -> FrontEnd:
    """A front end whose exchange has stated a head."""
    front = FrontEnd(params=HEAD if is_head else None)
    front.exchange.is_head = is_head
    front.exchange.respond(status, TEXT if length is None else [*TEXT, ("Content-Length", str(length))])
    return front


# -- the spool


def test_a_small_body_is_kept_in_memory() -> None:
    spool = Spool(10)
    spool.append(b"01234")
    spool.append(b"56789")
    assert spool.file is None
    assert (spool.open().read(), spool.size) == (b"0123456789", 10)


def test_a_larger_body_is_kept_in_a_temporary_file() -> None:
    spool = Spool(10)
    for piece in (b"01234", b"56789", b"x", b"yz"):
        spool.append(piece)
    assert spool.chunks == []
    assert spool.file is not None
    assert (spool.open().read(), spool.size) == (b"0123456789xyz", 13)
    spool.close()


def test_a_closed_spool_has_let_go_of_its_file() -> None:
    spool = Spool(0)
    spool.append(b"x")
    file = spool.open()
    spool.close()
    assert file.closed


def test_a_closed_spool_has_let_go_of_its_memory() -> None:
    spool = Spool(10)
    spool.append(b"x")
    spool.close()
    assert spool.chunks == []


# -- a request that is whole


def test_a_request_without_a_body_has_an_empty_one() -> None:
    exchange = FrontEnd().exchange
    assert (exchange.open_body().read(), exchange.body_size) == (b"", 0)


@pytest.mark.parametrize("memory", [0, 4, 9, 10])
def test_a_body_that_is_whole_is_a_file(memory: int) -> None:
    exchange = FrontEnd(RequestBody(b"012\n4"), RequestBody(b"56789"), limits=Limits(body_memory=memory)).exchange
    assert exchange.body is not None
    assert (exchange.body.file is None) == (memory == 10)
    body = exchange.open_body()
    assert (body.readline(), body.read(3), body.read(), exchange.body_size) == (b"012\n", b"456", b"789", 10)
    exchange.close()


def test_a_request_that_is_not_whole_is_waited_for() -> None:
    assert not FrontEnd(RequestBody(b"x" * 20), later=[EndOfRequest()], limits=Limits(body_buffer=20)).exchange.ready


@pytest.mark.parametrize("last", [EndOfRequest(), RequestBody(b"x"), AbortRequest()], ids=repr)
def test_what_is_whole_or_too_long_or_aborted_is_not_waited_for(last: Event) -> None:
    assert FrontEnd(RequestBody(b"x" * 20), last, later=[EndOfRequest()], limits=Limits(body_buffer=20)).exchange.ready


def test_a_body_beyond_its_limit_is_not_kept() -> None:
    exchange = FrontEnd(RequestBody(b"01234"), RequestBody(b"5"), limits=Limits(body_size=5)).exchange
    assert exchange.too_large
    assert exchange.ready
    assert exchange.body_size == 5


def test_a_body_as_long_as_its_limit_is_kept() -> None:
    exchange = FrontEnd(RequestBody(b"01234"), limits=Limits(body_size=5)).exchange
    assert not exchange.too_large
    assert exchange.open_body().read() == b"01234"


def test_the_data_of_a_filter_are_kept_beside_its_body() -> None:
    exchange = FrontEnd(RequestBody(b"body"), FilterData(b"one"), FilterData(b"two"), role=FILTER).exchange
    assert exchange.filter_data is not None
    assert (exchange.open_body().read(), exchange.filter_data.open().read()) == (b"body", b"onetwo")
    exchange.close()
    assert exchange.filter_data.chunks == []


def test_an_abort_ends_the_request() -> None:
    exchange = FrontEnd(AbortRequest(), later=[EndOfRequest()]).exchange
    assert exchange.aborted
    assert exchange.ready


# -- a request that is streamed


def test_a_streamed_body_is_read_as_it_comes() -> None:
    front = streaming(RequestBody(b"one"), RequestBody(b"two"), EndOfRequest())
    assert front.exchange.open_body().read() == b"x" * 21 + b"onetwo"
    assert front.exchange.complete
    assert front.exchange.body_size == 27


def test_a_streamed_body_can_be_read_by_line() -> None:
    front = streaming(RequestBody(b"\nsecond\nth"), RequestBody(b"ird"), EndOfRequest())
    assert list(front.exchange.open_body()) == [b"x" * 21 + b"\n", b"second\n", b"third"]


def test_a_streamed_body_waits_for_no_more_than_is_read() -> None:
    front = streaming(RequestBody(b"one"), RequestBody(b"two"), EndOfRequest())
    body = front.exchange.open_body()
    assert body.read(21) == b"x" * 21
    assert front.exchange.body_size == 21
    assert body.read(2) == b"on"
    assert front.exchange.body_size == 24


def test_a_piece_longer_than_what_is_read_is_not_lost() -> None:
    front = streaming(RequestBody(b"y" * 200_000), EndOfRequest())
    body = front.exchange.open_body()
    assert b"".join(iter(lambda: body.read(1000), b"")) == b"x" * 21 + b"y" * 200_000


def test_a_streamed_body_leaves_its_file_when_it_was_read() -> None:
    front = streaming(RequestBody(b"more"), EndOfRequest(), memory=10)
    assert front.exchange.body is not None
    file = front.exchange.body.file
    assert file is not None
    front.exchange.open_body().read()
    assert file.closed


def test_what_is_streamed_is_kept_nowhere() -> None:
    front = streaming(*(RequestBody(b"y" * 1000) for _ in range(4)), EndOfRequest())
    body = front.exchange.open_body()
    while body.read(10):
        assert front.exchange.body is not None
        assert sum(map(len, front.exchange.body.chunks)) <= 1000


def test_the_web_server_is_asked_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    front = streaming(RequestBody(b"one"), EndOfRequest())
    said: list[object] = []
    monkeypatch.setattr(front.exchange.connection, "send", said.append)
    front.exchange.open_body().read()
    assert [type(event) for event in said] == [BodyWanted, BodyWanted]


def test_a_body_without_a_length_ends_where_the_wire_says() -> None:
    front = streaming(EndOfRequest())
    body = front.exchange.open_body()
    assert (body.read(), body.read()) == (b"x" * 21, b"")


def test_a_body_as_long_as_announced_is_whole() -> None:
    front = streaming(RequestBody(b"y"), EndOfRequest())
    front.exchange.expected = 22
    assert len(front.exchange.open_body().read()) == 22


@pytest.mark.parametrize(
    ("later", "expected", "message"),
    [
        ([EndOfRequest()], 22, "the body has 21 bytes, CONTENT_LENGTH announced 22"),
        ([RequestBody(b"yy")], 22, "the body has 23 bytes, CONTENT_LENGTH announced 22"),
        ([AbortRequest()], None, "the web server gave the request up before its body was whole"),
        ([RequestBody(b"y"), AbortRequest()], 30, "the web server gave the request up before its body was whole"),
        ([RequestBody(b"y" * 500_000)], None, "the request body is longer than limit body_size=500000"),
        ([RequestAborted("the connection broke")], None, "the connection broke"),
    ],
)
def test_a_streamed_body_that_breaks_off_is_an_error(later: list[Any], expected: int | None, message: str) -> None:
    front = streaming(*later)
    front.exchange.expected = expected
    with pytest.raises(RequestAborted, match=message):
        front.exchange.open_body().read()


def test_a_body_that_broke_off_stays_broken() -> None:
    body = streaming(AbortRequest()).exchange.open_body()
    for _ in range(2):
        with pytest.raises(RequestAborted, match="the web server gave the request up"):
            body.read()


def test_a_body_that_grows_too_large_between_two_reads_is_never_taken_for_a_whole_one() -> None:
    front = streaming(EndOfRequest())
    body = front.exchange.open_body()
    body.read(21)
    front.say(RequestBody(b"y" * 500_000), EndOfRequest())  # heard while a response was pushed
    with pytest.raises(RequestAborted, match="longer than limit body_size=500000"):
        body.read()


def test_a_request_aborted_before_it_was_read_cannot_be_read() -> None:
    front = FrontEnd(RequestBody(b"some"), AbortRequest(), later=[EndOfRequest()])
    with pytest.raises(RequestAborted):
        front.exchange.open_body().read()


def test_a_request_aborted_before_its_body_cannot_be_read() -> None:
    front = FrontEnd(AbortRequest(), later=[EndOfRequest()])
    with pytest.raises(RequestAborted):
        front.exchange.open_body().read()


# -- the response


def test_a_response_is_a_head_a_body_and_an_end() -> None:
    front = answering()
    front.exchange.write(b"one")
    front.exchange.write(b"two")
    front.exchange.end()
    assert front.heard == [Response("200 OK", TEXT, 1), ResponseBody(b"onetwo", 1), EndOfResponse(1)]
    assert front.exchange.ended
    assert not front.exchange.failed
    assert front.exchange.sent == 6


def test_a_response_without_a_body_has_a_head() -> None:
    front = answering()
    front.exchange.end()
    assert front.heard == [Response("200 OK", TEXT, 1), EndOfResponse(1)]


def test_a_head_may_be_restated_until_the_body_begins() -> None:
    front = answering(length=5)
    front.exchange.respond("404 Not Found", [])
    front.exchange.write(b"longer than five")
    front.exchange.end()
    assert (front.head, front.body) == (("404 Not Found", []), b"longer than five")


def test_a_response_is_pushed_block_by_block() -> None:
    front = answering()
    for _ in range(3):
        front.exchange.write(b"x" * (BLOCK // 2))
    assert front.pushes == 1
    assert len(front.body) == BLOCK


@pytest.mark.parametrize("options", [{"is_head": True}, {"status": "204 No Content"}, {"status": "304 Not Modified"}])
def test_where_there_is_no_content_none_is_sent(options: dict[str, Any]) -> None:
    front = answering(length=4, **options)
    front.exchange.write(b"body")
    front.exchange.end()
    assert (front.body, front.exchange.sent, front.ended) == (b"", 0, True)
    assert front.log.lines == []


def test_bytes_beyond_content_length_are_cut_off_and_logged_once() -> None:
    front = answering(length=4)
    for data in (b"bo", b"dy and", b" more", b""):
        front.exchange.write(data)
    front.exchange.end()
    assert (front.body, front.ended) == (b"body", True)
    assert front.log.lines == ["error: the application sent 9 bytes beyond its Content-Length; they were cut off"]


def test_a_body_shorter_than_content_length_is_visibly_broken() -> None:
    front = answering(length=4)
    front.exchange.write(b"bod")
    front.exchange.end()
    assert (front.body, front.ended) == (b"bod", False)
    assert front.exchange.failed
    assert not front.exchange.connection.reusable
    assert front.log.lines == ["error: the application sent 1 bytes less than its Content-Length"]


def test_an_early_end_goes_with_the_last_byte() -> None:
    front = answering(length=4)
    for data in (b"bo", b"dy"):
        assert not front.exchange.ended
        front.exchange.write(data)
        front.exchange.end_early()
    front.exchange.flush()
    assert (front.body, front.ended, front.pushes) == (b"body", True, 1)
    front.exchange.end()
    assert (front.pushes, front.log.lines) == (1, [])


@pytest.mark.parametrize(
    ("length", "data", "options"),
    [(5, b"body", {}), (None, b"body", {}), (0, b"", {}), (4, b"body", {"is_head": True})],
    ids=["a byte is missing", "no length", "nothing sent", "HEAD"],
)
def test_there_is_no_early_end_without_a_last_byte(length: int | None, data: bytes, options: dict[str, Any]) -> None:
    front = answering(length=length, **options)
    if data:
        front.exchange.write(data)
    front.exchange.end_early()
    assert not front.exchange.ended


@pytest.mark.parametrize("last", [None, AbortRequest()], ids=["not whole", "aborted"])
def test_there_is_no_early_end_while_the_request_has_none(last: Event | None) -> None:
    front = streaming(EndOfRequest())
    front.exchange.respond("200 OK", [*TEXT, ("Content-Length", "4")])
    front.exchange.write(b"body")
    if last is not None:
        front.say(last)
    front.exchange.end_early()
    assert not front.exchange.ended


def test_what_is_written_after_an_early_end_is_cut_off_and_logged_once() -> None:
    front = answering(length=4)
    front.exchange.write(b"body")
    front.exchange.end_early()
    for data in (b" and", b" more"):
        front.exchange.write(data)
        front.exchange.flush()
    for _ in range(2):
        front.exchange.end()
    assert (front.body, front.ended) == (b"body", True)
    assert front.log.lines == ["error: the application sent 9 bytes beyond its Content-Length; they were cut off"]


def test_a_length_that_turns_out_is_stated() -> None:
    front = answering()
    front.exchange.set_length(4)
    front.exchange.write(b"body")
    front.exchange.end()
    assert front.head == ("200 OK", [*TEXT, ("Content-Length", "4")])


@pytest.mark.parametrize("options", [{"length": 9}, {"is_head": True}, {"status": "204 No Content"}])
def test_a_length_that_turns_out_is_not_stated_where_it_does_not_belong(options: dict[str, Any]) -> None:
    front = answering(**options)
    before = list(front.exchange.headers)
    front.exchange.set_length(4)
    assert front.exchange.headers == before


def test_a_length_that_turns_out_after_the_head_is_too_late() -> None:
    front = answering()
    front.exchange.write(b"bo")
    front.exchange.set_length(1)
    front.exchange.write(b"dy")
    front.exchange.end()
    assert front.body == b"body"


def test_a_length_without_a_head_is_not_stated() -> None:
    front = FrontEnd()
    front.exchange.set_length(4)
    assert front.exchange.headers == []


def test_the_headers_of_the_application_are_not_changed() -> None:
    headers = [("Content-Type", "text/plain"), ("Connection", "close")]
    front = FrontEnd()
    front.exchange.respond("200 OK", headers)
    front.exchange.set_length(4)
    assert headers == [("Content-Type", "text/plain"), ("Connection", "close")]


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_headers_are_dropped_and_logged(name: str) -> None:
    front = FrontEnd()
    front.exchange.respond("200 OK", [*TEXT, (name.title(), "x")])
    front.exchange.end()
    assert front.head == ("200 OK", TEXT)
    (line,) = front.log.lines
    assert line.startswith("warning: hop-by-hop headers of the application were dropped (PEP 3333): ")
    assert name.title() in line


@pytest.mark.parametrize("header", [("X Y", "1"), ("Content-Length", "many"), ("Status", "500")])
def test_a_header_that_cannot_be_sent_is_refused_at_once(header: tuple[str, str]) -> None:
    with pytest.raises(LocalProtocolError):
        FrontEnd().exchange.respond("200 OK", [header])


def test_what_is_no_header_is_refused_at_once() -> None:
    with pytest.raises(ApplicationError):
        FrontEnd().exchange.respond("200 OK", [("X", 1)])  # type: ignore[list-item]


def test_header_injection_is_refused_before_anything_is_sent() -> None:
    front = FrontEnd()
    front.exchange.respond("200 OK", [("X", "a\r\nSet-Cookie: b")])
    with pytest.raises(LocalProtocolError, match="CR, LF or NUL"):
        front.exchange.write(b"body")
    front.exchange.fail("500 Internal Server Error")
    assert (front.status, front.body) == ("500 Internal Server Error", b"500 Internal Server Error\n")


# -- the end that nobody wished for


def test_an_error_before_the_head_is_a_plain_page() -> None:
    front = FrontEnd()
    front.exchange.fail("500 Internal Server Error")
    assert front.head == ("500 Internal Server Error", [*TEXT, ("Content-Length", "26")])
    assert (front.body, front.ended) == (b"500 Internal Server Error\n", True)
    assert not front.exchange.failed


def test_an_error_page_for_head_has_no_content() -> None:
    front = FrontEnd(params=HEAD)
    front.exchange.fail("500 Internal Server Error")
    assert front.head == ("500 Internal Server Error", [*TEXT, ("Content-Length", "26")])
    assert front.body == b""


def test_an_error_after_the_head_is_visible() -> None:
    front = answering()
    front.exchange.write(b"half")
    front.exchange.fail("500 Internal Server Error")
    assert (front.status, front.body, front.ended) == ("200 OK", b"half", False)
    assert front.exchange.failed


def test_an_error_after_the_end_changes_nothing() -> None:
    front = answering()
    front.exchange.end()
    heard = list(front.heard)
    front.exchange.fail("500 Internal Server Error")
    assert front.heard == heard


def test_a_request_at_fault_is_refused_with_one_line() -> None:
    front = FrontEnd()
    front.exchange.refuse(RemoteProtocolError("two of them", status_hint="400 Bad Request"))
    assert front.status == "400 Bad Request"
    assert front.log.lines == ["warning: refused with 400 Bad Request: two of them"]


def test_who_no_longer_listens_is_told_to_the_application() -> None:
    front = answering()
    front.exchange.write(b"half")
    front.say(AbortRequest())
    with pytest.raises(RequestAborted, match="the web server gave the request up"):
        front.exchange.flush()


def test_a_response_that_another_process_sent_is_not_sent_again() -> None:
    front = FrontEnd()
    front.exchange.answered_elsewhere()
    front.push()
    assert front.heard == []
    assert front.exchange.ended
    assert front.exchange.connection.idle


# -- the error log


def test_error_output_reaches_the_web_server() -> None:
    front = answering()
    errors = ErrorStream(front.exchange)
    assert errors.write("one €\n") == 6
    errors.writelines(["two\n", ""])
    assert front.heard == []
    errors.flush()
    assert front.errors == "one €\ntwo\n"


def test_nothing_is_not_reported() -> None:
    front = FrontEnd()
    assert ErrorStream(front.exchange).write("") == 0
    front.push()
    assert front.heard == []


def test_text_that_cannot_be_encoded_is_escaped() -> None:
    front = FrontEnd()
    front.exchange.report("\udcff")
    front.push()
    assert front.errors == "\\udcff"


def test_error_output_after_the_response_goes_to_our_log() -> None:
    front = answering()
    front.exchange.end()
    errors = ErrorStream(front.exchange)
    errors.write("late\n")
    front.exchange.aborted = True
    errors.flush()
    assert front.log.lines == ["error: late"]


def test_a_wire_without_error_output_reports_to_our_log() -> None:
    connection = cgi.Connection(APPLICATION, params={})
    log = Log()
    exchange = Exchange(Request({}), connection, peer=FrontEnd(), limits=Limits(), log=log)
    exchange.report("oops\n")
    assert log.lines == ["error: oops"]


# -- state


def test_the_repr_shows_the_state() -> None:
    front = FrontEnd(RequestBody(b"body"), later=[EndOfRequest()])
    assert repr(front.exchange) == "<Exchange request='4 bytes so far' response='nothing sent'>"
    front.say(EndOfRequest())
    front.exchange.respond("200 OK", TEXT)
    front.exchange.write(b"x")
    assert repr(front.exchange) == "<Exchange request='complete' response='head sent'>"
    front.say(AbortRequest())
    front.exchange.abort()
    assert repr(front.exchange) == "<Exchange request='aborted' response='ended'>"


def test_an_exchange_that_is_over_has_let_go_of_its_bodies() -> None:
    exchange = FrontEnd(
        RequestBody(b"x" * 11), FilterData(b"y" * 11), role=FILTER, limits=Limits(body_memory=10)
    ).exchange
    assert exchange.body is not None
    assert exchange.filter_data is not None
    files = [exchange.body.open(), exchange.filter_data.open()]
    exchange.close()
    assert all(file.closed for file in files)


def test_an_exchange_without_bodies_has_nothing_to_let_go_of() -> None:
    FrontEnd().exchange.close()


def test_a_refusal_may_be_any_protocol_error() -> None:
    front = FrontEnd()
    front.exchange.refuse(ProtocolError("no", status_hint="404 Not Found"))
    assert front.status == "404 Not Found"
