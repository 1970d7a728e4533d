"""The registry gives every wire by its name."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.events import APPLICATION
from gateway.limits import Limits
from gateway.protocols import PIPED, WIRES, cgi, connection_class, connection_factory, fastcgi


@pytest.mark.parametrize(("wire", "connection"), [("cgi", cgi.Connection), ("fastcgi", fastcgi.Connection)])
def test_a_wire_has_a_name(wire: str, connection: object) -> None:
    assert connection_class(wire) is connection


@pytest.mark.parametrize("wire", [*WIRES, *PIPED])
def test_every_wire_can_be_loaded(wire: str) -> None:
    assert connection_class(wire).__name__ == "Connection"


def test_an_unknown_wire_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no wire is called 'gopher'; there are: fastcgi, .*, cgi"):
        connection_class("gopher")


def test_the_connections_of_a_server_have_the_options_of_their_wire() -> None:
    factory = connection_factory("fastcgi", APPLICATION, limits=Limits(), options={"multiplex": True})
    assert factory()._most == Limits().requests_per_connection  # type: ignore[attr-defined]
    assert factory() is not factory()


def test_an_option_that_the_wire_does_not_have_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"the wire fastcgi does not take these options: .*'multiples'"):
        connection_factory("fastcgi", APPLICATION, limits=Limits(), options={"multiples": True})
