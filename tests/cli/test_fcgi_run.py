"""``fcgi-run`` as its user meets it: what it accepts, where it listens, and what it says when it cannot."""

from __future__ import annotations

import configparser
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from tests.house import ROOT
from tests.masters import FCGI_RUN, TELLING, Master, environment, run_to_end, wait_for

pytestmark = pytest.mark.usefixtures("nothing_left_over")

NOBODY = 65534
AS_NOBODY: Any = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "check": True}
SYSTEMD = """\
import os, sys
descriptor, count, *command = sys.argv[1:]
os.dup2(int(descriptor), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
os.execv(sys.executable, [sys.executable, *command])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(TELLING)
    return tmp_path


@pytest.fixture
def nobody(folder: Path) -> int:
    """A user without rights, who may enter the folder and run this Python."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a server as another user")
    for path in (folder, *folder.parents):
        if path.stat().st_uid == 0 and not path.stat().st_mode & 0o001:
            path.chmod(0o755)  # pytest made it for its own user
    try:
        subprocess.run([sys.executable, "-c", "import gunicorn, gateway.prefork"], **AS_NOBODY, env=environment(folder))
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip(f"other users may not run {sys.executable}")
    return NOBODY


class TestMistakes:
    """A wrong command line or configuration is one line, and exit status 2."""

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            ([], "No application module specified. name one, for example: fcgi-run myproject.wsgi:application"),
            (["app", "more"], "fcgi-run serves one application, not 2: app more"),
            (["app", "--no-such-option"], "unrecognized arguments: --no-such-option"),
            (["app", "-b", "9000"], "'9000' is no address: write 127.0.0.1:9000 for this machine only"),
            (["app", "-b", "smtp://[::1]:1"], "'smtp://[::1]:1': no wire is called 'smtp'; there are: fastcgi, scgi"),
            (["app", "--worker-model", "magic"], "no worker model is called 'magic'; there are: threads, fork"),
            (["app", "--interface", "cgi"], "no interface is called 'cgi'; there are: wsgi, asgi, auto"),
            (["app", "--interface", "asgi", "--worker-model", "threads"], "threads serves no ASGI applications; use"),
            (["app", "--protocol", "cgi"], "no protocol is called 'cgi'; there are: fastcgi"),
            (["app", "--mount", "app"], "mount 'app' is not a path: it begins with one slash, like /app"),
            (["app", "--socket-mode", "rw"], "socket mode 'rw' is not octal; write for example 660"),
            (["app", "--limit-params-size", "big"], "limit params_size is 'big', no number; its default is 262144"),
            (["app", "--limit-params-size", "-1"], "limit params_size is -1; it cannot be negative"),
            (["app", "-b", "ajp://:8009"], "ajp at 0.0.0.0:8009 would believe everybody who connects: give it a"),
            (["app", "--secret", "s"], "secret is no option of fastcgi; leave it out, or listen for a wire that takes"),
            (["app", "-b", "ajp://[::1]", "--packet-size", "7"], "packet_size is 7; AJP knows 8192 to 65536 bytes"),
            (["app", "--packet-size", "big"], "packet size 'big' is no number of bytes; write for example 65536"),
            (["app", "-c", "absent.py"], "'absent.py' doesn't exist"),
        ],
        ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
    )
    def test_a_mistake_is_told_and_exits_with_2(self, folder: Path, words: list[str], complaint: str) -> None:
        status, stdout, stderr = run_to_end(folder, *words)
        assert (status, stdout) == (2, "")
        assert complaint in stderr
        assert "Traceback" not in stderr

    def test_a_configuration_file_that_fails_exits_with_2(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("workers = 1 / 0")
        status, _, stderr = run_to_end(folder, "app")
        assert status == 2
        assert "ZeroDivisionError" in stderr

    def test_a_mistake_in_the_environment_is_told_too(self, folder: Path) -> None:
        status, _, stderr = run_to_end(folder, "app", env={"GATEWAY_MOUNT": "app"})
        assert status == 2
        assert "mount 'app' is not a path" in stderr

    @pytest.mark.usefixtures("nobody")
    def test_only_root_gives_its_workers_another_user(self, folder: Path) -> None:
        status, _, stderr = run_to_end(folder, "app", "--user", "root", user=NOBODY)
        assert status == 2
        assert "only root may give its workers another --user or --group; leave them out" in stderr


class TestOtherWires:
    """``scgi-run`` and its like."""

    CONSOLE_SCRIPTS = configparser.ConfigParser()
    CONSOLE_SCRIPTS.read(ROOT / "setup.cfg", "utf-8")

    def run(self, folder: Path, prog: str, *words: str, **env: str) -> str:
        """What one of the console scripts prints."""
        scripts = self.CONSOLE_SCRIPTS["options.entry_points"]["console_scripts"]
        (module, function), *_ = re.findall(rf"^{prog} = (\S+):(\S+)$", scripts, re.MULTILINE)
        command = [sys.executable, "-c", f"from {module} import {function}; {function}()", *words]
        done = subprocess.run(command, cwd=folder, env=environment(folder) | env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    @pytest.mark.parametrize(
        ("prog", "wire", "port"),
        [
            ("fcgi-run", "fastcgi", 9000), ("scgi-run", "scgi", 4000), ("uwsgi-run", "uwsgi", 3031),
            ("ajp-run", "ajp", 8009),
        ],
    )  # fmt: skip
    def test_each_has_its_wire_and_its_port(self, folder: Path, prog: str, wire: str, port: int) -> None:
        printed = self.run(folder, prog, "app", "--print-config")
        assert re.search(rf"^protocol +=  *{wire}$", printed, re.MULTILINE)
        assert re.search(rf"^bind +=  *\['127\.0\.0\.1:{port}'\]$", printed, re.MULTILINE)
        told = " ".join(self.run(folder, prog, "--help").split())
        assert told.startswith(f"usage: {prog} [OPTIONS] TARGET")
        assert f"GATEWAY_PROTOCOL. [{wire}]" in told
        assert f"Can be repeated. [['127.0.0.1:{port}']]" in told

    def test_the_environment_and_the_command_line_may_say_otherwise(self, folder: Path) -> None:
        printed = self.run(folder, "scgi-run", "app", "--print-config", GATEWAY_PROTOCOL="http")
        assert "['127.0.0.1:8000']" in printed
        printed = self.run(folder, "scgi-run", "app", "--print-config", "--protocol", "ajp", GATEWAY_PROTOCOL="http")
        assert "['127.0.0.1:8009']" in printed

    def test_a_secret_is_asked_for(self, folder: Path) -> None:
        binds = ("-b", "ajp://unix:s", "-b", "auto://unix:any", "--log-level", "debug")
        with Master(folder, *binds, env={"GATEWAY_SECRET": "s3same"}) as master:
            master.ready()
            for path in ("s", "any"):
                url = f"ajp://{folder}/{path}"
                with Client(url, wire_options={"secret": "s3same"}) as knows, Client(url) as guesses:
                    assert knows.request("GET", "/")[0] == "200 OK"
                    assert guesses.request("GET", "/")[0] == "403 Forbidden"
            assert "secret: (hidden)" in master.log() and "s3same" not in master.log()

    def test_named_web_servers_need_no_secret(self, folder: Path) -> None:
        env = {"FCGI_WEB_SERVER_ADDRS": "127.0.0.1"}
        assert run_to_end(folder, "app", "-b", "ajp://0.0.0.0:0", "--check-config", env=env) == (0, "", "")


class TestTargets:
    """What cannot be served ends before anything is bound, with one block and exit status 3."""

    @pytest.mark.parametrize(
        ("target", "found"),
        [
            ("ap", "did you mean app?"),
            ("app:aplication", "did you mean app:application?"),
            ("app:VERSION", "is not callable: it is a str"),
            ("app/wsgi.py", "there is no directory"),
            ("broken", "ZeroDivisionError: division by zero"),
            ("needy", "No module named 'no_such_dependency'"),
            ("quitter", "SystemExit: 0"),
        ],
    )
    def test_a_bad_target_is_explained_before_any_bind(self, folder: Path, target: str, found: str) -> None:
        (folder / "broken.py").write_text("1 / 0")
        (folder / "needy.py").write_text("import no_such_dependency")
        (folder / "quitter.py").write_text("import sys; sys.exit(0)")
        status, stdout, stderr = run_to_end(folder, target, "-b", "unix:s")
        assert (status, stdout) == (3, "")
        assert found in stderr
        assert "gateway/" not in stderr
        assert len(stderr.splitlines()) < 10
        assert not (folder / "s").exists()

    def test_a_target_that_crashes_python_is_told_as_well(self, folder: Path) -> None:
        (folder / "crashing.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        status, _, stderr = run_to_end(folder, "crashing")
        assert (status, stderr) == (3, "cannot load 'crashing': signal 9 ended the attempt\n")

    def test_ctrl_c_while_the_target_is_loaded_ends_quietly(self, folder: Path) -> None:
        (folder / "slow.py").write_text("import time; open('loading', 'w').close(); time.sleep(30)")
        with Master(folder, app="slow", start_new_session=True) as master:
            wait_for((folder / "loading").exists, otherwise=master.log)
            os.killpg(master.pid, signal.SIGINT)
            assert master.process.wait(5) == 130
            assert master.log() == ""

    def test_a_path_is_a_target_too(self, folder: Path) -> None:
        status, _, stderr = run_to_end(folder, "./app.py", "--check-config")
        assert (status, stderr) == (0, "")


class TestConfiguration:
    def printed(self, folder: Path, *words: str, **env: str) -> dict[str, str]:
        status, stdout, stderr = run_to_end(folder, *words, "--print-config", env=env)
        assert (status, stderr) == (0, "")
        return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in stdout.splitlines())}

    def test_print_config_shows_our_settings(self, folder: Path) -> None:
        words = ["--mount", "/app/", "--worker-model", "fork", "--socket-mode", "660", "--limit-params-count", "7"]
        printed = self.printed(folder, "app", *words)
        assert printed["mount"] == "/app"
        assert printed["worker_model"] == "fork"
        assert printed["socket_mode"] == str(0o660)
        assert printed["limit_params_count"] == "7"
        assert printed["bind"] == "['127.0.0.1:9000']"

    def test_the_secret_is_shown_nowhere(self, folder: Path) -> None:
        words = ["app", "-b", "ajp://127.0.0.1"]
        assert self.printed(folder, *words, "--secret", "s3same")["secret"] == "(hidden)"
        assert self.printed(folder, *words, GATEWAY_SECRET="s3same")["secret"] == "(hidden)"
        assert "GATEWAY_SECRET. [(hidden)]" in run_to_end(folder, "--help", env={"GATEWAY_SECRET": "s3same"})[1]

    def test_a_secret_in_the_environment_is_for_whoever_takes_it(self, folder: Path) -> None:
        secret = {"GATEWAY_SECRET": "s3same", "GATEWAY_PACKET_SIZE": "9000"}
        assert run_to_end(folder, "app", "--check-config", env=secret) == (0, "", "")

    def test_every_setting_is_an_environment_variable(self, folder: Path) -> None:
        gunicorns = "--workers 3 --protocol fastcgi"
        printed = self.printed(
            folder, "app", GATEWAY_MOUNT="/a", GATEWAY_LIMIT_HEAD_SIZE="9", GUNICORN_CMD_ARGS=gunicorns
        )
        assert (printed["mount"], printed["limit_head_size"], printed["workers"]) == ("/a", "9", "3")

    def test_the_command_line_wins_over_the_environment_over_the_file(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("mount = '/file'\nworkers = 2\nwsgi_app = 'app'\nthreads = 5")
        printed = self.printed(folder, "--workers", "4", GUNICORN_CMD_ARGS="--workers 3 --threads 6")
        assert (printed["mount"], printed["workers"], printed["threads"]) == ("/file", "4", "6")

    def test_a_configuration_made_for_http_works_as_it_is(self, folder: Path) -> None:
        (folder / "gunicorn.conf.py").write_text("worker_class = 'gthread'\nthreads = 2\nbind = 'unix:s'")
        with Master(folder) as master:
            assert master.ready().ask()["multithread"] is True
            assert "worker class gthread does not speak fastcgi: using gateway.Worker" in master.log()

    def test_a_worker_class_that_is_not_there_gives_way(self, folder: Path) -> None:
        status, _, stderr = run_to_end(folder, "app", "-k", "nowhere.Worker", "--check-config")
        assert status == 0
        assert "worker class nowhere.Worker does not speak fastcgi" in stderr

    def test_the_version_is_ours(self, folder: Path) -> None:
        assert run_to_end(folder, "--version")[1].startswith("fcgi-run 0.")

    def test_pythonpath_and_env_hold_for_the_check(self, folder: Path) -> None:
        (folder / "lib").mkdir()
        (folder / "lib" / "elsewhere.py").write_text(TELLING + "os.environ['NEEDED']\n")
        words = ["elsewhere", "--pythonpath", "lib", "--env", "NEEDED=1", "--check-config"]
        assert run_to_end(folder, *words) == (0, "", "")

    def test_a_wrong_env_is_a_mistake_of_configuration(self, folder: Path) -> None:
        status, _, stderr = run_to_end(folder, "app", "--env", "NEEDED", "--check-config")
        assert (status, stderr) == (2, "Error: environment setting 'NEEDED' invalid\n")


class TestListening:
    def test_several_binds_are_served(self, folder: Path) -> None:
        with Master(folder, "-b", "unix:s", "-b", "127.0.0.1:0", "-b", "[::1]:0") as master:
            urls = master.ready().wait_log(r"Listening at: (\S+)").split(",")
            assert urls[0] == "fastcgi://unix:s"
            assert master.ask() != master.ask("/x")
            assert all(master.ask(url=url)["version"] == "one" for url in urls[1:])

    def test_each_wire_is_told_to_the_web_server_once(self, folder: Path) -> None:
        nobody_gets_there = f"scgi://unix:@gateway-test-{os.getpid()}"
        binds = ["unix:s", "127.0.0.1:0", nobody_gets_there, "scgi://127.0.0.1:0", "http://unix:h", "unix:t"]
        with Master(folder, *(word for bind in binds for word in ("-b", bind))) as master:
            log = master.ready().log()
        assert re.findall(r"^    (\w+_pass)", log, re.MULTILINE) == ["fastcgi_pass", "scgi_pass", "proxy_pass"]
        assert log.count("For the web server:\n") == 3

    def test_an_abstract_socket_is_not_told_to_web_servers(self, folder: Path) -> None:
        with Master(folder, "-b", f"unix:@gateway-test-{os.getpid()}") as master:
            assert "For the web server" not in master.ready().log()

    def test_sigterm_ends_an_idle_server_at_once_and_leaves_nothing(self, folder: Path) -> None:
        with Master(folder, "-b", "unix:s", "-w", "2", "--threads", "2") as master:
            master.ready(workers=2).ask()
            master.process.terminate()
            assert master.process.wait(5.0) == 0
        assert not (folder / "s").exists()

    def test_an_abstract_socket_is_served(self, folder: Path) -> None:
        name = f"@gateway-test-{os.getpid()}"
        with Master(folder, "-b", f"unix:{name}") as master:
            assert master.ready().ask(url=f"fastcgi://unix:{name}")["path"] == "/"
            assert master.stop() == 0
            assert "Traceback" not in master.log()

    def test_a_listening_descriptor_0_is_served_where_no_bind_is_given(self, folder: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "s"))
            listener.listen()
            with Master(folder, stdin=listener) as master:
                assert master.ready().ask()["version"] == "one"
                assert "For the web server" not in master.log()
                assert master.stop() == 0
        assert (folder / "s").exists(), "whoever made the socket removes it"

    def test_a_bind_wins_over_descriptor_0(self, folder: Path) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        with listener, Master(folder, "-b", "unix:s", stdin=listener) as master:
            assert master.ready().ask()["version"] == "one"

    def test_the_sockets_of_systemd_are_served_where_no_bind_is_given(self, folder: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "s"))
            listener.listen()
            start = ("-c", SYSTEMD, str(listener.fileno()), "1")
            with Master(folder, *FCGI_RUN, "app", app=None, program=start, pass_fds=[listener.fileno()]) as master:
                told = master.ready().ask()
                assert told["version"] == "one"
                assert "LISTEN_FDS" not in told["process"]

    def test_descriptors_that_systemd_does_not_pass_are_told(self, folder: Path) -> None:
        start = [sys.executable, "-c", SYSTEMD, "2", "two", *FCGI_RUN, "app"]
        done = subprocess.run(start, cwd=folder, env=environment(folder), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (
            1, "Error: LISTEN_FDS='two' is not a number; it is how many sockets systemd passes\n"
        )  # fmt: skip

    def test_a_stale_socket_is_replaced(self, folder: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(folder / "s"))
        with Master(folder, "-b", "unix:s") as master:
            assert master.ready().ask()["version"] == "one"

    @pytest.mark.parametrize(("words", "mode"), [(["--socket-mode", "660"], 0o660), (["--umask", "0o27"], 0o750)])
    def test_the_mode_of_the_socket_is_as_asked(self, folder: Path, words: list[str], mode: int) -> None:
        with Master(folder, "-b", "unix:s", *words) as master:
            master.ready()
            assert stat.S_IMODE(master.socket.stat().st_mode) == mode

    def test_the_socket_belongs_to_the_user_of_the_workers(self, folder: Path, nobody: int) -> None:
        with Master(folder, "-b", "unix:s", "--user", str(nobody), "--group", str(nobody)) as master:
            assert master.ready().ask()["uid"] == nobody
            status = master.socket.stat()
            assert (status.st_uid, status.st_gid) == (nobody, nobody)
            assert master.stop() == 0
            assert not master.socket.exists()

    def test_reuse_port_lets_two_servers_share_a_port(self, folder: Path) -> None:
        with Master(folder, "-b", "127.0.0.1:0", "--reuse-port") as first:
            url = first.ready().wait_log(r"Listening at: (\S+)")
            (folder / "two").mkdir()
            with Master(folder / "two", "-b", url, "--reuse-port") as second:
                second.ready()
                wait_for(lambda: first.ask(url=url)["parent"] == second.pid, otherwise=second.log)
                assert first.stop() == 0
                assert second.ask(url=url)["parent"] == second.pid


class TestRefusals:
    """Where it cannot listen, it says so in one line, and exits with 1."""

    def refusal(self, folder: Path, *words: str, **options: Any) -> str:
        status, _, stderr = run_to_end(folder, "app", *words, **options)
        assert status == 1, stderr
        assert "Traceback" not in stderr
        (line,) = [line for line in stderr.splitlines() if line.startswith("Error: ")]
        return line

    def test_a_live_socket_is_not_stolen(self, folder: Path) -> None:
        with Master(folder, "-b", "unix:s") as master:
            master.ready()
            assert f"in use by a running server (pid {master.pid}, uid" in self.refusal(folder, "-b", "unix:s")
            assert master.ask()["version"] == "one"

    def test_what_was_bound_before_the_refusal_is_removed(self, folder: Path) -> None:
        (folder / "file").touch()
        assert "is not a socket; choose another path" in self.refusal(folder, "-b", "unix:s", "-b", "unix:file")
        assert not (folder / "s").exists()
        assert (folder / "file").exists()

    def test_a_port_in_use_is_told(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            line = self.refusal(folder, "-b", f"127.0.0.1:{port}")
        assert line == (
            f"Error: cannot listen on 127.0.0.1:{port}: another program listens there, see `ss -ltnp sport = :{port}`; "
            "stop it or choose another port"
        )

    @pytest.mark.usefixtures("nobody")
    def test_a_directory_that_cannot_be_written_is_told(self, folder: Path) -> None:
        line = self.refusal(folder, "-b", "unix:s", user=NOBODY)
        assert f"may not make or replace files in {folder}, which belongs to user root (uid 0) with mode 0755" in line

    def test_a_pid_file_that_is_taken_leaves_no_socket(self, folder: Path) -> None:
        (folder / "pid").write_text(str(os.getpid()))
        assert "Already running on PID" in self.refusal(folder, "-b", "unix:s", "-p", "pid")
        assert not (folder / "s").exists()
