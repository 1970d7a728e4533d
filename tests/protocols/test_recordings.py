"""What web servers were recorded to send over FastCGI, SCGI and uwsgi: whole, byte by byte, cut anywhere, cut short.

AJP's body has to be asked for and HTTP's recordings tell no params: theirs are with the other tests of these wires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.errors import RemoteProtocolError
from gateway.events import APPLICATION, AbortRequest, EndOfRequest, Request, RequestBody
from gateway.protocols import connection_class
from tests.conversation import bytewise, heard, joined
from tests.corpus_files import Recording, recordings

if TYPE_CHECKING:
    from gateway.events import Connection, Event

RECORDED = pytest.mark.parametrize("recording", recordings("fastcgi", "scgi", "uwsgi"), ids=repr)


def application(recording: Recording) -> Connection:
    """The side that hears it."""
    return connection_class(recording.protocol)(APPLICATION)


def sent(recording: Recording) -> bytes:
    """All that came: only FastCGI puts the body into records, which are recorded."""
    return recording.raw if recording.protocol == "fastcgi" else recording.raw + recording.stdin


def events_of(recording: Recording) -> list[Event]:
    """What these bytes must mean, from what the recorder wrote down beside them."""
    number = 1 if recording.protocol == "fastcgi" else 0
    params = dict(recording.params)
    repeated = () if len(params) == len(recording.params) else recording.params
    body = [RequestBody(recording.stdin, number)] * bool(recording.stdin)
    return [Request(params, number, repeated=repeated), *body, EndOfRequest(number)]


@RECORDED
def test_a_recorded_request_is_understood(recording: Recording) -> None:
    assert joined(heard(application(recording), sent(recording))) == events_of(recording)


@RECORDED
def test_a_recorded_request_means_the_same_byte_by_byte(recording: Recording) -> None:
    assert joined(heard(application(recording), *bytewise(sent(recording)))) == events_of(recording)


@RECORDED
def test_a_recorded_request_means_the_same_cut_in_two_anywhere(recording: Recording) -> None:
    data = sent(recording)
    for at in range(1, len(data)):
        events = heard(application(recording), data[:at], data[at:])
        assert joined(events) == events_of(recording), f"cut at byte {at}"


@RECORDED
def test_a_recorded_request_that_ends_anywhere_too_early_is_noticed(recording: Recording) -> None:
    data, (*_, end) = sent(recording), events_of(recording)
    for at in range(1, len(data)):
        connection = application(recording)
        events = heard(connection, data[:at])
        try:
            connection.receive_eof()
        except RemoteProtocolError:
            assert events == [], f"cut at byte {at}"
        else:
            assert connection.events() == [AbortRequest(end.request_id)], f"cut at byte {at}"
