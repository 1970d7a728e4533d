"""Recordings that are sent once more: what is the same, what differs, and what may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import Limits, Recorder
from gateway.cli.replay import command
from gateway.errors import ConfigError
from gateway.measure.replay import Replay, Rules, read_recordings
from tests.serving import PLAIN, Serve, hello
from tests.wsgi_calls import ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")


def gives(*headers: tuple[str, str], body: bytes = b"one\ntwo\n", status: str = "200 OK") -> Any:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response(status, [PLAIN, *headers])
        return [body]

    return app


def record(directory: Path, app: Any, *paths: str, limits: Limits | None = None, **request: Any) -> None:
    recorded = Recorder(directory, limits=limits).wrap(app)
    for path in paths or ("/",):
        ask(recorded, path, check=False, **request)


def differences(directory: Path, app: Any, **rules: Any) -> list[list[str]]:
    replay = Replay(app, Rules(**rules))
    return [replay.ask(recording).differences for recording in read_recordings(directory)]


DATE = ("Date", "Sat, 21 Nov 2026 00:00:00 GMT")
SAME: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "the same": (gives(), gives(), {}),
    "a header of the server": (gives(), gives(DATE, ("Server", "x")), {}),
    "a header that is said to differ": (gives(("X-Id", "1")), gives(("X-Id", "2")), {"ignored_headers": ["x-id"]}),
    "headers in another order": (gives(("A", "1"), ("B", "2")), gives(("B", "2"), ("A", "1")), {}),
    "the value of a cookie": (gives(("Set-Cookie", "a=1; Path=/")), gives(("Set-Cookie", "a=2; Path=/")), {}),
    "when a cookie expires": (gives(("Set-Cookie", "a=1; Expires=Fri")), gives(("Set-Cookie", "a=1; Expires=Sat")), {}),
    "a cookie that is said to differ": (gives(("Set-Cookie", "a=1")), gives(), {"ignored_cookies": ["a"]}),
    "a text that is said to differ": (gives(body=b"pid 17"), gives(body=b"pid 18"), {"may_differ": [r"pid \d+"]}),
    "no text, either": (gives(body=b"\xff\0"), gives(body=b"\xff\0"), {}),
    "a failure then and now": (gives(status="500 Oh"), gives(status="500 No"), {}),
}  # fmt: skip
OTHER: dict[str, tuple[Any, Any, list[str]]] = {
    "status": (gives(), gives(status="404 Not Found"), ["status 200 then, 404 now"]),
    "a header less": (gives(("X-Id", "1")), gives(), ["-x-id: 1"]),
    "another header": (gives(("X-Id", "1")), gives(("X-Id", "2")), ["-x-id: 1", "+x-id: 2"]),
    "a cookie's attribute": (gives(("Set-Cookie", "a=1")), gives(("Set-Cookie", "a=1; Secure")),
                             ["-set-cookie: a=masked", "+set-cookie: a=masked; Secure"]),
    "a line of the body": (gives(), gives(body=b"one\n2\n"), ["-two", "+2"]),
    "more of the body": (gives(), gives(body=b"one\ntwo\nthree\n"), ["+three"]),
    "bytes": (gives(body=b"\xff\0"), gives(body=b"\xff\1\1"), ["the body, no text, differs: 2 bytes then, 3 now"]),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_alike_is(tmp_path: Path, case: str) -> None:
    then, now, rules = SAME[case]
    record(tmp_path, then)
    assert differences(tmp_path, now, **rules) == [[]]


@pytest.mark.parametrize("case", OTHER)
def test_a_difference_is(tmp_path: Path, case: str) -> None:
    then, now, told = OTHER[case]
    record(tmp_path, then)
    (found,) = differences(tmp_path, now)
    assert [line for line in found if line[:3] not in ("---", "+++", "@@ ") and line[0] != " "] == told


def test_a_long_difference_is_cut(tmp_path: Path) -> None:
    record(tmp_path, gives(body=b"a\n" * 100))
    (found,) = differences(tmp_path, gives(body=b"b\n" * 100))
    assert (len(found), found[-1]) == (41, "… and 163 lines more")


def breaks_off(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [PLAIN])
    yield b"one\ntwo\n"
    raise OSError("gone")


def test_a_response_that_breaks_off_differs_from_a_whole_one(tmp_path: Path) -> None:
    record(tmp_path, gives())
    assert differences(tmp_path, breaks_off) == [["the response breaks off now: OSError('gone')"]]


def test_a_response_that_is_whole_now_differs_from_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        record(tmp_path, breaks_off)
    (found,) = differences(tmp_path, gives())
    assert found[-1] == "the response broke off then, and does no longer"


def test_the_beginning_of_a_long_body_is_compared(tmp_path: Path) -> None:
    record(tmp_path, gives(body=b"abcdef"), limits=Limits(record_body=3))
    assert differences(tmp_path, gives(body=b"abc, and more")) == [[]]


def test_a_request_whose_body_was_too_long_is_not_sent(tmp_path: Path) -> None:
    record(tmp_path, gives(), body=b"abcdef", REQUEST_METHOD="POST", limits=Limits(record_body=3))
    outcome = Replay(hello).ask(read_recordings(tmp_path)[0])
    assert outcome.skipped == "its body was not read, or not kept, to its end (record_body)"


def tells(environ: Any, start_response: Any) -> list[bytes]:
    """What it was asked, but for cookies."""
    told = {name: environ[name] for name in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "HTTP_HOST")}
    start_response("200 OK", [PLAIN])
    return [json.dumps({**told, "body": environ["wsgi.input"].read().decode()}).encode()]


def test_a_request_is_sent_as_it_came(tmp_path: Path, serve: Serve) -> None:
    record(
        tmp_path, tells, "/ä".encode().decode("latin-1"), SCRIPT_NAME="/app", QUERY_STRING="q=%20", body=b"text",
        REQUEST_METHOD="PUT", HTTP_HOST="site.example",
    )  # fmt: skip
    result = CliRunner().invoke(command, [str(tmp_path), "--against", serve(tells).url])
    assert (result.exit_code, result.output) == (0, "1 requests: 1 answered alike, 0 otherwise, 0 not sent\n")


def session(environ: Any, start_response: Any) -> list[bytes]:
    """Knows the visitor by the cookie that it gave him."""
    known = "sid=right" in environ.get("HTTP_COOKIE", "")
    start_response("200 OK", [PLAIN, *([] if known else [("Set-Cookie", "sid=right; HttpOnly")])])
    return [b"known" if known else b"new"]


def test_cookies_are_given_back_as_the_new_server_gives_them(tmp_path: Path) -> None:
    record(tmp_path, session)
    record(tmp_path, session, HTTP_COOKIE="sid=right; theme=dark")
    assert differences(tmp_path, session) == [[], []]


def guarded(environ: Any, start_response: Any) -> list[bytes]:
    right = environ.get("HTTP_AUTHORIZATION") == "Basic right"
    start_response("200 OK" if right else "401 Unauthorized", [PLAIN])
    return [b""]


class TestCommand:
    def test_a_masked_secret_is_a_hint(self, tmp_path: Path, serve: Serve) -> None:
        record(tmp_path, guarded, HTTP_AUTHORIZATION="Basic right")
        words = [str(tmp_path), "--against", serve(guarded).url]
        refused = CliRunner().invoke(command, words)
        assert refused.exit_code == 1
        lines = refused.output.splitlines()
        assert lines[0].endswith(".har: GET /")
        assert lines[1:] == [
            "    status 200 then, 401 now",
            "    (what it said in Authorization was masked when it was recorded; "
            "--header 'NAME: VALUE' says another one)",
            "1 requests: 0 answered alike, 1 otherwise, 0 not sent",
        ]
        assert CliRunner().invoke(command, [*words, "-H", "Authorization: Basic right"]).exit_code == 0

    def test_a_masked_field_is_one(self, tmp_path: Path, serve: Serve) -> None:
        record(tmp_path, tells, QUERY_STRING="token=x")
        result = CliRunner().invoke(command, [str(tmp_path), "--against", serve(tells).url])
        assert "what it said in a field was masked" in result.output

    @pytest.mark.parametrize("model", ["cgi", "fork", ""])
    def test_an_application_is_started(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
        (tmp_path / "shop.py").write_text(
            "def app(environ, start_response):\n"
            "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
            "    return [b'hello']\n"
        )
        monkeypatch.chdir(tmp_path)
        record(tmp_path / "kept", hello)
        words = ["kept", "--against", "shop:app", *(["--as", model] if model else [])]
        result = CliRunner().invoke(command, words)
        assert (result.exit_code, result.output) == (0, "1 requests: 1 answered alike, 0 otherwise, 0 not sent\n")

    def test_a_program_is_told_all(self, tmp_path: Path, serve: Serve) -> None:
        record(tmp_path, gives(), "/a", "/b")
        record(tmp_path, gives(), "/c", body=b"abcdef", REQUEST_METHOD="POST", limits=Limits(record_body=3))
        result = CliRunner().invoke(command, [str(tmp_path), "--against", serve(hello).url, "--json"])
        told = json.loads(result.stdout)
        assert [(one["method"], one["path"]) for one in told] == [("GET", "/a"), ("GET", "/b"), ("POST", "/c")]
        assert told[0]["differences"][-1] == "+hello"
        assert told[2]["skipped"]

    def test_what_is_not_sent_is_said(self, tmp_path: Path, serve: Serve) -> None:
        record(tmp_path, hello, body=b"abcdef", REQUEST_METHOD="POST", limits=Limits(record_body=3))
        result = CliRunner().invoke(command, [str(tmp_path), "--against", serve(hello).url])
        assert "POST /: not sent: its body was not read, or not kept, to its end (record_body)" in result.output
        assert result.exit_code == 0

    @pytest.mark.parametrize(
        ("words", "status", "message"),
        [
            (["--against", "no_such_module:app"], 3, "no_such_module"),
            (["--against", "http://127.0.0.1:9", "--as", "cgi"], 3, "is running: leave out --as cgi"),
            (["--against", ".", "--as", "magic"], 3, "no model is called 'magic'; there are: cgi, fork"),
            (["--against", "http://127.0.0.1:9", "--may-differ", "("], 3, "'(' is no regular expression"),
            (["--against", "http://127.0.0.1:9", "-H", "Authorization"], 2, "'Authorization' is no header"),
        ],
    )  # fmt: skip
    def test_mistakes(self, tmp_path: Path, words: list[str], status: int, message: str) -> None:
        record(tmp_path, hello)
        result = CliRunner().invoke(command, [str(tmp_path), *words])
        assert result.exit_code == status
        assert message in result.output

    def test_an_empty_directory(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(command, [str(tmp_path), "--against", "http://127.0.0.1:9"])
        assert result.exit_code == 2
        assert "holds no recordings; make some: fcgi-run --record" in result.output


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.har").write_text('{"log": 1}')
    with pytest.raises(ConfigError, match=r"x\.har is no HAR file \(TypeError: .*\); leave it out, or record again"):
        read_recordings(tmp_path)


def test_a_file_of_several_entries_is_read_too(tmp_path: Path) -> None:
    record(tmp_path, hello, "/a", "/b")
    logs = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.har"))]
    logs[0]["log"]["entries"] += logs[1]["log"]["entries"]
    (tmp_path / "both").write_text(json.dumps(logs[0]))
    assert list(map(str, read_recordings(tmp_path / "both"))) == ["both 1: GET /a", "both 2: GET /b"]
