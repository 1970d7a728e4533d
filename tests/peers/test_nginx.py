"""nginx in front of ``fcgi-run``, with the configurations of ``examples/nginx``."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.frontends.checks import (
    Addresses,
    Bodies,
    Cuts,
    ErrorLog,
    FrontEnd,
    KeptConnections,
    LongBodiesInChunks,
    Requests,
    Responses,
    Streaming,
    UnkeptConnections,
    told_in_turn,
)
from tests.peers.frontends.processes import wait_for
from tests.peers.frontends.servers import Site, Worker, fcgi_run, nginx

UNKEPT = {"keepalive 8;": "", "fastcgi_keep_conn on;": ""}
UNBUFFERED = {"# fastcgi_buffering off;": "fastcgi_buffering off;", "# fastcgi_request_": "fastcgi_request_"}
STOCK = {"fastcgi_split_path_info ^(/app)(/.*)$;": "", "fastcgi_param PATH_INFO $fastcgi_path_info;": ""}


def at(worker: Worker) -> dict[str, str]:
    return {"unix:/run/hello.sock": f"unix:{worker.socket}"}


class TestKeptConnectionsToASocket(
    Requests, Addresses, Bodies, LongBodiesInChunks, Responses, ErrorLog, Cuts, KeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with nginx(directory, "mounted.conf", at(worker)) as site:
            yield site


class TestAConnectionForEachRequestToAPort(
    Requests, Bodies, LongBodiesInChunks, Responses, ErrorLog, Cuts, UnkeptConnections
):  # fmt: skip
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        with nginx(directory, "mounted.conf", UNKEPT | {"unix:/run/hello.sock": f"127.0.0.1:{worker.port}"}) as site:
            yield site


class TestPassedOnAtOnce(Bodies, LongBodiesInChunks, Responses, ErrorLog, Streaming, Cuts):
    """Neither nginx nor the worker waits for the whole of anything."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        with (
            fcgi_run(directory, "--threads", "4", "--limit-body-buffer", "1000", name="streaming") as worker,
            nginx(directory, "mounted.conf", UNBUFFERED | at(worker)) as site,
        ):
            yield site


class TestAProcessForEachRequest(Requests, Bodies, Responses, ErrorLog, Cuts, KeptConnections):
    """``--worker-model fork``, over kept connections."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        with (
            fcgi_run(directory, "--worker-model", "fork", name="forking") as worker,
            nginx(directory, "mounted.conf", at(worker)) as site,
        ):
            yield site

    def test_each_request_is_answered_by_another_process(self, site: Site) -> None:
        assert len({told["pid"] for told in told_in_turn(site)}) == 10


class TestAWholeSite(FrontEnd):
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, worker: Worker) -> Iterator[Site]:
        (directory / "static").mkdir()
        (directory / "static" / "style.css").write_text("body { }\n", "utf-8")
        edits = {"root /srv/hello;": f"root {directory};", 'HTTP_PROXY "";': 'HTTP_PROXY ""; fastcgi_param HTTPS on;'}
        with nginx(directory, "whole-site.conf", edits | at(worker)) as site:
            yield site

    @pytest.mark.parametrize(("target", "path"), [("/", "/"), ("/a%20b/c%2Fd?x=1", "/a b/c/d")])
    def test_the_whole_path_is_path_info(self, site: Site, target: str, path: str) -> None:
        told = site.get(target).json()
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("", path)

    def test_https_is_what_nginx_says_it_is(self, site: Site) -> None:
        assert site.get("/").json()["wsgi.url_scheme"] == "https"

    def test_a_static_file_is_served_by_nginx(self, site: Site) -> None:
        assert site.get("/static/style.css").body == b"body { }\n"


class TestStockParametersAndMount(Requests):
    """``include fastcgi_params`` alone, which puts the whole path into SCRIPT_NAME: ``--mount`` says where to split."""

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path) -> Iterator[Site]:
        with (
            fcgi_run(directory, "--mount", "/app", "--threads", "4", name="mounted") as worker,
            nginx(directory, "mounted.conf", STOCK | at(worker) | {"~ ^/app(/|$)": "/"}) as site,
        ):
            yield site

    def test_a_path_outside_of_the_mount_is_not_found(self, site: Site) -> None:
        assert site.get("/apple").status == 404


class TestReload(FrontEnd):
    @pytest.fixture(scope="class")
    @classmethod
    def reloaded(cls, directory: Path) -> Iterator[Worker]:
        with fcgi_run(directory, "--threads", "2", "-w", "2", name="reloaded") as worker:
            yield worker

    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, directory: Path, reloaded: Worker) -> Iterator[Site]:
        with nginx(directory, "mounted.conf", at(reloaded)) as site:
            yield site

    def test_a_reload_under_load_loses_no_request(self, site: Site, reloaded: Worker) -> None:
        pids: set[int] = set()
        wrong: list[object] = []
        enough = threading.Event()

        def visit() -> None:
            while not enough.is_set():
                try:
                    pids.add(site.get("/app/").json()["pid"])
                except Exception as error:
                    wrong.append(error)

        def started() -> set[int]:
            return set(map(int, re.findall(r"Booting worker with pid: (\d+)", reloaded.process.said())))

        visitors = [threading.Thread(target=visit) for _ in range(4)]
        for visitor in visitors:
            visitor.start()
        try:
            wait_for(lambda: pids or wrong)
            for generation in (1, 2, 3):
                old = started()
                reloaded.process.signal(signal.SIGHUP)
                ended = 2 * generation
                wait_for(lambda ended=ended: reloaded.process.said().count("Worker exiting") == ended, timeout=30.0)
                wait_for(lambda old=old: pids - old or wrong)  # whichever worker is quicker may answer them all
        finally:
            enough.set()
            for visitor in visitors:
                visitor.join()
        assert not wrong
