"""Apache: CGI programs, mod_fcgid, and ``fcgi-run`` behind mod_proxy_fcgi, as ``examples/apache`` configures them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.frontends.checks import (
    PATHS,
    Addresses,
    Bodies,
    Cuts,
    CutsOfKnownLength,
    ErrorLog,
    FrontEnd,
    KeptConnections,
    LongBodiesInChunks,
    Requests,
    Responses,
    Streaming,
)
from tests.peers.frontends.servers import APP, Site, Worker, apache, example, fcgi_run

PROGRAM = {"/srv/hello/hello.py": str(APP), "/srv/hello": str(APP.parent)}
UNTOLD = {"ProxyFCGIBackendType": "#", "ProxyFCGISetEnvIf": "#"}
"""mod_proxy_fcgi as most sites have it: nobody tells it what SCRIPT_NAME and PATH_INFO are."""


class TestCGI(Requests, Addresses, Bodies, LongBodiesInChunks, Responses, ErrorLog, Streaming, CutsOfKnownLength):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        with apache(directory, example("apache/cgi.conf", PROGRAM)) as site:
            yield site


class TestHtaccess(Requests, Bodies, LongBodiesInChunks, Responses, ErrorLog, Streaming, CutsOfKnownLength):
    """Shared hosting: a CGI program in a folder of the site, and a rewrite that hides its name."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        folder = directory / "htdocs" / "app"
        folder.mkdir(parents=True)
        shutil.copy(APP, folder / "hello.py")
        (folder / ".htaccess").write_text(example("apache/htaccess", {}), "utf-8")
        (folder / "style.css").write_text("body { }\n", "utf-8")
        with apache(directory, f"AllowEncodedSlashes NoDecode\nDocumentRoot {folder.parent}") as site:
            yield site

    @pytest.mark.parametrize(("target", "path"), [pair for pair in PATHS.items() if pair[0] != "/app"])
    def test_the_path_is_split_and_decoded(self, site: Site, target: str, path: str) -> None:
        super().test_the_path_is_split_and_decoded(site, target, path)

    def test_the_folder_itself_is_redirected_by_apache(self, site: Site) -> None:
        assert site.get("/app").all("Location") == ["http://site.example/app/"]

    def test_a_file_of_the_folder_is_served_by_apache(self, site: Site) -> None:
        assert site.get("/app/style.css").body == b"body { }\n"


class TestFcgid(Requests, Addresses, Bodies, LongBodiesInChunks, Responses, ErrorLog, Streaming):
    """mod_fcgid starts the program; see below for what it makes of a response cut short."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        with apache(directory, example("apache/fcgid.conf", PROGRAM)) as site:
            yield site

    def test_the_next_request_is_answered_by_the_same_process(self, site: Site) -> None:
        # Apache may have started several, for requests that came at once.
        pids = [site.get("/app/").json()["pid"] for _ in range(20)]
        assert len(set(pids)) < 20


class TestCollectingFcgid(Cuts):
    """Without ``FcgidOutputBufferSize 0``, of a response that breaks off nothing is sent but a 500."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        with apache(directory, example("apache/fcgid.conf", PROGRAM | {"FcgidOutputBufferSize 0": ""})) as site:
            yield site


class TestProxyToASocket(
    Requests, Addresses, Bodies, LongBodiesInChunks, Responses, ErrorLog, Streaming, Cuts, KeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with apache(directory, example("apache/proxy-socket.conf", {"/run/hello.sock": str(worker.socket)})) as site:
            yield site


class TestProxyToAPort(
    Requests, Addresses, Bodies, LongBodiesInChunks, Responses, ErrorLog, Streaming, Cuts, KeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        where = {"127.0.0.1:9000": f"127.0.0.1:{worker.port}"}
        with apache(directory, example("apache/proxy-port.conf", where)) as site:
            yield site


class TestUntoldProxyAndMount(Requests):
    """ProxyPass alone puts the whole path into SCRIPT_NAME: ``--mount`` says where to split."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, mounted: Worker) -> Iterator[Site]:
        where = {"127.0.0.1:9000": f"127.0.0.1:{mounted.port}"}
        with apache(directory, example("apache/proxy-port.conf", UNTOLD | where)) as site:
            yield site


class TestUntoldHandlerAndMount(Requests):
    """SetHandler alone puts the first part of the path into SCRIPT_NAME."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, mounted: Worker) -> Iterator[Site]:
        where = {"/run/hello.sock": str(mounted.socket)}
        with apache(directory, example("apache/proxy-socket.conf", UNTOLD | where)) as site:
            yield site


class TestUntoldProxy(FrontEnd):
    """Without ``--mount`` the worker guesses."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        with fcgi_run(directory, name="guessing") as worker:
            where = {"127.0.0.1:9000/app": f"127.0.0.1:{worker.port}"}
            with apache(directory, example("apache/proxy-port.conf", UNTOLD | where)) as site:
                yield site

    def test_the_mount_is_what_proxypass_takes_away(self, site: Site) -> None:
        told = site.get("/app/a/b").json()
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/app", "/a/b")

    def test_the_log_says_what_the_configuration_lacks(self, site: Site) -> None:
        site.get("/app/a/b")
        assert "Or start with --mount /app" in (site.front.log.parent / "guessing.log").read_text("utf-8")


@pytest.fixture(scope="module")
def mounted(directory: Path) -> Iterator[Worker]:
    with fcgi_run(directory, "--mount", "/app", "--threads", "4", name="mounted") as worker:
        yield worker
