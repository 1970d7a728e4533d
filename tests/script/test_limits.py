"""What a program may use, and who it runs as: its limits, umask, user and group."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError, ScriptError
from gateway.limits import Limits
from gateway.script import CGIScript
from gateway.script.children import Children
from tests.script.conftest import Program
from tests.wsgi_calls import Call, ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

PLAIN = "echo Content-Type: text/plain; echo;"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


class TestOutput:
    def test_beyond_the_limit_breaks_the_response(self, program: Program) -> None:
        call = Call(CGIScript(program(PLAIN + "exec yes"), limits=Limits(output_size=1_000_000)))
        with pytest.raises(ScriptError, match="longer than limit output_size=1000000: raise that, or shorten it"):
            list(call.blocks)
        call.close()

    def test_beyond_the_limit_counts_where_nobody_reads_it(self, program: Program) -> None:
        app = CGIScript(program(PLAIN + "exec yes"), limits=Limits(output_size=1_000_000))
        with pytest.raises(ScriptError, match="output_size"):
            ask(app, REQUEST_METHOD="HEAD")

    def test_up_to_the_limit_is_fine(self, program: Program) -> None:
        app = CGIScript(program(PLAIN + "printf 12345"), limits=Limits(output_size=5))
        assert ask(app).body == b"12345"


class TestTime:
    def test_is_limited_for_a_program_that_goes_on_talking(
        self, program: Program, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = program(PLAIN + "while :; do echo x; sleep 0.01; done")
        call = Call(CGIScript(path, limits=Limits(request_timeout=0.5)))
        with pytest.raises(ScriptError, match=r"timed out: it ran longer than limit request_timeout=0\.5") as caught:
            list(call.blocks)
        assert caught.value.status_hint == "504 Gateway Timeout"
        call.close()


class TestChildren:
    def test_beyond_the_limit_are_refused_after_a_while(
        self, program: Program, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = CGIScript(program(PLAIN + "echo $$; sleep 60"), limits=Limits(max_children=1, queue_timeout=0.05))
        first = Call(app)
        answer = ask(app)
        assert (answer.status, answer.headers["Retry-After"]) == ("503 Service Unavailable", "5")
        assert "1 programs ran already (limit max_children), and none ended within 0.05 s" in caplog.text
        first.close()

    def test_that_wait_come_as_soon_as_another_has_ended(self, program: Program, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "go")
        path = program(PLAIN + '[ "$QUERY_STRING" ] && { echo begun; read x < go; }; echo done')
        app = CGIScript(path, limits=Limits(max_children=1, queue_timeout=30))
        first = Call(app, QUERY_STRING="wait=1")
        assert next(first.blocks) == b"begun\n"
        bodies: list[bytes] = []
        waiting = threading.Thread(target=lambda: bodies.append(ask(app).body))
        waiting.start()
        (tmp_path / "go").write_text("\n")
        assert first.answer().body == b"done\n"
        waiting.join(10)
        assert bodies == [b"done\n"]

    @pytest.mark.parametrize("text", ["kill -9 $$", "exit 3", "echo nonsense"])
    def test_that_failed_are_not_counted_on(self, program: Program, text: str) -> None:
        app = CGIScript(program(text), limits=Limits(max_children=1, queue_timeout=0))
        assert [ask(app).status[:3] for _ in range(3)] == ["502"] * 3

    def test_that_did_not_start_are_not_counted_on(self) -> None:
        app = CGIScript("/bin/true", cwd="/no/such", limits=Limits(max_children=1, queue_timeout=0))
        assert [ask(app).status[:3] for _ in range(3)] == ["500"] * 3

    def test_are_not_limited_by_0(self) -> None:
        children = Children(Limits(max_children=0))
        for _ in range(100):
            children.enter("/srv/a.cgi")
        children.leave()


class TestResources:
    def test_are_those_of_the_server_unless_limited(self, program: Program) -> None:
        assert ask(CGIScript(program(PLAIN + "ulimit -n"))).body.decode().strip() == str(
            resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        )

    @pytest.mark.parametrize(
        ("limits", "option", "told"),
        [
            ({"script_cpu": 7}, "t", "7"),
            ({"script_memory": 512 * 1024 * 1024}, "v", "524288"),
            ({"script_files": 20}, "n", "20"),
            ({"script_cpu": 9, "script_files": 20}, "t", "9"),
        ],
    )
    def test_are_limited_from_the_first_instruction_on(
        self, program: Program, limits: dict[str, int], option: str, told: str
    ) -> None:
        path = program(PLAIN + f"echo $(ulimit -S{option}) $(ulimit -H{option})")
        assert ask(CGIScript(path, limits=Limits(**limits))).body.decode() == f"{told} {told}\n"

    def test_that_run_out_end_the_program(self, program: Program, caplog: pytest.LogCaptureFixture) -> None:
        path = program("while :; do :; done")
        assert ask(CGIScript(path, limits=Limits(script_cpu=1))).status == "502 Bad Gateway"
        assert "died by signal" in caplog.text

    def test_cannot_be_more_than_ours(self, program: Program) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        app = CGIScript(program(PLAIN + "ulimit -n"), limits=Limits(script_files=hard + 1))
        assert ask(app).body == f"{hard}\n".encode()

    def test_leave_faults_to_be_named(self, program: Program, caplog: pytest.LogCaptureFixture) -> None:
        path = program("")
        path.write_bytes(b"#!/no/such/perl\n")
        assert ask(CGIScript(path, limits=Limits(script_cpu=9))).status == "502 Bad Gateway"
        assert "its interpreter /no/such/perl is missing or not executable" in caplog.text


class TestIdentity:
    @pytest.mark.parametrize("umask", [0o077, 0o027])
    def test_umask_is_what_was_asked_for(self, program: Program, tmp_path: Path, umask: int) -> None:
        assert ask(CGIScript(program(PLAIN + "touch made"), umask=umask)).status == "200 OK"
        assert (tmp_path / "made").stat().st_mode & 0o777 == 0o666 & ~umask

    @ROOT_ONLY
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"user": "nobody"}, "65534 65534 65534"),
            ({"user": 65534, "group": "www-data"}, "65534 33 33"),
            ({"group": 33}, "0 33 33"),
        ],
    )
    def test_user_and_group_are_what_was_asked_for(self, options: dict[str, Any], told: str) -> None:
        text = PLAIN + "echo $(id -u) $(id -g) $(id -G)"
        answer = ask(CGIScript("/bin/sh", args=["-c", text], interpreter=["/usr/bin/env"], cwd="/", **options))
        assert answer.body.decode() == f"{told}\n"

    @ROOT_ONLY
    def test_another_user_is_ended_as_well(self) -> None:
        app = CGIScript("/bin/sh", args=["-c", f"{PLAIN} echo x; sleep 60"], interpreter=["/usr/bin/env"], cwd="/",
                        user="nobody")  # fmt: skip
        call = Call(app)
        assert next(call.blocks) == b"x\n"
        call.close()

    def test_a_user_that_nobody_may_become_is_a_config_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(ConfigError, match="leave them out, or start as root"):
            CGIScript("/bin/true", group=0)
