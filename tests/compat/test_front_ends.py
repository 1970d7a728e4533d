"""flup's dispatch file, not a letter of it changed, under the web servers that used to start it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.compat.scripts import COMPAT, DISPATCH
from tests.masters import is_alive
from tests.peers.frontends.processes import running, unused_port, wait_for
from tests.peers.frontends.servers import Site, apache, example, lighttpd, nginx_with
from tests.requirements import require

LOCATION = r"""
server {{
    listen 127.0.0.1:{port};
    location ~ ^/app(/|$) {{
        fastcgi_split_path_info ^(/app)(/.*)$;
        include fastcgi_params;
        fastcgi_param PATH_INFO $fastcgi_path_info;
        fastcgi_pass unix:{socket};
    }}
}}
"""


@contextmanager
def behind_nginx(folder: Path, script: Path) -> Iterator[Site]:
    """spawn-fcgi makes the socket, as for most of those who had nginx."""
    spawn = require("spawn-fcgi", package="spawn-fcgi")
    socket, port = folder / "spawned.sock", unused_port()
    command = [spawn, "-n", "-s", str(socket), "-M", "0666", "--", *COMPAT, str(script)]
    site = LOCATION.format(port=port, socket=socket)
    with running(command, directory=folder, name="spawned", listens=[str(socket)]), \
         nginx_with(folder, site, port=port) as front:  # fmt: skip
        yield front


@contextmanager
def behind_nginx_by_itself(folder: Path, script: Path) -> Iterator[Site]:
    """The script is told where to listen (``bindAddress``)."""
    socket, port = folder / "bound.sock", unused_port()
    site = LOCATION.format(port=port, socket=socket)
    with running([*COMPAT, str(script), str(socket)], directory=folder, name="bound", listens=[str(socket)]), \
         nginx_with(folder, site, port=port) as front:  # fmt: skip
        yield front


@contextmanager
def in_apache(folder: Path, script: Path) -> Iterator[Site]:
    """mod_fcgid starts it."""
    site = example("apache/fcgid.conf", {"/srv/hello/hello.py": str(script), "/srv/hello": str(folder)})
    wrapper = f'FcgidWrapper "{" ".join(COMPAT)} {script}" .fcgi\n'
    with apache(folder, site + wrapper) as front:
        yield front


@contextmanager
def in_lighttpd(folder: Path, script: Path) -> Iterator[Site]:
    """lighttpd starts it (``bin-path``)."""
    started = {"/srv/hello/hello.py": f"{' '.join(COMPAT)} {script}", "/run/hello.sock": str(folder / "started.sock")}
    with lighttpd(folder, "spawned.conf", started) as front:
        yield front


FRONT_ENDS = [behind_nginx, behind_nginx_by_itself, in_apache, in_lighttpd]


@pytest.fixture(scope="module", params=FRONT_ENDS, ids=lambda front_end: front_end.__name__)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    folder.chmod(0o777)
    script = folder / "hello.fcgi"
    shutil.copy(DISPATCH / "hello.fcgi", script)
    script.chmod(0o755)
    with request.param(folder, script) as front:
        yield front


def test_the_visitor_gets_what_the_application_says(site: Site) -> None:
    answer = site.get("/app/")
    assert (answer.status, answer.body) == (200, b"Hello World!\n")


def test_the_application_is_told_of_the_request(site: Site) -> None:
    told = dict(line.split(": ", 1) for line in site.get("/app/env?x=1").body.decode().splitlines())
    assert told == {
        "REQUEST_METHOD": "'GET'", "SCRIPT_NAME": "'/app'", "PATH_INFO": "'/env'", "QUERY_STRING": "'x=1'",
        "wsgi.multithread": "True", "wsgi.run_once": "False",
    }  # fmt: skip


def test_a_body_arrives(site: Site) -> None:
    assert site.post("/app/echo", b"\0\xff" * 1000).body == b"\0\xff" * 1000


def test_the_process_stays(site: Site) -> None:
    assert site.get("/app/pid").body == site.get("/app/pid").body


def test_sigterm_ends_it_at_once(site: Site) -> None:
    pid = int(site.get("/app/pid").body)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not is_alive(pid), timeout=5.0)  # graceful_timeout is 30
