"""One socket for all wires: the first bytes tell which it is, and a PROXY header before them who connected."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from gateway.events import APPLICATION, WEB_SERVER, EndOfRequest, EndOfResponse, Request, Response, ResponseBody
from gateway.limits import Limits
from gateway.protocols import WIRES, connection_class
from gateway.protocols.detect import WIRE_OF, Connection, decode_proxy
from tests.conversation import bytewise, heard
from tests.corpus_files import RECORDINGS, Recording

HTTP = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SCGI = b"24:CONTENT_LENGTH\x000\x00SCGI\x001\x00,"
FASTCGI = bytes.fromhex("0101000100080000 0001010000000000 0104000100000000 0105000100000000")
RECORDED = [
    recording for recording in RECORDINGS if recording.raw and not recording.name.startswith("apache-ajp.post-chunked")
]
"""What was sent without being asked for."""
WIRE = {"ajp13": "ajp"}
"""The wires that the recordings call differently."""

TCP4 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4567 443\r\n"
TCP6 = b"PROXY TCP6 2001:db8::7 2001:DB8:0::1 4567 443\r\n"
UNKNOWN = b"PROXY UNKNOWN\r\n"
TOLD = {"REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "4567", "SERVER_ADDR": "198.51.100.1", "SERVER_PORT": "443"}
TOLD6 = {"REMOTE_ADDR": "2001:db8::7", "REMOTE_PORT": "4567", "SERVER_ADDR": "2001:db8::1", "SERVER_PORT": "443"}
SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
IPV4 = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack(">HH", 4567, 443)
IPV6 = bytes.fromhex("20010db8000000000000000000000007 20010db8000000000000000000000001") + IPV4[8:]


def v2(body: bytes = IPV4, *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    """A header of version 2, written down independently of the code under test."""
    return SIGNATURE + struct.pack(">BBH", command, family, len(body) if length is None else length) + body


def vector(kind: int, value: bytes) -> bytes:
    """A type-length-value vector."""
    return struct.pack(">BH", kind, len(value)) + value


TLS = vector(0x20, b"\x01\0\0\0\0" + vector(0x21, b"TLSv1.3"))


def params_of(data: bytes) -> dict[str, str]:
    """The params of a request."""
    event = heard(Connection(APPLICATION), data)[0]
    assert isinstance(event, Request)
    return event.params


def refusal(connection: Connection, data: bytes) -> str:
    """The message of the error that some bytes raise."""
    with pytest.raises(RemoteProtocolError) as caught:
        heard(connection, data)
    return str(caught.value)


# -- which wire it is


@pytest.mark.parametrize("recording", RECORDED, ids=repr)
def test_a_recorded_request_is_understood_whatever_its_wire(recording: Recording) -> None:
    named = connection_class(WIRE.get(recording.protocol, recording.protocol))(APPLICATION)
    named.receive_data(recording.raw)
    connection = Connection(APPLICATION)
    assert heard(connection, recording.raw) == named.events()
    assert repr(connection) == repr(named)


ONE_OF_EACH = [
    *{(recording.protocol, recording.variant): recording.raw for recording in RECORDED}.values(), HTTP,
    next(recording.request for recording in RECORDINGS if recording.variant == "post-chunked"),
]  # fmt: skip


@pytest.mark.parametrize("data", ONE_OF_EACH, ids=lambda data: repr(data[:8]))
def test_a_request_means_the_same_byte_by_byte(data: bytes) -> None:
    whole, slowly = Connection(APPLICATION), Connection(APPLICATION)
    heard(whole, data)
    heard(slowly, *bytewise(data))
    assert repr(slowly) == repr(whole)


@pytest.mark.parametrize("data", [HTTP, SCGI, FASTCGI, TCP4 + HTTP, v2() + FASTCGI], ids=lambda data: repr(data[:8]))
def test_a_request_means_the_same_cut_in_two_anywhere(data: bytes) -> None:
    whole = heard(Connection(APPLICATION), data)
    assert whole
    for at in range(1, len(data)):
        assert heard(Connection(APPLICATION), data[:at], data[at:]) == whole, f"cut at byte {at}"


def test_each_wire_begins_in_its_own_way() -> None:
    assert set(WIRE_OF.values()) == {"http", "scgi", "fastcgi", "uwsgi", "ajp"} <= set(WIRES)
    begins = {wire: bytes(byte for byte, its in WIRE_OF.items() if its == wire) for wire in WIRE_OF.values()}
    assert (begins["uwsgi"], begins["fastcgi"], begins["ajp"]) == (b"\x00", b"\x01", b"\x12")
    assert sorted(begins["scgi"]) == list(b"0123456789")
    assert set(b"GPpX_") < set(begins["http"])


def test_a_connection_speaks_its_wire_to_the_end() -> None:
    connection = Connection(APPLICATION)
    for _ in range(2):
        assert [type(event) for event in heard(connection, HTTP)] == [Request, EndOfRequest]
        for event in (Response("200 OK", [("Content-Length", "5")]), ResponseBody(b"hello"), EndOfResponse()):
            connection.send(event)
        assert b"".join(connection.data_to_send()).endswith(b"\r\nContent-Length: 5\r\n\r\nhello")
        assert connection.idle and connection.reusable


def test_a_connection_has_its_limits() -> None:
    connection = Connection(APPLICATION, limits=Limits(params_size=20))
    assert "limit params_size=20 exceeded" in refusal(connection, HTTP)


@pytest.mark.parametrize("data", [HTTP, SCGI, FASTCGI], ids=["http", "scgi", "fastcgi"])
def test_it_is_the_wire_that_knows_whether_errors_reach_the_web_server(data: bytes) -> None:
    connection = Connection(APPLICATION)
    heard(connection, data)
    assert connection.error_channel == (data is FASTCGI)


def test_each_wire_has_its_options() -> None:
    recording = next(recording for recording in RECORDED if recording.protocol == "ajp13")
    connection = Connection(APPLICATION, options={"ajp": {"secret": "open sesame"}})
    assert "secret" in refusal(connection, recording.raw)


def test_an_option_that_its_wire_does_not_have_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="secret"):
        Connection(APPLICATION, options={"http": {"secret": "open sesame"}})


@pytest.mark.parametrize("byte", [0x02, 0x0A, 0x0D ^ 0x80, 0x20, 0x22, 0x7F, 0xFF])
def test_what_no_wire_begins_with_is_refused(byte: int) -> None:
    connection = Connection(APPLICATION)
    assert refusal(connection, bytes((byte,))) == f"auto: no wire begins with the byte 0x{byte:02x} (at byte 0)"
    assert connection.data_to_send() == []


def test_a_tls_handshake_is_refused_in_its_own_words() -> None:
    connection = Connection(APPLICATION)
    message = "auto: a TLS handshake; let the web server end TLS, and ask us in plain text (at byte 44)"
    assert refusal(connection, TCP4 + b"\x16\x03\x01\x02\x00\x01") == message
    assert b"".join(connection.data_to_send()) == bytes.fromhex("15 0301 0002 02 28")
    assert connection.data_to_send() == []


# -- the PROXY protocol


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (TCP4, TOLD),
        (TCP6, TOLD6),
        (UNKNOWN, {}),
        (b"PROXY UNKNOWN ffff::1 what ever\r\n", {}),
        (v2(), TOLD),
        (v2(family=0x12), TOLD),
        (v2(IPV6, family=0x21), TOLD6),
        (v2(IPV4 + vector(0x01, b"h2")), TOLD),
        (v2(IPV4 + vector(0x04, b"") + TLS), TOLD | {"HTTPS": "on"}),
        (v2(IPV4 + vector(0x20, b"\0\0\0\0\0")), TOLD),
        (v2(IPV4 + vector(0x20, b"")), TOLD),
        (v2(b"", family=0), {}),
        (v2(b"u" * 216, family=0x31), {}),
        (v2(command=0x20), {}),
        (v2(b"", command=0x20, family=0), {}),
    ],
)
def test_a_proxy_header_tells_who_connected(header: bytes, told: dict[str, str]) -> None:
    assert decode_proxy(header + HTTP) == (told, len(header))


@pytest.mark.parametrize("header", [TCP4, TCP6, UNKNOWN, v2(), v2(IPV6 + TLS, family=0x21)], ids=repr)
def test_a_proxy_header_is_waited_for(header: bytes) -> None:
    for at in range(len(header)):
        assert decode_proxy(header[:at]) is None


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 65535))
def test_both_versions_tell_the_same(address: object, port: int) -> None:
    version: int = address.version  # type: ignore[attr-defined]
    packed: bytes = address.packed  # type: ignore[attr-defined]
    line = f"PROXY TCP{version} {address} {address} {port} {port}\r\n".encode()
    binary = v2(packed * 2 + struct.pack(">HH", port, port), family={4: 0x11, 6: 0x21}[version])
    params = {"REMOTE_ADDR": str(address), "REMOTE_PORT": str(port), "SERVER_ADDR": str(address)}
    params["SERVER_PORT"] = str(port)
    assert decode_proxy(line) == (params, len(line))
    assert decode_proxy(binary) == (params, len(binary))


@pytest.mark.parametrize("header", [TCP4, v2()], ids=["v1", "v2"])
def test_http_believes_a_proxy_header(header: bytes) -> None:
    assert TOLD.items() <= params_of(header + HTTP).items()


def test_a_visitor_who_came_over_tls_is_known_to_http() -> None:
    params = params_of(v2(IPV4[:-2] + b"\x20\xfb" + TLS) + HTTP.replace(b"Host: a", b"Host: a:444"))
    assert (params["HTTPS"], params["SERVER_PORT"]) == ("on", "444")


@pytest.mark.parametrize("data", [SCGI, FASTCGI], ids=["scgi", "fastcgi"])
def test_other_wires_are_told_as_well_what_they_do_not_say(data: bytes) -> None:
    assert TOLD.items() <= params_of(TCP4 + data).items()


@pytest.mark.parametrize("recording", RECORDED, ids=repr)
def test_what_a_request_says_itself_is_not_changed_by_a_proxy_header(recording: Recording) -> None:
    plain, told = params_of(recording.raw), params_of(v2() + recording.raw)
    assert plain.items() <= told.items()
    assert told.keys() - plain.keys() <= TOLD.keys()


def test_what_is_told_comes_before_repeated_params() -> None:
    recording = next(recording for recording in RECORDED if recording.name == "nginx-fastcgi-split.get")
    request = heard(Connection(APPLICATION), TCP4 + recording.raw)[0]
    assert isinstance(request, Request)
    assert list(request.repeated) == [*TOLD.items(), *recording.params]


def test_the_requests_after_the_first_are_told_as_well() -> None:
    connection = Connection(APPLICATION)
    for data in (TCP4 + FASTCGI, FASTCGI):
        request = heard(connection, data)[0]
        assert request == Request(TOLD, 1)
        connection.send(Response("200 OK", [], 1))
        connection.send(EndOfResponse(1))


BAD_HEADERS = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4567\r\n", "is not TCP4 or TCP6, two addresses and two ports (§2.1)"),
    (b"PROXY TCP4  192.0.2.7 198.51.100.1 4567 80\r\n", "is not TCP4 or TCP6"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4567 80 \r\n", "is not TCP4 or TCP6"),
    (b"PROXY UDP4 192.0.2.7 198.51.100.1 4567 80\r\n", "is not TCP4 or TCP6"),
    (b"PROXY \r\n", "is not TCP4 or TCP6"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 80\r\n", "two ports"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 80\r\n", "two ports"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 \xb2 80\r\n", "two ports"),
    (b"PROXY TCP4 192.0.2 198.51.100.1 4567 80\r\n", "'192.0.2' does not appear to be an IPv4 or IPv6 address (§2.1)"),
    (b"PROXY TCP4 2001:db8::7 2001:db8::1 4567 80\r\n", "are not both of TCP4 (§2.1)"),
    (b"PROXY TCP6 2001:db8::7 192.0.2.7 4567 80\r\n", "are not both of TCP6"),
    (b"PROXY " + b"x" * 101, "no CRLF in the first 107 bytes (§2.1)"),
    (v2(command=0x11), "version and command are 0x11, neither 0x20 nor 0x21 (§2.2)"),
    (v2(command=0x22), "version and command are 0x22"),
    (v2(IPV4[:-1]), "11 bytes do not hold two addresses of 4 bytes and their ports (§2.2)"),
    (v2(IPV4, family=0x21), "12 bytes do not hold two addresses of 16 bytes"),
    (v2(IPV4 + b"\x01\x00\x05h2"), "a vector of type 0x01 is longer than the header (§2.2.7)"),
    (v2(IPV4 + b"\x20\x00"), "is longer than the header"),
]


@pytest.mark.parametrize(("header", "message"), BAD_HEADERS, ids=[repr(header[-20:]) for header, _ in BAD_HEADERS])
def test_a_bad_proxy_header_is_refused(header: bytes, message: str) -> None:
    connection = Connection(APPLICATION)
    error = refusal(connection, header + HTTP)
    assert message in error
    assert error.startswith("PROXY protocol: ") and error.endswith(" (at byte 0)")
    assert not connection.reusable
    assert heard(connection, HTTP) == []


@pytest.mark.parametrize("header", [TCP4, v2()], ids=["v1", "v2"])
def test_a_second_proxy_header_is_refused(header: bytes) -> None:
    refusal(Connection(APPLICATION), TCP4 + header + HTTP)


# -- the end of what the peer says


def test_a_connection_may_end_before_it_began() -> None:
    connection = Connection(APPLICATION)
    connection.receive_eof()
    assert connection.events() == []
    assert connection.idle and not connection.reusable


@pytest.mark.parametrize("header", [TCP4, v2(command=0x20)], ids=["v1", "v2"])
def test_a_load_balancer_may_look_whether_we_live(header: bytes) -> None:
    connection = Connection(APPLICATION)
    assert heard(connection, header) == []
    assert connection.idle
    connection.receive_eof()


@pytest.mark.parametrize("data", [b"P", TCP4[:-1], v2()[:5], v2()[:-1]], ids=repr)
def test_a_proxy_header_cut_by_the_end_of_the_connection_is_refused(data: bytes) -> None:
    connection = Connection(APPLICATION)
    assert heard(connection, data) == []
    assert not connection.idle
    with pytest.raises(RemoteProtocolError, match="PROXY protocol: the peer closed the connection before"):
        connection.receive_eof()


def test_an_end_right_behind_a_request_leaves_it_whole() -> None:
    connection = Connection(APPLICATION)
    connection.receive_data(TCP4 + HTTP)
    connection.receive_eof()
    assert [type(event) for event in connection.events()] == [Request, EndOfRequest]


def test_an_end_right_behind_the_first_bytes_is_the_wire_s_affair() -> None:
    connection = Connection(APPLICATION)
    connection.receive_data(HTTP[:-1])
    with pytest.raises(RemoteProtocolError, match="HTTP: the peer closed the connection before the end of a head"):
        connection.receive_eof()


# -- what cannot be said


def test_nothing_can_be_said_before_it_is_known_how() -> None:
    connection = Connection(APPLICATION)
    heard(connection, b"P")
    with pytest.raises(LocalProtocolError, match=r"Response does not fit <detect.+ 1 bytes so far>"):
        connection.send(Response("200 OK", []))


def test_what_is_said_to_a_refused_peer_is_lost() -> None:
    connection = Connection(APPLICATION)
    refusal(connection, b"\xff")
    connection.send(Response("200 OK", []))
    assert connection.data_to_send() == []
    assert repr(connection) == "<detect.Connection APPLICATION broken>"


def test_a_web_server_has_to_know_what_it_speaks() -> None:
    with pytest.raises(ConfigError, match="who speaks first has to know the wire"):
        Connection(WEB_SERVER)
