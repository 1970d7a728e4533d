"""Where a worker listens: for which wire, with which options, and whom it would believe."""

from __future__ import annotations

import socket

import pytest

from gateway.address import Address, listen, parse_bind
from gateway.errors import ConfigError
from gateway.limits import Limits
from gateway.protocols import WIRES, options_of
from gateway.workers.listener import build_listeners, check_taken, connections_at, parse_listen


@pytest.mark.parametrize(
    ("bind", "place", "wire"),
    [
        ("unix:s", "unix:s", "uwsgi"),
        ("scgi://unix:s", "unix:s", "scgi"),
        ("tcp://127.0.0.1", "127.0.0.1:3031", "uwsgi"),
        ("HTTP://127.0.0.1", "127.0.0.1:8000", "http"),
        ("auto://[::1]", "[::1]:3031", "auto"),
        ("ajp://:0", "0.0.0.0:0", "ajp"),
        ("fd://3", "fd://3", "uwsgi"),
    ],
)
def test_a_bind_may_name_its_wire(bind: str, place: str, wire: str) -> None:
    assert parse_listen(bind, protocol="uwsgi") == (parse_bind(place), wire)


def test_a_wire_without_a_usual_port_has_that_of_fastcgi() -> None:
    assert parse_listen("127.0.0.1", protocol="auto") == (parse_bind("127.0.0.1:9000"), "auto")


@pytest.mark.parametrize("wire", ["smtp", "cgi"])
def test_a_wire_that_sockets_do_not_speak_is_refused(wire: str) -> None:
    with pytest.raises(ConfigError, match=f"'{wire}://unix:s': no wire is called '{wire}'; there are: fastcgi, "):
        parse_listen(f"{wire}://unix:s", protocol="fastcgi")


def test_each_socket_gets_the_connections_of_its_wire() -> None:
    with listen(Address(host="127.0.0.1")) as one, listen(Address(host="127.0.0.1")) as other:
        listeners = build_listeners([(one, "scgi"), (other, "ajp")], limits=Limits(), options={"secret": "s"})
        assert [listener.sock for listener in listeners] == [one, other]
        told = [repr(listener.connect()) for listener in listeners]
    assert [text.split()[0] for text in told] == ["<scgi.Connection", "<ajp.Connection"]


# Options.


@pytest.mark.parametrize("wire", sorted(WIRES.keys() - {"ajp", "auto"}))
def test_a_wire_that_knows_no_secret_gets_none(wire: str) -> None:
    assert options_of(wire, {"secret": "s", "packet_size": 9000}) == {}


def test_what_understands_all_wires_gets_the_options_of_each() -> None:
    given = {"secret": "s", "keep_conn": False}
    assert options_of("auto", given) == {"options": {"ajp": {"secret": "s"}, "fastcgi": {"keep_conn": False}}}


def test_a_value_that_a_wire_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="packet_size is 7"):
        connections_at(Address(path="s"), "auto", limits=Limits(), options={"packet_size": 7}, allowed=None)


def test_an_option_that_no_wire_takes_is_refused() -> None:
    check_taken(["secret"], wires=["scgi", "auto"])
    with pytest.raises(ConfigError, match="secret is no option of scgi, http; leave it out, or listen for a wire that"):
        check_taken(["secret"], wires=["scgi", "http", "scgi"])


# Whom AJP believes.


def refusal(bind: str, *, secret: str = "", allowed: frozenset[str] | None = None) -> str:
    """Why nothing is served there; "" if it is."""
    address, wire = parse_listen(bind, protocol="ajp")
    try:
        connections_at(address, wire, limits=Limits(), options={"secret": secret}, allowed=allowed)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("bind", [":8009", "[::]:8009", "192.0.2.7", "gateway.example:8009"])
def test_ajp_for_others_needs_a_secret(bind: str) -> None:
    place = parse_listen(bind, protocol="ajp")[0]
    assert refusal(bind).startswith(f"ajp at {place} would believe everybody who connects: give it a secret (GATEWAY_S")
    assert refusal(bind, secret="s") == ""


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost", "unix:/run/app.sock", "unix:@app"])
def test_ajp_for_this_machine_needs_none(bind: str) -> None:
    assert refusal(bind) == ""


def test_ajp_for_web_servers_that_are_named_needs_none() -> None:
    assert refusal(":8009", allowed=frozenset({"192.0.2.7"})) == ""


@pytest.mark.parametrize("wire", sorted(WIRES.keys() - {"ajp"}))
def test_a_wire_that_is_open_by_nature_is_served(wire: str) -> None:
    assert refusal(f"{wire}://0.0.0.0") == ""


def test_a_socket_that_somebody_else_bound_is_looked_at_too() -> None:
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        with pytest.raises(ConfigError, match=r"ajp at 0\.0\.0\.0:\d+ would"):
            build_listeners([(sock, "ajp")], limits=Limits())
