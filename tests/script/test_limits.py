"""What a program may use, and who it runs as: its limits, umask, user and group."""

from __future__ import annotations

import os
import re
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError, ScriptError
from gateway.limits import Limits
from gateway.script import CGIScript
from gateway.script.children import Children
from gateway.script.execution import spawn
from gateway.script.execution.posix_spawn import Spawner
from tests.script.conftest import Program
from tests.wsgi_calls import Call, ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

PLAIN = "echo Content-Type: text/plain; echo;"
MIB = 1024 * 1024
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


@pytest.fixture(params=["prlimit", "a shell"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to limit a program, the second as if there were no first."""
    if request.param == "a shell":
        monkeypatch.setattr(spawn, "_imposer", lambda: None)
    elif spawn._imposer() is None:
        pytest.skip("this system has no prlimit(2)")
    return str(request.param)


class TestResources:
    # Read after the input, since they are imposed at once, but on a program that runs already.
    TOLD = PLAIN + "read line; for o in t d n; do echo $(ulimit -S$o) $(ulimit -H$o); done"

    def tell(self, path: Path, **limits: int | None) -> list[str]:
        """The soft and hard limits of processor time, memory and descriptors that a program finds."""
        app = CGIScript(path, limits=Limits(**limits))
        return ask(app, REQUEST_METHOD="POST", body=b"\n").body.decode().splitlines()

    def test_are_limited_by_default(self, way: str, program: Program) -> None:
        assert self.tell(program(self.TOLD)) == ["600 605", "2097152 2097152", "1024 1024"]

    @pytest.mark.parametrize("off", [0, None])
    def test_are_those_of_the_server_if_not_limited(self, program: Program, off: int | None) -> None:
        told = self.tell(program(self.TOLD), script_cpu=off, script_memory=off, script_files=off)
        ours = [resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in ("CPU", "DATA", "NOFILE")]
        shown = [" ".join("unlimited" if one == resource.RLIM_INFINITY else str(one) for one in pair) for pair in ours]
        assert told == shown

    def test_are_limited_one_by_one(self, way: str, program: Program) -> None:
        told = self.tell(program(self.TOLD), script_cpu=7, script_memory=256 * MIB, script_files=20)
        assert told == ["7 12", "262144 262144", "20 20"]

    def test_are_limited_for_a_child_that_was_quick(self, program: Program) -> None:
        """A child of a program may be there before anybody could limit its parent."""
        path = program(PLAIN + "(read line; ulimit -n) <&0")
        app = CGIScript(path, limits=Limits(script_files=77))
        stop = threading.Event()
        busy = [threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)]) for _ in range(2)]
        for thread in busy:
            thread.start()
        try:
            told = {ask(app, REQUEST_METHOD="POST", body=b"\n").body for _ in range(5)}
        finally:
            stop.set()
        assert told == {b"77\n"}

    def test_cannot_be_more_than_ours(self, way: str, program: Program) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert self.tell(program(self.TOLD), script_files=hard + 1)[2] == f"{hard} {hard}"

    @ROOT_ONLY
    def test_are_limited_for_another_user(self) -> None:
        app = CGIScript("/bin/sh", args=["-c", f"{PLAIN} read line; ulimit -n"], interpreter=["/usr/bin/env"], cwd="/",
                        user="nobody", limits=Limits(script_files=77))  # fmt: skip
        assert ask(app, REQUEST_METHOD="POST", body=b"\n").body == b"77\n"

    def test_leave_faults_to_be_named(self, way: str, program: Program, caplog: pytest.LogCaptureFixture) -> None:
        path = program("")
        path.write_bytes(b"#!/no/such/perl\n")
        status = "502 Bad Gateway" if way == "a shell" else "500 Internal Server Error"
        assert ask(CGIScript(path)).status == status
        assert "its interpreter /no/such/perl is missing or not executable" in caplog.text

    def test_take_no_shell(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        started = []

        def start(self: Spawner, argv: list[bytes], *rest: Any, **options: Any) -> Any:
            started.append(argv)
            return original(self, argv, *rest, **options)

        original = Spawner.start
        monkeypatch.setattr(Spawner, "start", start)
        path = program(PLAIN)
        ask(CGIScript(path))
        assert started == [[os.fsencode(path)]]

    def test_that_somebody_else_decides_on_are_told(
        self, program: Program, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A set-user-ID program belongs to another user, whom only root may limit."""

        def refuse(*arguments: object) -> None:
            raise PermissionError

        monkeypatch.setattr("gateway.script.execution.prlimit.prlimit", refuse)
        path = program(PLAIN + "echo ran")
        assert ask(CGIScript(path)).body == b"ran\n"
        assert f"{path}: no limit script_* holds for process " in caplog.text


HOGS = {
    "processor time": (
        "while True: pass", {"script_cpu": 1},
        r"died by signal 24 \(CPU time limit exceeded\) before its head was whole; "
        "it wanted more processor time than limit script_cpu=1 allows: let it take less, or raise that",
    ),
    "memory": (
        "x = bytearray(1 << 30)", {"script_memory": 200 * MIB},
        "exited with status 1 before its head was whole; it wanted more memory than limit script_memory=209715200 "
        "allows: let it take less, or raise that; its last words were 'MemoryError'",
    ),
    "descriptors": (
        "x = [open('/dev/null') for _ in range(60)]", {"script_files": 50},
        "exited with status 1 before its head was whole; it wanted more open files than limit script_files=50 allows",
    ),
}  # fmt: skip
"""What a script does, how it is limited, and what the log says."""


@pytest.mark.parametrize(("text", "limits", "logged"), HOGS.values(), ids=HOGS)
@pytest.mark.parametrize("execution", ["spawn", "fork"])
def test_a_hog_is_ended_and_named(
    program: Program, caplog: pytest.LogCaptureFixture, execution: str, text: str, limits: dict[str, int], logged: str
) -> None:
    path = program("")
    path.write_text(f"#!{sys.executable} -IS\nimport sys\nsys.stdin.read(1)\n{text}\n")
    app = CGIScript(path, execution=execution, limits=Limits(**limits))
    answer = ask(app, REQUEST_METHOD="POST", body=b"x")
    app.close()
    assert (answer.status, answer.body) == ("502 Bad Gateway", b"502 Bad Gateway\n")
    assert re.search(f"{re.escape(str(path))}: {logged}", caplog.text)


def test_a_child_that_is_ended_is_named_in_the_middle_of_a_response(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    call = Call(CGIScript(program(PLAIN + "echo x; while :; do :; done"), limits=Limits(script_cpu=1)))
    with pytest.raises(ScriptError, match="in the middle of its response; it wanted more processor time than limit"):
        list(call.blocks)
    call.close()


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
