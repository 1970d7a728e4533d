"""wsgiref's CGI handlers: as they are documented, beside wsgiref itself, and their hooks."""

from __future__ import annotations

import io
import sys
import wsgiref.handlers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.compat import wsgiref as compat
from tests.compat.scripts import CGI, COMPAT, body_of, run, spawned

PLAIN = [("Content-Type", "text/plain")]
POST = CGI | {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/form"}


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", list(PLAIN))
    return [b"hello"]


def fail(environ: Any, start_response: Any) -> list[bytes]:
    raise ValueError("on purpose")


def handle(
    app: Any, kind: type = compat.BaseCGIHandler, *, body: bytes = b"", environ: Mapping[str, str] = CGI, **flags: Any
) -> str:
    """What a handler makes of a request over streams of ours."""
    stdout = io.BytesIO()
    kind(io.BytesIO(body), stdout, io.StringIO(), dict(environ), **flags).run(app)
    return stdout.getvalue().decode("latin-1").replace("\r\n", "\n")


@pytest.mark.parametrize("name", compat.__all__)
@pytest.mark.parametrize("environ", [CGI, POST, CGI | {"PATH_INFO": "/app/x"}], ids=["get", "post", "doubled path"])
def test_a_program_says_what_it_says_with_wsgiref(tmp_path: Path, name: str, environ: dict[str, str]) -> None:
    if name == "BaseCGIHandler":
        assert handle(hello, environ=environ) == handle(hello, wsgiref.handlers.BaseCGIHandler, environ=environ)
        return
    ours, theirs = (
        run("handlers.cgi", name, directory=tmp_path, by=by, stdin=b"body", environ=environ)
        for by in (COMPAT, (sys.executable,))
    )
    assert body_of(ours) == body_of(theirs)


def test_a_script_that_fastcgi_starts_serves_until_it_is_stopped(tmp_path: Path) -> None:
    with spawned("handlers.cgi", "CGIHandler", directory=tmp_path) as (_, client):
        said = [client.request("GET", path)[2].decode() for path in ("/a", "/b")]
    assert ["PATH_INFO=/a" in said[0], "PATH_INFO=/b" in said[1], "wsgi.run_once=False" in said[1]] == [True] * 3


def test_what_a_program_prints_is_no_part_of_the_response(tmp_path: Path) -> None:
    script = tmp_path / "prints.cgi"
    script.write_text(
        "import wsgiref.handlers\n"
        "def app(environ, start_response):\n"
        "    print('debugging')\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [b'hello']\n"
        "wsgiref.handlers.CGIHandler().run(app)\n"
    )
    done = run(script, directory=tmp_path)
    assert (body_of(done), done.stderr) == ("hello", b"debugging\n")


class TestHooks:
    """What subclasses and attributes say, over streams of ours."""

    def test_an_error_is_answered_as_the_attributes_say(self) -> None:
        class Handler(compat.BaseCGIHandler):
            error_status = "503 Busy"
            error_body = b"come back"

        assert handle(fail, Handler) == "Status: 503 Busy\nContent-Type: text/plain\nContent-Length: 9\n\ncome back"

    def test_an_error_is_answered_by_the_method(self) -> None:
        class Handler(compat.BaseCGIHandler):
            def error_output(self, environ: Any, start_response: Any) -> list[bytes]:
                start_response("500 Oops", PLAIN, sys.exc_info())
                return [b"sorry, ", environ["PATH_INFO"].encode()]

        assert handle(fail, Handler).endswith("\n\nsorry, /")

    def test_the_traceback_is_in_the_error_stream(self) -> None:
        errors = io.StringIO()
        compat.BaseCGIHandler(io.BytesIO(), io.BytesIO(), errors, dict(CGI)).run(fail)
        assert "ValueError: on purpose" in errors.getvalue()

    def test_setup_environ_may_add_to_it(self) -> None:
        class Handler(compat.BaseCGIHandler):
            def setup_environ(self) -> None:
                super().setup_environ()
                self.environ["my.object"] = self
                self.environ["REMOTE_USER"] = "me"

        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", list(PLAIN))
            return [environ["REMOTE_USER"].encode(), environ["my.object"].error_status.encode()]

        assert handle(app, Handler).endswith("\n\nme500 Internal Server Error")

    def test_the_flags_are_told(self) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", list(PLAIN))
            return [repr([environ[f"wsgi.{name}"] for name in ("multithread", "multiprocess", "run_once")]).encode()]

        assert handle(app, multithread=False, multiprocess=True).endswith("[False, True, False]")

    def test_the_environ_is_an_attribute_while_the_application_runs(self) -> None:
        handler = compat.BaseCGIHandler(io.BytesIO(), io.BytesIO(), io.StringIO(), dict(CGI))

        def app(environ: Any, start_response: Any) -> list[bytes]:
            assert handler.environ is environ
            return hello(environ, start_response)

        handler.run(app)
        assert b"hello" in handler.stdout.getvalue()

    def test_a_body_is_read_as_far_as_it_goes(self) -> None:
        stdin = io.BytesIO(b"bodymore")
        out = io.BytesIO()
        compat.BaseCGIHandler(stdin, out, io.StringIO(), dict(POST)).run(read)
        assert (out.getvalue()[-4:], stdin.read()) == (b"body", b"more")

    def test_a_body_that_is_cut_is_told_to_the_application(self) -> None:
        assert handle(read, body=b"bo", environ=POST).startswith("Status: 400 Bad Request")

    def test_a_body_without_a_length_ends_with_the_stream(self) -> None:
        chunked = {**POST, "HTTP_TRANSFER_ENCODING": "chunked"}
        del chunked["CONTENT_LENGTH"]
        assert handle(read, body=b"all of it", environ=chunked).endswith("\n\nall of it")

    def test_the_kinship_of_the_classes_is_kept(self) -> None:
        assert issubclass(compat.CGIHandler, compat.BaseCGIHandler)
        assert issubclass(compat.IISCGIHandler, wsgiref.handlers.IISCGIHandler)

    def test_streams_in_the_place_of_the_process_s_are_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stdout = io.TextIOWrapper(io.BytesIO())
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        for name, value in CGI.items():
            monkeypatch.setenv(name, value)
        compat.CGIHandler().run(hello)
        assert stdout.buffer.getvalue().endswith(b"\r\n\r\nhello")  # type: ignore[attr-defined]


def read(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", list(PLAIN))
    return [body]
