"""flup's servers as they are documented, beside flup itself where that still runs; each option of theirs."""

from __future__ import annotations

import inspect
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from gateway.compat.flup import MODULES, SERVERS, THREADS, server
from gateway.errors import ConfigError, ProtocolError
from gateway.testing.conformance import cases_for, make_application, run_conformance
from tests.compat.scripts import CGI, COMPAT, DISPATCH, body_of, run, spawned, started
from tests.leftovers import Leftovers
from tests.masters import environment
from tests.peers.frontends.processes import takes_connections, unused_port, wait_for
from tests.requirements import require_module

Answer = tuple[str, list[tuple[str, str]], bytes]


@contextmanager
def serving(
    module: str, app: Any, folder: Path, *, kind: type | None = None, params: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Client]:  # fmt: skip
    """A server of ours in a thread, as ``kind`` if that is a subclass of flup's class; the client says ``params``."""
    base = kind or server(module)
    wire, path = SERVERS[module][0], str(folder / "s")

    class InThread(base):  # type: ignore[misc, valid-type]
        def _installSignalHandlers(self) -> None:
            pass

    if wire == "ajp":
        options["bindAddress"] = ("127.0.0.1", unused_port())
    place = options.setdefault("bindAddress", path)
    serves = InThread(app, **options)
    thread = threading.Thread(target=serves.run)
    thread.start()
    try:
        wait_for(lambda: takes_connections(place))
        url = f"{wire}://unix:{place}" if isinstance(place, str) else f"{wire}://{place[0]}:{place[1]}"
        with Client(url, params=params) as client:
            yield client
    finally:
        serves._exit()
        thread.join()


def environ_of(client: Client, *names: str) -> list[str]:
    status, _, body = client.request("GET", "/")
    assert status == "200 OK"
    told = dict(line.split("=", 1) for line in body.decode().splitlines())
    return [told[name] for name in names]


def tell(environ: Any, start_response: Any) -> list[str]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{name}={value}\n" for name, value in environ.items()]


class TestSignatures:
    """What can be said to flup's classes can be said to ours, in the same order."""

    @pytest.mark.parametrize("module", [*(f"server.{name}" for name in SERVERS), "server.cgi"])
    def test_a_server_is_constructed_alike(self, module: str) -> None:
        theirs = parameters(require_module(f"flup.{module}", package="flup").WSGIServer)
        ours: Any = MODULES[f"flup.{module}"]["WSGIServer"]
        given = parameters(ours)
        assert [name for name, _ in given[: len(theirs)]] == [name for name, _ in theirs]
        for (name, default), (_, their_default) in zip(given, theirs, strict=False):
            assert default == their_default or name == "scriptName"

    @pytest.mark.parametrize("module", ["threadpool.ThreadPool", "preforkserver.PreforkServer"])
    def test_the_options_of_the_process_model_are_known(self, module: str) -> None:
        name, _, kind = module.partition(".")
        theirs = parameters(getattr(require_module(f"flup.server.{name}", package="flup"), kind))
        ours = parameters(server("fcgi" if name == "threadpool" else "fcgi_fork"))
        assert set(dict(theirs)) - {"jobClass", "jobArgs"} <= set(dict(ours))

    @pytest.mark.parametrize(("module", "name"), [("fcgi_app", "FCGIApp"), ("scgi_app", "SCGIApp")])
    def test_a_client_is_constructed_alike(self, module: str, name: str) -> None:
        theirs = getattr(require_module(f"flup.client.{module}", package="flup"), name)
        ours: Any = MODULES[f"flup.client.{module}"][name]
        assert parameters(ours) == parameters(theirs)


def parameters(kind: Any) -> list[tuple[str, Any]]:
    found = inspect.signature(kind).parameters.values()
    return [(one.name, one.default) for one in found if one.kind is not one.VAR_KEYWORD]


QUESTIONS: dict[str, Callable[[Client], Answer]] = {
    "text and bytes": lambda ask: ask.request("GET", "/bytes"),
    "a text": lambda ask: ask.request("GET", "/text"),
    "write()": lambda ask: ask.request("GET", "/write"),
    "200 kB": lambda ask: ask.request("GET", "/big"),
    "no content": lambda ask: ask.request("GET", "/empty"),
    "a body": lambda ask: ask.request("POST", "/echo", body=b"\0\xff" * 5000),
    "a query and a header": lambda ask: ask.request("GET", "/other?a=b", headers=[("X-Told", "yes")]),
}


@pytest.fixture(scope="module", params=["fcgi", "scgi"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Client]]:
    """flup and ours, each with the same script."""
    require_module("flup", package="flup")
    folder = tmp_path_factory.mktemp(request.param)
    theirs, ours = str(folder / "theirs"), str(folder / "ours")
    module, wire = request.param, SERVERS[request.param][0]
    with (
        started("telling.fcgi", module, f"dict(bindAddress={theirs!r}, environ={{'extra': '1'}})", directory=folder,
                listens=[theirs], by=(sys.executable,)),
        started("telling.fcgi", module, f"dict(bindAddress={ours!r}, environ={{'extra': '1'}})", directory=folder,
                listens=[ours]),
        Client(f"{wire}://{theirs}", pool_size=0) as their_client, Client(f"{wire}://{ours}", pool_size=0) as client,
    ):  # fmt: skip
        yield their_client, client


class TestSideBySide:
    """The same script, served by flup and by us."""

    @pytest.mark.parametrize("question", QUESTIONS)
    def test_the_visitor_gets_the_same(self, pair: tuple[Client, Client], question: str) -> None:
        theirs, ours = (QUESTIONS[question](client) for client in pair)
        assert without_pid(ours) == without_pid(theirs)

    def test_an_error_is_a_page_of_the_same_kind(self, pair: tuple[Client, Client]) -> None:
        theirs, ours = (client.request("GET", "/fail") for client in pair)
        assert (ours[0], ours[1][0]) == (theirs[0], theirs[1][0]) == (
            "500 Internal Server Error", ("Content-Type", "text/html")
        )  # fmt: skip
        assert b"on purpose" not in ours[2]


def without_pid(answer: Answer) -> Answer:
    """What may differ: flup sends no length for what is not one block, and the process tells its number."""
    status, headers, body = answer
    kept = sorted((name.lower(), value) for name, value in headers if name.lower() != "content-length")
    first, _, rest = body.partition(b"\n")
    return status, kept, rest if first.isdigit() else body


class TestRun:
    """How a server of each module lives and ends, in a process of its own."""

    @pytest.fixture(scope="class", params=["fcgi", "fcgi_single", "fcgi_fork", "ajp_fork"])
    @classmethod
    def ended(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
        """How long each signal took, and what run() gave."""
        folder = tmp_path_factory.mktemp(request.param)
        place: Any = ("127.0.0.1", unused_port()) if "ajp" in request.param else str(folder / "s")
        options = f"dict(bindAddress={place!r})"
        measured = {}
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with started("telling.fcgi", request.param, options, directory=folder, listens=[place]) as process:
                url = f"unix:{place}" if isinstance(place, str) else f"{place[0]}:{place[1]}"
                with Client(f"{SERVERS[request.param][0]}://{url}") as client:
                    assert client.request("GET", "/")[0] == "200 OK"  # and the connection is kept
                    began = time.monotonic()
                    process.signal(number)
                    assert process.popen.wait(10) == 0
                    measured[number] = time.monotonic() - began, process.said().splitlines()[-1]
        return measured

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    def test_it_does_not_wait_for_a_kept_connection(self, ended: dict[int, Any], number: int) -> None:
        assert ended[number][0] < 5.0, "graceful_timeout is 30"

    def test_it_is_true_on_sighup_only(self, ended: dict[int, Any]) -> None:
        told = {number: said for number, (_, said) in ended.items()}
        assert told == {
            signal.SIGTERM: "run() gave False", signal.SIGINT: "run() gave False", signal.SIGHUP: "run() gave True"
        }  # fmt: skip


WHOLE = {"SCRIPT_NAME": "", "PATH_INFO": "/app/x", "REQUEST_URI": "/app/x"}
"""A path that the web server did not split."""


class TestOptions:
    """What each option does, by a server in a thread."""

    def test_environ_is_added_to_each_request(self, tmp_path: Path) -> None:
        with serving("fcgi", tell, tmp_path, environ={"mine": "1"}) as client:
            assert environ_of(client, "mine") == ["1"]

    def test_a_script_name_in_environ_wins(self, tmp_path: Path) -> None:
        with serving("fcgi", tell, tmp_path, environ={"SCRIPT_NAME": ""}, params={"SCRIPT_NAME": "/x.fcgi"}) as client:
            assert environ_of(client, "SCRIPT_NAME", "PATH_INFO") == ["", "/"]

    def test_a_script_name_in_environ_splits_the_path(self, tmp_path: Path) -> None:
        with serving("fcgi", tell, tmp_path, environ={"SCRIPT_NAME": "/app"}, params=WHOLE) as client:
            assert environ_of(client, "SCRIPT_NAME", "PATH_INFO") == ["/app", "/x"]

    def test_a_script_name_given_to_scgi_splits_the_path(self, tmp_path: Path) -> None:
        with serving("scgi", tell, tmp_path, scriptName="/app", params=WHOLE) as client:
            assert environ_of(client, "SCRIPT_NAME", "PATH_INFO") == ["/app", "/x"]

    def test_umask_says_who_may_connect(self, tmp_path: Path) -> None:
        with serving("fcgi", tell, tmp_path, umask=0o117):
            assert (tmp_path / "s").stat().st_mode & 0o777 == 0o660

    @pytest.mark.parametrize("multithreaded", [True, False])
    def test_multithreaded_says_whether_requests_meet(self, tmp_path: Path, multithreaded: bool) -> None:  # noqa: FBT001
        both = threading.Barrier(2)

        def meet(environ: Any, start_response: Any) -> list[str]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            try:
                both.wait(10 if multithreaded else 0.1)
            except threading.BrokenBarrierError:
                return [f"alone, {environ['wsgi.multithread']}"]
            return [f"together, {environ['wsgi.multithread']}"]

        with (
            serving("fcgi", meet, tmp_path, multithreaded=multithreaded) as client,
            ThreadPoolExecutor(2) as visitors,
        ):
            said = {answer[2] for answer in visitors.map(lambda _: client.request("GET", "/"), range(2))}
        assert said == {b"together, True" if multithreaded else b"alone, False"}

    def test_multiprocess_is_told(self, tmp_path: Path) -> None:
        with serving("fcgi", tell, tmp_path, multiprocess=True) as client:
            assert environ_of(client, "wsgi.multithread", "wsgi.multiprocess") == ["True", "True"]

    @pytest.mark.parametrize(("most", "threads"), [({}, THREADS), ({"maxThreads": 3}, 3)])
    def test_max_threads_is_how_many_run_at_once(self, tmp_path: Path, most: dict[str, int], threads: int) -> None:
        before = threading.active_count()
        with serving("fcgi", tell, tmp_path, **most) as client:
            environ_of(client)
            wait_for(lambda: threading.active_count() - before == threads + 1)  # and the one that runs run()

    def test_multiplexed_is_said_to_change_nothing(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with serving("fcgi", tell, tmp_path, multiplexed=True) as client:
            environ_of(client)
        assert "multiplexed=True: the requests of one connection are answered one by one" in caplog.text

    @pytest.mark.filterwarnings("ignore:'cgitb' is deprecated:DeprecationWarning")
    def test_debug_shows_the_visitor_the_traceback(self, tmp_path: Path) -> None:
        require_module("cgitb", package="legacy-cgi")
        with serving("fcgi", broken, tmp_path, debug=True) as client:
            status, headers, body = client.request("GET", "/")
        assert (status, headers[0]) == ("500 Internal Server Error", ("Content-Type", "text/html"))
        assert b"KeyError" in body

    def test_debug_without_cgitb_says_how_to_get_it(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "cgitb", None)
        with serving("fcgi", broken, tmp_path, debug=True) as client:
            assert b"KeyError" not in client.request("GET", "/")[2]
        assert "pip install 'gateway[legacy]'" in caplog.text

    def test_an_error_is_in_the_log(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with serving("fcgi", broken, tmp_path) as client:
            client.request("GET", "/")
        assert "KeyError: 'nothing'" in caplog.text

    def test_error_may_be_overridden(self, tmp_path: Path) -> None:
        class Server(server("fcgi")):  # type: ignore[misc]
            def error(self, req: Any) -> None:
                head = b"Status: 503 Busy\r\nContent-Type: text/plain\r\n\r\n"
                req.stdout.write(head + req.params["PATH_INFO"].encode())

        with serving("fcgi", broken, tmp_path, kind=Server) as client:
            assert client.request("GET", "/x") == (
                "503 Busy", [("Content-Type", "text/plain"), ("Content-Length", "2")], b"/x"
            )  # fmt: skip

    def test_error_of_moinmoin_s_front_end_writes_text_without_a_status(self, tmp_path: Path) -> None:
        base = server("fcgi_single")

        class Server(base):  # type: ignore[misc, valid-type]
            def __init__(self, application: Any, **options: Any) -> None:
                base.__init__(self, application, multithreaded=True, multiprocess=False, **options)

            def error(self, req: Any) -> None:
                req.stdout.write("Content-Type: text/html\r\n\r\nUnhandled")

        with serving("fcgi_single", broken, tmp_path, kind=Server) as client:
            assert client.request("GET", "/")[::2] == ("200 OK", b"Unhandled")

    def test_error_may_give_up_too(self, tmp_path: Path) -> None:
        class Server(server("fcgi")):  # type: ignore[misc]
            def error(self, req: Any) -> None:
                raise

        with serving("fcgi", broken, tmp_path, kind=Server) as client:
            assert client.request("GET", "/")[0] == "500 Internal Server Error"

    def test_a_response_that_has_begun_is_cut(self, tmp_path: Path) -> None:
        def late(environ: Any, start_response: Any) -> Iterator[str]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield "begun"
            raise ValueError("too late")

        with serving("fcgi", late, tmp_path) as client, pytest.raises(ProtocolError):
            client.request("GET", "/")

    def test_one_that_was_only_stated_is_replaced(self, tmp_path: Path) -> None:
        def soon(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b""
            raise ValueError("soon enough")

        with serving("fcgi", soon, tmp_path) as client:
            assert client.request("GET", "/")[0] == "500 Internal Server Error"

    def test_a_role_that_is_not_in_roles_is_refused(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        application = server("fcgi")(tell).served
        said: list[Any] = []
        environ = {"gateway.role": 2, "wsgi.errors": sys.stderr, "wsgi.input": None}
        application(environ, lambda *head: said.append(head))
        assert said[0][0] == "500 Internal Server Error"

    def test_a_role_that_is_in_roles_is_served(self) -> None:
        said: list[Any] = []
        server("fcgi")(tell, roles=(1, 2)).served({"gateway.role": 2}, lambda *head: said.append(head))
        assert said[0][0] == "200 OK"

    def test_allowed_servers_are_who_may_connect(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("FCGI_WEB_SERVER_ADDRS", "")
        place = ("127.0.0.1", unused_port())
        with serving("scgi", tell, tmp_path, bindAddress=place, allowedServers=["192.0.2.1"]) as client:
            assert client.request("GET", "/")[0][:3] == "502"

    def test_ajp_is_not_opened_to_everybody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("GATEWAY_SECRET", raising=False)
        with pytest.raises(ConfigError, match="would believe everybody who connects"):
            server("ajp")(tell, bindAddress=("", 0)).run()

    def test_ajp_asks_for_the_secret_of_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GATEWAY_SECRET", "known")
        with serving("ajp", tell, tmp_path) as stranger:
            with Client(str(stranger.address), wire_options={"secret": "known"}) as friend:
                assert friend.request("GET", "/")[0] == "200 OK"
            assert stranger.request("GET", "/")[0] != "200 OK"

    def test_who_overrides_the_check_of_addresses_is_told_what_to_do_instead(self) -> None:
        class Server(server("fcgi")):  # type: ignore[misc]
            def _isClientAllowed(self, addr: Any) -> bool:
                return False

        with pytest.raises(ConfigError, match="name the web servers in allowedServers="):
            Server(tell)

    @pytest.mark.parametrize("spares", [{"minSpare": 0}, {"minSpare": 6}, {"maxSpare": 0}])
    def test_spares_that_cannot_be_are_refused(self, spares: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="minSpare is at least 1, and maxSpare at least minSpare"):
            server("fcgi_fork")(tell, **spares)

    def test_an_option_that_flup_does_not_have_is_refused(self) -> None:
        with pytest.raises(TypeError, match="maxChildren"):
            server("fcgi")(tell, maxChildren=3)

    def test_the_main_loop_can_be_watched(self, tmp_path: Path) -> None:
        seen = threading.Event()

        class Server(server("fcgi_single")):  # type: ignore[misc]
            def _mainloopPeriodic(self) -> None:
                seen.set()

        with serving("fcgi_single", tell, tmp_path, kind=Server):
            assert seen.wait(10)

    def test_logging_level_is_that_of_the_wire(self) -> None:
        assert server("scgi")(tell, loggingLevel=10).logger.level == 10

    def test_nothing_is_left_to_shut_down(self) -> None:
        server("fcgi")(tell).shutdown()


def broken(environ: Any, start_response: Any) -> list[bytes]:
    return [environ["nothing"]]


class TestFork:
    """The options of forked processes."""

    @contextmanager
    def pool(self, folder: Path, *, module: str = "fcgi_fork", **options: Any) -> Iterator[Client]:
        path = str(folder / "s")
        told = repr({"bindAddress": path, **options})
        with (
            started("telling.fcgi", module, told, directory=folder, listens=[path]),
            Client(f"{SERVERS[module][0]}://{path}", pool_size=0, timeout=40) as client,
        ):
            yield client

    def test_the_pool_grows_while_all_are_busy(self, tmp_path: Path) -> None:
        with self.pool(tmp_path, minSpare=1, maxSpare=1, maxChildren=3) as client, ThreadPoolExecutor(3) as visitors:
            slow = [visitors.submit(client.request, "GET", "/sleep?2") for _ in range(3)]
            assert len({visit.result()[2].split(b"\n")[0] for visit in slow}) > 1

    def test_max_requests_replaces_a_process(self, tmp_path: Path) -> None:
        with self.pool(tmp_path, minSpare=1, maxSpare=1, maxRequests=2) as client:
            first = pid_of(client)
            wait_for(lambda: pid_of(client) != first)

    def test_timeout_ends_a_request(self, tmp_path: Path) -> None:
        with self.pool(tmp_path, minSpare=1, maxSpare=1, timeout=1) as client:
            assert client.request("GET", "/sleep?30")[0][0] == "5"
            assert client.request("GET", "/")[0] == "200 OK"

    def test_environ_reaches_the_processes(self, tmp_path: Path) -> None:
        with self.pool(tmp_path, module="scgi_fork", environ={"extra": "1"}, scriptName="/app") as client:
            body = client.request("GET", "/app/x")[2].decode()
        assert "SCRIPT_NAME=/app\nPATH_INFO=/x" in body
        assert "extra=1" in body


def pid_of(client: Client) -> bytes:
    return client.request("GET", "/")[2].split(b"\n")[0]


class TestHandedOver:
    """bindAddress None: the socket of who starts the script, or else CGI."""

    def test_a_cgi_process_answers_its_request_and_ends(self, tmp_path: Path) -> None:
        assert body_of(run("hello.fcgi", directory=tmp_path)) == "Hello World!\n"

    def test_without_any_environment_it_answers_as_if_asked_for_the_root(self, tmp_path: Path) -> None:
        assert body_of(run("hello.fcgi", directory=tmp_path, environ={})) == "Hello World!\n"

    @pytest.mark.parametrize("force", [{"FCGI_FORCE_CGI": "Y"}, {"FCGI_FORCE_CGI": "yes"}])
    def test_cgi_can_be_forced_by_the_environment(self, tmp_path: Path, force: dict[str, str]) -> None:
        with socket.socket() as listener:
            listener.listen()
            assert self.said_with(listener, tmp_path, **force) == "Hello World!\n"

    def test_cgi_can_be_forced_by_the_script(self, tmp_path: Path) -> None:
        script = tmp_path / "forced.fcgi"
        text = (DISPATCH / "hello.fcgi").read_text()
        script.write_text(text.replace("WSGIServer(myapp,", "WSGIServer(myapp, forceCGI=True,"))
        with socket.socket() as listener:
            listener.listen()
            assert self.said_with(listener, tmp_path, script=script) == "Hello World!\n"

    def said_with(
        self, listener: socket.socket, folder: Path, *, script: Path = DISPATCH / "hello.fcgi", **environ: str
    ) -> str:
        done = subprocess.run(
            [*COMPAT, str(script)], env=CGI | environment(folder) | environ, stdin=listener, capture_output=True,
            timeout=60,
        )  # fmt: skip
        return body_of(done)

    def test_a_script_that_starts_itself_anew_on_sighup_finds_the_socket(self, tmp_path: Path) -> None:
        script = tmp_path / "again.fcgi"
        script.write_text(AGAIN)
        with spawned(script, directory=tmp_path) as (process, client):
            assert client.request("GET", "/")[2] == b"0"
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: client.request("GET", "/")[2] == b"1")


AGAIN = """\
import os, sys
from flup.server.fcgi import WSGIServer

def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [os.environ.get('TIMES', '0')]

if WSGIServer(app).run():
    os.environ['TIMES'] = '1'
    os.execv(sys.executable, sys.orig_argv)
"""


TEXT_IS_FINE = ("a body of text", "a block of text")
"""Cases in which a server of PEP 3333 must complain, and flup does not."""


@pytest.mark.parametrize("module", ["fcgi", "scgi", "ajp"])
def test_the_threaded_servers_conform(nothing_left_over: Leftovers, tmp_path: Path, module: str) -> None:
    options = {} if module == "fcgi" else {"scriptName": None}
    with serving(module, make_application(), tmp_path, **options) as client:
        cases = [case for case in cases_for(SERVERS[module][0]) if str(case) not in TEXT_IS_FINE]
        run_conformance(client, cases)


def test_the_forked_server_conforms(tmp_path: Path) -> None:
    script, path = tmp_path / "conform.py", str(tmp_path / "s")
    script.write_text(CONFORMING.format(path=path))
    with started(script, directory=tmp_path, listens=[path]), Client(f"fastcgi://{path}", pool_size=0) as client:
        run_conformance(client, [case for case in cases_for("fastcgi") if str(case) not in TEXT_IS_FINE])


CONFORMING = """\
from flup.server.fcgi_fork import WSGIServer
from gateway.testing.conformance import application
WSGIServer(application, bindAddress={path!r}).run()
"""
