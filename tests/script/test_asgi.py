"""``CGIScript(...).asgi`` and ``CGIDirectory(...).asgi`` run programs in an event loop as the WSGI side does."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import ScriptError
from gateway.limits import Limits
from gateway.script import CGIDirectory, CGIScript
from gateway.script.execution.spawn import Spawn
from tests.asgi_calls import Answer, Request, ask, lifespan, run, until
from tests.house import ROOT
from tests.imports import modules_imported
from tests.script.conftest import Program
from tests.script.execute import is_gone
from tests.serving import Serve, WebServer

if TYPE_CHECKING:
    from gateway.script.execution import Process

pytestmark = pytest.mark.usefixtures("nothing_left_over")

PLAIN = "echo Content-Type: text/plain; echo;"
DUMP = ROOT / "tests" / "programs" / "dump.py"
MIB = 1024 * 1024


def dumping(**options: Any) -> CGIScript:
    return CGIScript(DUMP, interpreter=[sys.executable], **options)


async def pid_of(request: Request) -> int:
    """What a program told that begins with its number."""
    await until(lambda: b"\n" in request.body)
    return int(request.body.split(b"\n")[0])


# The request


def test_the_scope_becomes_meta_variables() -> None:
    dump = ask(dumping().asgi, "/app/a b", root_path="/app", query="x=1", headers={"x-trick": "yes"}).json
    assert dump["environ"].items() >= {
        "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/app", "PATH_INFO": "/a b",
        "QUERY_STRING": "x=1", "HTTP_X_TRICK": "yes", "REMOTE_ADDR": "127.0.0.1", "SCRIPT_FILENAME": str(DUMP),
    }.items()  # fmt: skip


def test_what_a_web_server_tells_is_what_it_is_under_wsgi(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    app = dumping(pass_environment=["PATH", "OURS", "GIT_PROJECT_ROOT"])
    params = {
        "REQUEST_METHOD": "GET", "REQUEST_URI": "/a%20b?x=1", "SCRIPT_NAME": "", "PATH_INFO": "/a b",
        "QUERY_STRING": "x=1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "example.org", "SERVER_PORT": "443",
        "SERVER_SOFTWARE": "nginx/1.27", "SERVER_ADDR": "192.0.2.1",
        "REMOTE_ADDR": "192.0.2.9", "REMOTE_PORT": "4711", "REMOTE_HOST": "visitor.example",
        "REMOTE_USER": "kim", "AUTH_TYPE": "Basic", "REMOTE_IDENT": "kim", "HTTPS": "on", "REQUEST_SCHEME": "https",
        "SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": "CN=Kim \xc3\xa9", "DOCUMENT_ROOT": "/srv/www",
        "REDIRECT_STATUS": "200", "GIT_PROJECT_ROOT": "/srv/git", "OURS": "2", "UNIQUE_ID": "not asked for",
        "HTTP_HOST": "example.org", "HTTP_COOKIE": "a=1", "HTTP_X_FORWARDED_FOR": "192.0.2.9", "HTTP_PROXY": "evil",
    }  # fmt: skip
    told = []
    for one in (app, app.asgi):
        with WebServer(serve(one)) as server:
            told.append(json.loads(server.get(**params).body)["environ"])
    assert told[0] == told[1]
    assert told[0].items() >= {
        "REMOTE_USER": "kim", "SSL_CLIENT_S_DN": "CN=Kim \xc3\xa9", "GIT_PROJECT_ROOT": "/srv/git", "OURS": "1",
        "SERVER_ADDR": "192.0.2.1", "DOCUMENT_ROOT": "/srv/www",
    }.items()  # fmt: skip


def test_the_words_of_an_indexed_query_are_arguments() -> None:
    assert ask(dumping().asgi, query="two+words").json["argv"] == ["two", "words"]


@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_a_body_arrives_with_its_length(size: int) -> None:
    dump = ask(dumping().asgi, method="POST", body=b"x" * size).json
    assert (len(dump["stdin"]), dump["environ"].get("CONTENT_LENGTH", "0")) == (size, str(size))


def test_an_upload_in_chunks_gets_a_length() -> None:
    dump = ask(dumping().asgi, method="POST", body=[b"x" * 100_000, b"", b"y"]).json
    assert (len(dump["stdin"]), dump["environ"]["CONTENT_LENGTH"]) == (100_001, "100001")


@pytest.mark.parametrize("body", [b"12345", [b"123", b"45"]], ids=["with a length", "chunked"])
def test_a_body_longer_than_the_limit_is_refused(body: Any) -> None:
    assert ask(dumping(limits=Limits(body_size=3)).asgi, method="POST", body=body).status == 413


# The response


@pytest.mark.parametrize("execution", ["spawn", "fork", "inprocess"])
def test_each_strategy_runs_a_script(tmp_path: Path, execution: str) -> None:
    path = tmp_path / "script.py"
    path.write_text("import sys\nprint('Content-Type: text/plain\\n')\nprint(sys.stdin.read(), end='')\n")
    app = CGIScript(path, interpreter=[sys.executable], execution=execution)
    assert ask(app.asgi, method="POST", body=b"a body").body == b"a body"


def test_a_response_has_status_and_headers(program: Program) -> None:
    path = program("echo Status: 418; echo X-Own: 1; echo Content-Type: text/plain; echo; echo body")
    assert ask(CGIScript(path).asgi) == Answer(418, {"x-own": "1", "content-type": "text/plain"}, b"body\n")


def test_head_has_no_body(program: Program, tmp_path: Path) -> None:
    path = program(f"{PLAIN} echo body; touch {tmp_path}/finished")
    assert ask(CGIScript(path).asgi, method="HEAD").body == b""
    assert (tmp_path / "finished").exists()


def test_much_moves_both_ways_at_once(program: Program) -> None:
    answer = ask(CGIScript(program(PLAIN + "cat")).asgi, method="POST", body=[bytes(MIB)] * 8)
    assert answer.body == bytes(8 * MIB)


def test_error_output_goes_to_stderr_under_the_programs_name(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(CGIScript(program(f"echo one >&2; {PLAIN} echo two >&2; printf three >&2")).asgi)
    assert capsys.readouterr().err == "program.cgi: one\nprogram.cgi: two\nprogram.cgi: three\n"


def test_a_program_need_not_read_its_input(program: Program) -> None:
    assert ask(CGIScript(program(PLAIN + "echo body")).asgi, method="POST", body=bytes(MIB)).body == b"body\n"


def test_what_a_slow_visitor_does_not_take_stays_with_the_program(program: Program, tmp_path: Path) -> None:
    async def main() -> None:
        request = Request(app)
        request.takes.clear()
        task = request.start()
        written = tmp_path / "written"
        await until(written.exists)
        seen = -1
        while seen < written.stat().st_size:
            seen = written.stat().st_size
            await asyncio.sleep(0.1)
        assert seen < 40  # blocks of 64 KiB
        request.takes.set()
        await task
        assert len(request.body) == 200 * 65536

    text = "for i in $(seq 200); do head -c 65536 /dev/zero; printf x >> written; done"
    app = CGIScript(program(PLAIN + text)).asgi
    run(main())


# Local redirects

LOCAL = """
    case $PATH_INFO in
        /else) echo Content-Type: text/plain; echo; echo "$REQUEST_METHOD $QUERY_STRING $CONTENT_LENGTH"; cat;;
        /loop) echo Location: /app/loop; echo;;
        *) echo Location: /app/x/../else?q=1; echo; echo dropped;;
    esac
"""


def test_a_local_redirect_runs_the_program_again(program: Program) -> None:
    answer = ask(CGIScript(program(LOCAL)).asgi, "/app/from", root_path="/app", method="POST", body=b"form")
    assert (answer.status, answer.body) == (200, b"GET q=1 \n")


def test_local_redirects_end_after_ten(program: Program) -> None:
    assert ask(CGIScript(program(LOCAL)).asgi, "/app/loop", root_path="/app").status == 500


def test_a_local_redirect_elsewhere_is_handed_to_the_site(program: Program) -> None:
    async def site(scope: Any, receive: Any, send: Any) -> None:
        told = f"{scope['method']} {scope['root_path']!r} {scope['path']} {scope['query_string']!r} {await receive()}"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": told.encode()})

    app = CGIScript(program("echo 'Location: /a%20b?q'; echo")).asgi
    answer = ask(app, "/app/x", root_path="/app", method="POST", body=b"form", **{"gateway.redirect": site})
    assert answer.body == b"GET '' /a b b'q' {'type': 'http.request', 'body': b'', 'more_body': False}"


def test_a_local_redirect_that_nobody_here_can_follow_is_left_to_the_visitor(program: Program) -> None:
    answer = ask(CGIScript(program("echo Location: /elsewhere; echo")).asgi, "/app/x", root_path="/app")
    assert (answer.status, answer.headers["location"]) == (302, "/elsewhere")


# A directory


@pytest.fixture
def folder(program: Program, tmp_path: Path) -> CGIDirectory:
    program(PLAIN + 'echo "$SCRIPT_NAME $PATH_INFO"', name="sub/hello.cgi")
    program("", name="folder/index.cgi")
    (tmp_path / "style.css").write_text("p {}")
    return CGIDirectory(tmp_path, static=True)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/bin/sub/hello.cgi/a b", 200, b"/bin/sub/hello.cgi /a b\n"),
        ("/bin/style.css", 200, b"p {}"),
        ("/bin/folder", 301, b""),
        ("/bin/none", 404, b"404 Not Found\n"),
        ("/bin/../secret", 404, b"404 Not Found\n"),
    ],
)
def test_a_directory_answers_with_what_it_has(folder: CGIDirectory, path: str, status: int, body: bytes) -> None:
    answer = ask(folder.asgi, path, root_path="/bin")
    assert (answer.status, answer.body) == (status, body)


# Faults


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("echo nonsense", 502, "no blank line ends the head"),
        ("echo oops >&2; exit 3", 502, "exited with status 3 before its head was whole; its last words were 'oops'"),
        ("kill -9 $$", 502, "died by signal 9"),
        ("exec sleep 60", 504, "timed out: it neither took input nor gave output for 0.2 s"),
    ],
)
def test_a_program_at_fault_before_its_head_is_answered_for(
    program: Program, caplog: pytest.LogCaptureFixture, text: str, status: int, told: str
) -> None:
    assert ask(CGIScript(program(text), timeout=0.2).asgi).status == status
    (record,) = [record for record in caplog.records if record.name == "gateway.script"]
    assert record.levelno == logging.ERROR and told in record.getMessage()


def test_a_program_that_is_not_there_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    assert ask(CGIScript("/no/such").asgi).status == 404


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("echo begun; exec sleep 60", {"timeout": 0.2}, "neither took input"),
        ("while :; do echo x; sleep 0.01; done", {"limits": Limits(request_timeout=0.3)}, "request_timeout=0.3"),
        ("exec yes", {"limits": Limits(output_size=1_000_000)}, "longer than limit output_size=1000000"),
        ("kill -9 $$", {}, "died by signal 9"),
    ],
    ids=["silence", "no end in time", "too much", "death"],
)
def test_a_program_at_fault_after_its_head_raises(program: Program, text: str, options: Any, told: str) -> None:
    with pytest.raises(ScriptError, match=told):
        ask(CGIScript(program(PLAIN + text), **options).asgi)


def test_a_program_that_ignores_sigterm_is_killed(program: Program) -> None:
    app = CGIScript(program(f"trap '' TERM; {PLAIN} echo $$; while :; do sleep 60; done"), timeout=0.2)
    with pytest.raises(ScriptError, match="neither took input"):
        ask(app.asgi)


# Who leaves


@pytest.mark.parametrize("execution", ["spawn", "fork"])
def test_a_program_ends_when_its_visitor_goes(tmp_path: Path, execution: str) -> None:
    async def main() -> None:
        request = Request(app.asgi)
        task = request.start()
        pid = await pid_of(request)
        assert not is_gone(pid)
        request.gone.set()
        await task
        await until(lambda: is_gone(pid))
        await lifespan(app.asgi)

    path = tmp_path / "script.py"
    path.write_text(
        "import os, time\nprint('Content-Type: text/plain\\n')\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n"
    )
    app = CGIScript(path, interpreter=[sys.executable], execution=execution)
    run(main())


@pytest.mark.parametrize("head", [PLAIN + "echo begun;", ""], ids=["after the head", "before the head"])
def test_a_task_that_is_cancelled_takes_the_whole_process_group_along(
    program: Program, tmp_path: Path, head: str
) -> None:
    async def main() -> None:
        request = Request(app)
        task = request.start()
        pids = tmp_path / "pids"
        await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        if head:
            await until(lambda: request.body)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: all(is_gone(int(pid)) for pid in pids.read_text().split()))

    app = CGIScript(program(f"{head} sleep 60 & echo $$ $! > pids; wait")).asgi
    run(main())


class Slow(Spawn):
    """Takes its time to start a program, or to say that it cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def start(self, program: Any, *, stdin: bool) -> Process:
        self.begun.set()
        assert self.go_on.wait(20)
        return super().start(program, stdin=stdin)


@pytest.mark.parametrize("text", [PLAIN + "exec sleep 60", ""], ids=["starts", "cannot be started"])
def test_a_task_that_is_cancelled_while_its_program_starts_leaves_nothing(program: Program, text: str) -> None:
    async def main() -> None:
        request = Request(app)
        task = request.start()
        await until(slow.begun.is_set)
        task.cancel()
        await asyncio.sleep(0)
        slow.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert request.messages == [] and repr(app).endswith("running=0>")

    slow = Slow()
    path = program(text)
    path.chmod(0o755 if text else 0o644)
    app = CGIScript(path, execution=slow).asgi
    run(main())


def test_a_loop_that_ends_takes_its_programs_along(program: Program) -> None:
    async def main() -> int:
        request = Request(CGIScript(program(f"trap '' TERM; {PLAIN} echo $$; while :; do sleep 60; done")).asgi)
        request.start()
        return await pid_of(request)

    assert is_gone(run(main()))


def test_a_broken_upload_does_not_look_whole(program: Program, tmp_path: Path) -> None:
    async def main() -> None:
        request = Request(app, method="POST", headers={"content-length": "100"}, body=b"x", unfinished=True)
        task = request.start()
        await until((tmp_path / "begun").exists)
        request.gone.set()
        await task

    app = CGIScript(program("touch begun; cat > /dev/null; touch finished")).asgi
    run(main())
    assert not (tmp_path / "finished").exists()


def test_shutdown_ends_what_still_runs(program: Program) -> None:
    async def main() -> None:
        request = Request(app)
        task = request.start()
        pid = await pid_of(request)
        assert repr(app).endswith("running=1>")
        await lifespan(app)
        assert is_gone(pid)
        with pytest.raises(ScriptError):
            await task

    app = CGIScript(program(f"{PLAIN} echo $$; exec sleep 60")).asgi
    run(main())


def test_a_program_may_go_on_after_its_response(program: Program, tmp_path: Path) -> None:
    async def main() -> None:
        assert (await Request(app).answer()).body == b"whole\n"
        assert not (tmp_path / "finished").exists()
        (tmp_path / "go").write_text("\n")
        await until((tmp_path / "finished").exists)
        await until(lambda: repr(app).endswith("running=0>"))

    os.mkfifo(tmp_path / "go")
    app = CGIScript(program(f"{PLAIN} echo whole; exec >&-; read x < go; touch finished")).asgi
    run(main())


# How many


def test_beyond_the_limit_of_children_a_visitor_waits_and_is_then_refused(program: Program) -> None:
    async def main() -> None:
        first = Request(app)
        task = first.start()
        await until(lambda: first.body)
        answer = await Request(app).answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        first.gone.set()
        await task
        again = Request(app)
        task = again.start()
        await until(lambda: again.body)
        again.gone.set()
        await task

    limits = Limits(max_children=1, queue_timeout=0.3)
    app = CGIScript(program(PLAIN + "echo $$; exec sleep 60"), limits=limits).asgi
    run(main())


def test_who_waits_for_a_child_and_is_cancelled_takes_no_place(program: Program, tmp_path: Path) -> None:
    async def main() -> None:
        first, second, third = (Request(app) for _ in range(3))
        running = first.start()
        await until(lambda: first.body)
        waiting, next_one = second.start(), third.start()
        await asyncio.sleep(0.05)
        waiting.cancel()
        (tmp_path / "go").write_text("\n")
        await running
        await until(lambda: third.body)
        (tmp_path / "go").write_text("\n")
        await next_one
        assert second.messages == []

    os.mkfifo(tmp_path / "go")
    app = CGIScript(program(PLAIN + "echo begun; read x < go"), limits=Limits(max_children=1, queue_timeout=15)).asgi
    run(main())


@pytest.mark.parametrize("room", ["client", "script"])
def test_asyncio_is_imported_only_when_it_is_used(room: str) -> None:
    assert "asyncio" not in modules_imported([sys.executable, "-c", f"import gateway.{room}"])


def test_a_worker_of_ours_serves_it(serve: Serve, program: Program) -> None:
    app = CGIScript(program(PLAIN + 'echo "$REMOTE_USER"')).asgi
    with WebServer(serve(app)) as web_server:
        assert web_server.get(REMOTE_USER="kim").body == b"kim\n"


@pytest.mark.parametrize("execution", ["spawn", "fork"])
def test_a_hundred_slow_programs_need_fewer_than_ten_threads(tmp_path: Path, execution: str) -> None:
    async def main() -> int:
        requests = [Request(app.asgi) for _ in range(100)]
        tasks = [request.start() for request in requests]
        await until(lambda: all(b"\n" in request.body for request in requests))
        threads = threading.active_count()
        (tmp_path / "go").touch()
        await asyncio.gather(*tasks)
        assert {request.body.split(b"\n", 1)[1] for request in requests} == {b"done\n"}
        await lifespan(app.asgi)
        return threads

    path = tmp_path / "slow.py"
    if execution == "fork":
        path.write_text(
            "import os, time\nprint('Content-Type: text/plain\\n')\nprint(os.getpid(), flush=True)\n"
            "while not os.path.exists('go'):\n    time.sleep(0.05)\nprint('done')\n"
        )
        interpreter = [sys.executable]
    else:
        path.write_text(f"{PLAIN} echo $$; while ! [ -e go ]; do sleep 0.1; done; echo done")
        interpreter = ["sh"]
    limits = Limits(max_children=100)
    app = CGIScript(path, interpreter=interpreter, execution=execution, limits=limits, timeout=0)
    assert run(main()) < 10
