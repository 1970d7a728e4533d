"""``gateway doctor URL`` with the echo behind it, through a front end that is ours and errs as it is told.

``tests/peers/test_planted_faults.py`` asks through real ones.
"""

from __future__ import annotations

import io
import itertools
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from click.testing import CliRunner, Result

from gateway.cli.doctor_front_end import Heard, Visitor, recognise
from gateway.cli.echo import MARK, application
from gateway.cli.main import main
from gateway.testing import serve_in_thread
from tests.requirements import require
from tests.serving import hello
from tests.wsgi_calls import Call

pytestmark = pytest.mark.usefixtures("nothing_left_over")

Environ = dict[str, Any]
Spoil = Callable[[Environ], object]


def doctor(*words: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *words])


def front_end(spoil: Spoil, *, server: str = "") -> Callable[..., Any]:
    """Passes requests on to the echo as a good front end does, but for what ``spoil`` makes of one.

    It may give a status to answer with instead, or what to add to the response's headers.
    """

    def app(environ: Environ, start_response: Any) -> Any:
        environ["gateway.repairs"] = ()
        environ["HTTP_X_FORWARDED_PROTO"] = "http"
        environ["HTTP_X_DOCTOR_OWN"] = environ.get("HTTP_X_DOCTOR_OWN", "").partition(",")[0]
        answer = spoil(environ)
        if isinstance(answer, str):
            start_response(answer, [("Content-Type", "text/plain")])
            return [b"no"]
        more = [("Server", server)] * bool(server)
        return application(environ, lambda status, headers: start_response(status, [*headers, *more]))

    return app


def examine(spoil: Spoil, *words: str, server: str = "") -> tuple[int, str]:
    """The doctor's exit status, and what he says of such a front end, after its URL."""
    with serve_in_thread(front_end(spoil, server=server), protocol="http", tcp=True) as running:
        result = doctor(*words, f"{running.url}/")
    return result.exit_code, result.output.replace(f"{running.url}/: ", "")


def change(**variables: str) -> Spoil:
    return lambda environ: environ.update(variables)


def change_if(condition: Callable[[Environ], object], **variables: Any) -> Spoil:
    return lambda environ: environ.update(variables) if condition(environ) else None


def refuse_if(condition: Callable[[Environ], object], status: str) -> Spoil:
    return lambda environ: status if condition(environ) else None


def is_escaped(environ: Environ) -> bool:
    return "%2F" in environ["REQUEST_URI"].partition("?")[0]


def is_chunked(environ: Environ) -> bool:
    return "HTTP_TRANSFER_ENCODING" in environ


def is_upload(environ: Environ) -> bool:
    return len(environ.get("CONTENT_LENGTH", "")) > 6


FAULTS: list[tuple[Spoil, str]] = [
    (change(SCRIPT_NAME="/x"), "it does not say where in /a b the application lives (it was taken to be at /x): tell "
     "it where the application lives, or the application: fcgi-run --mount /"),
    (refuse_if(lambda environ: " " in environ["PATH_INFO"], "400 Bad Request"),
     "it answers 400 Bad Request to a path with a space, and the application does not see it: tell it where"),
    (change(REQUEST_URI=""), "the variables of a request do not arrive: pass on REQUEST_METHOD, QUERY_STRING"),
    (change(QUERY_STRING="a=/"), "QUERY_STRING arrives as 'a=/', not as 'a=%2F&b=+': pass on REQUEST_METHOD"),
    (change_if(is_chunked, REQUEST_METHOD="GET"), "a POST arrives as GET: pass on REQUEST_METHOD"),
    (change(HTTP_AUTHORIZATION=""), "the Authorization header does not arrive: pass the Authorization header on"),
    (change(HTTP_X_DOCTOR="two"), "a header that comes twice arrives as 'two': pass repeated headers on"),
    (change(HTTP_X_DOCTOR_OWN="right, wrong"), "visitors can forge headers: refuse headers whose name has an under"),
    (lambda environ: environ.update({"gateway.repairs": ("proxy",)}), "(httpoxy): drop the Proxy header"),
    (lambda environ: environ.update({"gateway.repairs": ("server-name",)}), "SERVER_PORT does not arrive: give the"),
    (change(HTTP_X_FORWARDED_PROTO=""), "a request by http is told to be one by nothing: pass on whether the visitor"),
    (change(HTTP_HOST="worker"), "arrives as 'worker': pass the visitor's Host header on"),
    (refuse_if(is_escaped, "404 Not Found"), "it answers 404 Not Found to a path with %2F, and the appli"),
    (change_if(is_escaped, REQUEST_URI="/x/y%25"), "the path /x%2Fy%2525 arrives as /x/y%25: have it pass the path on"),
    (change_if(is_escaped, PATH_INFO="/x/y%"), "the path /x%2Fy%2525 is decoded to /x/y%: have it pass the path on"),
    (refuse_if(is_chunked, "411 Length Required"), "it answers 411 Length Required to a body without a length: use F"),
    (change_if(is_chunked, **{"wsgi.input": io.BytesIO()}), "of a body of 9 bytes without a length 0 arrive: use Fast"),
    (refuse_if(is_upload, "413 Too Large"), "it answers 413 Too Large to an upload of 2 MiB: allow for uploads"),
    (change_if(is_upload, **{"wsgi.input": io.BytesIO(b"x")}), "of an upload of 2 MiB 1 bytes arrive: allow for"),
    (refuse_if(lambda environ: environ.get("HTTP_X_GATEWAY_DOCTOR"), "404 Not Found"),
     "the application's own page for a 404 does not reach the visitor (404 Not Found): leave the application's error"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), FAULTS)
def test_what_a_front_end_gets_wrong_is_one_line(spoil: Spoil, words: str) -> None:
    status, said = examine(spoil)
    assert (status, said.count("\n"), words in said) == (1, 1, True), said


def test_what_a_known_server_lacks_are_lines_of_its_configuration() -> None:
    status, said = examine(change(HTTP_HOST="worker"), server="nginx/1.22.1")
    assert (status, said.partition(": ")[2]) == (
        1, "nginx needs\n    # in location:\n    proxy_set_header Host $http_host;\n"
    )  # fmt: skip


def test_what_no_line_mends_is_not_said() -> None:
    assert examine(change(HTTP_X_DOCTOR_OWN="wrong"), server="lighttpd/1.4.69")[0] == 0


def test_a_good_front_end_is_told_so() -> None:
    status, said = examine(lambda environ: None, "--stream")
    assert (status, said.partition(" in ")[2].partition("ms")[2]) == (0, "; nothing is wrong\n")


def test_connections_that_are_not_kept_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    monkeypatch.setattr("gateway.cli.echo._connection", lambda: str(next(numbers)))
    status, said = examine(lambda environ: None)
    assert (status, said) == (
        1, "each of 10 requests comes on a connection of its own: half as dear again: let connections to the "
        "application be used again\n",
    )  # fmt: skip


def test_connections_that_cannot_be_told_apart_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def listdir(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr("gateway.cli.echo.os.listdir", listdir)
    assert examine(lambda environ: None)[0] == 0


def test_a_response_that_is_collected_first_is_told_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.echo.PAUSE", 0.0)
    assert examine(lambda environ: None)[0] == 0
    status, said = examine(lambda environ: None, "--stream")
    assert (status, said) == (
        1, "what the application says arrives when all is said: no events, no progress: do not buffer responses\n"
    )  # fmt: skip


def test_a_front_end_that_hangs_up_on_something_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Visitor.ask

    def hang_up(visitor: Visitor, path: str, **options: Any) -> Heard:
        if isinstance(options.get("body"), bytes):
            raise ConnectionResetError(104, "Connection reset by peer")
        return ask(visitor, path, **options)

    monkeypatch.setattr(Visitor, "ask", hang_up)
    status, said = examine(lambda environ: None)
    assert (status, said) == (
        1, "it hangs up: [Errno 104] Connection reset by peer: allow for uploads of the size that your visitors send\n"
    )  # fmt: skip


def test_a_mount_that_has_to_be_quoted_gets_advice_in_words() -> None:
    with serve_in_thread(front_end(change(HTTP_HOST="worker"), server="nginx"), protocol="http", mount="/a b",
                         tcp=True) as running:  # fmt: skip
        result = doctor(f"{running.url}/a%20b")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert result.output.endswith(": pass the visitor's Host header on\n")


# Which front end, and which wire behind it.


def heard(headers: dict[str, str] | None = None, *, once: bool = False, **variables: str) -> Heard:
    told = {"environ": {"REQUEST_URI": "/"} | variables, "once": once}
    headers = {MARK.lower(): "1", "content-type": "application/json"} | (headers or {})
    return Heard("200 OK", headers, [(0.0, json.dumps(told).encode())])


RECOGNISED = [
    (heard({"server": "nginx"}), "nginx", "http"),
    (heard({"server": "Caddy"}, GATEWAY_INTERFACE="CGI/1.1"), "caddy", "fastcgi"),
    (heard(SERVER_SOFTWARE="HAProxy 2.6.12", GATEWAY_INTERFACE="CGI/1.1"), "haproxy", "fastcgi"),
    (heard({"server": "nginx"}, SCGI="1"), "nginx", "scgi"),
    (heard({"server": "nginx"}, DOCUMENT_ROOT="/"), "nginx", "uwsgi"),
    (heard(SERVER_SOFTWARE="Apache/2.4", SCRIPT_FILENAME="proxy:uwsgi://x"), "apache", "uwsgi"),
    (heard({"server": "Apache/2.4"}, AJP_REMOTE_PORT="1", REMOTE_PORT="1"), "apache", "ajp"),
    (heard({"server": "lighttpd/1.4"}, REMOTE_ADDR="::1"), "lighttpd", "ajp"),
    (heard({"server": "lighttpd/1.4"}, REMOTE_ADDR="::1", REMOTE_PORT="1"), "lighttpd", "http"),
    (heard(SERVER_SOFTWARE="Apache/2", CONTEXT_PREFIX="/", GATEWAY_INTERFACE="CGI/1.1"), "apache-fcgid", "fastcgi"),
    (heard(once=True, SERVER_SOFTWARE="Apache/2", CONTEXT_PREFIX="/", GATEWAY_INTERFACE="CGI/1.1"), "", "fastcgi"),
    (heard({"server": "gws"}), "", "http"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "server", "wire"), RECOGNISED)
def test_the_front_end_and_the_wire_are_recognised(answer: Heard, server: str, wire: str) -> None:
    found, site = recognise(answer, "/app")
    assert (found, site.wire, site.mount) == (server, wire, "/app")


# The echo.


def test_the_echo_tells_nothing_of_the_process() -> None:
    told = Call(application, PATH="/bin", GATEWAY_SECRET="s3same", HTTP_COOKIE="a=1").answer().json["environ"]
    assert told["HTTP_COOKIE"] == "a=1"
    assert not {"PATH", "GATEWAY_SECRET"} & told.keys()


# By HTTPS.


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with a certificate that is good for as long as SSL_CERT_FILE is set."""
    openssl, pem = require("openssl", package="openssl"), tmp_path / "site.pem"
    new = "req -x509 -newkey rsa:2048 -noenc -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout"
    subprocess.run([openssl, *new.split(), pem, "-out", tmp_path / "certificate"], check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + (tmp_path / "certificate").read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))

    class Quiet(WSGIRequestHandler):
        timeout = 10

        def log_message(self, format: str, *args: object) -> None:
            pass

    with make_server("127.0.0.1", 0, hello, handler_class=Quiet) as server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_site_by_https_is_asked(https: str) -> None:
    result = doctor(https)
    assert (result.exit_code, f"{https}: 200 OK, 5 bytes in " in result.output) == (0, True), result.output
    assert result.output.endswith(" have it serve gateway.cli.echo:application there, and ask again.\n")


def test_a_certificate_that_nobody_knows_is_told(https: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    result = doctor(https)
    assert (result.exit_code, "certificate verify failed" in result.output) == (1, True), result.output


def test_nobody_there_by_https_is_told() -> None:
    result = doctor("https://127.0.0.1:1/")
    assert (result.exit_code, "Connection refused" in result.output) == (1, True), result.output
    assert result.output.endswith("start the server, or correct the URL\n")


def test_silence_by_https_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*arguments: object, **options: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(Visitor, "ask", wait)
    assert "it says nothing in time" in doctor("https://localhost/app").output
