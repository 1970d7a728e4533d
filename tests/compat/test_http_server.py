"""``http.server.CGIHTTPRequestHandler``: as it is documented, beside Python's own, and what it does better."""

from __future__ import annotations

import http.client
import http.server
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway.compat.http_server import CGIHTTPRequestHandler
from tests.masters import environment

PROGRAM = f"""\
#!{sys.executable}
import os, sys
body = sys.stdin.read(int(os.environ.get("CONTENT_LENGTH") or 0))
print("Content-Type: text/plain\\n")
for name in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL", "MINE"):
    print(name, os.environ.get(name))
print(os.getcwd(), body, sys.argv[1:])
"""
STATUS = """\
#!/bin/sh
echo "Status: 404 Nowhere"
echo "X-Header: $HTTP_X_HEADER $HTTP_COOKIE"
echo
echo body
"""


class Quiet(CGIHTTPRequestHandler):
    """Runs programs as whoever runs the tests."""

    cgi_options = {"user": os.geteuid()}

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a cgi-bin."""
    root = tmp_path_factory.mktemp("site")
    (root / "index.html").write_text("a page")
    for folder, name, text in (("cgi-bin", "told.py", PROGRAM), ("cgi-bin", "status", STATUS), ("htbin", "a", STATUS)):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / name).write_text(text)
        (root / folder / name).chmod(0o755)
    (root / "cgi-bin" / "cut").write_text("#!/bin/sh\necho 'Content-Length: 9'\necho\necho begun\nkill -9 $$\n")
    (root / "cgi-bin" / "cut").chmod(0o755)
    (root / "cgi-bin" / "data.txt").write_text("no program")
    return root


@contextmanager
def serving(
    site: Path, handler: type = Quiet, *, server: type[HTTPServer] = ThreadingHTTPServer
) -> Iterator[tuple[str, int]]:
    """A server of Python's with a handler."""
    with server(("127.0.0.1", 0), partial(handler, directory=str(site))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running.server_address[0], running.server_address[1]  # type: ignore[misc]
        running.shutdown()
        thread.join()


def ask(
    place: tuple[str, int], method: str, target: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*place, timeout=20)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def place(site: Path) -> Iterator[tuple[str, int]]:
    with serving(site) as place:
        yield place


@pytest.mark.parametrize("server", [HTTPServer, ThreadingHTTPServer])
def test_a_program_runs_on_either_server(site: Path, server: type[HTTPServer]) -> None:
    with serving(site, server=server) as place:
        assert b"PATH_INFO /x/y\n" in ask(place, "GET", "/cgi-bin/told.py/x%2fy")[2]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [("GET", "/cgi-bin/told.py/more/path?a=b", None), ("POST", "/cgi-bin/told.py", b"a body"),
     ("GET", "/cgi-bin/told.py?two+words", None)],
)  # fmt: skip
def test_it_is_told_what_python_s_own_handler_tells(
    site: Path, place: tuple[str, int], method: str, target: str, body: bytes | None
) -> None:
    theirs = getattr(http.server, "CGIHTTPRequestHandler", None)
    if theirs is None:
        pytest.skip("this Python has none")
    theirs = type("Theirs", (theirs,), {"log_message": lambda *args: None})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with serving(site, theirs) as their_place:
            said = [ask(one, method, target, body) for one in (place, their_place)]
    assert said[0][0] == said[1][0] == 200
    if os.geteuid() != 0:  # theirs runs as nobody, who may not enter the folder of the tests
        assert lines(said[0][2]) == lines(said[1][2])


def lines(text: bytes) -> list[str]:
    """What was told, but for the one that http.server gets wrong: an argument of two words is two."""
    return [line for line in text.decode().replace("two words", "two', 'words").splitlines() if "PROTOCOL" not in line]


def test_the_status_and_the_headers_are_the_program_s(place: tuple[str, int]) -> None:
    status, headers, body = ask(place, "GET", "/cgi-bin/status", X_Header="told", Cookie="a=1")
    assert (status, headers["X-Header"], body) == (404, "told a=1", b"body\n")


def test_a_program_in_htbin_runs_too(place: tuple[str, int]) -> None:
    assert ask(place, "GET", "/htbin/a")[0] == 404


def test_head_has_no_body(place: tuple[str, int]) -> None:
    assert ask(place, "HEAD", "/cgi-bin/told.py")[::2] == (200, b"")


def test_a_file_is_served_as_it_is(place: tuple[str, int]) -> None:
    assert ask(place, "GET", "/")[2] == b"a page"


def test_only_programs_take_a_post(place: tuple[str, int]) -> None:
    assert ask(place, "POST", "/index.html", b"x")[0] == 501


@pytest.mark.parametrize(("target", "status"), [
    ("/cgi-bin/none", 404), ("/cgi-bin/data.txt", 404), ("/cgi-bin/../index.html", 200), ("/cgi-bin/", 404),
])  # fmt: skip
def test_what_is_no_program_is_not_run(place: tuple[str, int], target: str, status: int) -> None:
    assert ask(place, "GET", target)[0] == status


def test_a_length_that_is_none_is_a_bad_request(place: tuple[str, int]) -> None:
    assert ask(place, "POST", "/cgi-bin/told.py", Content_Length="x")[0] == 400


def test_a_response_that_breaks_off_is_seen_to(place: tuple[str, int]) -> None:
    with pytest.raises(http.client.IncompleteRead):
        ask(place, "GET", "/cgi-bin/cut")


def test_a_cgi_directory_that_is_missing_is_a_404(site: Path) -> None:
    class Elsewhere(Quiet):
        cgi_directories = ["/nowhere"]

    with serving(site, Elsewhere) as place:
        assert ask(place, "GET", "/nowhere/x")[0] == 404


def test_programs_of_the_whole_site_run_if_it_says_so(site: Path) -> None:
    class Everywhere(Quiet):
        cgi_directories = ["/"]

    with serving(site, Everywhere) as place:
        assert b"SCRIPT_NAME /cgi-bin/told.py\n" in ask(place, "GET", "/cgi-bin/told.py")[2]


def test_is_cgi_may_be_overridden(site: Path) -> None:
    class Own(Quiet):
        def is_cgi(self) -> bool:
            self.cgi_info = "/cgi-bin", self.path[1:]
            return True

    with serving(site, Own) as place:
        assert b"QUERY_STRING q=1\n" in ask(place, "GET", "/told.py?q=1")[2]


def test_root_runs_programs_as_nobody() -> None:
    handler = CGIHTTPRequestHandler.__new__(CGIHTTPRequestHandler)
    programs = handler._programs(os.path.dirname(__file__))
    assert (programs.surroundings.user is None) == (os.geteuid() != 0)


def test_a_script_that_imports_it_gets_ours(tmp_path: Path) -> None:
    script = (
        "import gateway.compat; gateway.compat.install(quiet=True)\n"
        "from http.server import CGIHTTPRequestHandler, HTTPServer\n"
        "print(CGIHTTPRequestHandler.__module__, HTTPServer.__module__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "gateway.compat.http_server http.server\n", done.stderr
