"""The lines for the web server that ``fcgi-run`` prints at its start, in nginx and Apache as they are."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.masters import Master
from tests.peers.frontends.processes import running, unprivileged, unused_port
from tests.peers.frontends.servers import apache
from tests.peers.frontends.visitor import Visitor
from tests.requirements import require

NGINX_WIRES = ["fastcgi", "scgi", "uwsgi", "http", "auto"]
WIRES = [*NGINX_WIRES, "ajp"]
SECRET = "open s3same"

NGINX = """\
daemon off; worker_processes 1; pid nginx.pid; error_log stderr; events {{ }}
http {{
    access_log off;
    client_body_temp_path t; fastcgi_temp_path t; proxy_temp_path t; scgi_temp_path t; uwsgi_temp_path t;
{servers}
}}
"""
SERVER = "server {{ listen 127.0.0.1:{port}; server_name site.example;\n{snippet}\n}}"


@contextmanager
def nginx(directory: Path, snippets: list[str]) -> Iterator[list[int]]:
    """nginx with a server for each snippet; gives their ports."""
    program = require("nginx", package="nginx-light")
    for wire in ("fastcgi", "scgi", "uwsgi"):
        shutil.copy(require(f"/etc/nginx/{wire}_params", package="nginx-light"), directory)
    ports = [unused_port() for _ in snippets]
    servers = [SERVER.format(port=port, snippet=text) for port, text in zip(ports, snippets, strict=True)]
    (directory / "nginx.conf").write_text(NGINX.format(servers="\n".join(servers)), "utf-8")
    command = [*unprivileged(), program, "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]
    with running(command, directory=directory, name="nginx", listens=[("127.0.0.1", port) for port in ports]):
        yield ports


def printed(master: Master) -> list[str]:
    """The snippets that it has printed."""
    snippets: list[str] = re.findall(r"For the web server:\n(.*?)\n(?=\[\d)", master.ready().log(), re.DOTALL)
    return snippets


@contextmanager
def sites(folder: Path, binds: dict[str, str], *words: str, **env: str) -> Iterator[tuple[dict[str, Visitor], Master]]:
    """A server with a bind for each wire, and the web servers that it asks for, as their visitors see them."""
    web_servers = folder.with_name("before_" + folder.name.replace(" ", "_"))
    folder.mkdir()
    web_servers.mkdir()
    words += tuple(word for wire in WIRES for word in ("-b", f"{wire}://{binds[wire]}"))
    with Master(folder, *words, env=env) as master:
        *for_nginx, for_apache = printed(master)
        define = f'Define GATEWAY_SECRET "{env["GATEWAY_SECRET"]}"\n' if env else ""
        with nginx(web_servers, for_nginx) as ports, apache(web_servers, define + for_apache) as site:
            visitors = map(Visitor, [*ports, site.port])
            yield dict(zip(WIRES, visitors, strict=True)), master


@pytest.fixture(scope="module")
def mounted(directory: Path) -> Iterator[tuple[dict[str, Visitor], Master]]:
    """On ports, below a mount, with a secret and larger packets than usual."""
    ports = dict.fromkeys(WIRES, "127.0.0.1:0")
    words = ["--mount", "/app/v1.0", "--packet-size", "32768"]
    with sites(directory / "mounted", ports, *words, GATEWAY_SECRET=SECRET) as started:
        yield started


@pytest.fixture(scope="module")
def whole(directory: Path) -> Iterator[tuple[dict[str, Visitor], Master]]:
    """On unix sockets, as the whole site; the paths have a space in them."""
    with sites(directory / "the whole site", {wire: f"unix:{wire}.sock" for wire in WIRES}) as started:
        yield started


@pytest.mark.parametrize("wire", WIRES)
class TestMounted:
    @pytest.mark.parametrize(("path", "told"), [("", ""), ("/", "/"), ("/a%20b/c?0", "/a b/c"), ("/a%2Fb", "/a/b")])
    def test_the_application_begins_at_the_mount(
        self, mounted: tuple[dict[str, Visitor], Master], wire: str, path: str, told: str
    ) -> None:
        answer = mounted[0][wire].get(f"/app/v1.0{path}").json()
        assert (answer["mount"], answer["path"]) == ("/app/v1.0", told)

    def test_what_is_not_below_it_is_not_passed_on(
        self, mounted: tuple[dict[str, Visitor], Master], wire: str
    ) -> None:
        assert mounted[0][wire].get("/app/v1.0.1").status == mounted[0][wire].get("/app/v1_0/").status == 404

    def test_a_body_arrives(self, mounted: tuple[dict[str, Visitor], Master], wire: str) -> None:
        assert mounted[0][wire].post("/app/v1.0/", b"x" * 100_000).json()["body"] == 100_000

    def test_nothing_has_to_be_repaired(self, mounted: tuple[dict[str, Visitor], Master], wire: str) -> None:
        mounted[0][wire].get("/app/v1.0/x")
        assert "environ repaired" not in mounted[1].log()


@pytest.mark.parametrize("wire", WIRES)
class TestWholeSite:
    @pytest.mark.parametrize(("path", "told"), [("/", "/"), ("/a%20b/c?0", "/a b/c"), ("/a%2Fb", "/a/b")])
    def test_the_application_is_all_of_it(
        self, whole: tuple[dict[str, Visitor], Master], wire: str, path: str, told: str
    ) -> None:
        answer = whole[0][wire].get(path).json()
        assert (answer["mount"], answer["path"]) == ("", told)

    def test_nothing_has_to_be_repaired(self, whole: tuple[dict[str, Visitor], Master], wire: str) -> None:
        whole[0][wire].get("/x")
        assert "environ repaired" not in whole[1].log()


def test_the_secret_is_asked_for(mounted: tuple[dict[str, Visitor], Master], directory: Path) -> None:
    *_, for_apache = printed(mounted[1])
    folder = directory / "wrong"
    folder.mkdir()
    with apache(folder, f'Define GATEWAY_SECRET "a guess"\n{for_apache}') as site:
        assert site.get("/app/v1.0/").status == 403
    assert SECRET not in mounted[1].log()
