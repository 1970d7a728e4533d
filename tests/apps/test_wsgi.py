"""The one ``start_response``: PEP 3333 to the letter, and what becomes of applications that break it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
import webtest.lint

from gateway.apps.wsgi import FileWrapper, WSGIRunner
from gateway.errors import RequestAborted
from gateway.events import (
    APPLICATION,
    AUTHORIZER,
    FILTER,
    AbortRequest,
    EndOfRequest,
    FilterData,
    Request,
    RequestBody,
    ResponseBody,
)
from gateway.exchange import Exchange
from gateway.limits import Limits
from gateway.protocols import cgi
from tests.front_end import FrontEnd, Log

PLAIN = [("Content-Type", "text/plain")]
OOPS = "500 Internal Server Error"


def run(app: Any, front: FrontEnd | None = None, **options: Any) -> FrontEnd:
    """The front end after ``app`` answered its request."""
    front = front or FrontEnd()
    WSGIRunner(app, log=front.log, **options)(front.exchange)
    front.exchange.close()
    return front


def hello(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    return [b"hello"]


class Result:
    """An iterable of blocks, exceptions among them are raised; it counts how often it is closed."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = iter(blocks)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        block = next(self.blocks)
        if isinstance(block, BaseException):
            raise block
        return block

    def close(self) -> None:
        self.closed += 1


def giving(result: Any, status: Any = "200 OK", headers: Any = PLAIN) -> Any:
    """An application that states a head and returns ``result``."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return result

    return app


# -- results


def test_a_list_of_one_block_has_a_content_length() -> None:
    front = run(hello)
    assert front.head == ("200 OK", [*PLAIN, ("Content-Length", "5")])
    assert (front.body, front.ended, front.log.lines) == (b"hello", True, [])


@pytest.mark.parametrize(
    "result", [[b"he", b"", b"llo"], (b"hello",), iter([b"he", b"llo"]), {b"hello": 1}, FileWrapper]
)
def test_any_iterable_of_bytes_is_a_result(result: Any) -> None:
    result = FileWrapper(io.BytesIO(b"hello"), 2) if result is FileWrapper else result
    front = run(giving(result))
    assert (front.status, front.body, front.ended) == ("200 OK", b"hello", True)


@pytest.mark.parametrize("result", [[], (), [b""], iter([]), iter([b"", b""])])
def test_an_empty_result_is_a_whole_response(result: Any) -> None:
    front = run(giving(result))
    assert (front.status, front.body, front.ended) == ("200 OK", b"", True)


def test_the_first_block_of_a_generator_arrives_before_the_second_is_made() -> None:
    front = FrontEnd()
    seen = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        for block in (b"one", b"two"):
            seen.append(front.body)
            yield block

    assert run(app, front).body == b"onetwo"
    assert seen == [b"", b"one"]


def test_a_generator_may_state_its_head_late() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("404 Not Found", PLAIN)
        yield b""
        yield b"late"

    front = run(app)
    assert (front.status, front.body) == ("404 Not Found", b"late")


def test_a_generator_that_gives_nothing_may_state_its_head_last() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("204 No Content", [])

    assert run(app).status == "204 No Content"


def test_blocks_may_be_of_a_kind_of_bytes() -> None:
    class Block(bytes):
        pass

    assert run(giving([Block(b"he"), Block(b"llo")])).body == b"hello"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "the application returned NoneType, not an iterable of bytes (PEP 3333): let it return a list"),
        ("text", "the application returned str, not an iterable of bytes (PEP 3333): let it return a list"),
        (b"bytes", "the application returned bytes, not an iterable of bytes (PEP 3333): let it return a list"),
        (["text"], "the application gave a block of type str, not bytes (PEP 3333): 'text'"),
        ([""], "the application gave a block of type str, not bytes (PEP 3333): ''"),
        (iter(["text"]), "the application gave a block of type str, not bytes (PEP 3333): 'text'"),
        (iter([""]), "the application gave a block of type str, not bytes (PEP 3333): ''"),
        (iter([None]), "the application gave a block of type NoneType, not bytes (PEP 3333): None"),
        ([bytearray(b"x")], "the application gave a block of type bytearray, not bytes (PEP 3333)"),
        (5, "TypeError: 'int' object is not iterable"),
    ],
)
def test_a_result_that_is_none_is_a_500_and_named(result: Any, message: str) -> None:
    front = run(giving(result))
    assert (front.status, front.body) == (OOPS, f"{OOPS}\n".encode())
    assert message in front.errors
    (line,) = front.log.lines
    assert message in line


def test_a_block_that_is_none_in_the_middle_breaks_the_response_visibly() -> None:
    front = run(giving(iter([b"half", "text"])))
    assert (front.status, front.body, front.ended) == ("200 OK", b"half", False)


# -- start_response


def test_start_response_is_called_twice_only_with_exc_info() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        start_response("404 Not Found", PLAIN)
        return [b"never"]

    front = run(app)
    assert front.status == OOPS
    assert "start_response() was called twice without exc_info (PEP 3333)" in front.errors


def test_exc_info_without_an_exception_is_none() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"half"
        start_response(OOPS, [("Content-Length", "0")], sys.exc_info())

    front = run(app)
    assert (front.status, front.ended) == ("200 OK", False)
    assert "start_response() was called twice without exc_info (PEP 3333)" in front.errors


def test_with_exc_info_the_head_is_restated() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "9")])
        try:
            raise ValueError("oops")
        except ValueError:
            start_response("503 Service Unavailable", PLAIN, sys.exc_info())
        return [b"sorry"]

    front = run(app)
    assert front.head == ("503 Service Unavailable", [*PLAIN, ("Content-Length", "5")])
    assert front.body == b"sorry"


def test_with_exc_info_and_no_head_before_the_head_is_stated() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("503 Service Unavailable", PLAIN, (ValueError, ValueError("oops"), None))
        return [b"sorry"]

    assert run(app).status == "503 Service Unavailable"


def test_with_exc_info_after_the_head_was_sent_the_exception_is_raised_again() -> None:
    raised = ValueError("oops")

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"half"
        try:
            raise raised
        except ValueError:
            with pytest.raises(ValueError, match="oops") as caught:
                start_response(OOPS, PLAIN, sys.exc_info())
            assert caught.value is raised
            raise

    front = run(app)
    assert (front.status, front.body, front.ended) == ("200 OK", b"half", False)
    assert "ValueError: oops" in front.errors


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (200, PLAIN, "status is a int, not a native string (PEP 3333)"),
        (b"200 OK", PLAIN, "status is a bytes, not a native string (PEP 3333)"),
        (["200 OK"], PLAIN, "status is a list, not a native string (PEP 3333)"),
        ("", PLAIN, "status '' is not of the form '200 OK' (PEP 3333)"),
        ("OK", PLAIN, "status 'OK' is not of the form '200 OK' (PEP 3333)"),
        ("20", PLAIN, "status '20' is not of the form '200 OK' (PEP 3333)"),
        ("2000 OK", PLAIN, "status '2000 OK' is not of the form '200 OK' (PEP 3333)"),
        ("200 OK", (("X", "1"),), "response headers are a tuple, not a list (PEP 3333)"),
        ("200 OK", None, "response headers are a NoneType, not a list (PEP 3333)"),
        ("200 OK", {"X": "1"}, "response headers are a dict, not a list (PEP 3333)"),
        ("200 OK", [("X", 1)], "these headers are not pairs of native strings (PEP 3333): [('X', 1)]"),
        ("200 OK", [("X", b"1")], "these headers are not pairs of native strings (PEP 3333): [('X', b'1')]"),
        ("200 OK", [("X Y", "1")], "header name 'X Y' is not a token (RFC 9110 §5.1)"),
        ("200 OK", [("Content-Length", "x")], "Content-Length 'x' is not a number of bytes"),
        ("200 OK", [("X", "a\nSet-Cookie: b")], "CR, LF or NUL in the response head: 'X: a\\nSet-Cookie: b'"),
        ("200 OK\r\nX: 1", PLAIN, "CR, LF or NUL in the response head: 'Status: 200 OK\\r\\nX: 1'"),
        ("200 €", PLAIN, "the response head holds '€', which is not latin-1"),
    ],
)
def test_a_head_that_cannot_be_sent_is_a_500_and_named(status: Any, headers: Any, message: str) -> None:
    front = run(giving([b"never"], status, headers))
    assert (front.status, front.body, front.ended) == (OOPS, f"{OOPS}\n".encode(), True)
    assert message in front.errors


@pytest.mark.parametrize("status", ["200", "299 Strange", "404 Nicht gefunden \xfc"])
def test_a_status_needs_no_known_reason(status: str) -> None:
    for _ in range(2):
        assert run(giving([b""], status)).status == status


def test_no_more_than_some_statuses_are_remembered() -> None:
    for number in range(300):
        assert run(giving([b""], f"200 Reason {number}")).status == f"200 Reason {number}"


def test_a_result_without_a_head_is_a_500() -> None:
    front = run(lambda environ, start_response: [])
    assert front.status == OOPS
    assert "the application returned without calling start_response() (PEP 3333)" in front.errors


@pytest.mark.parametrize("result", [[b"body"], iter([b"body"])])
def test_a_body_before_the_head_is_a_500(result: Any) -> None:
    front = run(lambda environ, start_response: result)
    assert front.status == OOPS
    assert "the application sent a body before it called start_response() (PEP 3333)" in front.errors


# -- write()


def test_write_sends_before_it_returns() -> None:
    front = FrontEnd()

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        write(b"one ")
        assert front.body == b"one "
        write(b"")
        write(b"two ")
        return [b"three"]

    assert run(app, front).body == b"one two three"
    assert front.head == ("200 OK", PLAIN)


def test_write_takes_bytes_only() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)("text")
        return []

    assert "the application gave a block of type str, not bytes (PEP 3333): 'text'" in run(app).errors


# -- close()


@pytest.mark.parametrize(
    "blocks",
    [
        [],
        [b"body"],
        [b"body", b"beyond its length"],
        [ValueError("oops")],
        [b"body", ValueError("oops")],
        [b"body", "text"],
        [RequestAborted("gone")],
        [b"body", RequestAborted("gone")],
    ],
    ids=repr,
)
def test_the_result_is_closed_exactly_once(blocks: list[Any]) -> None:
    result = Result(*blocks)
    run(giving(result, headers=[("Content-Length", "4")]))
    assert result.closed == 1


def test_the_result_is_closed_when_no_head_was_stated() -> None:
    result = Result(b"body")
    run(lambda environ, start_response: result)
    assert result.closed == 1


def test_the_result_is_closed_when_the_visitor_is_gone() -> None:
    front = FrontEnd()
    result = Result(b"one", b"two")

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", PLAIN)
        front.say(AbortRequest())
        return result

    run(app, front)
    assert result.closed == 1
    assert list(result.blocks) == [b"two"]
    assert front.log.lines == ["info: GET : the web server gave the request up"]


def test_the_result_is_closed_when_the_worker_is_told_to_exit() -> None:
    result = Result(SystemExit(1))
    with pytest.raises(SystemExit):
        run(giving(result))
    assert result.closed == 1


def test_the_result_is_closed_after_the_response_has_ended() -> None:
    front = FrontEnd()
    ended = []

    class Closing(Result):
        def close(self) -> None:
            ended.append(front.ended)

    run(giving(Closing(b"body")), front)
    assert ended == [True]


def test_a_close_that_fails_is_logged_and_harms_nobody() -> None:
    class Failing(Result):
        def close(self) -> None:
            raise ValueError("oops in close")

    front = run(giving(Failing(b"body")))
    assert (front.status, front.body, front.ended, front.errors) == ("200 OK", b"body", True, "")
    (line,) = front.log.lines
    assert "ValueError: oops in close" in line


def test_a_generator_is_closed_when_it_was_not_exhausted() -> None:
    closed = []

    def app(environ: Any, start_response: Any) -> Iterator[Any]:
        start_response("200 OK", PLAIN)
        try:
            yield "text"
        finally:
            closed.append(True)

    run(app)
    assert closed == [True]


# -- failures


def failing(error: BaseException, *blocks: bytes) -> Any:
    """An application that raises after some blocks."""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        for block in blocks:
            write(block)
        raise error

    return app


def test_an_application_that_fails_before_the_head_gives_a_500() -> None:
    front = run(failing(ValueError("oops")))
    assert (front.status, front.body, front.ended) == (OOPS, f"{OOPS}\n".encode(), True)


def test_an_application_that_fails_after_the_head_is_visibly_broken() -> None:
    front = run(failing(ValueError("oops"), b"half"))
    assert (front.status, front.body, front.ended) == ("200 OK", b"half", False)


@pytest.mark.parametrize("blocks", [[], [b"half"]])
def test_a_traceback_goes_to_both_logs_and_never_to_the_visitor(blocks: list[bytes]) -> None:
    front = run(failing(ValueError("oops"), *blocks))
    assert front.errors.startswith("GET /app/x: Traceback (most recent call last):")
    assert "ValueError: oops" in front.errors
    (line,) = front.log.lines
    assert line.startswith("error: the application failed on GET /app/x\nTraceback (most recent call last):")
    assert b"oops" not in front.body


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_what_ends_the_process_gives_a_500_and_comes_through(error: BaseException) -> None:
    front = FrontEnd()
    with pytest.raises(type(error)):
        run(failing(error), front)
    assert front.status == OOPS


def test_a_response_that_is_too_long_is_cut() -> None:
    front = run(giving([b"body and more"], headers=[("Content-Length", "4")]))
    assert (front.body, front.ended) == (b"body", True)


def test_a_response_that_is_too_short_is_visibly_broken() -> None:
    front = run(giving([b"bo"], headers=[("Content-Length", "4")]))
    assert (front.body, front.ended) == (b"bo", False)


def test_a_web_server_that_takes_no_answer_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def push(front: FrontEnd) -> None:
        raise RequestAborted("the web server closed the connection")

    monkeypatch.setattr(FrontEnd, "push", push)
    front = run(hello)
    assert front.log.lines == ["info: GET : the web server closed the connection"]


def test_a_refusal_that_nobody_takes_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def push(front: FrontEnd) -> None:
        raise RequestAborted("the web server closed the connection")

    monkeypatch.setattr(FrontEnd, "push", push)
    front = run(hello, FrontEnd(params={"CONTENT_LENGTH": "x"}))
    assert front.log.lines == ["warning: refused with 400 Bad Request: CONTENT_LENGTH is 'x', not a number of bytes"]


# -- the environ


def environ_of(front: FrontEnd | None = None, **options: Any) -> dict[str, Any]:
    """The environ that an application is called with."""
    seen: list[dict[str, Any]] = []

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        seen.append(environ)
        return hello(environ, start_response)

    run(app, front, **options)
    return seen[0]


def test_the_application_is_told_how_it_is_run() -> None:
    environ = environ_of(multithread=True, multiprocess=False, run_once=False)
    assert [environ[f"wsgi.{name}"] for name in ("multithread", "multiprocess", "run_once")] == [True, False, False]
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.input_terminated"] is True


def test_every_request_has_an_environ_of_its_own() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        environ["seen"] = environ.get("seen", 0) + 1
        return [str(environ["seen"]).encode()]

    front, again = FrontEnd(), FrontEnd()
    runner = WSGIRunner(app, log=Log())
    runner(front.exchange)
    runner(again.exchange)
    assert front.body == again.body == b"1"


def test_a_body_can_be_read() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return [environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).upper()]

    assert run(app, FrontEnd(RequestBody(b"bo"), RequestBody(b"dy"), params={"CONTENT_LENGTH": "4"})).body == b"BODY"


def test_the_length_of_a_whole_chunked_body_is_told() -> None:
    front = FrontEnd(RequestBody(b"body"), params={"HTTP_TRANSFER_ENCODING": "chunked"})
    assert environ_of(front)["CONTENT_LENGTH"] == "4"


@pytest.mark.parametrize("body", [[], [RequestBody(b"x" * 20)]], ids=["none", "streamed"])
def test_a_length_that_is_not_known_is_not_told(body: list[Any]) -> None:
    front = FrontEnd(*body, later=[EndOfRequest()] if body else [], limits=Limits(body_buffer=10))
    assert "CONTENT_LENGTH" not in environ_of(front)


def test_a_streamed_body_can_be_read_while_the_response_is_sent() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield from iter(lambda: environ["wsgi.input"].read(10), b"")

    later = [RequestBody(b"more"), EndOfRequest()]
    front = run(app, FrontEnd(RequestBody(b"x" * 20), later=later, limits=Limits(body_buffer=10)))
    assert front.body == b"x" * 20 + b"more"


READ_FAULTS: list[tuple[list[Any], dict[str, str], str, str]] = [
    ([AbortRequest()], {}, "400 Bad Request", "the web server gave the request up before its body was whole"),
    (
        [EndOfRequest()],
        {"CONTENT_LENGTH": "30"},
        "400 Bad Request",
        "the body has 20 bytes, CONTENT_LENGTH announced 30",
    ),
    (
        [RequestBody(b"y")],
        {"CONTENT_LENGTH": "20"},
        "400 Bad Request",
        "the body has 21 bytes, CONTENT_LENGTH announced",
    ),
    ([RequestBody(b"y" * 99)], {}, "413 Content Too Large", "the request body is longer than limit body_size=100"),
]


@pytest.mark.parametrize(("later", "params", "status", "message"), READ_FAULTS)
def test_a_streamed_body_that_breaks_off_has_a_status(
    later: list[Any], params: dict[str, str], status: str, message: str
) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return [environ["wsgi.input"].read()]

    limits = Limits(body_buffer=10, body_size=100)
    front = run(app, FrontEnd(RequestBody(b"x" * 20), later=later, params=params, limits=limits))
    assert front.status == status
    assert front.log.lines == [f"info: GET : {message}"] or message in front.log.lines[0]


REFUSED: list[tuple[FrontEnd, str, str]] = [
    (FrontEnd(params={"CONTENT_LENGTH": "x"}), "400 Bad Request", "CONTENT_LENGTH is 'x', not a number of bytes"),
    (FrontEnd(params={"CONTENT_LENGTH": "9" * 5000}), "400 Bad Request", "CONTENT_LENGTH is '9999"),
    (FrontEnd(params={"CONTENT_LENGTH": "5"}), "400 Bad Request", "the body has 0 bytes, CONTENT_LENGTH says 5"),
    (
        FrontEnd(RequestBody(b"body"), params={"CONTENT_LENGTH": "3"}),
        "400 Bad Request",
        "the body has 4 bytes, CONTENT_LENGTH says 3",
    ),
    (
        FrontEnd(RequestBody(b"x" * 20), later=[EndOfRequest()], params={"CONTENT_LENGTH": "5"}),
        "400 Bad Request",
        "the body has 20 bytes, CONTENT_LENGTH says 5",
    ),
    (
        FrontEnd(RequestBody(b"body"), limits=Limits(body_size=3)),
        "413 Content Too Large",
        "the request body is longer than limit body_size=3",
    ),
    (FrontEnd(params={"SCRIPT_NAME": "/other"}), "404 Not Found", "the path '/other/x' is outside the mount '/app'"),
]


@pytest.mark.parametrize(("front", "status", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_a_request_at_fault_never_reaches_the_application(front: FrontEnd, status: str, message: str) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise AssertionError("it was called")

    run(app, front, mount="/app")
    assert (front.status, front.ended) == (status, True)
    (line,) = front.log.lines
    assert line.startswith(f"warning: refused with {status}: {message}")


def test_an_authorizer_has_a_length_but_no_body() -> None:
    environ = environ_of(FrontEnd(params={"CONTENT_LENGTH": "5"}, role=AUTHORIZER))
    assert environ["gateway.role"] == AUTHORIZER
    assert environ["wsgi.input"].read() == b""


@pytest.mark.parametrize("data", [b"", b"file"])
def test_a_filter_has_a_file_to_filter(data: bytes) -> None:
    front = FrontEnd(RequestBody(b"body"), *([FilterData(data)] if data else []), role=FILTER)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        assert environ["gateway.role"] == FILTER
        return [environ["wsgi.input"].read(), environ["gateway.filter_data"].read()]

    assert run(app, front).body == b"body" + data


def test_a_responder_is_told_of_no_role() -> None:
    assert "gateway.role" not in environ_of()


def test_head_has_the_length_of_get_and_no_body() -> None:
    front = run(giving([b"body"], headers=[("Content-Length", "4")]), FrontEnd(params={"REQUEST_METHOD": "HEAD"}))
    assert front.head == ("200 OK", [("Content-Length", "4")])
    assert (front.body, front.ended) == (b"", True)


def test_error_output_goes_to_the_web_server() -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        print("oops", file=environ["wsgi.errors"])
        return hello(environ, start_response)

    assert run(app).errors == "oops\n"


def test_error_output_goes_to_stderr_where_the_wire_has_no_way(capsys: pytest.CaptureFixture[str]) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        print("oops", file=environ["wsgi.errors"])
        raise ValueError("oops too")

    log, connection = Log(), cgi.Connection(APPLICATION, params={})
    exchange = Exchange(Request({}), connection, peer=FrontEnd(), limits=Limits(), log=log)
    exchange.receive(EndOfRequest())
    WSGIRunner(app, log=log)(exchange)
    assert capsys.readouterr().err == "oops\n"
    assert [line for line in log.lines if "oops too" in line] == log.lines[-1:]


# -- wsgi.file_wrapper


def test_a_file_is_sent_in_blocks_and_closed() -> None:
    file = io.BytesIO(b"x" * 100_000)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", PLAIN)
        return environ["wsgi.file_wrapper"](file)

    front = run(app)
    assert front.body == b"x" * 100_000
    assert file.closed


def test_the_size_of_a_block_can_be_chosen() -> None:
    blocks = list(FileWrapper(io.BytesIO(b"hello"), 2))
    assert blocks == [b"he", b"ll", b"o"]


def test_what_cannot_be_closed_need_not_be() -> None:
    class Readable:
        def __init__(self) -> None:
            self.blocks = [b"hello", b""]

        def read(self, size: int) -> bytes:
            return self.blocks.pop(0)

    wrapper = FileWrapper(Readable())  # type: ignore[arg-type]
    assert not hasattr(wrapper, "close")
    assert run(giving(wrapper)).body == b"hello"


# -- advice and hooks


def test_a_repair_is_advised_once() -> None:
    log = Log()
    runner = WSGIRunner(hello, log=log)
    for _ in range(3):
        runner(FrontEnd(params={"REDIRECT_HTTP_AUTHORIZATION": "Basic dTpw"}).exchange)
    assert log.lines == [
        "warning: environ repaired (authorization): the credentials came as Authorization or "
        "REDIRECT_HTTP_AUTHORIZATION. Apache: CGIPassAuth On"
    ]


def test_what_nobody_can_mend_is_not_advised() -> None:
    assert run(hello, FrontEnd(params={"HTTP_PROXY": "http://evil.invalid/"})).log.lines == []


@pytest.mark.parametrize("app", [hello, failing(ValueError("oops"), b"half")])
def test_a_hook_is_called_after_each_run(app: Any) -> None:
    seen: list[tuple[str, str, int]] = []

    def after(environ: Any, exchange: Exchange) -> None:
        seen.append((environ["PATH_INFO"], exchange.status, exchange.sent))

    front = run(app, after=after)
    assert seen == [("/x", "200 OK", len(front.body))]


def test_a_hook_that_fails_is_logged_and_harms_nobody() -> None:
    def after(environ: Any, exchange: Exchange) -> None:
        raise ValueError("oops in the hook")

    front = run(hello, after=after)
    assert (front.status, front.body, front.ended) == ("200 OK", b"hello", True)
    (line,) = front.log.lines
    assert "ValueError: oops in the hook" in line


# -- the judges


def echo(environ: Any, start_response: Any) -> Iterable[bytes]:
    """An application that uses all that PEP 3333 offers."""
    print("hello", file=environ["wsgi.errors"])
    environ["wsgi.errors"].writelines(["and", "more\n"])
    environ["wsgi.errors"].flush()
    body = environ["wsgi.input"].readline() + environ["wsgi.input"].read(2) + b"".join(environ["wsgi.input"])
    start_response("200 OK", [*PLAIN, ("Content-Length", str(len(body)))])
    return [body]


@pytest.mark.parametrize("judge", [validator, webtest.lint.middleware])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("buffer", [10, 1000])
def test_the_judges_of_wsgi_find_nothing(judge: Any, method: str, buffer: int) -> None:
    body = [RequestBody(b"one\ntwo"), RequestBody(b" three\nfour")] if method == "POST" else []
    params = {"REQUEST_METHOD": method, "CONTENT_LENGTH": "18" if body else "", "HTTP_HOST": "example.test"}
    limits = Limits(body_buffer=buffer)
    later = [EndOfRequest()] if body and buffer == 10 else []
    front = run(judge(echo), FrontEnd(*body, params=params, later=later, limits=limits))
    assert (front.status, front.ended) == ("200 OK", True)
    assert front.body == (b"one\ntwo three\nfour" if body else b"")
    assert front.log.lines == []


def test_the_body_of_a_response_is_what_was_heard() -> None:
    front = run(giving(iter([b"one", b"two"])))
    assert [event.data for event in front.heard if isinstance(event, ResponseBody)] == [b"one", b"two"]
