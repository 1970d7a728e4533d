"""The response head of CGI and its kin, as text and as values."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import head
from gateway.errors import ApplicationError, LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.events import Event, Response, ResponseBody
from gateway.head import HOP_BY_HOP, ResponseReader, inspect_headers, is_status, lower_name, parse_head, serialize_head

NAMES = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1)
VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0")).map(lambda text: text.strip(" \t"))


# -- the application's half


@given(st.lists(st.tuples(NAMES.filter(lambda name: name.lower() != "status"), VALUES)), VALUES)
def test_a_head_survives_the_round_trip(headers: list[tuple[str, str]], reason: str) -> None:
    status = f"200 {reason}".strip(" \t")
    assert parse_head(serialize_head(status, headers)) == (status, headers)


def test_a_head_may_begin_with_a_status_line() -> None:
    assert serialize_head("204 No Content", [], "HTTP/1.1 ") == b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize("mark", ["\r", "\n", "\0", "\r\n", "\r\nX-Injected: yes", "\r\n\r\n<html>"])
def test_header_injection_is_refused(mark: str) -> None:
    for status, headers in ((f"200{mark}OK", []), ("200 OK", [("X", f"a{mark}b")])):
        with pytest.raises(LocalProtocolError, match=r"CR, LF or NUL in the response head: '(Status: 200|X: a)"):
            serialize_head(status, headers)


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\n", "Ä", "A\0", "(A)", "A/B", " A"])
def test_a_header_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"is not a token \(RFC 9110 §5.1\)"):
        serialize_head("200 OK", [(name, "x")])


def test_what_is_not_latin_1_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="the response head holds '€', which is not latin-1"):
        serialize_head("200 OK", [("X-Price", "5 €")])


def test_what_is_latin_1_is_sent_as_it_is() -> None:
    assert serialize_head("200 OK", [("X", "\xe9")]) == b"Status: 200 OK\r\nX: \xe9\r\n\r\n"


def test_header_names_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered: dict[str, str] = {}
    monkeypatch.setattr(head, "_lowered", remembered)
    for number in range(2000):
        assert lower_name(f"X-{number}") == f"x-{number}"
    assert len(remembered) == 500


def test_without_content_length_the_length_is_unknown() -> None:
    assert inspect_headers([("Content-Type", "text/plain")]) == (None, False)


def test_content_length_is_found_in_any_case() -> None:
    assert inspect_headers([("content-LENGTH", "0012")]) == (12, False)


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "0x1", "five", "1 ", "²", "1_0", "9" * 19, "9" * 5000])
def test_a_content_length_that_is_no_length_is_refused(value: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"^Content-Length '.{0,40}' is not a number of bytes$"):
        inspect_headers([("Content-Length", value)])


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_headers_are_found(name: str) -> None:
    assert inspect_headers([(name.title(), "x")]) == (None, True)


def test_a_status_among_the_headers_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="give it to start_response"):
        inspect_headers([("STATUS", "404 Not Found")])


@pytest.mark.parametrize(
    "headers",
    [
        [(b"X", "1")],
        [("X", b"1")],
        [("X", 1)],
        [("X", None)],
        [(None, "1")],
        [(["X"], "1")],
        [("X",)],
        [("X", "1", "2")],
        ["X: 1"],
        [None],
        {"X": "1"},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_pair_of_native_strings_is_refused(headers: Any) -> None:
    with pytest.raises(ApplicationError, match=r"these headers are not pairs of native strings \(PEP 3333\): "):
        inspect_headers(headers)


# -- the web server's half


@pytest.mark.parametrize("status", ["200 OK", "100", "599 ", "999 Strange \xe9"])
def test_three_digits_make_a_status(status: str) -> None:
    assert is_status(status)


@pytest.mark.parametrize(
    "status", ["", "2", "20", "20 OK", "2000", "099 Low", "OK", "2OO OK", "²00 OK", "٢٠٠ OK", "200OK"]
)
def test_anything_else_is_no_status(status: str) -> None:
    assert not is_status(status)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_lines_end_with_lf_or_crlf(newline: bytes) -> None:
    lines = [b"Status: 404 Not Found", b"Content-Type:text/plain", b"X-Empty:", b"X-Padded: \t v \t"]
    assert parse_head(newline.join([*lines, b""])) == (
        "404 Not Found",
        [("Content-Type", "text/plain"), ("X-Empty", ""), ("X-Padded", "v")],
    )


def test_a_head_without_status_has_none() -> None:
    assert parse_head(b"Content-Type: text/html\n") == (None, [("Content-Type", "text/html")])


def test_a_status_line_of_http_is_a_status() -> None:
    assert parse_head(b"HTTP/1.1 404 Not Found\r\nX: 1\r\n") == ("404 Not Found", [("X", "1")])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "'' is no header line: a name, a colon and a value"),
        (b"<html>", "'<html>' is no header line"),
        (b": value", "': value' is no header line"),
        (b"A B: c", "'A B: c' is no header line"),
        (b" folded: x", "' folded: x' is no header line"),
        (b"A\0: c", r"'A\\x00: c' is no header line"),
        (b"\xc4: c", "'Ä: c' is no header line"),
        (b"X: a\rb", "CR or NUL in the value of header 'X'"),
        (b"X: a\0b", "CR or NUL in the value of header 'X'"),
        (b"Status: OK", "status 'OK' does not begin with three digits"),
        (b"Status: 20", "status '20' does not begin with three digits"),
        (b"Status:", "status '' does not begin with three digits"),
        (b"HTTP/1.1", "status '' does not begin with three digits"),
        (b"HTTP/1.1 200 OK\rX: 1", "CR or NUL in the value of header 'Status'"),
    ],
)
def test_a_line_that_is_no_header_is_refused_and_quoted(line: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message) as caught:
        parse_head(line)
    assert caught.value.status_hint == "502 Bad Gateway"


HEADS = [
    b"Content-Type: text/plain\n\nbody\n\nof \r\n\r\n two",
    b"Content-Type: text/plain\r\n\r\nbody\n\nof \r\n\r\n two",
    b"Content-Type: text/plain\n\r\nbody\n\nof \r\n\r\n two",
]
READ = [Response("200 OK", [("Content-Type", "text/plain")], 7), ResponseBody(b"body\n\nof \r\n\r\n two", 7)]


def read(*data: bytes, limit: int = 100) -> list[Event]:
    """A response in some pieces, its body put together again."""
    reader = ResponseReader(limit, 7)
    events = [event for piece in data for event in reader.feed(piece)]
    reader.feed_eof()
    body = b"".join(event.data for event in events if isinstance(event, ResponseBody))
    return [*(event for event in events if isinstance(event, Response)), ResponseBody(body, 7)]


@pytest.mark.parametrize("response", HEADS)
def test_a_response_means_the_same_cut_in_two_anywhere(response: bytes) -> None:
    assert read(response) == READ
    for at in range(len(response)):
        assert read(response[:at], response[at:]) == READ, f"cut at byte {at}"


@pytest.mark.parametrize("response", HEADS)
def test_a_response_means_the_same_byte_by_byte(response: bytes) -> None:
    assert read(*(response[at : at + 1] for at in range(len(response)))) == READ


def test_a_response_may_have_no_body() -> None:
    assert ResponseReader(100).feed(b"Status: 204 No Content\n\n") == [Response("204 No Content", [])]


@pytest.mark.parametrize("start", [b"\n", b"\r\n", b"\n\nbody"])
def test_an_empty_head_is_refused(start: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="the head is empty: at least one header line must come before"):
        ResponseReader(100).feed(start)


@pytest.mark.parametrize("pieces", [1, 5, 100])
def test_a_head_that_is_too_long_is_refused_however_it_comes(pieces: int) -> None:
    response = b"X: 345\r\n\r\nbody"  # ten bytes of head
    assert read(*cut(response, pieces), limit=10)
    with pytest.raises(LimitExceeded, match="limit head_size=9 exceeded") as caught:
        read(*cut(response, pieces), limit=9)
    assert caught.value.status_hint == "502 Bad Gateway"


def cut(data: bytes, pieces: int) -> list[bytes]:
    step = -(-len(data) // pieces)
    return [data[at : at + step] for at in range(0, len(data), step)]


def test_a_head_without_end_is_refused_before_it_is_whole() -> None:
    reader = ResponseReader(9)
    assert reader.feed(b"X: 345678") == []
    with pytest.raises(LimitExceeded):
        reader.feed(b"9")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the response is empty: a response is header lines, a blank line, then the body"),
        (b"X: 1\n", r"no blank line ends the head; it began with 'X: 1\\n': a response is"),
    ],
)
def test_a_response_that_ends_within_its_head_is_refused(data: bytes, message: str) -> None:
    reader = ResponseReader(100)
    reader.feed(data)
    with pytest.raises(RemoteProtocolError, match=message):
        reader.feed_eof()


@pytest.mark.parametrize(
    ("lines", "status", "local"),
    [
        (b"Location: /other?q=1", "302 Found", "/other?q=1"),  # RFC 3875 §6.2.2
        (b"Location: http://example.test/", "302 Found", ""),  # §6.2.3
        (b"Location: //example.test/", "302 Found", ""),
        (b"Location: /other\nContent-Type: text/html", "302 Found", ""),
        (b"Location: /other\nStatus: 301 Moved", "301 Moved", ""),  # §6.2.4
        (b"Status: 201 Created\nLocation: http://example.test/", "201 Created", ""),
        (b"Location:", "200 OK", ""),
        (b"Content-Type: text/html", "200 OK", ""),
    ],
)
def test_redirects_are_recognised(lines: bytes, status: str, local: str) -> None:
    (response,) = ResponseReader(100).feed(lines + b"\n\n")
    assert isinstance(response, Response)
    assert (response.status, response.local_redirect) == (status, local)


def test_the_repr_shows_how_far_it_is() -> None:
    reader = ResponseReader(100)
    reader.feed(b"X: 1\n")
    assert repr(reader) == "<ResponseReader head, 5 bytes so far>"
    reader.feed(b"\n")
    assert repr(reader) == "<ResponseReader body>"
