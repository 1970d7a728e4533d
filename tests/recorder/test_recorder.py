"""What a recorder keeps of requests and responses, what it masks, and that nobody is harmed by it."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway import Client, Limits, Recorder
from gateway.errors import ConfigError
from gateway.recorder.secrets import Secrets
from gateway.testing.conformance import application, asgi_application, cases_for, run_conformance
from tests import asgi_calls
from tests.masters import Master
from tests.serving import PLAIN, WORKERS, Serve, hello, until
from tests.wsgi_calls import Call

FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}


def entries(directory: Path) -> list[Any]:
    """What is recorded, in the order of its beginning."""
    return [json.loads(path.read_text())["log"]["entries"][0] for path in sorted(directory.glob("*.har"))]


def reads(environ: Any, start_response: Any) -> list[bytes]:
    """Gives back what it reads of the body, in every way that there is."""
    stream = environ["wsgi.input"]
    body = stream.read(2) + stream.readline() + b"".join(stream.readlines(1)) + b"".join(stream) + stream.read(10)
    start_response("200 Very Well", [("Content-Type", environ.get("CONTENT_TYPE", "text/plain"))])
    return [body]


def record(tmp_path: Path, app: Any, *call: Any, limits: Limits | None = None, **environ: Any) -> Any:
    """What is recorded of one request."""
    Call(Recorder(tmp_path / "kept", limits=limits).wrap(app), *call, **environ).answer()
    (entry,) = entries(tmp_path / "kept")
    return entry


def test_a_request_and_its_response_are_kept(tmp_path: Path) -> None:
    entry = record(
        tmp_path, reads, "/a b", body=b"one\ntwo\nthree\n", check=False, REQUEST_METHOD="POST", SCRIPT_NAME="/app",
        QUERY_STRING="q=1&q=2", HTTP_HOST="site.example", HTTP_X_COLOR="blue", CONTENT_TYPE="text/plain",
    )  # fmt: skip
    request, response = entry["request"], entry["response"]
    assert (request["method"], request["url"]) == ("POST", "http://site.example/app/a%20b?q=1&q=2")
    assert {"name": "X-Color", "value": "blue"} in request["headers"]
    assert request["queryString"] == [{"name": "q", "value": "1"}, {"name": "q", "value": "2"}]
    assert request["postData"] == {"mimeType": "text/plain", "params": [], "text": "one\ntwo\nthree\n"}
    assert (response["status"], response["statusText"]) == (200, "Very Well")
    assert response["content"] == {"size": 14, "mimeType": "text/plain", "text": "one\ntwo\nthree\n"}
    assert entry["_mount"] == "/app"


def test_the_uri_is_kept_as_the_visitor_wrote_it(tmp_path: Path) -> None:
    entry = record(tmp_path, hello, HTTP_HOST="h", REQUEST_URI="/a%2Fb?token=x", SERVER_PROTOCOL="HTTP/1.0")
    assert (entry["request"]["url"], entry["request"]["httpVersion"]) == ("http://h/a%2Fb?token=masked", "HTTP/1.0")


def test_what_is_no_text_is_kept_as_base64(tmp_path: Path) -> None:
    entry = record(tmp_path, reads, body=b"\xff\n", REQUEST_METHOD="POST", check=False)
    told = entry["response"]["content"]
    assert (told["encoding"], base64.b64decode(told["text"])) == ("base64", b"\xff\n")


def test_of_long_bodies_the_beginning_is_kept(tmp_path: Path) -> None:
    entry = record(
        tmp_path, reads, body=b"x" * 100, REQUEST_METHOD="POST", limits=Limits(record_body=10), check=False
    )
    assert entry["response"]["content"] == {"size": 100, "mimeType": "text/plain", "text": "x" * 10, "_kept": 10}
    assert (entry["request"]["postData"]["_kept"], entry["request"]["bodySize"]) == (10, 100)


def test_a_body_that_is_not_read_is_not_kept(tmp_path: Path) -> None:
    entry = record(tmp_path, hello, body=b"unread", REQUEST_METHOD="POST", check=False)
    assert (entry["request"]["bodySize"], entry["request"]["postData"]["_kept"]) == (6, 0)


def streams(environ: Any, start_response: Any) -> Any:
    write = start_response("200 OK", [PLAIN])
    write(b"written, ")
    yield b"and "
    yield b"streamed"


def writes(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [PLAIN])(b"written, ")
    return io.BytesIO(b"and read")


@pytest.mark.parametrize(("app", "text"), [(streams, "written, and streamed"), (writes, "written, and read")])
def test_bodies_are_kept_in_whatever_way_they_come(tmp_path: Path, app: Any, text: str) -> None:
    assert record(tmp_path, app, check=False)["response"]["content"]["text"] == text


def fails(environ: Any, start_response: Any) -> Any:
    raise LookupError("gone")


def breaks_off(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [PLAIN])
    yield b"one"
    raise LookupError("gone")


@pytest.mark.parametrize(("app", "status", "text"), [(fails, 0, ""), (breaks_off, 200, "one")])
def test_a_failing_application_is_recorded_as_one(tmp_path: Path, app: Any, status: int, text: str) -> None:
    with pytest.raises(LookupError):
        record(tmp_path, app, check=False)
    if app is breaks_off:
        call = Call(Recorder(tmp_path / "kept").wrap(app), check=False)
        with pytest.raises(LookupError):
            list(call.blocks)
        call.close()
    entry = entries(tmp_path / "kept")[-1]
    assert entry["_broken"] == "LookupError('gone')"
    assert (entry["response"]["status"], entry["response"]["content"]["text"]) == (status, text)


class TestSecrets:
    def test_headers(self, tmp_path: Path) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            start_response("302 Found", [
                PLAIN, ("Set-Cookie", "sid=secret1; Path=/"), ("Location", "/x?token=secret2"), ("X-Token", "secret3"),
            ])  # fmt: skip
            return [b""]

        record(
            tmp_path, app, HTTP_COOKIE="a=secret4; b=secret5", HTTP_AUTHORIZATION="Bearer secret6",
            HTTP_REFERER="http://h/?api_key=secret7", HTTP_X_API_KEY="secret8", QUERY_STRING="password=secret9&user=me",
        )  # fmt: skip
        (path,) = (tmp_path / "kept").glob("*.har")
        text = path.read_text()
        assert "secret" not in text
        for shown in ("sid=masked; Path=/", "/x?token=masked", "a=masked; b=masked", "Bearer masked", "user=me"):
            assert shown in text

    @pytest.mark.parametrize(
        ("media_type", "body", "kept"),
        [
            ("application/x-www-form-urlencoded", "user=me&new%50assword=s3", "user=me&new%50assword=masked"),
            ("application/json", '{"a": {"token": "s\\"3", "pin": 17}, "b": "c"}',
             '{"a": {"token": "masked", "pin": "masked"}, "b": "c"}'),
            ("application/hal+json", '{"secret": "cut off in the mid', '{"secret": "masked"'),
            ("multipart/form-data; boundary=B",
             '--B\r\nContent-Disposition: form-data; name="passwd"\r\n\r\ns3\r\n3\r\n--B\r\n'
             'Content-Disposition: form-data; name="user"\r\n\r\nme\r\n--B--\r\n',
             '--B\r\nContent-Disposition: form-data; name="passwd"\r\n\r\nmasked\r\n--B\r\n'
             'Content-Disposition: form-data; name="user"\r\n\r\nme\r\n--B--\r\n'),
            ("text/plain", "password=shown", "password=shown"),
        ],
    )  # fmt: skip
    def test_bodies(self, tmp_path: Path, media_type: str, body: str, kept: str) -> None:
        entry = record(
            tmp_path, reads, body=body.encode(), REQUEST_METHOD="POST", CONTENT_TYPE=media_type, check=False
        )
        assert (entry["request"]["postData"]["text"], entry["response"]["content"]["text"]) == (kept, kept)

    def test_names_of_ones_own(self) -> None:
        secrets = Secrets(["X-Tenant"])
        assert [secrets.header(name, "v") for name in ("x-tenant", "X-Tenants")] == ["masked", "v"]
        assert repr(secrets) == "<Secrets ['x-tenant']>"

    def test_only_the_owner_can_read_them(self, tmp_path: Path) -> None:
        record(tmp_path, hello)
        directory = tmp_path / "kept"
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())]
        assert modes == [0o700, 0o600]


class TestHarm:
    def test_a_place_that_cannot_be_made_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="Not a directory; record into a directory of your own"):
            Recorder(tmp_path / "file" / "kept")

    def test_a_place_that_is_not_writable_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
        with pytest.raises(ConfigError, match=r"is not writable for user \d+: chown it, or name another"):
            Recorder(tmp_path / "kept")

    def test_a_full_disk_is_a_line_in_the_log(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        recorder = Recorder(tmp_path / "kept")
        (tmp_path / "kept").rmdir()
        assert Call(recorder.wrap(hello), "/x").answer().body == b"hello"
        assert "<Entry GET http://127.0.0.1/x '200 OK'> is not recorded: [Errno 2]" in caplog.text

    def test_no_more_than_so_many_are_kept(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        app = Recorder(tmp_path, limits=Limits(record_requests=2)).wrap(hello)
        for _ in range(4):
            Call(app).answer()
        assert len(entries(tmp_path)) == 2
        assert caplog.text.count("2 requests are recorded, no more will be: limit record_requests") == 1

    @pytest.mark.parametrize("worker", ["threads=4", "aio"])
    def test_workers_conform_as_before(self, serve: Serve, tmp_path: Path, worker: str) -> None:
        recorder = Recorder(tmp_path)
        server = serve(recorder.wrap(application), **WORKERS[worker])
        with Client(server.url) as client:
            run_conformance(client, cases_for("fastcgi"))
        assert len(entries(tmp_path)) > 50
        assert repr(recorder) == f"<Recorder {str(tmp_path)!r}>"

    def test_asgi_workers_conform_as_before(self, serve: Serve, tmp_path: Path) -> None:
        server = serve(Recorder(tmp_path).wrap(asgi_application))
        with Client(server.url) as client:
            run_conformance(client, cases_for("fastcgi", interface="asgi"))
        assert len(entries(tmp_path)) > 50


class TestASGI:
    def test_a_request_and_its_response_are_kept(self, tmp_path: Path) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            body = (await receive())["body"] + (await receive())["body"]
            await send({"type": "http.response.start", "status": 201, "headers": [(b"content-type", b"text/x")]})
            await send({"type": "http.response.body", "body": body})

        answer = asgi_calls.run(
            asgi_calls.Request(Recorder(tmp_path).wrap(app), "/p", method="PUT", body=[b"on", b"e"]).answer()
        )
        (entry,) = entries(tmp_path)
        assert (answer.status, answer.body) == (201, b"one")
        assert (entry["request"]["url"], entry["request"]["postData"]["text"]) == ("http://localhost/p", "one")
        assert (entry["response"]["status"], entry["response"]["content"]["text"]) == (201, "one")

    def test_a_failing_application_is_recorded_as_one(self, tmp_path: Path) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise LookupError("gone")

        with pytest.raises(LookupError):
            asgi_calls.run(asgi_calls.Request(Recorder(tmp_path).wrap(app)).answer())
        assert entries(tmp_path)[0]["_broken"] == "LookupError('gone')"

    def test_a_lifespan_passes_unrecorded(self, tmp_path: Path) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert (await receive())["type"] == "lifespan.startup"
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            await send({"type": "lifespan.shutdown.complete"})

        said = asgi_calls.run(asgi_calls.lifespan(Recorder(tmp_path).wrap(app)))
        assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert not entries(tmp_path)


class TestFcgiRun:
    @pytest.mark.parametrize("model", ["threads", "fork"])
    def test_records_by_an_option(self, tmp_path: Path, nothing_left_over: object, model: str) -> None:
        options = ["-b", "unix:s", "--record", "kept", "--limit-record-body", "3", "--worker-model", model]
        with Master(tmp_path, *options) as master:
            master.wait_log("Listening at")
            with Client(f"fastcgi://unix:{master.socket}") as client:
                Call(client, "/seen").answer()
            (entry,) = until(lambda: entries(tmp_path / "kept"))
        assert entry["request"]["url"].endswith("/seen")
        assert entry["response"]["content"]["_kept"] == 3

    def test_refuses_a_place_that_it_cannot_use(self, tmp_path: Path) -> None:
        with Master(tmp_path, "-b", "unix:s", "--record", "app.py") as master:
            assert master.process.wait(20) == 2
        assert "record into a directory of your own" in master.log()
