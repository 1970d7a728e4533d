"""What gunicorn offers works with our workers: signals, reloads, upgrades, time-outs, hooks, logs."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.sock import TCPSocket

from gateway.client import Client
from gateway.prefork import Worker
from tests.masters import PATIENCE, TELLING, Master, is_alive, wait_for

pytestmark = pytest.mark.usefixtures("nothing_left_over")

BIND = ("-b", "unix:s")
GUNICORN = ("-m", "gunicorn", "-k", "gateway.Worker")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(TELLING)
    return tmp_path


def write(path: Path, text: str) -> None:
    """Replace a module; its compiled form does not outlive the edit, however fast it comes."""
    path.write_text(text)
    for compiled in path.parent.glob("__pycache__/*"):
        compiled.unlink()


def change(folder: Path, before: str, after: str) -> None:
    """Edit the application."""
    write(folder / "app.py", (folder / "app.py").read_text().replace(before, after))


class InBackground(threading.Thread):
    """One request that takes its time."""

    def __init__(self, master: Master, path: str) -> None:
        super().__init__()
        self._master, self._path = master, path
        self.told: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.told = self._master.ask(self._path)
        except AssertionError as error:
            self.error = error

    def result(self) -> Any:
        """What came back, or the failure as text."""
        self.join(PATIENCE)
        return self.told if self.error is None else str(self.error)


class TestPlainGunicorn:
    """``gunicorn -k gateway.Worker``."""

    def test_it_serves_fastcgi(self, folder: Path) -> None:
        with Master(folder, *BIND, "--threads", "2", program=GUNICORN) as master:
            assert master.ready().ask("/x")["multithread"] is True
            assert master.stop() == 0

    def test_our_settings_come_from_the_environment(self, folder: Path) -> None:
        env = {"GATEWAY_MOUNT": "/app", "GATEWAY_WORKER_MODEL": "fork"}
        with Master(folder, *BIND, program=GUNICORN, env=env) as master:
            (worker,) = master.ready().workers()
            told = master.ask("/app/x")
            assert (told["mount"], told["path"], told["parent"]) == ("/app", "/x", worker)

    @pytest.mark.parametrize(
        ("env", "complaint"),
        [
            ({"GATEWAY_WORKER_MODEL": "magic"}, "Error: no worker model is called 'magic'"),
            ({"FCGI_WEB_SERVER_ADDRS": "localhost"}, "Error: FCGI_WEB_SERVER_ADDRS='localhost' is no list"),
        ],
    )
    def test_a_mistake_ends_the_master_before_it_starts_workers(
        self, folder: Path, env: dict[str, str], complaint: str
    ) -> None:
        with Master(folder, *BIND, program=GUNICORN, env=env) as master:
            assert master.process.wait(PATIENCE) == 1
            assert complaint in master.log()
            assert "Booting" not in master.log()

    def test_a_bare_name_is_only_looked_up_among_gunicorns_own(self, folder: Path) -> None:
        with Master(folder, *BIND, program=("-m", "gunicorn", "-k", "gateway")) as master:
            assert master.process.wait(PATIENCE) == 1
            assert "'gateway'" in master.log()


class TestWires:
    """Each bind may name a wire of its own."""

    def ask_all(self, master: Master, urls: list[str]) -> None:
        for url in urls:
            assert master.ask(url=url.replace("auto://", "http://"))["version"] == "one"

    @pytest.mark.parametrize("words", [(), ("--threads", "3"), ("--worker-model", "fork")], ids=["1", "3", "fork"])
    def test_they_are_served_at_once(self, folder: Path, words: tuple[str, ...]) -> None:
        binds = [f"{wire}://127.0.0.1:0" for wire in ("scgi", "uwsgi", "ajp", "http", "auto")]
        (folder / "gunicorn.conf.py").write_text(f"bind = {[*binds, '127.0.0.1:0']}")
        with Master(folder, *words) as master:
            urls = master.ready().wait_log(r"Listening at: (\S+)").split(",")
            assert [url.partition(":")[0] for url in urls] == ["scgi", "uwsgi", "ajp", "http", "auto", "fastcgi"]
            self.ask_all(master, urls)

    def test_gunicorn_speaks_the_wire_that_the_environment_names(self, folder: Path) -> None:
        with Master(folder, *BIND, program=GUNICORN, env={"GATEWAY_PROTOCOL": "scgi"}) as master:
            assert master.ready().ask(url=f"scgi://{folder}/s")["version"] == "one"

    def test_gunicorn_opens_no_ajp_to_everybody(self, folder: Path) -> None:
        env = {"GATEWAY_PROTOCOL": "ajp"}
        with Master(folder, "-b", "0.0.0.0:0", program=GUNICORN, env=env) as master:
            assert master.process.wait(PATIENCE) == 1
            assert "Error: ajp at 0.0.0.0:0 would believe everybody who connects" in master.log()
            assert "Booting" not in master.log()

    def test_a_reload_may_change_the_wire_of_a_place(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("bind = ['unix:s', 'scgi://unix:other']")
        with Master(folder) as master:
            master.ready()
            inode = master.socket.stat().st_ino
            write(folder / "gunicorn.conf.py", "bind = ['uwsgi://unix:s', 'unix:other']\nprotocol = 'http'")
            master.send(signal.SIGHUP)
            master.ready(workers=2)
            wait_for(lambda: len(master.workers()) == 1, otherwise=master.log)
            self.ask_all(master, [f"uwsgi://{folder}/s", f"http://{folder}/other"])
            assert master.socket.stat().st_ino == inode

    def test_a_reload_does_not_open_ajp_to_everybody(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("bind = ['unix:s']")
        with Master(folder) as master:
            master.ready()
            write(folder / "gunicorn.conf.py", "bind = ['unix:s', 'ajp://:0']")
            master.send(signal.SIGHUP)
            master.wait_log("not reloaded: the new code or configuration is broken")
            assert master.ask()["version"] == "one"

    def test_an_inherited_socket_speaks_the_protocol(self, folder: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "s"))
            listener.listen()
            with Master(folder, "--protocol", "uwsgi", stdin=listener) as master:
                assert master.ready().ask(url=f"uwsgi://{folder}/s")["version"] == "one"

    def test_an_inherited_socket_opens_no_ajp_to_everybody(self, folder: Path) -> None:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")  # nobody else shall meet this test
            listener.bind(("0.0.0.0", 0))
            listener.listen()
            with Master(folder, "--protocol", "ajp", stdin=listener) as master:
                assert master.process.wait(PATIENCE) == 1
                assert f"Error: ajp at 0.0.0.0:{listener.getsockname()[1]} would believe everybody" in master.log()


class TestReload:
    """SIGHUP."""

    def test_changed_code_is_served(self, folder: Path) -> None:
        with Master(folder, *BIND) as master:
            master.ready().ask()
            change(folder, "one", "two")
            master.send(signal.SIGHUP)
            wait_for(lambda: master.ask()["version"] == "two", otherwise=master.log)

    @pytest.mark.parametrize("model", ["threads", "fork"])
    def test_a_request_in_progress_is_answered_by_the_old_code(self, folder: Path, model: str) -> None:
        with Master(folder, *BIND, "--worker-model", model) as master:
            master.ready().ask()
            slow = InBackground(master, "/?0.6")
            time.sleep(0.2)
            change(folder, "one", "two")
            master.send(signal.SIGHUP)
            wait_for(lambda: master.ask()["version"] == "two", otherwise=master.log)
            assert slow.result()["version"] == "one"

    def test_broken_code_leaves_the_old_workers_in_place(self, folder: Path) -> None:
        with Master(folder, *BIND) as master:
            worker = master.ready().ask()["pid"]  # it has loaded the code that is broken next
            change(folder, 'VERSION = "one"', "1 / 0")
            master.send(signal.SIGHUP)
            master.wait_log("not reloaded: the new code or configuration is broken")
            assert "ZeroDivisionError" in master.log()
            assert master.ask()["pid"] == worker

    def test_a_broken_configuration_leaves_the_old_workers_in_place(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("workers = 1")
        with Master(folder, *BIND) as master:
            (worker,) = master.ready().workers()
            write(folder / "gunicorn.conf.py", "workers = 'many'")
            master.send(signal.SIGHUP)
            master.wait_log("not reloaded: the new code or configuration is broken")
            assert "Invalid value for workers: many" in master.log()
            assert master.ask()["pid"] == worker

    def test_a_changed_bind_is_listened_at_and_the_old_one_left(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("bind = ['unix:s', 'unix:old']")
        with Master(folder) as master:
            master.ready()
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(folder / "new"))
            write(folder / "gunicorn.conf.py", "bind = ['unix:new', 'unix:s']")
            master.send(signal.SIGHUP)
            master.wait_log("Listening at: fastcgi://unix:new,fastcgi://unix:s")
            wait_for(lambda: not (folder / "old").exists(), otherwise=master.log)
            assert master.ask(url=f"fastcgi://{folder}/new")["version"] == "one"
            assert master.ask()["version"] == "one"
            assert master.stop() == 0
        assert not (folder / "new").exists() and not (folder / "s").exists()

    def test_a_new_bind_that_is_in_use_changes_nothing(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("bind = ['unix:s']")
        with socket.create_server(("127.0.0.1", 0)) as other, Master(folder) as master:
            master.ready()
            binds = ["unix:new", f"127.0.0.1:{other.getsockname()[1]}"]
            write(folder / "gunicorn.conf.py", f"bind = {binds}")
            master.send(signal.SIGHUP)
            master.wait_log("another program listens there, .*; the sockets stay as they were")
            master.ready(workers=2)
            assert master.ask()["version"] == "one"
            assert not (folder / "new").exists()

    def test_a_worker_that_watches_files_reloads_by_itself(self, folder: Path) -> None:
        with Master(folder, *BIND, "--reload", "--reload-engine", "poll") as master:
            master.ready().ask()
            change(folder, "one", "twofold")
            wait_for(lambda: master.ask()["version"] == "twofold", otherwise=master.log)

    def test_a_preloaded_application_is_loaded_by_the_master(self, folder: Path) -> None:
        with (folder / "app.py").open("a") as app:
            app.write("\nLOADED_BY = os.getpid()\nTELLING = application\n")
            app.write("def application(environ, start_response):\n")
            app.write("    os.environ['LOADED_BY'] = str(LOADED_BY)\n    return TELLING(environ, start_response)\n")
        with Master(folder, *BIND, "--preload") as master:
            assert master.ready().ask()["process"]["LOADED_BY"] == str(master.pid)


class TestUpgrade:
    """SIGUSR2, and SIGTERM to the old master."""

    def upgrade(self, master: Master, *, at: str = r"Listening at: \S+ \((\d+)\)") -> int:
        old = master.pid
        before = len(master.workers())
        master.send(signal.SIGUSR2)
        master.ready(workers=before + 1)
        new = int(master.wait_log(at, times=2))
        assert new != old
        os.kill(old, signal.SIGTERM)
        master.process.wait(PATIENCE)
        master.pid = new
        return new

    def test_a_new_master_takes_over_sockets_and_pid_file(self, folder: Path) -> None:
        with Master(folder, *BIND, "-p", "pid") as master:
            master.ready().ask()
            change(folder, "one", "two")
            new = self.upgrade(master)
            assert master.ask()["version"] == "two"
            pid = folder / "pid"
            wait_for(lambda: pid.exists() and pid.read_text().strip() == str(new), otherwise=master.log)
            assert not (folder / "pid.2").exists()
            master.stop()
        assert not (folder / "s").exists() and not (folder / "pid").exists()

    def test_an_inherited_socket_is_passed_on(self, folder: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "s"))
            listener.listen()
            with Master(folder, stdin=listener) as master:
                master.ready()
                new = self.upgrade(master)
                assert master.ask()["parent"] == new
                master.stop()
        assert (folder / "s").exists()

    def test_each_socket_keeps_its_wire(self, folder: Path) -> None:
        binds = ("-b", "scgi://127.0.0.1:0", "-b", "ajp://localhost:0", "-b", "uwsgi://unix:a b", "-b", "unix:s")
        with Master(folder, *binds, "--protocol", "http") as master:
            before = master.ready().wait_log(r"Listening at: (.*) \(")
            new = self.upgrade(master, at=r"Listening at: .* \((\d+)\)")
            assert master.wait_log(r"Listening at: (.*) \(", times=2) == before
            for url in before.replace("unix:", f"unix:{folder}/").split(","):
                assert master.ask(url=url)["parent"] == new
            assert master.stop() == 0
        assert not (folder / "s").exists() and not (folder / "a b").exists()

    def test_a_changed_configuration_may_change_a_wire(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("bind = ['unix:s']")
        with Master(folder) as master:
            master.ready()
            write(folder / "gunicorn.conf.py", "bind = ['scgi://unix:s']")
            new = self.upgrade(master)
            assert master.ask(url=f"scgi://{folder}/s")["parent"] == new

    def test_broken_code_leaves_the_old_master_in_place(self, folder: Path) -> None:
        with Master(folder, *BIND) as master:
            worker = master.ready().ask()["pid"]  # it has loaded the code that is broken next
            change(folder, 'VERSION = "one"', "1 / 0")
            master.send(signal.SIGUSR2)
            master.wait_log("ZeroDivisionError")
            assert master.ask()["pid"] == worker
            change(folder, "1 / 0", 'VERSION = "two"')
            wait_for(lambda: self.again(master), otherwise=master.log)
            master.stop()

    def again(self, master: Master) -> bool:
        """A second attempt, which gunicorn accepts as soon as it has noticed the end of the first."""
        master.send(signal.SIGUSR2)
        time.sleep(0.1)
        found = re.findall(r"Listening at: \S+ \((\d+)\)", master.log())
        if len(found) < 2:
            return False
        master.send(signal.SIGTERM)
        master.process.wait(PATIENCE)
        master.pid = int(found[-1])
        return bool(master.ask()["version"] == "two")


class TestWorkers:
    def test_a_signal_to_one_that_just_began_is_not_lost(self, folder: Path) -> None:
        at_once = "    if worker.age == 1:\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        write(folder / "gunicorn.conf.py", f"import os, signal\ndef post_fork(server, worker):\n{at_once}")
        with Master(folder, *BIND) as master:
            master.ready(workers=2)  # the first one has ended

    def test_ttin_and_ttou_add_and_end_a_worker(self, folder: Path) -> None:
        with Master(folder, *BIND) as master:
            master.ready().send(signal.SIGTTIN)
            wait_for(lambda: len(master.workers()) == 2, otherwise=master.log)
            master.send(signal.SIGTTOU)
            wait_for(lambda: len(master.workers()) == 1, otherwise=master.log)
            assert master.ask()["version"] == "one"

    @pytest.mark.parametrize("words", [(), ("--threads", "3"), ("--worker-model", "fork")], ids=["1", "3", "fork"])
    @pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
    def test_quit_and_int_end_it_now(self, folder: Path, words: tuple[str, ...], number: int) -> None:
        with Master(folder, *BIND, *words) as master:
            master.ready().ask()
            slow = InBackground(master, "/?30")
            time.sleep(0.2)
            before = time.monotonic()
            assert master.stop(number) == 0
            assert time.monotonic() - before < 3
            assert isinstance(slow.result(), str), "its request is lost"
            assert "Unhandled" not in master.log() and "Exception in thread" not in master.log()
        assert not (folder / "s").exists()

    @pytest.mark.parametrize("words", [(), ("--threads", "3"), ("--worker-model", "fork")], ids=["1", "3", "fork"])
    def test_term_waits_for_the_request_in_progress(self, folder: Path, words: tuple[str, ...]) -> None:
        with Master(folder, *BIND, *words) as master:
            master.ready().ask()
            slow = InBackground(master, "/?0.8")
            time.sleep(0.2)
            assert master.stop() == 0
            assert slow.result()["version"] == "one"

    def test_term_waits_no_longer_than_graceful_timeout(self, folder: Path) -> None:
        with Master(folder, *BIND, "--graceful-timeout", "1", "--threads", "2") as master:
            slow = InBackground(master.ready(), "/?30")
            time.sleep(0.2)
            before = time.monotonic()
            assert master.stop() == 0
            assert time.monotonic() - before < 3
            assert isinstance(slow.result(), str)

    @pytest.mark.parametrize("words", [(), ("--threads", "2"), ("--worker-model", "fork")], ids=["1", "2", "fork"])
    def test_a_worker_is_replaced_after_max_requests(self, folder: Path, words: tuple[str, ...]) -> None:
        with Master(folder, *BIND, "--max-requests", "3", *words) as master:
            master.ready()
            wait_for(lambda: master.ask() and len(master.log().split("served 3 requests")) > 2, otherwise=master.log)
            assert master.ready(workers=3).ask()["version"] == "one"

    def test_a_worker_whose_master_was_killed_ends(self, folder: Path) -> None:
        with Master(folder, *BIND) as master:
            (worker,) = master.ready().workers()
            master.process.kill()
            wait_for(lambda: not is_alive(worker), otherwise=master.log)
            assert "Parent changed, shutting down" in master.log()

    def test_an_idle_worker_outlives_the_shortest_timeout(self, folder: Path) -> None:
        with Master(folder, *BIND, "--timeout", "1") as master:
            (worker,) = master.ready().workers()
            until = time.monotonic() + 2.5
            wait_for(lambda: time.monotonic() > until, otherwise=master.log)
            assert master.ask()["pid"] == worker


class TestTimeout:
    """A request that takes longer than ``--timeout`` is given up, and the server goes on."""

    @pytest.mark.parametrize(
        ("words", "logged"),
        [
            ((), "request took longer than --timeout 1; it is given up and this worker ends"),
            (("--threads", "2"), "the application runs longer than request_timeout=1 seconds; this worker stops"),
            (("--worker-model", "fork"), "runs longer than request_timeout=1 seconds; it is terminated"),
        ],
        ids=["one thread", "two threads", "fork"],
    )
    def test_it_is_given_up(self, folder: Path, words: tuple[str, ...], logged: str) -> None:
        with Master(folder, *BIND, "--timeout", "1", *words) as master:
            slow = InBackground(master.ready(), "/?60")
            master.wait_log(re.escape(logged))
            assert isinstance(slow.result(), str)
            assert master.ask()["version"] == "one"


HOOKS = """\
def note(*words):
    with open("notes", "a") as notes:
        print(*words, file=notes)

def when_ready(server): note("when_ready", server.LISTENERS[0])
def post_worker_init(worker): note("post_worker_init", worker.core)
def pre_request(worker, req):
    req.mark = 7
    note("pre_request", req.method, req.path, req.query, dict(req.headers)["HOST"])
def post_request(worker, req, environ, resp): note("post_request", req.mark, resp.status, resp.status_code, resp.sent)
def worker_int(worker): note("worker_int")
def worker_abort(worker): note("worker_abort")
def worker_exit(server, worker): note("worker_exit")
def child_exit(server, worker): note("child_exit")
def on_reload(server): note("on_reload")
def on_exit(server): note("on_exit")
"""


class TestHooks:
    def notes(self, folder: Path) -> list[str]:
        return (folder / "notes").read_text().splitlines()

    def test_the_hooks_are_called(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text(HOOKS)
        with Master(folder, *BIND) as master:
            with Client(master.ready().url) as client:
                size = len(client.request("POST", "/x?0", body=b"x")[2])
            master.send(signal.SIGHUP)
            wait_for(lambda: "child_exit" in self.notes(folder), otherwise=master.log)
            master.stop()
        notes = self.notes(folder)
        assert notes[:4] == [
            "when_ready fastcgi://unix:s", "post_worker_init None", "pre_request POST /x 0 localhost",
            f"post_request 7 200 OK 200 {size}",
        ]  # fmt: skip
        assert {"on_reload", "worker_exit", "child_exit"} <= set(notes)
        assert notes[-1] == "on_exit"

    def test_int_and_abort_are_told_to_the_worker(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text(HOOKS)
        with Master(folder, *BIND) as master:
            (worker,) = master.ready().workers()
            master.ask()  # it has its signal handlers only when it is about to serve
            os.kill(worker, signal.SIGABRT)
            (worker,) = master.ready(workers=2).workers()[-1:]
            master.ask()
            os.kill(worker, signal.SIGINT)
            master.ready(workers=3).ask()
            assert {"worker_abort", "worker_int"} <= set(self.notes(folder))

    def test_a_hook_that_fails_before_the_request_is_an_error_of_the_server(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("def pre_request(worker, req): raise ValueError('a bad hook')")
        with Master(folder, *BIND) as master, Client(master.ready().url, pool_size=0) as client:
            assert client.request("GET", "/")[0] == "500 Internal Server Error"
            assert "ValueError: a bad hook" in master.log()
            assert client.request("GET", "/")[0] == "500 Internal Server Error"

    def test_a_hook_that_fails_after_the_request_is_logged(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("def post_request(worker, req): raise ValueError('a bad hook')")
        with Master(folder, *BIND) as master:
            assert master.ready().ask()["version"] == master.ask()["version"] == "one"
            master.wait_log("Exception in post_request hook")
            assert "ValueError: a bad hook" in master.log()


class TestLogs:
    @pytest.mark.parametrize("words", [(), ("--worker-model", "fork")], ids=["threads", "fork"])
    def test_the_access_log_has_every_atom(self, folder: Path, words: tuple[str, ...]) -> None:
        atoms = "%(h)s|%(l)s|%(u)s|%(r)s|%(s)s|%(m)s|%(U)s|%(q)s|%(H)s|%(b)s|%(B)s|%(f)s|%(a)s|%(p)s"
        extra = "%({x-custom}i)s|%({content-type}i)s|%({x-kind}o)s|%({REQUEST_METHOD}e)s|%(T)s|%(D)s|%(M)s|%(L)s|%(t)s"
        line = f"<{atoms}|{extra}>"
        with Master(folder, *BIND, *words, "--access-logfile", "access", "--access-logformat", line) as master:
            headers = [
                ("Referer", "/from"), ("User-Agent", "tester"), ("X-Custom", "seen"), ("Content-Type", "text/plain"),
                ("Authorization", "Basic dXNlcjpwdw=="),
            ]  # fmt: skip
            with Client(master.ready().url, pool_size=0, params={"REMOTE_ADDR": "192.0.2.7"}) as client:
                size = len(client.request("POST", "/a%20b?0.01", headers=headers, body=b"x")[2])
            text = wait_for((folder / "access").read_text, otherwise=master.log)
            pid = next(iter(re.findall(r"<(\d+)>", text)))
        parts = text.strip("<>\n").split("|")
        assert parts[:13] == [
            "192.0.2.7", "-", "user", "POST /a%20b?0.01 HTTP/1.1", "200", "POST", "/a b", "0.01", "HTTP/1.1",
            str(size), str(size), "/from", "tester",
        ]  # fmt: skip
        assert parts[13:18] == [f"<{pid}>", "seen", "text/plain", "telling", "POST"]
        assert parts[18] == "0" and 10_000 <= int(parts[19]) < 10_000_000 and 10 <= int(parts[20]) < 10_000
        assert re.fullmatch(r"\d\.\d{6}\|\[\d\d/\w{3}/\d{4}:.*\]", "|".join(parts[21:]))

    def test_statsd_hears_of_every_request(self, folder: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
            statsd.bind(("127.0.0.1", 0))
            statsd.settimeout(PATIENCE)
            with Master(folder, *BIND, "--statsd-host", f"127.0.0.1:{statsd.getsockname()[1]}") as master:
                master.ready().ask()
                heard = ""
                while "gunicorn.request.status.200:1|c" not in heard:
                    heard += statsd.recv(1000).decode() + "\n"
        assert "gunicorn.request.duration:" in heard

    def test_requests_are_told_at_debug_level(self, folder: Path) -> None:
        with Master(folder, *BIND, "--log-level", "debug") as master:
            master.ready().ask("/seen")
            master.wait_log(r"\[DEBUG\] GET /seen")

    def test_usr1_opens_the_access_log_again(self, folder: Path) -> None:
        access = folder / "access"
        with Master(folder, *BIND, "--access-logfile", "access") as master:
            master.ready().ask("/first")
            wait_for(lambda: "/first" in access.read_text(), otherwise=master.log)
            access.rename(folder / "rotated")
            master.send(signal.SIGUSR1)
            wait_for(lambda: master.ask("/second") and access.exists() and access.read_text(), otherwise=master.log)


class TestProcess:
    def test_a_daemon_leaves_the_terminal_and_writes_its_pid(self, folder: Path) -> None:
        with Master(folder, *BIND, "--daemon", "-p", "pid", "--log-file", "log") as master:
            assert master.process.wait(PATIENCE) == 0
            master.ready()
            master.pid = int((folder / "pid").read_text())
            assert master.ask()["parent"] == master.pid
            master.stop()
        assert not (folder / "s").exists() and not (folder / "pid").exists()

    def test_env_and_chdir_hold_for_the_application(self, folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "shop.py").write_text(TELLING)
        words = ["--chdir", "inner", "-e", "SHOP=open"]
        with Master(folder, "-b", f"unix:{folder}/s", *words, app="shop") as master:
            told = master.ready().ask()
            assert (told["cwd"], told["process"]["SHOP"]) == (str(folder / "inner"), "open")

    def test_many_children_do_not_fill_gunicorns_wake_up_pipe(self, folder: Path) -> None:
        script = "import signal\ndef post_worker_init(worker): print('wake-up', signal.set_wakeup_fd(-1), flush=True)\n"
        (folder / "gunicorn.conf.py").write_text(script)
        with Master(folder, *BIND, "--worker-model", "fork") as master:
            assert master.wait_log(r"wake-up (-?\d+)") == "-1"


def test_no_hook_and_no_log_cost_nothing() -> None:
    """Nothing is called before the application, and nothing after it."""
    cfg = Config()
    worker = Worker(1, os.getppid(), [], None, 30, cfg, Logger(cfg))
    assert not worker._wants_before()
    assert not worker._wants_after()
    worker.tmp.close()


@pytest.mark.skipif(not hasattr(TCPSocket, "get_backlog"), reason="this gunicorn has no such metric")
def test_the_backlog_metric_is_told(folder: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(PATIENCE)
        words = ["-b", "127.0.0.1:0", "--statsd-host", f"127.0.0.1:{statsd.getsockname()[1]}", "--log-level", "debug"]
        with Master(folder, *words, "--enable-backlog-metric"):
            heard = ""
            while "gunicorn.backlog:" not in heard:
                heard += statsd.recv(1000).decode() + "\n"
