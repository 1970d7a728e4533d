"""HTTP: ``fcgi-run`` behind nginx, Apache, lighttpd, HAProxy and Caddy, as ``examples`` configures them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.frontends.calls import call
from tests.peers.frontends.checks import (
    Bodies,
    Cuts,
    CutsOfKnownLength,
    CutsWhileStreaming,
    ForwardedAddresses,
    KeptConnections,
    LongBodiesInChunks,
    Requests,
    Responses,
    Streaming,
    UnkeptConnections,
)
from tests.peers.frontends.servers import Site, Worker, apache, caddy, example, fcgi_run, haproxy, lighttpd, nginx

TOLD = ["proxy_http_version", "proxy_set_header", "keepalive"]


@pytest.fixture(scope="module")
def worker(directory: Path) -> Iterator[Worker]:
    with fcgi_run(directory, "--protocol", "http", "--mount", "/app", "--threads", "4") as worker:
        yield worker


def at(worker: Worker) -> dict[str, str]:
    return {"/run/hello.sock": str(worker.socket)}


class TestNginx(Requests, ForwardedAddresses, Bodies, LongBodiesInChunks, Responses, Cuts, KeptConnections):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with nginx(directory, "http.conf", at(worker)) as site:
            yield site

    def test_a_call_shows_what_moves(self, site: Site) -> None:
        called = call("-H", "Host: site.example", f"http://127.0.0.1:{site.port}", "/app/environ")
        assert (called.status, called.sent[:2]) == (0, ["GET /app/environ HTTP/1.1", "  Host: site.example"])
        assert called.received[0] == "HTTP/1.1 200 OK"
        assert any(line.startswith("  Server: nginx/") for line in called.received)


class TestNginxThatPassesOnAtOnce(Bodies, LongBodiesInChunks, Responses, Streaming, Cuts, KeptConnections):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        unbuffered = {f"# proxy_{what}buffering off;": f"proxy_{what}buffering off;" for what in ("", "request_")}
        with nginx(directory, "http.conf", at(worker) | unbuffered) as site:
            yield site


class TestNginxAsItComes(Requests, Bodies, LongBodiesInChunks, Responses, CutsOfKnownLength, UnkeptConnections):
    """Told nothing but where to pass requests on, nginx speaks HTTP/1.0."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with nginx(directory, "http.conf", dict.fromkeys(TOLD, "#") | at(worker)) as site:
            yield site


class TestApache(Requests, ForwardedAddresses, Bodies, LongBodiesInChunks, Responses, Streaming, Cuts, KeptConnections):
    """Over TCP and over a unix socket."""

    @pytest.fixture(scope="class", params=["tcp", "unix"])
    @classmethod
    def site(cls, request: pytest.FixtureRequest, directory: Path, worker: Worker) -> Iterator[Site]:
        tcp, unix = f"http://127.0.0.1:{worker.port}", f"unix:{worker.socket}|http://hello"
        edits = {'"http://127.0.0.1:9000': f'"{tcp if request.param == "tcp" else unix}'}
        with apache(directory, example("apache/http.conf", edits)) as site:
            yield site


class TestLighttpd(
    Requests, ForwardedAddresses, Bodies, LongBodiesInChunks, Responses, Streaming, CutsWhileStreaming,
    UnkeptConnections,
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with lighttpd(directory, "http.conf", at(worker)) as site:
            yield site

    test_the_uri_stays_as_it_is = None

    def test_an_encoded_slash_is_decoded_before_it_is_passed_on(self, site: Site) -> None:
        assert site.get("/app/a%20b/c%2Fd").json()["REQUEST_URI"] == "/app/a%20b/c/d"


class TestLighttpdThatLeavesSlashesEncoded(Requests):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        told = {"server.modules": 'server.http-parseopts = ( "url-path-2f-decode" => "disable" )\nserver.modules'}
        with lighttpd(directory, "http.conf", told | at(worker)) as site:
            yield site


class TestHAProxy(
    Requests, ForwardedAddresses, Bodies, LongBodiesInChunks, Responses, Streaming, Cuts, KeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with haproxy(directory, "http.cfg", at(worker)) as site:
            yield site


class TestCaddy(
    Requests, ForwardedAddresses, Bodies, LongBodiesInChunks, Responses, Streaming, CutsOfKnownLength, KeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with caddy(directory, "http.Caddyfile", at(worker)) as site:
            yield site
