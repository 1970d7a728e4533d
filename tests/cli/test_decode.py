"""``gateway decode``: what each byte of a stream is, down to the one that breaks a rule, and not one of them lost."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.annotate import BODY, Annotation, Line, annotator
from gateway.cli.annotate.auto import recognise
from gateway.cli.annotate.show import Screen
from gateway.cli.main import main
from gateway.errors import LimitExceeded, RemoteProtocolError
from gateway.events import (
    APPLICATION,
    WEB_SERVER,
    EndOfRequest,
    EndOfResponse,
    ErrorOutput,
    Ping,
    Request,
    RequestBody,
    Response,
    ResponseBody,
    Side,
)
from gateway.protocols import connection_class
from gateway.protocols.fastcgi import BEGIN_REQUEST, PARAMS, STDIN, STDOUT, encode_pairs, encode_record
from gateway.testing import ConnectionPair
from tests.corpus_files import RECORDINGS, Recording

WIRES = ["fastcgi", "scgi", "uwsgi", "ajp", "http"]
SIDES = {WEB_SERVER: "web-server", APPLICATION: "application"}
BEGIN = encode_record(BEGIN_REQUEST, 1, bytes((0, 1, 1, 0, 0, 0, 0, 0)))
SCGI = b"24:CONTENT_LENGTH\x000\x00SCGI\x001\x00,"
AJP_HEAD = b"\x02\x02\0\1h\0\0\1/\0\0\0\0\0\0\0\0\0\0\0\x50\0"
HTTP = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def ajp(payload: bytes) -> bytes:
    return b"\x12\x34" + struct.pack(">H", len(payload)) + payload


def ajp_answer(payload: bytes) -> bytes:
    return b"AB" + struct.pack(">H", len(payload)) + payload


def decode(data: bytes | Path, *options: str, **environ: str) -> Result:
    """``gateway decode`` of a file, or of bytes on stdin."""
    name = str(data) if isinstance(data, Path) else "-"
    stdin = b"" if isinstance(data, Path) else data
    return CliRunner().invoke(main, ["decode", name, *options], input=stdin, env=environ)


def hex_column(output: str, columns: int = 8) -> bytes:
    """The bytes that the rows show."""
    return bytes.fromhex("".join(line[10 : 9 + 3 * columns] for line in output.splitlines()))


def said(data: bytes, *options: str) -> list[str]:
    """What the rows say of some bytes that break no rule."""
    result = decode(data, *options)
    assert result.exit_code == 0, result.output
    return [line[45:] for line in result.stdout.splitlines() if line[45:]]


def bytes_of(recording: Recording) -> bytes:
    """What there is of a recording: the wire's bytes, or the visitor's."""
    body = recording.stdin if recording.protocol in ("scgi", "uwsgi") else b""
    return recording.raw + body if recording.raw else recording.request


def annotation(wire: str, side: Side = WEB_SERVER) -> Annotation:
    return Annotation(annotator(wire, side))


def is_body(line: Line) -> bool:
    """Is it of a body, whose lines are as long as what comes at once?"""
    return line.pieces[-1].kind == BODY


# Nothing is lost


@pytest.mark.parametrize("recording", RECORDINGS, ids=repr)
def test_every_byte_of_a_recording_is_shown_and_said(recording: Recording) -> None:
    result = decode(Path(__file__).parent.parent / "corpus" / f"{recording.name}.json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert hex_column(result.stdout) == bytes_of(recording)
    for name, value in recording.params[:3] if recording.raw else ():
        if value.isascii():
            assert f"{name} = {value}".rstrip() in result.stdout


@pytest.mark.parametrize("recording", RECORDINGS[::4], ids=repr)
def test_what_is_said_does_not_depend_on_how_the_bytes_come(recording: Recording) -> None:
    data = bytes_of(recording)
    wire = {"ajp13": "ajp", "cgi": "http"}.get(recording.protocol, recording.protocol)
    whole, bytewise = annotation(wire), annotation(wire)
    lines = [*whole.feed(data), *whole.end()]
    trickled = [line for at in range(len(data)) for line in bytewise.feed(data[at : at + 1])] + [*bytewise.end()]
    assert b"".join(line.data for line in trickled) == data
    assert [line for line in trickled if not is_body(line)] == [line for line in lines if not is_body(line)]


@given(data=st.binary(max_size=300), wire=st.sampled_from(WIRES), side=st.sampled_from([*SIDES]))
def test_no_byte_of_any_stream_is_lost(data: bytes, wire: str, side: Side) -> None:
    result = decode(data, "--protocol", wire, "--from", SIDES[side])
    assert result.exit_code in (0, 1)
    assert hex_column(result.stdout) == data


texts = st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=200)
params = st.dictionaries(st.from_regex("HTTP_[A-Z]{1,9}", fullmatch=True), texts, max_size=5)


@given(params=params, body=st.binary(max_size=2000), answer=st.binary(min_size=1, max_size=2000))
@pytest.mark.parametrize("wire", WIRES)
def test_both_directions_of_a_conversation_break_no_rule(
    wire: str, params: dict[str, str], body: bytes, answer: bytes
) -> None:
    told = {"REQUEST_METHOD": "POST", "REQUEST_URI": "/", "CONTENT_LENGTH": str(len(body)), "SERVER_NAME": "a"} | params
    told |= {name: value.strip().replace("\x7f", "") for name, value in told.items()}
    if wire == "http":
        told = {name: "".join(c for c in value if c.isprintable()).strip() for name, value in told.items()}
        told = {name: value for name, value in told.items() if name not in ("HTTP_HOST", "HTTP_TE")}
    pair = ConnectionPair(wire)
    pair.web_server.send(Request(told, 1))
    for event in [*[RequestBody(body, 1)] * bool(body), EndOfRequest(1)]:
        pair.web_server.send(event)
    asked = b"".join(pair.web_server.data_to_send())
    pair.application.receive_data(asked)
    request_id = next(event.request_id for event in pair.application.events() if isinstance(event, Request))
    if wire == "fastcgi":
        pair.application.send(ErrorOutput(b"a complaint", request_id))
    pair.application.send(Response("200 OK", [("Content-Type", "text/plain")], request_id))
    pair.application.send(ResponseBody(answer, request_id))
    pair.application.send(EndOfResponse(request_id))
    answered = b"".join(pair.application.data_to_send())
    for side, data in ((WEB_SERVER, asked), (APPLICATION, answered)):
        result = decode(data, "--protocol", wire, "--from", SIDES[side])
        assert (result.exit_code, hex_column(result.stdout)) == (0, data), result.output


@given(st.data())
def test_what_the_wire_refuses_is_not_passed_over(data: st.DataObject) -> None:
    recording = data.draw(st.sampled_from([recording for recording in RECORDINGS if recording.raw]))
    wire = "ajp" if recording.protocol == "ajp13" else recording.protocol
    damaged = bytearray(bytes_of(recording))
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    told: dict[str, Any] = {"multiplex": True} if wire == "fastcgi" else {}
    connection = connection_class(wire)(APPLICATION, **told)
    try:
        connection.receive_data(bytes(damaged))
        connection.events()
    except LimitExceeded:
        return
    except RemoteProtocolError as error:
        explained = annotation(wire)
        list(explained.feed(bytes(damaged)))
        list(explained.end())
        # How much of an AJP body was asked for, only the other direction tells.
        assert explained.fault or "were due" in str(error), error


# What is said


def test_a_row_has_offset_bytes_text_and_meaning() -> None:
    result = decode(BEGIN + encode_record(PARAMS, 1, encode_pairs([("NAME", "some value")])))
    assert result.stdout.splitlines() == [
        "00000000  01 01 00 01 00 08 00 00  ........  BEGIN_REQUEST  request 1  Responder  keep the connection",
        "00000008  00 01 01 00 00 00 00 00  ........",
        "00000010  01 04 00 01 00 10 00 00  ........  PARAMS  request 1  16 bytes",
        "00000018  04 0a 4e 41 4d 45 73 6f  ..NAMEso    NAME = some value",
        "00000020  6d 65 20 76 61 6c 75 65  me value",
    ]


def test_a_row_has_as_many_bytes_as_wished() -> None:
    result = decode(BEGIN, "--columns", "16")
    assert hex_column(result.stdout, 16) == BEGIN
    assert len(result.stdout.splitlines()) == 1


def test_pairs_that_are_cut_by_records_are_said_once_they_are_whole() -> None:
    block = encode_pairs([("A_LONG_NAME", "and its value"), ("B", "")])
    cut = [encode_record(PARAMS, 1, block[at : at + 6]) for at in range(0, len(block), 6)]
    lines = said(BEGIN + b"".join(cut) + encode_record(PARAMS, 1))
    assert [line for line in lines if "=" in line] == ["  A_LONG_NAME = and its value", "  B ="]
    assert lines[2] == "  … goes on in another record"


def test_fastcgi_says_padding_and_ends() -> None:
    assert said(BEGIN + encode_record(PARAMS, 1) + encode_record(STDIN, 1, b"abc") + encode_record(STDIN, 1)) == [
        "BEGIN_REQUEST  request 1  Responder  keep the connection", "PARAMS  request 1  end",
        "STDIN  request 1  3 bytes", "  3 bytes of the body", "  padding", "STDIN  request 1  end",
    ]  # fmt: skip


def test_fastcgi_management_records_belong_to_no_request() -> None:
    connection = connection_class("fastcgi")(WEB_SERVER)
    connection.send(Ping())
    assert said(b"".join(connection.data_to_send()))[:2] == ["GET_VALUES  48 bytes", "  FCGI_MAX_CONNS ="]
    unknown = encode_record(11, 0, bytes((99, 0, 0, 0, 0, 0, 0, 0)))
    assert said(unknown) == ["UNKNOWN_TYPE  of type 99"]
    assert said(encode_record(99, 0, b"odd")) == ["type 99  3 bytes", "  padding"]


def test_a_fastcgi_response_shows_its_head() -> None:
    stdout = encode_record(STDOUT, 1, b"Status: 404 Not") + encode_record(STDOUT, 1, b" Found\n\npage")
    end = encode_record(STDOUT, 1) + encode_record(3, 1, bytes((0, 0, 0, 7, 0, 0, 0, 0)))
    lines = said(stdout + end)
    assert [line for line in lines if "ecord" not in line] == [
        "STDOUT  request 1  15 bytes", "  padding", "STDOUT  request 1  12 bytes", "  Status: 404 Not Found",
        "  end of the head", "  4 bytes of the body", "  padding", "STDOUT  request 1  end",
        "END_REQUEST  request 1  appStatus 7  REQUEST_COMPLETE",
    ]  # fmt: skip


def test_http_shows_lines_chunks_and_trailers() -> None:
    head = b"POST /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert said(head + b"3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n" + HTTP) == [
        "POST /a HTTP/1.1", "  Host: b", "  Transfer-Encoding: chunked", "  end of the head", "chunk  3 bytes",
        "  3 bytes of the body", "  end of the chunk", "last chunk", "  X-Sum: 1", "end of the body",
        "GET / HTTP/1.1", "  Host: a", "  end of the head",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("response", "last"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end", "10 bytes of the body"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "1 bytes of the body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "  end of the head"),
    ],
    ids=["no-content", "informational", "answer-to-head"],
)
def test_http_knows_which_responses_have_a_body(response: bytes, last: str) -> None:
    assert said(response)[-1] == last


def test_ajp_says_what_codes_mean() -> None:
    pair = ConnectionPair("ajp")
    params = {"REQUEST_METHOD": "POST", "REQUEST_URI": "/a", "HTTP_X_ONE": "1", "HTTP_HOST": "b", "CONTENT_LENGTH": "3"}
    params |= {"SSL_CIPHER_USEKEYSIZE": "256", "REMOTE_PORT": "99"}
    for event in (Request(params), RequestBody(b"abc"), EndOfRequest()):
        pair.web_server.send(event)
    lines = said(b"".join(pair.web_server.data_to_send()))
    assert lines[0].startswith("Forward Request  ")
    assert lines[1:4] == ["  method = POST", "  protocol = HTTP/1.1", "  req_uri = /a"]
    assert {"  remote_host = (null)", "  host: b", "  x-one: 1", "  ssl_key_size = 256"} <= set(lines)
    assert lines[-3:] == ["  end of the attributes", "body  5 bytes", "  3 bytes of the body"]


def test_ajp_says_what_the_container_wants() -> None:
    want, end = b"AB\0\3\6\x1f\xfa", b"AB\0\2\5\1"
    flush, pong = b"AB\0\4\3\0\0\0", b"AB\0\1\x09"
    assert said(want + flush + end + pong) == [
        "Get Body Chunk  up to 8186 bytes are wanted", "Send Body Chunk  4 bytes", "  flush",
        "End Response  keep the connection", "CPong",
    ]  # fmt: skip


def test_ajp_says_that_lighttpd_leaves_out_the_inner_length() -> None:
    recording = next(recording for recording in RECORDINGS if recording.name == "lighttpd-ajp.post-length")
    assert said(recording.raw)[-1] == "  11 bytes of the body  (without their inner length)"


def test_ajp_says_where_a_body_ends_and_what_means_nothing() -> None:
    chunked = ajp(AJP_HEAD + b"\0\1\0\x11Transfer-Encoding\0\0\x07chunked\0\xff\x01\x02")
    assert said(chunked + ajp(b"\0\3abc") + ajp(b"") + ajp(b"\x0a"))[-5:] == [
        "  unused", "body  5 bytes", "  3 bytes of the body", "body  end", "CPing",
    ]  # fmt: skip


def test_a_header_of_the_proxy_protocol_comes_before_any_wire() -> None:
    lines = said(b"PROXY TCP4 192.0.2.7 198.51.100.1 4567 80\r\n" + HTTP)
    assert lines[:3] == ["PROXY protocol  version 1", "  REMOTE_ADDR = 192.0.2.7", "  REMOTE_PORT = 4567"]
    assert lines[5] == "GET / HTTP/1.1"
    header = b"\r\n\r\n\0\r\nQUIT\n\x20\0" + struct.pack(">H", 0)
    assert said(header + HTTP)[:2] == ["PROXY protocol  version 2", "GET / HTTP/1.1"]


def test_nothing_that_a_visitor_sent_reaches_the_terminal_as_it_is() -> None:
    result = decode(BEGIN + encode_record(PARAMS, 1, encode_pairs([("A\x1b[31m", "caf\xc3\xa9\x07\x9b")])))
    assert "  A\\x1b[31m = café\\x07\\x9b" in result.stdout
    assert not {"\x1b", "\x07", "\x9b"} & set(result.stdout)


def test_colours_tell_what_is_what() -> None:
    result = decode(BEGIN, FORCE_COLOR="1", TERM="xterm-256color")
    assert "\x1b[1;33m01\x1b[0m" in result.stdout  # a type, in the colour of
    assert "\x1b[1;33mBEGIN_REQUEST" in result.stdout
    assert "\x1b" not in decode(BEGIN, FORCE_COLOR="1", NO_COLOR="1").stdout


# Which wire, and who says it


@pytest.mark.parametrize(
    ("data", "wire", "side"),
    [
        (BEGIN, "fastcgi", WEB_SERVER),
        (encode_record(STDOUT, 1, b"A: b\n\n"), "fastcgi", APPLICATION),
        (b"24:CONTENT_LENGTH\x000\x00SCGI\x001\x00,", "scgi", WEB_SERVER),
        (b"Content-Type: text/plain\n\n", "scgi", APPLICATION),
        (b"\0\0\0\0", "uwsgi", WEB_SERVER),
        (b"\x12\x34\0\1\x0a", "ajp", WEB_SERVER),
        (b"AB\0\1\x09", "ajp", APPLICATION),
        (b"ABORT / HTTP/1.1\r\nHost: a\r\n\r\n", "http", WEB_SERVER),
        (b"HTTP/1.1 200 OK\r\n\r\n", "http", APPLICATION),
    ],
)
def test_the_first_bytes_tell_the_wire_and_the_side(data: bytes, wire: str, side: Side) -> None:
    assert recognise(data) == (wire, side)


def test_an_answer_by_uwsgi_looks_like_http_until_it_is_named() -> None:
    assert said(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\npage", "--protocol", "uwsgi") == [
        "HTTP/1.1 200 OK", "A: b", "end of the head", "4 bytes of the body",
    ]  # fmt: skip


def test_a_recording_has_the_visitors_request_too() -> None:
    path = Path(__file__).parent.parent / "corpus" / "nginx-fastcgi-split.get.json"
    result = decode(path, "--protocol", "http")
    assert hex_column(result.stdout).startswith(b"GET /")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no wire begins with nothing"),
        (b"\x16\x03\x01\x02\x00", "no wire begins with the byte 0x16; if you know better, say --protocol"),
        (b"{}", "it begins like a recording, and is none"),
        (b"[]", "no wire begins with the byte 0x5b"),
        (b'{"raw_hex": "zz", "stdin": "", "protocol": "ajp13"}', "it begins like a recording, and is none"),
    ],
)
def test_what_is_no_capture_is_refused(data: bytes, complaint: str) -> None:
    result = decode(data)
    assert (result.exit_code, result.stdout) == (1, "")
    assert complaint in result.stderr


def test_a_wire_without_an_annotator_is_shown_unexplained() -> None:
    explained = annotation("gopher")
    assert [line.pieces[0].text for line in (*explained.feed(b"some"), *explained.feed(b"thing"))] == [
        "4 bytes", "5 bytes",
    ]  # fmt: skip


def test_the_reprs_show_how_far_it_came() -> None:
    explained = annotation("fastcgi")
    list(explained.feed(BEGIN + b"\1\4\0"))
    assert repr(explained) == "<Annotation <Stream 1 marked, 2 taken of 3 bytes>>"
    list(explained.end())
    assert repr(explained) == "<Annotation <Stream 0 marked, 1 taken of 2 bytes over> the bytes end 1 too early>"
    assert repr(Screen(io.StringIO())) == "<Screen plain width=0>"


# What breaks a rule


BROKEN = [
    ("fastcgi", BEGIN + b"GET / HT", "record version is 71, not 1", 16),
    ("fastcgi", encode_record(BEGIN_REQUEST, 1, b"short"), "BEGIN_REQUEST has 5 bytes, not 8", 4),
    ("fastcgi", BEGIN + BEGIN, "request id 1, which is in use or reserved", 17),
    ("fastcgi", BEGIN + encode_record(STDIN, 1), "STDIN for request 1, which expects PARAMS", 17),
    ("fastcgi", BEGIN + encode_record(STDOUT, 1), "STDOUT for request 1 is not for the WEB_SERVER to say", 17),
    ("fastcgi", BEGIN + encode_record(99, 1), "type 99 for request 1 is not for the WEB_SERVER to say", 17),
    ("fastcgi", BEGIN + encode_record(PARAMS, 1, b"\x05\x05NAME") + encode_record(PARAMS, 1), "too early", 40),
    ("fastcgi", BEGIN[:11], "the bytes end 5 too early", 8),
    ("fastcgi", encode_record(STDOUT, 1, b"no head\n\n"), "'no head' is no header line", 8),
    ("fastcgi", encode_record(3, 1, bytes((0, 0, 0, 0, 9, 0, 0, 0))), "protocolStatus 9 is unknown", 8),
    ("scgi", b"024:CONTENT_LENGTH", "is not the beginning of a netstring", 0),
    ("scgi", b"99999999999999999999:", "is not the beginning of a netstring", 0),
    ("scgi", b"7:SCGI\x001\x00,", "the first header is not CONTENT_LENGTH", 2),
    ("scgi", b"16:CONTENT_LENGTH\x00\x00,", "CONTENT_LENGTH has no value", 18),
    ("scgi", b"17:CONTENT_LENGTH\x000\x00,", "there is no header SCGI with the value 1", 20),
    ("scgi", b"26:CONTENT_LENGTH\x00-10\x00SCGI\x001\x00,", "CONTENT_LENGTH is '-10'", 18),
    ("scgi", SCGI[:-1] + b";", "ends in ';', not in a comma", 27),
    ("scgi", SCGI + b"more", "bytes follow a body", 28),
    ("scgi", SCGI.replace(b"H\0000", b"H\0005"), "the body ends 5 bytes before its CONTENT_LENGTH", 28),
    ("scgi", b"25:CONTENT_LENGTH\x000\x00\x001\x00SCGI", "a header has no name (§3)", 20),
    ("scgi", b"41:CONTENT_LENGTH\x000\x00CONTENT_LENGTH\x005\x00SCGI\x001\x00,", "two different CONTENT_LENGTH", 35),
    ("uwsgi", b"\x05\0\0\0", "modifier1 is 5", 0),
    ("uwsgi", b"\0\x05\0\0\x01\0A\x09\0", "the bytes end 9 too early", 9),
    ("uwsgi", b"\0\x21\0\0\x16\0HTTP_TRANSFER_ENCODING\x07\0chunked", "a chunked body, and no CONTENT_LENGTH", 37),
    ("ajp", ajp(b"\x0a") + b"\x12\x35\0\1\x0a", "a packet begins with 12 35, not with 12 34", 5),
    ("ajp", ajp(b"\x63"), "prefix code 99 has no meaning here", 4),
    ("ajp", ajp(b"\x02\x63"), "method code 99 is unknown", 5),
    ("ajp", ajp(AJP_HEAD + b"\0\0\x63"), "attribute code 99 is unknown", 28),
    ("ajp", ajp(AJP_HEAD + b"\0\1\xa0\x63"), "header code A063 is unknown", 28),
    ("ajp", ajp(b"\x02\x02\0\1hh"), "a string of 1 bytes does not end in NUL", 8),
    ("ajp", ajp(AJP_HEAD + b"\0\1\xa0\x08\0\1z\0\xff"), "content-length is 'z', not a number", 34),
    ("ajp", ajp(AJP_HEAD + b"\0\1\xa0\x08\0\1x\0\xff")[:30], "too early", 28),
    ("ajp", ajp(AJP_HEAD + b"\0\1\xa0\x08\0\0011\0\xff") + ajp(b"\0\2ab"), "2 bytes came where 1 were due", 41),
    ("ajp", ajp(AJP_HEAD + b"\0\2\xa0\x08\0\0011\0\xa0\x08\0\0012\0\xff"), "two different content-length", 40),
    ("ajp", ajp_answer(b"\x06\x01"), "what it says needs 1 bytes more", 5),
    ("ajp", ajp_answer(b"\x04\0\x05\0\0\0\0\0"), "status 5 has not three digits", 5),
    ("http", b"GET\r\n", "'GET' is neither a request line nor a status line", 0),
    ("http", b"GET / HTTP/1.1\r\nno header\r\n", "'no header' is no header line", 16),
    ("http", b"GET / HTTP/1.1\r\n\r\n", "Missing mandatory Host", 16),
    ("http", HTTP[:-2] + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "conflicting Content-Length", 63),
    ("http", HTTP[:-2] + b"Content-Length: 5\r\n\r\nabc", "the body ends 2 bytes before its Content-Length", 49),
    ("http", HTTP[:-2] + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "beside Content-Length", 72),
    ("http", HTTP[:-2] + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", "'x' is not the size of a chunk", 55),
    ("http", HTTP[:-2] + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "a chunk does not end with its size", 60),
    ("http", HTTP[:-2] + b"Transfer-Encoding: chunked\r\n\r\n9\r\nab", "the bytes end 7 before the chunk does", 60),
    ("http", b"GET /" + bytes(70000), "no b'\\n' in 65536 bytes", 0),
    ("http", b"PROXY TCP4 192.0.2.7", "the bytes end within a PROXY header", 0),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "data", "rule", "offset"), BROKEN)
def test_a_byte_that_breaks_a_rule_is_named(wire: str, data: bytes, rule: str, offset: int) -> None:
    result = decode(data, "--protocol", wire)
    assert result.exit_code == 1
    assert f"Error: {wire}: " in result.stderr and rule in result.stderr
    assert f"at byte {offset} (0x{offset:x})" in result.stderr
    assert hex_column(result.stdout) == data


def test_what_comes_before_the_bad_byte_is_still_said() -> None:
    result = decode(BEGIN + b"\x01\x63\x00\x01\x00\x00\x00\x00and so on")
    assert [line[45:] for line in result.stdout.splitlines()] == [
        "BEGIN_REQUEST  request 1  Responder  keep the connection", "",
        "", "type 99 for request 1 is not for the WEB_SERVER to say (§8)", "",
    ]  # fmt: skip


def test_columns_of_no_bytes_are_wrong_usage() -> None:
    assert decode(BEGIN, "-c", "0").exit_code == 2
