"""``inprocess``: a script finds the process as it expects it, and leaves it as it was; one at a time."""

from __future__ import annotations

import logging
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ScriptError
from gateway.script import CGIScript
from gateway.script.execution.inprocess import InProcess
from tests.script.execute import ENV, Ended, communicate, execute, program, wait
from tests.serving import until
from tests.wsgi_calls import ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

MIB = 1024 * 1024

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def inside() -> Iterator[InProcess]:
    """The strategy."""
    inside = InProcess()
    yield inside
    inside.close()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the script."""

    def write(text: str) -> Path:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(text))
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def run(inside: InProcess, write: Callable[[str], Path]) -> Run:
    """Writes a script, runs it, and tells how it ended."""

    def run(text: str, *args: str, stdin: bytes | None = None, **options: Any) -> Ended:
        return execute(inside, program(write(text), *args, **options), stdin=stdin)

    return run


class TestScript:
    def test_is_main(self, run: Run, tmp_path: Path) -> None:
        text = "import sys; print(__name__, __file__, sys.modules['__main__'].__dict__ is globals(), __doc__)"
        assert run(text).stdout.decode() == f"__main__ {tmp_path}/script.py True None\n"

    def test_finds_its_arguments_environment_and_directory(self, run: Run, tmp_path: Path) -> None:
        text = "import os, sys; print(sys.argv[1:], sys.path[0], os.getcwd(), os.environ['QUERY_STRING'], os.umask(0))"
        said = run(text, "a", "é", umask=0o22).stdout.decode()
        assert said == f"['a', 'é'] {tmp_path} {tmp_path} q=1 18\n"

    def test_finds_nothing_of_our_environment(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "s")
        text = "import os, subprocess; print(*os.environ); print(subprocess.check_output(['/usr/bin/env']))"
        said = run(text, env={"QUERY_STRING": ""}).stdout
        assert b"QUERY_STRING" in said and b"SECRET" not in said

    def test_pickles_its_classes(self, run: Run) -> None:
        text = "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)"
        assert run(text).stdout == b"True\n"

    def test_begins_with_no_globals_of_another_run(self, run: Run) -> None:
        assert [run("print('x' in globals()); x = 1").stdout for _ in range(2)] == [b"False\n"] * 2

    def test_finds_modules_as_another_run_left_them(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(textwrap, "left", 0, raising=False)
        text = "import textwrap; textwrap.left += 1; print(textwrap.left)"
        assert [run(text).stdout for _ in range(2)] == [b"1\n", b"2\n"]

    def test_is_read_again_when_it_has_changed(self, run: Run) -> None:
        said = [run(text).stdout for text in ("print(1)", "print(2)", "if", "print(3)")]
        assert said == [b"1\n", b"2\n", b"", b"3\n"]

    @pytest.mark.parametrize(
        ("text", "status", "stderr"),
        [("import sys; sys.exit(3)", 3, ""), ("raise SystemExit", 0, ""), ("import sys; sys.exit('é')", 1, "é\n"),
         ("raise KeyboardInterrupt", -2, None), ("1/0", 1, None), ("if", 1, None)],
    )  # fmt: skip
    def test_ends(self, run: Run, text: str, status: int, stderr: str | None) -> None:
        ended = run(text)
        assert ended.returncode == status
        assert stderr is None or ended.stderr.decode() == stderr

    def test_sees_only_its_own_frames_in_a_traceback(self, run: Run, tmp_path: Path) -> None:
        said = run("def f():\n    1/0\nf()").stderr.decode()
        assert said.count("  File ") == said.count(f'File "{tmp_path}/script.py"') == 2

    def test_has_an_excepthook_of_its_own(self, run: Run) -> None:
        hook = sys.excepthook
        assert run("import sys\nsys.excepthook = lambda *e: print(e[0].__name__)\n1/0").stdout == b"ZeroDivisionError\n"
        assert sys.excepthook is hook


class TestStreams:
    def test_output_is_written_at_the_end(self, run: Run) -> None:
        assert run("import sys; print('é', end=''); sys.stderr.write('e')") == Ended(0, "é".encode(), b"e")

    def test_output_may_be_bytes(self, run: Run) -> None:
        text = "import sys; print('a', flush=True); sys.stdout.buffer.write(b'\\xff'); sys.stdout.flush()"
        assert run(text).stdout == b"a\n\xff"

    @pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
    def test_output_may_go_through_a_stream_of_its_own(self, run: Run) -> None:
        text = "import io, sys; sys.stdout = io.TextIOWrapper(sys.stdout.detach(), 'latin-1'); print('é')"
        assert run(text) == Ended(0, b"\xe9\n", b"")

    def test_output_comes_when_it_is_written(self, inside: InProcess, write: Any) -> None:
        process = inside.start(program(write("print(input(), flush=True); print(input())")), stdin=True)
        assert process.stdin is not None and process.stdout is not None
        os.write(process.stdin.fileno(), b"one\n")
        assert os.read(process.stdout.fileno(), 100) == b"one\n"
        assert communicate(process, b"two\n").stdout == b"two\n"

    def test_output_that_cannot_be_written_is_a_failure(self, run: Run) -> None:
        ended = run("""
            import os, sys
            with open("/dev/full", "wb") as full:
                os.dup2(full.fileno(), sys.stdout.fileno())
            print("lost")
            """)
        assert ended.returncode == 120 and b"No space left on device" in ended.stderr

    def test_large_bodies_both_ways(self, run: Run) -> None:
        body = os.urandom(MIB) * 8
        text = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
        assert run(text, stdin=body).stdout == body

    def test_input_need_not_be_read(self, run: Run) -> None:
        assert run("print(1)", stdin=bytes(MIB)) == Ended(0, b"1\n", b"")

    def test_input_may_be_missing(self, run: Run) -> None:
        assert run("import sys; print(sys.stdin.read() == '')").stdout == b"True\n"

    @pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
    def test_a_file_left_open_is_written(self, run: Run, tmp_path: Path) -> None:
        run("def use(): pass\nfile = open('left', 'w'); file.write('x')")
        assert (tmp_path / "left").read_text() == "x"


class TestOurProcess:
    def test_is_what_it_was(self, run: Run) -> None:
        def state() -> list[object]:
            umask = os.umask(0)
            os.umask(umask)
            ours = sys.stdin, sys.stdout, sys.stderr, sys.argv, sys.path[:], sys.modules["__main__"]
            return [*ours, dict(os.environ), os.getcwd(), umask]

        before = state()
        ended = run("""
            import os, sys
            os.environ["LEAK"] = "1"
            os.environ.pop("PATH")
            os.chdir("/")
            os.umask(0o7)
            sys.path.append("leak")
            sys.argv = sys.stdin = sys.stderr = None
            sys.modules["__main__"] = None
            1/0
            """, umask=0o27)  # fmt: skip
        assert ended.returncode == 1
        assert state() == before

    def test_runs_one_script_at_a_time(self, inside: InProcess, write: Any) -> None:
        path = write("""
            import os, time
            os.mkdir("alone")
            time.sleep(0.005)
            os.rmdir("alone")
            """)
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: execute(inside, program(path)), range(20))) == {Ended(0, b"", b"")}

    def test_can_be_forked_while_a_script_runs(self, inside: InProcess, write: Any) -> None:
        process = inside.start(program(write("print(1, flush=True); input()")), stdin=True)
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 100)
        pid = os.fork()
        if pid == 0:
            try:
                execute(inside, program(write("pass")))
            finally:
                os._exit(0)
        until(lambda: os.waitpid(pid, os.WNOHANG)[0])
        assert communicate(process, b"\n").returncode == 0


def _is_opened(fifo: Path) -> bool:
    """Whether somebody waits for us to write; he need not wait any longer."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


class TestTimeout:
    def test_ends_a_script_that_computes(self, inside: InProcess, write: Any) -> None:
        process: Any = inside.start(program(write("print(1, flush=True)\nwhile True: pass")), stdin=False)
        os.read(process.stdout.fileno(), 100)
        process.stdout.close()
        assert wait(process) == -signal.SIGTERM
        process.stderr.close()
        assert execute(inside, program(write("print(2)"))).stdout == b"2\n"

    def test_leaves_a_script_that_does_not_heed_it_and_refuses_others(
        self, inside: InProcess, write: Any, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "never")
        path = write("""
            try:
                print(1, flush=True)
                while True: pass
            except SystemExit:
                open("never").close()
            """)
        stuck: Any = inside.start(program(path), stdin=False)
        os.read(stuck.stdout.fileno(), 100)
        stuck.stdout.close()
        assert stuck.poll() is None
        with pytest.raises(ScriptError, match=r"choose execution='fork' for that script") as caught:
            inside.start(program(write("print(2)")), stdin=False)
        assert caught.value.status_hint == "503 Service Unavailable"
        until(lambda: _is_opened(tmp_path / "never"))
        assert wait(stuck) == -signal.SIGTERM
        stuck.stderr.close()
        assert execute(inside, program(write("print(2)"))).stdout == b"2\n"

    def test_takes_a_script_that_waits_for_its_turn_out_of_the_line(self, inside: InProcess, write: Any) -> None:
        first = inside.start(program(write("print(1, flush=True); input()")), stdin=True)
        assert first.stdout is not None
        os.read(first.stdout.fileno(), 100)
        second: Any = inside.start(program(write("open('begun', 'w')")), stdin=False)
        second.stdout.close()
        assert second.poll() == -signal.SIGTERM
        second.stderr.close()
        communicate(first, b"\n")
        assert execute(inside, program(write("import os; print(os.listdir())"))).stdout == b"['script.py']\n"

    def test_is_a_504(self, write: Any, caplog: pytest.LogCaptureFixture) -> None:
        app = CGIScript(write("while True: pass"), interpreter=[sys.executable], execution="inprocess", timeout=0.1)
        assert ask(app).status == "504 Gateway Timeout"
        assert "neither took input nor gave output" in caplog.text and "cannot be ended" not in caplog.text


class TestWhatCannotRunInside:
    def test_another_language_is_spawned(self, run: Run) -> None:
        assert run("#!/bin/sh\necho $$", interpreter=()).stdout != b"%d\n" % os.getpid()

    def test_another_user_is_refused(self, run: Run) -> None:
        with pytest.raises(ScriptError, match="choose execution='fork'"):
            run("pass", user=os.geteuid() + 1)

    def test_a_file_that_is_not_executable_is_refused(self, inside: InProcess, write: Any) -> None:
        path = write(f"#!{sys.executable}\n")
        path.chmod(0o644)
        with pytest.raises(ScriptError, match="chmod"):
            inside.start(program(path, interpreter=()), stdin=False)

    def test_a_directory_that_is_not_there_is_named(self, run: Run, tmp_path: Path) -> None:
        with pytest.raises(ScriptError, match="cwd="):
            run("pass", cwd=tmp_path / "none")


def test_a_cgi_script_answers(write: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    path = write("import sys; print('Content-Type: text/plain'); print(); print(sys.stdin.read())")
    app = CGIScript(path, interpreter=[sys.executable], execution="inprocess", environment=ENV)
    assert ask(app, REQUEST_METHOD="POST", body=b"body").body == b"body\n"
    assert not caplog.records
