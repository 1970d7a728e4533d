"""Under load nothing is lost: each graceful signal, with kept and unkept connections, with and without nginx."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.client import Client
from tests.masters import PATIENCE, Master, wait_for
from tests.requirements import require

pytestmark = pytest.mark.usefixtures("nothing_left_over")

MODELS = {
    "threads=1": ("--threads", "1"),
    "threads=4": ("--threads", "4"),
    "fork": ("--worker-model", "fork"),
}
Ask = Callable[[str], str]


class Load:
    """Some visitors that ask without a pause, until the end of the block; counts what each request came to."""

    def __init__(self, *visitors: Callable[[], contextlib.AbstractContextManager[Ask]]) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(visitor,)) for visitor in visitors]

    def _visit(self, visitor: Callable[[], contextlib.AbstractContextManager[Ask]]) -> None:
        methods = ("GET", "POST")
        count = 0
        with visitor() as ask:
            while not self._over.is_set():
                before = time.monotonic()
                try:
                    outcome = ask(methods[count % 2])
                except Exception as error:
                    outcome = repr(error)
                self.outcomes[outcome] += 1
                self.slowest = max(self.slowest, time.monotonic() - before)
                count += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def wait(self, *, requests: int = 100) -> None:
        """Until so many more were answered."""
        target = self.outcomes.total() + requests
        wait_for(lambda: self.outcomes.total() >= target, otherwise=lambda: f"stuck at {self.outcomes}")

    def check(self) -> None:
        """Each request was answered, and none had to wait for others."""
        assert list(self.outcomes) == ["200"], self.outcomes
        assert self.slowest < 3.0


def fastcgi(url: str, *, kept: bool) -> Callable[[], contextlib.AbstractContextManager[Ask]]:
    """A visitor that is the web server itself."""

    @contextlib.contextmanager
    def visitor() -> Iterator[Ask]:
        with Client(url, pool_size=4 if kept else 0, timeout=PATIENCE) as client:
            yield lambda method: client.request(method, "/", body=b"x" * 10 if method == "POST" else b"")[0][:3]

    return visitor


def web(port: int) -> Callable[[], contextlib.AbstractContextManager[Ask]]:
    """A visitor of nginx."""

    @contextlib.contextmanager
    def visitor() -> Iterator[Ask]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

        def ask(method: str) -> str:
            connection.request(method, "/app/", body=b"x" * 10 if method == "POST" else None)
            response = connection.getresponse()
            response.read()
            return str(response.status)

        with contextlib.closing(connection):
            yield ask

    return visitor


def graceful_stop(master: Master, load: Load) -> None:
    """SIGHUP, three times: each time the old workers stop gracefully."""
    for count in (2, 3, 4):
        workers = count * 2
        master.send(signal.SIGHUP)
        master.ready(workers=workers)
        load.wait()


def upgrade(master: Master, load: Load) -> None:
    """SIGUSR2, and SIGTERM to the old master."""
    master.send(signal.SIGUSR2)
    new = int(master.wait_log(r"Listening at: \S+ \((\d+)\)", times=2))
    master.ready(workers=4)
    load.wait()
    master.send(signal.SIGTERM)
    master.process.wait(PATIENCE)
    master.pid = new
    load.wait()


def more_and_fewer_workers(master: Master, load: Load) -> None:
    """SIGTTIN and SIGTTOU, twice each."""
    for number in (signal.SIGTTIN, signal.SIGTTOU) * 2:
        before = len(master.workers())
        wanted = before + 1 if number == signal.SIGTTIN else before - 1
        master.send(number)
        wait_for(lambda wanted=wanted: len(master.workers()) == wanted, otherwise=master.log)
        load.wait()


@pytest.mark.parametrize("happens", [graceful_stop, upgrade, more_and_fewer_workers])
@pytest.mark.parametrize("words", MODELS.values(), ids=MODELS)
def test_no_request_is_lost(
    tmp_path: Path, words: tuple[str, ...], happens: Callable[[Master, Load], None]
) -> None:
    with Master(tmp_path, "-b", "unix:s", "-w", "2", *words, measured=False) as master:
        master.ready(workers=2)
        visitors = [fastcgi(master.url, kept=kept) for kept in (True, True, False, False)]
        with Load(*visitors) as load:
            load.wait()
            happens(master, load)
            load.wait()
        load.check()
        assert master.stop() == 0


@pytest.mark.parametrize("words", MODELS.values(), ids=MODELS)
def test_no_request_is_lost_when_a_worker_has_served_its_share(tmp_path: Path, words: tuple[str, ...]) -> None:
    limits = ["--max-requests", "60", "--max-requests-jitter", "30"]
    with Master(tmp_path, "-b", "unix:s", *limits, *words, measured=False) as master:
        visitors = [fastcgi(master.ready().url, kept=kept) for kept in (True, True, False, False)]
        with Load(*visitors) as load:
            master.ready(workers=4)
            load.wait()
        load.check()


NGINX = """\
daemon off; master_process off; pid nginx.pid; error_log error.log; worker_processes 1;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path t; fastcgi_temp_path t; proxy_temp_path t; scgi_temp_path t; uwsgi_temp_path t;
    upstream app { server unix:%(socket)s; keepalive 8; }
    server { listen 127.0.0.1:%(port)d; server_name localhost; %(location)s }
}
"""
KEPT = """location /app { include fastcgi_params; fastcgi_split_path_info ^(/app)(/.*)$;
    fastcgi_param PATH_INFO $fastcgi_path_info; fastcgi_keep_conn on; fastcgi_pass app; }"""


@contextlib.contextmanager
def nginx(folder: Path, location: str) -> Iterator[int]:
    """nginx with this location in front of the socket in ``folder``; gives its port."""
    program = require("nginx", package="nginx-light")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    (folder / "fastcgi_params").write_text(Path("/etc/nginx/fastcgi_params").read_text())
    config = folder / "nginx.conf"
    config.write_text(NGINX % {"socket": folder / "s", "port": port, "location": location})
    words = [program, "-p", str(folder), "-c", str(config), "-e", "error.log"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)

    def up() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(up, otherwise=lambda: (folder / "error.log").read_text())
        yield port
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE)


@pytest.mark.parametrize("happens", [graceful_stop, upgrade])
def test_nginx_notices_nothing_of_a_change_of_workers(
    tmp_path: Path, happens: Callable[[Master, Load], None]
) -> None:
    with Master(tmp_path, "-b", "unix:s", "-w", "2", "--threads", "2") as master:
        master.ready(workers=2)
        with nginx(tmp_path, KEPT) as port, Load(*[web(port)] * 4) as load:
            load.wait()
            happens(master, load)
            load.wait()
    load.check()
    errors = tmp_path / "error.log"
    assert "upstream prematurely closed" not in errors.read_text()


def test_a_worker_that_starts_again_keeps_its_place_in_the_queue(tmp_path: Path) -> None:
    """With one worker that is being replaced, connections wait in the listen queue."""
    with Master(tmp_path, "-b", "unix:s") as master:
        (worker,) = master.ready().workers()
        os.kill(worker, signal.SIGTERM)
        assert master.ask()["version"] == "one"
