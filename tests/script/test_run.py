"""One run of a CGI program: streams that do not stall each other, timeouts, and an end that leaves nothing over."""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ScriptError
from gateway.script import CGIScript, run
from tests.wsgi_calls import Call, ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

MIB = 1024 * 1024
SHORT = 0.25  # long enough for a shell to start on a busy machine
HEAD = "echo Content-Type: text/plain; echo;"

Script = Callable[..., CGIScript]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Makes an app of a shell script; its directory is ``tmp_path``."""

    def make(text: str, **options: Any) -> CGIScript:
        path = tmp_path / "program.cgi"
        path.write_text(text)
        return CGIScript(path, interpreter=["/bin/sh"], **options)

    return make


class Zeros(io.BytesIO):
    """A long body that needs no memory."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.left = size

    def read(self, size: int | None = -1) -> bytes:
        size = min(self.left, size or 0)
        self.left -= size
        return bytes(size)


def until(condition: Callable[[], object], *, seconds: float = 5.0) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_gone(pid: int) -> bool:
    """Whether no process has this number any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A grandchild that was killed waits for its new parent to notice.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


class TestStreams:
    def test_both_ways_at_once(self, script: Script) -> None:
        assert ask(script(HEAD + "exec cat"), REQUEST_METHOD="POST", body=b"x" * MIB).body == b"x" * MIB

    def test_much_stderr_stalls_nothing(self, script: Script) -> None:
        app = script("head -c 1000000 /dev/zero | tr '\\0' e >&2;" + HEAD + "echo done")
        assert ask(app).body == b"done\n"

    def test_input_that_is_not_read_stalls_nothing(self, script: Script) -> None:
        assert ask(script(HEAD + "echo done"), REQUEST_METHOD="POST", body=b"x" * MIB).body == b"done\n"

    def test_input_that_is_refused_stalls_nothing(self, script: Script) -> None:
        app = script("exec <&-; sleep 0.1;" + HEAD + "echo done")
        assert ask(app, REQUEST_METHOD="POST", body=b"x" * MIB).body == b"done\n"

    def test_what_the_program_says_is_passed_on_at_once(self, script: Script, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "go")
        call = Call(script(HEAD + "echo one; read line < go; echo two"))
        assert next(call.blocks) == b"one\n"
        (tmp_path / "go").write_text("\n")
        assert call.answer().body == b"two\n"

    def test_what_the_visitor_sends_is_passed_on_at_once(self, script: Script, tmp_path: Path) -> None:
        class Visitor(io.BytesIO):
            """Sends the second line when the program has read the first one."""

            def read(self, size: int | None = -1) -> bytes:
                assert not self.tell() or until((tmp_path / "answered").exists)
                return self.readline()

        app = script(HEAD + "read a; touch answered; read b; echo $a$b")
        answer = ask(app, REQUEST_METHOD="POST", body=Visitor(b"one\ntwo\n"), CONTENT_LENGTH="8")
        assert answer.body == b"onetwo\n"

    @pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="memory is measured on Linux")
    def test_need_constant_memory(self, script: Script) -> None:
        size = 128 * MIB
        call = Call(script(HEAD + "exec cat"), REQUEST_METHOD="POST", body=Zeros(size), CONTENT_LENGTH=str(size))
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use now (proc(5))
        before = peak_memory()
        assert sum(map(len, call.blocks)) == size
        call.close()
        assert peak_memory() - before < 8 * MIB


def peak_memory() -> int:
    """The most memory this process ever used, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


class TestStderr:
    def test_goes_to_the_servers_log_under_the_programs_name(self, script: Script) -> None:
        answer = ask(script("echo one >&2;" + HEAD + "printf 'two\\r\\nth\\377ree' >&2"))
        assert answer.errors == "program.cgi: one\nprogram.cgi: two\nprogram.cgi: th\\xffree\n"

    def test_without_line_ends_is_reported_in_pieces(self, script: Script) -> None:
        errors = ask(script("head -c 200000 /dev/zero | tr '\\0' e >&2;" + HEAD)).errors
        assert errors.count("e") == 200000 and errors.count("\n") > 1


class TestTimeout:
    def test_before_the_head_is_504(self, script: Script, caplog: pytest.LogCaptureFixture) -> None:
        started = time.monotonic()
        assert ask(script("echo waiting >&2; sleep 60", timeout=SHORT)).status == "504 Gateway Timeout"
        assert time.monotonic() - started < 5
        assert "neither took input nor gave output for 0.25 s" in caplog.text
        assert "its last words were 'waiting'" in caplog.text

    def test_after_the_head_breaks_the_response(self, script: Script) -> None:
        call = Call(script(HEAD + "echo begun; sleep 60", timeout=SHORT))
        assert next(call.blocks) == b"begun\n"
        with pytest.raises(ScriptError, match=r"program.cgi: timed out: it neither took") as caught:
            next(call.blocks)
        assert (caught.value.status_hint, caught.value.returncode) == ("504 Gateway Timeout", -15)
        call.close()

    def test_counts_from_the_last_output(self, script: Script) -> None:
        app = script(HEAD + "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.1; echo $i; done", timeout=1.0)
        assert ask(app).body.endswith(b"12\n")

    def test_does_not_count_while_the_visitor_is_slow(self, script: Script, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "go")
        call = Call(script(HEAD + "echo one; read line < go; echo two", timeout=SHORT))
        assert next(call.blocks) == b"one\n"
        time.sleep(0.28)
        (tmp_path / "go").write_text("\n")
        assert call.answer().body == b"two\n"

    @pytest.mark.parametrize(
        ("text", "method"), [(HEAD, "HEAD"), ("echo Content-Length: 2;" + HEAD, "GET")], ids=["to HEAD", "too long"]
    )
    def test_is_not_put_off_by_a_body_that_nobody_reads(self, script: Script, text: str, method: str) -> None:
        call = Call(script(text + "exec yes", timeout=SHORT), REQUEST_METHOD=method)
        with pytest.raises(ScriptError, match="wrote what nobody reads"):
            list(call.blocks)
        call.close()

    def test_is_none_for_0(self, script: Script) -> None:
        assert ask(script(HEAD + "sleep 0.2; echo late", timeout=0)).body == b"late\n"

    def test_ends_a_child_that_keeps_stdout_open(self, script: Script) -> None:
        call = Call(script(HEAD + "sleep 60 & echo $!", timeout=SHORT))
        child = int(next(call.blocks))
        with pytest.raises(ScriptError):
            next(call.blocks)
        call.close()
        assert until(lambda: is_gone(child))


class TestEnd:
    def test_of_the_visitor_is_the_end_of_the_whole_group(self, script: Script) -> None:
        call = Call(script(HEAD + "sleep 60 & echo $!; wait"))
        child = int(next(call.blocks))
        call.close()
        assert until(lambda: is_gone(child))

    def test_is_forced_on_a_program_that_ignores_sigterm(
        self, script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run, "KILL_AFTER", 0.1)
        call = Call(script(f"trap '' TERM; {HEAD} echo $$; while :; do sleep 0.05; done"))
        program = int(next(call.blocks))
        call.close()
        assert is_gone(program)

    def test_lets_a_program_clean_up(self, script: Script, tmp_path: Path) -> None:
        call = Call(script(f"trap 'echo cleaned >&2; exit' TERM; {HEAD} echo begun; while :; do sleep 0.01; done"))
        next(call.blocks)
        call.close()
        assert call.errors.getvalue().endswith("program.cgi: cleaned\n")

    def test_before_the_first_block_is_an_end_too(self, script: Script) -> None:
        Call(script(HEAD + "sleep 60")).close()

    def test_comes_when_the_upload_breaks_off(self, script: Script, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        app = script("cat > /dev/null; touch finished")
        answer = ask(app, REQUEST_METHOD="POST", body=io.BytesIO(b"12345"), CONTENT_LENGTH="9")
        assert answer.status == "400 Bad Request"
        assert "gave up when 4 bytes of the body were still to come" in caplog.text
        assert not os.path.exists(os.path.join(app.cwd, "finished"))

    def test_comes_when_reading_the_upload_fails(self, script: Script) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise ConnectionResetError("by the visitor")

        with pytest.raises(ConnectionResetError, match="by the visitor"):
            ask(script("cat > /dev/null"), REQUEST_METHOD="POST", body=Broken(), CONTENT_LENGTH="9")

    def test_comes_when_the_server_refuses_the_head(self, script: Script) -> None:
        def refuse(status: str, headers: object) -> None:
            raise ValueError("no such status")

        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()}
        with pytest.raises(ValueError, match="no such status"):
            script(HEAD + "sleep 60")(environ, refuse)

    def test_by_a_signal_breaks_the_response(self, script: Script) -> None:
        call = Call(script(HEAD + "echo begun; echo bad >&2; kill -SEGV $$"))
        assert next(call.blocks) == b"begun\n"
        with pytest.raises(ScriptError, match=r"died by signal 11 .* in the middle") as caught:
            next(call.blocks)
        assert (caught.value.returncode, caught.value.stderr) == (-11, b"bad\n")
        call.close()

    def test_by_a_signal_after_the_last_byte_promised_breaks_nothing(
        self, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = script("echo Content-Length: 6; " + HEAD + "echo whole; kill -SEGV $$")
        assert ask(app).body == b"whole\n"
        assert "died by signal 11 (Segmentation fault) after its response" in caplog.text

    def test_short_of_the_content_length_breaks_the_response(self, script: Script) -> None:
        call = Call(script("echo Content-Length: 10; " + HEAD + "echo 12345"))
        assert next(call.blocks) == b"12345\n"
        with pytest.raises(ScriptError, match="ended 4 bytes short of its Content-Length"):
            next(call.blocks)
        call.close()


class TestAfterTheResponse:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run, "EXIT_WITHIN", 0.02)

    def test_a_program_may_go_on_unseen_by_the_visitor(self, script: Script, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "go")
        call = Call(script(HEAD + "echo answer; exec >&-; read line < go; touch finished; echo late >&2"))
        assert list(call.blocks) == [b"answer\n"]
        assert not (tmp_path / "finished").exists()
        gate = os.open(tmp_path / "go", os.O_RDWR)
        os.write(gate, b"\n")
        call.close()
        os.close(gate)
        assert (tmp_path / "finished").exists()
        assert call.errors.getvalue() == "program.cgi: late\n"

    def test_it_may_do_so_until_the_timeout(self, script: Script, caplog: pytest.LogCaptureFixture) -> None:
        assert ask(script(HEAD + "echo answer; exec >&-; sleep 60", timeout=SHORT)).body == b"answer\n"
        assert "ended 0.25 s after its response, because it still ran" in caplog.text

    def test_an_upload_that_nobody_sends_on_does_not_look_whole(self, script: Script, tmp_path: Path) -> None:
        app = script(HEAD + "exec >&-; cat > /dev/null; touch finished", timeout=SHORT)
        assert ask(app, REQUEST_METHOD="POST", body=b"x" * MIB).body == b""
        assert not (tmp_path / "finished").exists()

    def test_a_job_that_it_leaves_in_the_background_lives_on(self, script: Script, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "go")
        job = "(read line; touch finished) > /dev/null 2>&1 < go &"
        assert ask(script(HEAD + "echo answer;" + job)).body == b"answer\n"
        (tmp_path / "go").write_text("\n")
        assert until((tmp_path / "finished").exists)

    def test_a_job_that_keeps_stderr_holds_nobody_up(self, script: Script) -> None:
        started = time.monotonic()
        answer = ask(script(HEAD + "sleep 60 > /dev/null & echo $!"))
        os.kill(int(answer.body), 9)
        assert time.monotonic() - started < 5


class TestWithoutPidfd:
    """On a system that cannot tell of the end of a process by a descriptor, it is looked for again and again."""

    @pytest.fixture(autouse=True)
    def blind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "pidfd_open", raising=False)

    def test_a_response_ends_with_the_program(self, script: Script) -> None:
        assert ask(script(HEAD + "echo answer; exec >&- 2>&-; sleep 0.1")).body == b"answer\n"

    def test_a_program_that_goes_on_is_waited_for(self, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run, "EXIT_WITHIN", 0.02)
        answer = ask(script(HEAD + "echo answer; exec >&-; sleep 0.1; echo late >&2"))
        assert answer.errors == "program.cgi: late\n"


class TestTermination:
    def test_by_another_thread_ends_the_program(self, script: Script) -> None:
        app = script(HEAD + "echo begun; sleep 60")
        call = Call(app)
        assert next(call.blocks) == b"begun\n"
        app.close()
        with pytest.raises(ScriptError, match="died by signal 15"):
            next(call.blocks)
        call.close()

    def test_is_not_for_a_fork_of_the_server(self, script: Script) -> None:
        app = script(HEAD + "echo begun; until [ -e go ]; do sleep 0.02; done; echo done", timeout=10)
        call = Call(app)
        assert next(call.blocks) == b"begun\n"
        child = os.fork()
        if child == 0:
            app.close()
            os._exit(0)
        os.waitpid(child, 0)
        Path(app.path).with_name("go").touch()
        assert call.answer().body == b"done\n"


def test_its_repr_tells_which_pipes_are_open(script: Script) -> None:
    call = Call(script(HEAD + "sleep 60"), check=False)
    assert repr(call.result).endswith("open='stdout stderr'>")
    call.close()
    assert repr(call.result).endswith("open=''>")
