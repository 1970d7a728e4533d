"""A connection talked to by hand: bytes in, events out, and back; what is sent goes nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.errors import RemoteProtocolError
from gateway.events import RequestBody, ResponseBody

if TYPE_CHECKING:
    from gateway.events import Connection, Event


def heard(connection: Connection, *data: bytes) -> list[Event]:
    """What is there to tell, and the events of some bytes, fed one piece after the other."""
    events = connection.events()
    for piece in data:
        connection.receive_data(piece)
        events += connection.events()
    return events


def heard_to_the_end(connection: Connection, *data: bytes) -> list[Event]:
    """The events of some bytes and of the end of the connection."""
    events = heard(connection, *data)
    connection.receive_eof()
    return events + connection.events()


def said(connection: Connection, *events: Event) -> bytes:
    """What goes on the wire when some events are sent."""
    for event in events:
        connection.send(event)
    return b"".join(connection.data_to_send())


def refusal(connection: Connection, *data: bytes) -> RemoteProtocolError:
    """The error that some bytes raise."""
    with pytest.raises(RemoteProtocolError) as caught:
        heard(connection, *data)
    return caught.value


def bytewise(data: bytes) -> list[bytes]:
    """One piece for each byte."""
    return [data[at : at + 1] for at in range(len(data))]


def joined(events: list[Event]) -> list[Event]:
    """Events with each body in one piece."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, (RequestBody, ResponseBody)) and type(last) is type(event):
            last.data += event.data
        else:
            result.append(event)
    return result
