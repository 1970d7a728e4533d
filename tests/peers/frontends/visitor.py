"""The visitor: sends one HTTP request over a connection of its own, exactly as stated, and keeps all of the answer."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Headers = Iterable[tuple[str, str]]


class Answer:
    """One response."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.headers} {self.body[:500]!r}>"

    def all(self, name: str) -> list[str]:
        """The values of every header of that name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> dict[str, Any]:
        """What the application tells that it was asked."""
        assert self.status == 200, self
        told: dict[str, Any] = json.loads(self.body)
        return told


class Visitor:
    """Visits one site, which it calls site.example: 127.0.0.1 at ``port``, over TLS if ``tls``."""

    def __init__(self, port: int, *, tls: bool = False) -> None:
        self.port = port
        self.tls = tls

    def get(self, target: str, headers: Headers = (), *, source: str = "") -> Answer:
        """GET ``target``, which is sent as it is written, from the address ``source``."""
        return self.ask("GET", target, headers=headers, source=source)

    def post(self, target: str, body: bytes | Iterable[bytes], headers: Headers = ()) -> Answer:
        """POST bytes with a Content-Length, or an iterable of chunks without."""
        return self.ask("POST", target, headers=headers, body=body)

    def ask(
        self, method: str, target: str, *, headers: Headers = (), body: bytes | Iterable[bytes] = b"", source: str = ""
    ) -> Answer:
        """Any request.  Raises http.client.HTTPException or OSError if the answer is not whole."""
        with self.asking(method, target, headers=headers, body=body, source=source) as response:
            return Answer(response.status, response.getheaders(), response.read())

    @contextmanager
    def asking(
        self, method: str, target: str, *, headers: Headers = (), body: bytes | Iterable[bytes] = b"", source: str = ""
    ) -> Iterator[http.client.HTTPResponse]:
        """Any request; the response's head has arrived when the block begins."""
        connection = self._connect(source)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", "site.example")
            for name, value in headers:
                connection.putheader(name, value)
            if not isinstance(body, bytes):
                connection.putheader("Transfer-Encoding", "chunked")
            elif body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None, encode_chunked=not isinstance(body, bytes))
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def _connect(self, source: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20, source_address=(source, 0))
        if self.tls:
            nobody_signed_it = ssl.create_default_context()
            nobody_signed_it.check_hostname = False
            nobody_signed_it.verify_mode = ssl.CERT_NONE
            connection.connect()
            connection.sock = nobody_signed_it.wrap_socket(connection.sock, server_hostname="site.example")
        return connection
