"""FastAPI, Starlette, Quart and Django (by ASGI and by WSGI) behind front ends of every kind.

One ``fcgi-run --protocol auto`` for each application of ``examples/``, and one nginx, one Apache and one HAProxy for
all of them: each way to each application has a port of its own.  Apache's mod_cgid runs them as CGI programs.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from http.client import HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest

from gateway.protocols.fastcgi import BEGIN_REQUEST, END_REQUEST
from tests.house import ROOT
from tests.peers.frontends.checks import FrontEnd
from tests.peers.frontends.processes import reserved_ports, wait_for
from tests.peers.frontends.servers import Site, Worker, apache, example, fcgi_run, haproxy_with, nginx_with
from tests.peers.frontends.visitor import Visitor
from tests.peers.frontends.wiretap import Wiretap, wiretap
from tests.requirements import require_module

APPS = {
    "fastapi": ("fastapi_app", "notes:app"),
    "starlette": ("starlette_app", "notes:app"),
    "quart": ("quart_app", "notes:app"),
    "django-asgi": ("django_project", "notes.asgi:application"),
    "django-wsgi": ("django_project", "notes.wsgi:application"),
}
ASGI_APPS = [name for name in APPS if name != "django-wsgi"]
WITH_LIFESPAN = ["fastapi", "starlette", "quart"]
SAYS_IT_ITSELF = ["fastapi", "starlette"]
"""That nginx shall not buffer: by X-Accel-Buffering.  For the others its configuration says it."""
WAYS = ["nginx-fastcgi", "nginx-uwsgi", "apache-fastcgi", "apache-cgi", "haproxy-fastcgi"]
MULTIPLEXED = {"# option get-values": "option get-values", "# option mpxs-conns": "option mpxs-conns"}
TAPPED = "starlette"
"""The application that HAProxy reaches through a wiretap."""

FORM = ("Content-Type", "application/x-www-form-urlencoded")
MULTIPART = ("Content-Type", "multipart/form-data; boundary=x")
BLOCK = bytes(range(256)) * 1024
THE_END = "notes: the end\n"
"""What a lifespan says."""


class App(NamedTuple):
    """One application: its worker, its CGI program, and the port of each way to it."""

    name: str
    worker: Worker
    program: Path
    ports: dict[str, int]

    def behind_nginx(self, wire: str, path: str) -> str:
        edits = {"listen 8080": f"listen 127.0.0.1:{self.ports[f'nginx-{wire}']}"}
        if self.name not in SAYS_IT_ITSELF:
            edits[f"# {wire}_buffering off"] = f"{wire}_buffering off"
        return self._example(f"nginx/{path}", edits)

    def behind_apache(self) -> str:
        program = {"/srv/hello/hello.py": str(self.program), "/srv/hello": str(self.program.parent)}
        ways = {
            "apache-cgi": example("apache/cgi.conf", program),
            "apache-fastcgi": self._example("apache/proxy-socket.conf", {}),
        }
        return "".join(
            f"Listen 127.0.0.1:{self.ports[way]}\n<VirtualHost 127.0.0.1:{self.ports[way]}>\n{site}</VirtualHost>\n"
            for way, site in ways.items()
        )

    def behind_haproxy(self, socket: Path) -> str:
        edits = {"bind :8080": f"bind 127.0.0.1:{self.ports['haproxy-fastcgi']}", "frontend web": "frontend of-hello"}
        return self._example("haproxy/haproxy.cfg", edits | MULTIPLEXED, socket=socket)

    def _example(self, path: str, edits: dict[str, str], *, socket: Path | None = None) -> str:
        """A file of ``examples/`` for this application."""
        return example(path, {**edits, "hello": self.name, f"/run/{self.name}.sock": str(socket or self.worker.socket)})


def fcgi_run_of(directory: Path, name: str, *, as_: str = "") -> AbstractContextManager[Worker]:
    """``fcgi-run`` with an application at its defaults, for every wire."""
    folder, target = APPS[name]
    options = ["--protocol", "auto", "--chdir", str(ROOT / "examples" / folder)]
    environ = {"NOTES": f"{directory}/notes.sqlite"}
    return fcgi_run(directory, *options, target=target, name=as_ or name, environ=environ)


def cgi_program_of(directory: Path, name: str) -> Path:
    """The CGI program of an application in a folder of its own, changed as it says itself."""
    folder, _ = APPS[name]
    edits = {"os.path.dirname(os.path.abspath(__file__))": repr(str(ROOT / "examples" / folder))}
    if name == "django-asgi":
        edits["notes.wsgi"] = "notes.asgi"
    path = directory / f"{name}-cgi" / "notes.cgi"
    path.parent.mkdir()
    path.write_text(example(f"{folder}/notes.cgi", edits), "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def apps(directory: Path) -> Iterator[list[App]]:
    """The applications, ready to be put behind web servers."""
    for module, package in (
        ("fastapi", "fastapi"), ("python_multipart", "python-multipart"), ("starlette", "starlette"),
        ("quart", "quart"), ("django", "django"),
    ):  # fmt: skip
        require_module(module, package=package)
    with ExitStack() as stack, ThreadPoolExecutor(2) as starters:
        ports = iter(stack.enter_context(reserved_ports(len(APPS) * len(WAYS))))
        workers = list(starters.map(lambda name: stack.enter_context(fcgi_run_of(directory, name)), APPS))
        yield [
            App(name, worker, cgi_program_of(directory, name), {way: next(ports) for way in WAYS})
            for name, worker in zip(APPS, workers, strict=True)
        ]


@pytest.fixture(scope="module")
def tap(directory: Path, apps: list[App]) -> Iterator[Wiretap]:
    """Between HAProxy and one of the applications."""
    (tapped,) = (app for app in apps if app.name == TAPPED)
    with wiretap(directory / "tap.sock", tapped.worker.socket) as tap:
        yield tap


@pytest.fixture(scope="module")
def sites(directory: Path, apps: list[App], tap: Wiretap) -> Iterator[dict[tuple[str, str], Site]]:
    """Each application by each way."""
    wires = {"fastcgi": "mounted.conf", "uwsgi": "uwsgi.conf"}
    of_nginx = "".join(app.behind_nginx(wire, path) for app in apps for wire, path in wires.items())
    of_apache = f"SetEnv NOTES {directory}/notes.sqlite\n" + "".join(app.behind_apache() for app in apps)
    of_haproxy = "global\n    nbthread 1\n" + "".join(
        app.behind_haproxy(tap.path if app.name == TAPPED else app.worker.socket) for app in apps
    )
    ports = apps[0].ports
    with (
        nginx_with(directory, of_nginx, port=ports["nginx-fastcgi"]) as nginx,
        apache(directory, of_apache) as behind_apache,
        haproxy_with(directory, of_haproxy, port=ports["haproxy-fastcgi"]) as haproxy,
    ):
        fronts = {"nginx": nginx.front, "apache": behind_apache.front, "haproxy": haproxy.front}
        yield {
            (app.name, way): Site(port, fronts[way.partition("-")[0]])
            for app in apps
            for way, port in app.ports.items()
        }


def of(names: Sequence[str], ways: Sequence[str] = WAYS) -> pytest.MarkDecorator:
    """Run a test with each of these applications by each of these ways as its ``site``."""
    pairs = list(itertools.product(names, ways))
    return pytest.mark.parametrize("site", pairs, indirect=True, ids=["-by-".join(pair) for pair in pairs])


class TestFrameworks(FrontEnd):
    @pytest.fixture
    def site(self, request: pytest.FixtureRequest, sites: dict[tuple[str, str], Site]) -> Site:
        return sites[request.param]

    @of(WITH_LIFESPAN, ["apache-cgi"])
    def test_a_cgi_program_has_a_lifespan_around_its_request(self, site: Site) -> None:
        before = site.front.said().count(THE_END)
        assert site.get("/app/note/x").status == 200
        wait_for(lambda: site.front.said().count(THE_END) == before + 1)

    @of(list(APPS))
    def test_a_path_and_a_query_arrive_and_a_url_leads_back(self, site: Site) -> None:
        told = site.get("/app/note/caf%C3%A9/a%20b?x=1&x=%E2%82%AC").json()
        assert (told["name"], told["query"]) == ("café/a b", {"x": ["1", "€"]})
        url, _, _ = unquote(told["url"]).partition("?")  # Starlette does not quote it
        assert url == "http://site.example/app/note/café/a b"

    @of(list(APPS))
    def test_an_upload_arrives(self, site: Site) -> None:
        assert uploaded(site, blocks=1) == hashlib.sha256(BLOCK).hexdigest()

    @of(["fastapi"])
    def test_an_upload_of_50_mib_arrives(self, site: Site) -> None:
        assert uploaded(site, blocks=200) == hashlib.sha256(BLOCK * 200).hexdigest()

    @of(list(APPS), [way for way in WAYS if way != "apache-cgi"])
    def test_visitors_at_once_get_an_answer_each(self, site: Site) -> None:
        with ThreadPoolExecutor(8) as visitors:
            answers = visitors.map(lambda number: site.get(f"/app/note/{number}").json()["name"], range(16))
            assert list(answers) == [str(number) for number in range(16)]

    @of(ASGI_APPS)
    def test_events_arrive_one_by_one(self, site: Site) -> None:
        with site.asking("GET", "/app/clock") as events:
            assert events.getheader("Content-Type", "").startswith("text/event-stream")
            ticks = [next_tick(events) for _ in range(3)]
        assert [number for number, _ in ticks] == [1, 2, 3]
        assert max(age for _, age in ticks) < 5  # 12 seconds fill a buffer of 4 KiB, as nginx has it for uwsgi

    @of(["fastapi"])
    def test_what_a_background_task_adds_after_the_answer_is_in_a_streaming_response(self, site: Site) -> None:
        note = f"by port {site.port}"
        answer = site.post("/app/add", f"note={note}".encode(), [FORM])
        assert (answer.status, json.loads(answer.body)) == (202, {"accepted": note})
        wait_for(lambda: f"* {note}\n" in site.get("/app/export").body.decode())

    @of([TAPPED], ["haproxy-fastcgi"])
    def test_haproxy_sends_requests_at_once_on_one_connection(self, site: Site, tap: Wiretap) -> None:
        site.get("/app/note/x")  # it does so once it has seen a request through
        with ExitStack() as visits:
            clocks = [visits.enter_context(site.asking("GET", "/app/clock")) for _ in range(6)]
            assert [next_tick(clock)[0] for clock in clocks] == [1] * 6
            running = Counter(record.connection for record in tap.said("server", BEGIN_REQUEST))
            running.subtract(record.connection for record in tap.said("application", END_REQUEST))
            assert max(running.values()) >= 6


@pytest.mark.parametrize("name", WITH_LIFESPAN)
def test_a_worker_has_a_lifespan_around_all_requests(directory: Path, name: str) -> None:
    require_module(name, package=name)
    with fcgi_run_of(directory, name, as_=f"short-{name}") as worker:
        assert Visitor(worker.port).get("/note/x").status == 200  # by HTTP, which is a wire, too
        assert THE_END not in worker.process.said()
    assert worker.process.said().count(THE_END) == 1


def uploaded(site: Site, *, blocks: int) -> str:
    """What the application says of a file: its SHA-256."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    told = site.post("/app/upload", head + BLOCK * blocks + b"\r\n--x--\r\n", [MULTIPART]).json()
    assert told["name"] == "a.bin"
    return str(told["sha256"])


def next_tick(events: HTTPResponse) -> tuple[int, float]:
    """The number of an event, and how many seconds ago it was sent."""
    number, sent, end = (events.readline().decode() for _ in range(3))
    assert end == "\n"
    return int(number.removeprefix("id: ")), time.time() - float(sent.removeprefix("data: "))
