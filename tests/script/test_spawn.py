"""spawn: a clean process, whichever way it is started."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.script import CGIScript
from gateway.script.execution import spawn
from gateway.script.execution.posix_spawn import Spawned
from gateway.script.execution.spawn import Spawn
from gateway.script.program import Program
from tests.house import ROOT
from tests.script.conftest import Program as Write
from tests.wsgi_calls import ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

PLAIN = "echo Content-Type: text/plain; echo;"


@pytest.fixture
def write(program: Write) -> Write:
    """The fixture ``program`` by a name that is free here."""
    return program


@pytest.fixture(params=["posix_spawn", "subprocess"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to start a process, the second as if there were no first."""
    if request.param == "subprocess":
        monkeypatch.setattr(spawn, "_spawner", lambda: None)
    elif spawn._spawner() is None:
        pytest.skip("this C library has no posix_spawn_file_actions_addclosefrom_np")
    return str(request.param)


class TestProcess:
    def test_has_no_descriptor_but_its_streams(self, way: str, write: Write) -> None:
        reader, writer = os.pipe()
        os.set_inheritable(reader, True)
        os.set_inheritable(writer, True)
        try:
            # The listing itself is the fourth.
            assert ask(CGIScript(write(PLAIN + "ls /proc/self/fd"))).body == b"0\n1\n2\n3\n"
        finally:
            os.close(reader)
            os.close(writer)

    def test_has_an_empty_stdin_without_a_body(self, way: str, write: Write) -> None:
        assert ask(CGIScript(write(PLAIN + "wc -c; readlink /proc/self/fd/0"))).body == b"0\n/dev/null\n"

    def test_leads_a_session_of_its_own(self, way: str, write: Write) -> None:
        session, pid = ask(CGIScript(write(PLAIN + "cut -d' ' -f6 /proc/$$/stat; echo $$"))).body.split()
        assert session == pid

    def test_ignores_and_blocks_no_signal(self, way: str, write: Write) -> None:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM] if way == "posix_spawn" else [])
        try:
            told = ask(CGIScript(write(PLAIN + "exec cat /proc/self/status"))).body
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        masks = dict(line.split(":\t") for line in told.decode().splitlines() if line.startswith("Sig"))
        assert int(masks["SigBlk"], 16) == 0
        assert not int(masks["SigIgn"], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)

    def test_keeps_no_variable_of_ours(self, way: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "x")
        assert b"SECRET" not in ask(CGIScript(write(PLAIN + "env"))).body

    @pytest.mark.parametrize("size", [0, 1, 300_000])
    def test_reads_what_the_visitor_sends(self, way: str, write: Write, size: int) -> None:
        assert ask(CGIScript(write(PLAIN + "exec cat")), REQUEST_METHOD="POST", body=b"x" * size).body == b"x" * size

    def test_may_be_an_interpreter_found_by_its_name(self, way: str, write: Write, tmp_path: Path) -> None:
        write(PLAIN + 'echo "by $1"', name="bin/lang")
        path = write("", name="script.lang")
        app = CGIScript(path, interpreter=["lang"], environment={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
        assert ask(app).body == f"by {path}\n".encode()
        (tmp_path / "bin" / "lang").rename(tmp_path / "moved")
        assert ask(app).status == "500 Internal Server Error"

    def test_is_reaped(self, way: str, tmp_path: Path) -> None:
        process = Spawn().start(Program("/bin/true", env={}, cwd=str(tmp_path)), stdin=True)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process.poll() == 0
        with pytest.raises(ChildProcessError):
            os.waitpid(process.pid, 0)
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def test_a_server_without_standard_streams_gives_programs_theirs(tmp_path: Path, write: Write) -> None:
    """Pipes would be made as descriptors 0 to 2, and overwritten on the way to the program."""
    path = write(PLAIN + "exec cat")
    code = (
        "import io, os, sys\n"
        "from gateway import CGIScript\n"
        "result = os.dup(1)\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "environ = {'REQUEST_METHOD': 'POST', 'PATH_INFO': '/', 'CONTENT_LENGTH': '4',\n"
        "           'wsgi.input': io.BytesIO(b'body'), 'wsgi.errors': io.StringIO()}\n"
        f"os.write(result, b''.join(CGIScript({str(path)!r})(environ, lambda *head: None)))\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, timeout=60)
    assert done.stdout == b"body"


def test_a_system_that_lacks_what_is_fast_is_served_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("posix_spawn", "prlimit"):
        monkeypatch.setitem(sys.modules, f"gateway.script.execution.{name}", None)
    assert (spawn._spawner(), spawn._imposer()) == (None, None)


def test_limits_are_not_imposed_on_what_has_ended() -> None:
    from gateway.script.execution.prlimit import impose

    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    impose(pid, {}, path="/bin/true")
    impose(pid, {resource.RLIMIT_CPU: (7, 7)}, path="/bin/true")


def test_a_process_that_somebody_else_reaped_counts_as_ended_well() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    process = Spawned(pid, -1, -1, -1)
    assert process.poll() == 0
    assert repr(process) == f"<Spawned pid={pid} returncode=0>"


def test_the_repr_of_a_program_tells_its_command_line() -> None:
    program = Program("/srv/a.pl", env={}, cwd="/srv", interpreter=["perl", "-T"], args=[b"w\xc3\xb6rd"])
    assert repr(program) == "<Program 'perl -T /srv/a.pl w\u00f6rd' in '/srv'>"
