"""Records of STDERR as HAProxy 2.6 survives them: each has padding, and fits its buffer of 16 KiB."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from gateway.events import EndOfRequest, ErrorOutput, Request
from gateway.protocols.fastcgi_records import STDERR
from gateway.testing import ConnectionPair


def records(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Type, content and length of padding of each record."""
    while data:
        _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", data[:8])
        yield kind, data[8 : 8 + length], padding
        data = data[8 + length + padding :]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 8190, 8191, 8192, 8199, 65536, 200_000])
def test_each_record_of_errors_is_padded_and_short(size: int) -> None:
    text = bytes(number % 251 for number in range(size))
    pair = ConnectionPair("fastcgi")
    pair.ask(Request({}, 1), EndOfRequest(1))
    pair.application.send(ErrorOutput(text, 1))
    said = [*records(b"".join(pair.application.data_to_send()))]
    assert {kind for kind, _, _ in said} == {STDERR}
    assert b"".join(content for _, content, _ in said) == text
    assert all(padding and 0 < len(content) < 8192 for _, content, padding in said)
