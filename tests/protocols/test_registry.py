"""The registry gives every wire by its name."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.protocols import WIRES, cgi, connection_class, fastcgi


@pytest.mark.parametrize(("wire", "connection"), [("cgi", cgi.Connection), ("fastcgi", fastcgi.Connection)])
def test_a_wire_has_a_name(wire: str, connection: object) -> None:
    assert connection_class(wire) is connection


@pytest.mark.parametrize("wire", WIRES)
def test_every_wire_can_be_loaded(wire: str) -> None:
    assert connection_class(wire).__name__ == "Connection"


def test_an_unknown_wire_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no wire is called 'gopher'; there are: cgi, fastcgi"):
        connection_class("gopher")
