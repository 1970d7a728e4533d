"""``gateway serve``: a directory, a script or an application on HTTP, from the list of scripts to Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.main import main
from tests.house import ROOT
from tests.serving import until

pytestmark = pytest.mark.usefixtures("nothing_left_over")

HEAD = "#!/bin/sh\necho Content-Type: text/plain; echo;"
PATIENCE = 20.0


class Serving:
    """The command, as a process of its own, until it says where it serves."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", *arguments], cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        ready = "(Ctrl-C stops it)"
        until(lambda: ready in self.output or self.process.poll() is not None, timeout=PATIENCE)
        found = re.search(r"Serving \S+ at (http://\S+/)  ", self.output)
        assert found, self.output
        self.url = found[1]

    @property
    def output(self) -> str:
        return self._output.read_text()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One server of a directory for all who only ask it something."""
    folder = tmp_path_factory.mktemp("serve")
    scripts = {
        "hello.cgi": f"{HEAD} echo hello \"$PATH_INFO\"; echo was here >&2",
        "form.php": "posted",
        "sub/old.cgi": "#!/bin/sh\r\n",
        "lib.pl": "print 1",
        "notes.txt": "a note",
    }
    for name, text in scripts.items():
        path = folder / "cgi-bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        path.chmod(0o755 if name.endswith(".cgi") else 0o644)
    serving = Serving(folder, "cgi-bin", "--port", "0", "--static", "--interpreter", f".php=sh -c '{HEAD[10:]} cat $0'")
    yield serving
    assert serving.stop() == 0
    assert serving.output.endswith("Stopped.\n")


class TestDirectory:
    def test_lists_its_scripts_and_their_problems(self, shared: Serving) -> None:
        listed = [line.split() for line in shared.output.partition("Serving")[0].splitlines()]
        assert [" ".join(words[:3]) for words in listed] == [
            "/form.php sh -c",
            "/hello.cgi /bin/sh spawn",
            "/lib.pl PROBLEM: it",
            "/sub/old.cgi /bin/sh spawn",
        ]
        assert "chmod +x" in " ".join(listed[2])
        assert "ends in CR LF" in " ".join(listed[3])

    def test_runs_a_script(self, shared: Serving) -> None:
        assert shared.get("hello.cgi/x") == (200, "hello /x\n")

    def test_runs_a_file_by_its_interpreter(self, shared: Serving) -> None:
        assert shared.get("form.php") == (200, "posted")

    def test_serves_a_file_if_asked(self, shared: Serving) -> None:
        assert shared.get("notes.txt") == (200, "a note")

    @pytest.mark.parametrize(("path", "status"), [("nothing", 404), ("lib.pl", 403), ("sub/old.cgi", 500)])
    def test_answers_what_it_cannot_run_with_a_page(self, shared: Serving, path: str, status: int) -> None:
        assert shared.get(path)[0] == status

    def test_says_a_line_for_each_request(self, shared: Serving) -> None:
        shared.get("nothing/a%0ab")
        assert until(lambda: re.search(r"^\d\d:\d\d:\d\d GET /nothing/a\?b 404 \d+ ms$", shared.output, re.MULTILINE))

    def test_passes_on_what_scripts_say_to_stderr(self, shared: Serving) -> None:
        shared.get("hello.cgi")
        assert until(lambda: "hello.cgi: was here\n" in shared.output)


def test_the_next_port_is_taken_if_the_wished_one_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "a.cgi").write_text(f"{HEAD} echo hi")
    (tmp_path / "a.cgi").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        serving = Serving(tmp_path, "a.cgi", "--port", str(port))
    actual = int(serving.url.rpartition(":")[2].strip("/"))
    assert serving.get("anything") == (200, "hi\n")
    assert serving.stop(signal.SIGTERM) == 0
    assert f"Port {port} is in use; {actual} is the next free one." in serving.output
    assert "  /  /bin/sh  spawn\n" in serving.output


def test_an_application_is_served_as_well(tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [environ['PATH_INFO'].encode()]\n"
    )
    serving = Serving(tmp_path, "site.py:application", "--port", "0")
    assert serving.get("x") == (200, "/x")
    assert until(lambda: re.search(r"GET /x 200 \d+ ms", serving.output))
    assert serving.stop() == 0


def test_a_script_that_still_runs_ends_with_the_server(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    (tmp_path / "slow.cgi").write_text(f"{HEAD} echo $$ > pid; exec sleep 60")
    (tmp_path / "slow.cgi").chmod(0o755)
    serving = Serving(tmp_path, ".", "--port", "0")
    host, _, port = serving.url[7:-1].rpartition(":")
    with socket.create_connection((host, int(port))) as visitor:
        visitor.sendall(b"GET /slow.cgi HTTP/1.0\r\n\r\n")
        pid = int((tmp_path / "pid").read_text())
        assert serving.stop() == 0
    assert until(lambda: _has_ended(pid))


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["."], 1, "choose another with --port"),
        ([".", "--execution", "swawn"], 1, "no execution is called 'swawn'; there are: spawn, fork, inprocess"),
        ([".", "--interpreter", "php"], 1, "such as .php=php-cgi"),
        ([".", "--limit", "script_cpu"], 1, "limit 'script_cpu': write a name and a number, such as script_cpu=30"),
        ([".", "--limit", "cpu=1"], 1, "no limit is called 'cpu'; there are: "),
        ([".", "--preload", "cgi"], 1, "nothing runs by fork, which alone preloads cgi: choose *.py=fork as well"),
        (["no_such_module:app"], 3, "no_such_module"),
        (["no-such-directory/"], 3, "no-such-directory"),
        ([], 2, "Missing argument 'PATH'"),
    ],
)
def test_a_mistake_says_what_to_do(
    arguments: list[str], status: int, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.ports.PORTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(main, ["serve", *arguments, "--port", port])
    assert (result.exit_code, complaint in result.output) == (status, True), result.output


def test_modules_are_imported_before_the_script_and_limits_hold(tmp_path: Path) -> None:
    script = tmp_path / "told.py"
    script.write_text(
        f"#!{sys.executable}\nimport resource, sys\nprint('Content-Type: text/plain\\n')\n"
        "print([name in sys.modules for name in ('colorsys', 'wave', 'this')], "
        "resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    script.chmod(0o755)
    words = ["--execution", "fork", "--preload", "colorsys", "--preload", "wave", "--limit", "script_files=77"]
    serving = Serving(tmp_path, "told.py", "--port", "0", *words)
    assert serving.get("") == (200, "[True, True, False] 77\n")
    assert serving.stop() == 0


def test_an_empty_directory_says_what_a_script_is(tmp_path: Path) -> None:
    serving = Serving(tmp_path, ".", "--port", "0")
    assert serving.stop() == 0
    assert f"There is no script in {tmp_path}: one is a file with chmod +x" in serving.output
