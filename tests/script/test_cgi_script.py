"""CGIScript: what a program is told, and what becomes of its answer."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from webtest import TestApp

from gateway.errors import ConfigError
from gateway.limits import Limits
from gateway.script import CGIScript
from tests.house import ROOT
from tests.script.conftest import Program
from tests.wsgi_calls import ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

CHUNKED: dict[str, Any] = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
DUMP = ROOT / "tests" / "programs" / "dump.py"


def dumping(path: str | Path = DUMP, **options: Any) -> CGIScript:
    """An app that tells what it was told; by this Python, because ``env python3`` may be a wrapper that adds to it."""
    return CGIScript(path, interpreter=[sys.executable], **options)


def told(app: CGIScript, path: str = "/", **request: Any) -> dict[str, Any]:
    """What dump.py says it was told."""
    answer = ask(app, path, **request)
    assert answer.status == "200 OK", answer
    result: dict[str, Any] = answer.json
    return result


class TestEnvironment:
    def test_holds_the_meta_variables(self) -> None:
        environ = told(
            dumping(), "/a b", SCRIPT_NAME="/dump", QUERY_STRING="q=1", REQUEST_METHOD="POST", body=b"x",
            CONTENT_TYPE="text/x", HTTP_X_HEADER="y", REMOTE_ADDR="::1", AUTH_TYPE="Basic", REMOTE_USER="me",
        )["environ"]  # fmt: skip
        expected = {
            "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "gateway", "SERVER_PROTOCOL": "HTTP/1.0",
            "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/dump",
            "PATH_INFO": "/a b", "QUERY_STRING": "q=1", "CONTENT_TYPE": "text/x", "CONTENT_LENGTH": "1",
            "HTTP_X_HEADER": "y", "REMOTE_ADDR": "::1", "AUTH_TYPE": "Basic", "REMOTE_USER": "me",
            "SCRIPT_FILENAME": str(DUMP), "REDIRECT_STATUS": "200", "REQUEST_URI": "/dump/a%20b?q=1",
        }  # fmt: skip
        assert expected.items() <= environ.items()

    def test_holds_nothing_of_ours_but_what_is_allowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "s")
        monkeypatch.setenv("HTTP_X_OURS", "s")
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        # LC_ALL keeps Python from adding LC_CTYPE to its own environment (PEP 538).
        environ = told(dumping(pass_environment=["TZ"], environment={"LC_ALL": "C.UTF-8"}))["environ"]
        assert environ["TZ"] == "Asia/Tokyo"
        assert set(environ) == {
            "TZ", "LC_ALL", "GATEWAY_INTERFACE", "SERVER_SOFTWARE", "SERVER_PROTOCOL", "SERVER_NAME", "SERVER_PORT",
            "REQUEST_METHOD", "REQUEST_URI", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SCRIPT_FILENAME",
            "REDIRECT_STATUS", "HTTP_HOST",
        }  # fmt: skip

    def test_path_is_passed_on(self) -> None:
        assert told(dumping())["environ"]["PATH"] == os.environ["PATH"]

    def test_what_is_added_wins(self) -> None:
        app = dumping(environment={"REMOTE_USER": "fixed", "GIT_PROJECT_ROOT": "/srv"})
        environ = told(app, REMOTE_USER="visitor")["environ"]
        assert (environ["REMOTE_USER"], environ["GIT_PROJECT_ROOT"]) == ("fixed", "/srv")

    def test_a_visitors_proxy_header_is_not_in_it(self) -> None:
        assert "HTTP_PROXY" not in told(dumping(), HTTP_PROXY="http://evil.example")["environ"]

    def test_holds_what_the_web_server_says_if_it_is_allowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OURS", "from us")
        said = {"OURS": "theirs", "GIT_PROJECT_ROOT": "/srv", "SECRET": "s"}
        environ = told(dumping(pass_environment=["OURS", "GIT_PROJECT_ROOT", "UNSAID"]), **said)["environ"]
        assert [environ.get(name) for name in (*said, "UNSAID")] == ["from us", "/srv", None, None]

    @pytest.mark.parametrize("option", [{"environment": {"HTTP_PROXY": "x"}}, {"pass_environment": ["HTTP_PROXY"]}])
    def test_http_proxy_cannot_be_passed_on_by_mistake(self, option: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="pass http_proxy instead"):
            dumping(**option)

    def test_bytes_beyond_ascii_arrive_as_they_came(self) -> None:
        assert told(dumping(), "/\xc3\xa9")["environ"]["PATH_INFO"] == "/\xc3\xa9"

    def test_nul_is_refused(self) -> None:
        assert ask(dumping(), "/a\0b").status == "400 Bad Request"

    def test_there_is_no_length_without_a_body(self) -> None:
        environ = told(dumping(), CONTENT_LENGTH="", CONTENT_TYPE="")["environ"]
        assert not {"CONTENT_LENGTH", "CONTENT_TYPE"} & environ.keys()

    @pytest.mark.parametrize(
        ("path", "translated"), [("/x/y", "/srv/x/y"), ("/../../etc", "/srv/etc"), ("//x", "/srv/x")]
    )
    def test_path_info_is_translated_below_the_document_root(self, path: str, translated: str) -> None:
        app = dumping(environment={"DOCUMENT_ROOT": "/srv/"})
        assert told(app, path)["environ"]["PATH_TRANSLATED"] == translated

    def test_a_translation_that_nobody_can_make_is_left_out(self) -> None:
        assert "PATH_TRANSLATED" not in told(dumping(), PATH_TRANSLATED="/of/another/path")["environ"]

    def test_script_name_splits_the_path(self) -> None:
        environ = told(dumping(script_name="/git/"), "/git/a.git/info")["environ"]
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/git", "/a.git/info")

    def test_a_path_outside_script_name_is_not_found(self, caplog: pytest.LogCaptureFixture) -> None:
        assert ask(dumping(script_name="/git"), "/github").status == "404 Not Found"
        assert "'/github' is outside script_name='/git'" in caplog.text

    def test_the_directory_is_the_scripts_own(self, tmp_path: Path) -> None:
        assert told(dumping())["cwd"] == str(DUMP.parent)
        assert told(dumping(os.path.relpath(DUMP), cwd=tmp_path))["cwd"] == str(tmp_path)


class TestArguments:
    @pytest.mark.parametrize(
        ("query", "argv"),
        [
            ("", []),
            ("one", ["one"]),
            ("two+w%6Frds", ["two", "words"]),
            ("a%3Db%20c", ["a=b c"]),
            ("a=b", []),
            ("-s", []),
            ("%2Dd+x", []),
            ("x+-d", []),
            ("%20-d", []),
            ("a++b", []),
            ("a%00b", []),
        ],
    )
    def test_are_the_words_of_an_indexed_query_and_never_options(self, query: str, argv: list[str]) -> None:
        assert told(dumping(), QUERY_STRING=query)["argv"] == argv

    def test_are_none_in_a_post(self) -> None:
        assert told(dumping(), QUERY_STRING="one", REQUEST_METHOD="POST")["argv"] == []

    def test_come_after_those_given(self, program: Program) -> None:
        path = program('echo Content-Type: text/plain; echo; echo "$0" "$@"')
        path.chmod(0o644)
        app = CGIScript(path, interpreter=["sh"], args=["-v"])
        assert ask(app, QUERY_STRING="word").body == f"{path} -v word\n".encode()


class TestBody:
    def test_of_a_known_length_is_not_read_beyond_it(self) -> None:
        body = io.BytesIO(b"12345the next request")
        assert told(dumping(), REQUEST_METHOD="POST", CONTENT_LENGTH="5", body=body)["stdin"] == "12345"
        assert body.tell() == 5

    @pytest.mark.parametrize("size", [0, 5, 200_000])
    def test_of_a_chunked_upload_gets_a_length(self, size: int) -> None:
        dump = told(dumping(), body=b"x" * size, REQUEST_METHOD="POST", **CHUNKED)
        assert (len(dump["stdin"]), dump["environ"]["CONTENT_LENGTH"]) == (size, str(size))
        assert "HTTP_TRANSFER_ENCODING" not in dump["environ"]

    def test_without_length_or_end_is_refused(self) -> None:
        answer = ask(dumping(), REQUEST_METHOD="POST", HTTP_TRANSFER_ENCODING="chunked", body=b"x")
        assert answer.status == "411 Length Required"

    def test_of_a_chunked_upload_is_taken_from_uwsgi_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chunks = iter([b"in ", b"chunks", b""])
        monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(chunked_read=lambda: next(chunks)))
        dump = told(dumping(), REQUEST_METHOD="POST", HTTP_TRANSFER_ENCODING="chunked")
        assert (dump["stdin"], dump["environ"]["CONTENT_LENGTH"]) == ("in chunks", "9")

    def test_that_breaks_off_under_uwsgi_is_no_body(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def chunked_read() -> bytes:
            raise OSError("unable to receive chunked part")

        monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(chunked_read=chunked_read))
        answer = ask(dumping(), REQUEST_METHOD="POST", HTTP_TRANSFER_ENCODING="chunked")
        assert answer.status == "400 Bad Request"

    @pytest.mark.parametrize("sent", [{}, CHUNKED], ids=["with a length", "chunked"])
    def test_longer_than_the_limit_is_refused(self, sent: dict[str, Any]) -> None:
        app = dumping(limits=Limits(body_size=3))
        assert ask(app, body=b"12345", REQUEST_METHOD="POST", **sent).status == "413 Content Too Large"

    def test_with_a_length_that_is_no_number_is_refused(self) -> None:
        assert ask(dumping(), CONTENT_LENGTH="1e3", check=False).status == "400 Bad Request"


class TestResponse:
    def test_is_200_without_a_status(self, program: Program) -> None:
        answer = ask(CGIScript(program("echo Content-Type: text/plain; echo X-Own: 1; echo; echo body")))
        assert answer == ("200 OK", {"Content-Type": "text/plain", "X-Own": "1"}, b"body\n", "")

    @pytest.mark.parametrize(
        ("status", "expected"),
        [("404 Nowhere", "404 Nowhere"), ("418", "418 I'm a Teapot"), ("299 ", "299 Unknown")],
    )
    def test_has_the_status_that_the_program_states(self, program: Program, status: str, expected: str) -> None:
        path = program(f'echo "Status: {status}"; echo Content-Type: text/plain; echo')
        assert ask(CGIScript(path)).status == expected

    def test_is_a_redirect_of_the_visitor_for_a_url(self, program: Program) -> None:
        path = program("echo Location: http://example.org/; echo Content-Type: text/plain; echo")
        answer = ask(CGIScript(path))
        assert (answer.status, answer.headers["Location"]) == ("302 Found", "http://example.org/")

    def test_may_be_a_whole_http_response(self, program: Program) -> None:
        path = program(
            r"printf 'HTTP/1.1 201 Made\r\nContent-Type: text/plain\r\nConnection: close\r\nServer: own\r\n\r\nnph'",
            name="nph-program.cgi",
        )
        assert ask(CGIScript(path)) == ("201 Made", {"Content-Type": "text/plain", "Server": "own"}, b"nph", "")

    def test_to_head_has_no_body(self, program: Program, tmp_path: Path) -> None:
        path = program(f"echo Content-Type: text/plain; echo; echo body; touch {tmp_path}/finished")
        assert ask(CGIScript(path), REQUEST_METHOD="HEAD").body == b""
        assert (tmp_path / "finished").exists()

    def test_with_204_has_no_body(self, program: Program) -> None:
        assert ask(CGIScript(program("echo Status: 204; echo; echo body"))).body == b""

    def test_longer_than_its_content_length_is_cut(self, program: Program, caplog: pytest.LogCaptureFixture) -> None:
        path = program("echo Content-Type: text/plain; echo Content-Length: 3; echo; echo 12345")
        assert ask(CGIScript(path)).body == b"123"
        assert "wrote more than its Content-Length" in caplog.text

    def test_passes_webtests_lint(self) -> None:
        app = TestApp(dumping())
        assert app.get("/x?y=z").json["environ"]["QUERY_STRING"] == "y=z"
        assert app.post("/x", {"name": "value"}).json["stdin"] == "name=value"
        assert app.head("/x").body == b""


class TestLocalRedirect:
    PROGRAM = """
        case $PATH_INFO in
            /else) echo Content-Type: text/plain; echo; echo "$REQUEST_METHOD $QUERY_STRING $CONTENT_LENGTH"; cat;;
            /loop) echo Location: /app/loop; echo;;
            *) echo Location: /app/x/../else?q=1; echo; echo dropped;;
        esac
    """

    def test_to_its_own_path_runs_the_program_again(self, program: Program) -> None:
        app = CGIScript(program(self.PROGRAM))
        answer = ask(app, "/from", SCRIPT_NAME="/app", REQUEST_METHOD="POST", body=b"form")
        assert answer[::2] == ("200 OK", b"GET q=1 \n")

    def test_of_a_head_request_stays_one(self, program: Program) -> None:
        answer = ask(CGIScript(program(self.PROGRAM)), "/from", SCRIPT_NAME="/app", REQUEST_METHOD="HEAD")
        assert answer[::2] == ("200 OK", b"")

    def test_ends_after_ten(self, program: Program, caplog: pytest.LogCaptureFixture) -> None:
        assert ask(CGIScript(program(self.PROGRAM)), "/loop", SCRIPT_NAME="/app").status == "500 Internal Server Error"
        assert "more than 10 local redirects (limit local_redirects), the last to /app/loop" in caplog.text

    def test_elsewhere_is_handed_to_the_site(self, program: Program) -> None:
        def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            names = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI")
            return [" ".join(environ[name] for name in names).encode(), environ["wsgi.input"].read()]

        app = CGIScript(program("echo 'Location: /a%20b?q'; echo"))
        request = {"SCRIPT_NAME": "/app", "REQUEST_METHOD": "POST", "gateway.redirect": site}
        answer = ask(app, "/from", body=b"form", **request)
        assert answer.body == b"GET  /a b q /a%20b?q"

    @pytest.mark.parametrize("location", ["/elsewhere?q", "/app/else#part"])
    def test_that_nobody_here_can_follow_is_left_to_the_visitor(self, program: Program, location: str) -> None:
        app = CGIScript(program(f"echo Location: '{location}'; echo"))
        assert ask(app, SCRIPT_NAME="/app", check=False) == ("302 Found", {"Location": location}, b"", "")


def test_its_repr_tells_the_program() -> None:
    assert repr(CGIScript("/srv/a.cgi")) == "<CGIScript '/srv/a.cgi'>"


def test_a_program_that_fails_after_its_response_is_only_logged(
    program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = program("echo Content-Type: text/plain; echo; echo whole; echo oops >&2; exit 3")
    assert ask(CGIScript(path)).body == b"whole\n"
    assert "exited with status 3 after its response; its last words were 'oops'" in caplog.text
