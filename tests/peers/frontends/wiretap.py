"""A wiretap between a FastCGI web server and its application: passes all bytes on, and keeps the records."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.peers.frontends.processes import takes_connections, wait_for


class Record(NamedTuple):
    """One FastCGI record, and the connection (a number) and side that it came from."""

    connection: int
    side: str
    kind: int
    request_id: int
    content: bytes


class Wiretap:
    """What was said so far, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []

    def said(self, side: str, kind: int) -> list[Record]:
        """The records of one type from one side: ``"server"`` or ``"application"``."""
        return [record for record in self.records if (record.side, record.kind) == (side, kind)]


@contextmanager
def wiretap(path: Path, application: Path) -> Iterator[Wiretap]:
    """Listen on ``path`` and pass connections on to ``application`` while the block runs."""
    tap = Wiretap(path)
    stop_out, stop_in = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listener, stop_out, stop_in:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_listen, args=(tap, listener, application, stop_out))
        thread.start()
        try:
            wait_for(lambda: takes_connections(str(path)))
            yield tap
        finally:
            stop_in.close()
            thread.join()


def _listen(tap: Wiretap, listener: socket.socket, application: Path, stop: socket.socket) -> None:
    """One thread for all of it, so that the records stand in the order in which they went by."""
    others: dict[socket.socket, socket.socket] = {}
    unread: dict[socket.socket, bytes] = {}
    names: dict[socket.socket, tuple[int, str]] = {}
    while True:
        for ready in select.select([stop, listener, *others], (), ())[0]:
            if ready is stop:
                for sock in others:
                    sock.close()
                return
            if ready is listener:
                server, upstream = listener.accept()[0], socket.socket(socket.AF_UNIX)
                upstream.connect(str(application))
                for sock, other, side in ((server, upstream, "server"), (upstream, server, "application")):
                    others[sock], unread[sock], names[sock] = other, b"", (len(names) // 2, side)
            elif ready in others:
                data = ready.recv(65536)
                unread[ready] = _keep(tap, *names[ready], unread[ready] + data)
                if not (data and _pass_on(data, others[ready])):
                    for sock in (ready, others.pop(ready)):
                        others.pop(sock, None)
                        sock.close()


def _pass_on(data: bytes, other: socket.socket) -> bool:
    """Is somebody there to take it?"""
    try:
        other.sendall(data)
    except ConnectionError:
        return False
    return True


def _keep(tap: Wiretap, connection: int, side: str, data: bytes) -> bytes:
    """Keep the whole records of ``data``; return the rest."""
    while len(data) >= 8:
        kind, request_id, length, padding = struct.unpack_from(">xBHHBx", data)
        if len(data) < 8 + length + padding:
            break
        tap.records.append(Record(connection, side, kind, request_id, data[8 : 8 + length]))
        data = data[8 + length + padding :]
    return data
