"""An ASGI application at the end of an exchange: its messages in order, and what becomes of those that are not."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest
from asgiref.compatibility import guarantee_single_callable
from asgiref.testing import ApplicationCommunicator
from asgiref.wsgi import WsgiToAsgi

from gateway.apps import as_single_callable, interface_of
from gateway.environ import base_environ, build_environ
from gateway.errors import ConfigError, RequestAborted
from gateway.events import AUTHORIZER, FILTER, AbortRequest, EndOfRequest, FilterData, Request, RequestBody
from gateway.limits import Limits
from gateway.scope import build_scope
from tests.serving import PARAMS, Log, Response, Serve, WebServer, echo, hello, until

PLAIN = [(b"content-type", b"text/plain")]
BASE = base_environ(multithread=False, multiprocess=False, run_once=False)


def start(status: Any = 200, headers: Any = PLAIN) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: Any = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def http(app: Any) -> Any:
    """The application without lifespan."""

    @functools.wraps(app)
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await app(scope, receive, send)

    return application


def sends(*messages: Any) -> Any:
    """The application that sends these messages, and raises those that are exceptions."""

    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            if isinstance(message, BaseException):
                raise message
            await send(message)

    return application


def shows(tell: Callable[[Any], object]) -> Any:
    """The application that answers with the repr of what ``tell(scope)`` gives."""

    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(repr(tell(scope)).encode()))

    return application


@http
async def echoes(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send(body(message["body"], more=more))


def answer(
    serve: Serve, app: Any, data: bytes = b"", *, params: dict[str, str] | None = None, **options: Any
) -> Response:
    with WebServer(serve(app, **options)) as client:
        return client.get(data, **(params or {}))


# Which it is.


async def _asgi(scope: Any, receive: Any, send: Any) -> None: ...
def _wsgi(environ: Any, start_response: Any) -> Any: ...
def _returns_coroutine(scope: Any, receive: Any, send: Any) -> Any: ...
def _asgi_2(scope: Any) -> Any: ...
def _wsgi_with_option(environ: Any, start_response: Any, option: Any = None) -> Any: ...
def _wsgi_with_rest(environ: Any, *rest: Any) -> Any: ...
@functools.wraps(_asgi)
def _wrapped_asgi(*args: Any, **kwargs: Any) -> Any: ...
@functools.wraps(_wsgi)
def _wrapped_wsgi(*args: Any, **kwargs: Any) -> Any: ...


class _Asgi:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...
    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...
    def wsgi_method(self, environ: Any, start_response: Any) -> Any: ...


class _Asgi2:
    def __init__(self, scope: Any) -> None: ...
    async def __call__(self, receive: Any, send: Any) -> None: ...


class _WsgiClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...


class _WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


@pytest.mark.parametrize(
    "app",
    [_asgi, _Asgi(), _Asgi().method, _Asgi2, _asgi_2, _returns_coroutine, _wrapped_asgi, functools.partial(_asgi),
     WsgiToAsgi(hello), guarantee_single_callable(_Asgi2)],
)  # fmt: skip
def test_an_asgi_application_is_recognised(app: Any) -> None:
    assert interface_of(app) == "asgi"


@pytest.mark.parametrize(
    "app",
    [_wsgi, _WsgiClass, _WsgiObject(), _Asgi().wsgi_method, _wsgi_with_option, _wsgi_with_rest, _wrapped_wsgi,
     functools.partial(_wsgi_with_option, option=1), MagicMock(), print],
)  # fmt: skip
def test_a_wsgi_application_is_recognised(app: Any) -> None:
    assert interface_of(app) == "wsgi"


def test_a_stated_interface_wins() -> None:
    assert interface_of(_asgi, named="wsgi") == "wsgi"
    with pytest.raises(ConfigError, match="no interface is called 'cgi'; there are: wsgi, asgi, auto"):
        interface_of(_asgi, named="cgi")


def test_asgi_2_is_told_from_asgi_3() -> None:
    apps = _Asgi2, _asgi_2, _asgi, _Asgi()
    assert [as_single_callable(app) is app for app in apps] == [False, False, True, True]


def test_an_application_of_asgi_2_is_served(serve: Serve) -> None:
    class Application:
        def __init__(self, scope: Any) -> None:
            assert scope["type"] == "http"

        async def __call__(self, receive: Any, send: Any) -> None:
            await send(start())
            await send(body(b"two"))

    assert answer(serve, Application).body == b"two"


# The request.


def test_a_request_has_a_scope(serve: Serve) -> None:
    told = answer(serve, shows(lambda scope: (scope["path"], scope["query_string"], scope["state"])),
                  params={"PATH_INFO": "/a", "QUERY_STRING": "b=c"}).body  # fmt: skip
    assert told == repr(("/a", b"b=c", {})).encode()


@pytest.mark.parametrize("size", [0, 5, 70_000])
def test_a_body_arrives_and_comes_back(serve: Serve, size: int) -> None:
    assert answer(serve, echoes, b"x" * size).body == b"x" * size


def test_a_big_body_arrives(serve: Serve) -> None:
    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message["more_body"]
        await send(start())
        await send(body(str(size).encode()))

    assert answer(serve, application, b"x" * 3_000_000).body == b"3000000"


def test_a_whole_body_is_one_message(serve: Serve) -> None:
    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await send(start())
        await send(body(repr(message).encode()))

    assert answer(serve, application, b"abc").body == b"{'type': 'http.request', 'body': b'abc', 'more_body': False}"


def test_a_request_that_is_not_whole_yet_has_begun(serve: Serve) -> None:
    with WebServer(serve(echoes)) as client:
        client.begin(REQUEST_METHOD="POST")
        client.say(RequestBody(b"early", 1))
        until(lambda: client.hear())  # the head
        client.say(RequestBody(b", late", 1), EndOfRequest(1))
        assert client.response().body == b"early, late"


def test_after_its_end_a_body_is_followed_by_the_disconnect_of_the_end(serve: Serve) -> None:
    told: list[Any] = []

    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        waiting = asyncio.create_task(receive())
        await send(start())
        await send(body(b"done"))
        told.extend([await waiting, await receive()])

    answer(serve, application)
    until(lambda: told)
    assert told == [{"type": "http.disconnect"}] * 2


def test_a_body_longer_than_its_length_is_refused(serve: Serve, log: Log) -> None:
    with WebServer(serve(echoes)) as client:
        client.begin(REQUEST_METHOD="POST", CONTENT_LENGTH="3")
        client.say(RequestBody(b"12345", 1), EndOfRequest(1))
        assert client.response().status == "400 Bad Request"
    (line,) = [line for level, line in log.lines if level == "warning"]
    assert "the body has 5 bytes, CONTENT_LENGTH" in line


@http
async def _reads_first(scope: Any, receive: Any, send: Any) -> None:
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    await send(start())
    await send(body(message["type"].encode()))


@pytest.mark.parametrize(
    ("length", "limits", "parts", "status", "told"),
    [
        ("9", Limits(), [b"1", b"2"], "400 Bad Request", "the body has 2 bytes, CONTENT_LENGTH announced 9"),
        ("3", Limits(), [b"1", b"2345"], "400 Bad Request", "the body has 5 bytes, CONTENT_LENGTH announced 3"),
        ("", Limits(body_size=3), [b"12", b"34"], "413 Content Too Large", "longer than limit body_size=3"),
    ],
    ids=["short", "long", "large"],
)
def test_a_streamed_body_that_is_not_as_promised_is_refused(
    serve: Serve, log: Log, length: str, limits: Limits, parts: list[bytes], status: str, told: str
) -> None:
    with WebServer(serve(_reads_first, limits=limits)) as client:
        client.begin(REQUEST_METHOD="POST", CONTENT_LENGTH=length)
        for part in parts:
            until(client.is_quiet)
            client.say(RequestBody(part, 1))
        client.say(EndOfRequest(1))
        assert client.response().status == status
    assert [level for level, line in log.wait(count=3) if told in line] == ["warning"]


def test_an_authorizer_has_no_body(serve: Serve) -> None:
    with WebServer(serve(_reads_first)) as client:
        client.say(Request(PARAMS, 1, AUTHORIZER), EndOfRequest(1))
        assert client.response().body == b"http.request"


def test_a_filter_has_its_file(serve: Serve) -> None:
    with WebServer(serve(shows(lambda scope: scope["gateway.environ"]["gateway.filter_data"].read()))) as client:
        client.say(Request(PARAMS, 1, FILTER), FilterData(b"the file", 1))
        assert client.is_quiet()
        client.say(EndOfRequest(1))
        assert client.response().body == b"b'the file'"


@pytest.mark.parametrize("silent", [False, True], ids=["aborted", "silent"])
def test_a_filter_whose_file_does_not_arrive_is_given_up(serve: Serve, silent: bool) -> None:  # noqa: FBT001
    with WebServer(serve(_reads_first, limits=Limits(receive_timeout=0.05))) as client:
        client.say(Request(PARAMS, 1, FILTER), FilterData(b"the fi", 1))
        if not silent:
            client.say(AbortRequest(1))
        assert client.response().status == "400 Bad Request"


def test_a_websocket_is_refused_with_the_reason(serve: Serve, log: Log) -> None:
    params = {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade", "HTTP_SEC_WEBSOCKET_KEY": "x"}
    assert answer(serve, echoes, params=params).status == "501 Not Implemented"
    (line,) = [line for level, line in log.lines if level == "warning"]
    assert "a WebSocket cannot be carried over this wire; let the web server pass it on to an HTTP server" in line


# The response.


def test_a_response_has_status_headers_and_body(serve: Serve) -> None:
    response = answer(serve, sends(start(404, [(b"x-a", b"1"), (b"x-a", b"J\xf6")]), body(b"no")))
    assert response[:3] == ("404 Not Found", [("x-a", "1"), ("x-a", "J\xf6"), ("Content-Length", "2")], b"no")


def test_a_status_without_a_name_is_sent_as_unknown(serve: Serve) -> None:
    assert answer(serve, sends(start(299), body())).status == "299 Unknown"


def test_headers_may_come_from_any_iterable(serve: Serve) -> None:
    headers = ([name, value] for name, value in PLAIN)
    assert ("content-type", "text/plain") in answer(serve, sends(start(200, headers), body())).headers


def test_a_body_may_be_any_bytes(serve: Serve) -> None:
    parts = [body(bytearray(b"one, "), more=True), body(memoryview(b"two"))]
    assert answer(serve, sends(start(), *parts)).body == b"one, two"


def test_a_response_that_streams_has_no_length(serve: Serve) -> None:
    response = answer(serve, sends(start(), body(b"one, ", more=True), body(b"two")))
    assert (response.headers, response.body) == ([("content-type", "text/plain")], b"one, two")


def test_what_streams_is_sent_at_once(serve: Serve) -> None:
    release = asyncio.Event()
    loops: list[Any] = []

    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        loops.append(asyncio.get_running_loop())
        await send(start())
        await send(body(more=True))
        await send(body(b"tick", more=True))
        await release.wait()
        await send(body(b"tock"))

    with WebServer(serve(application)) as client:
        client.ask()
        assert [type(client.hear()).__name__, type(client.hear()).__name__] == ["Response", "ResponseBody"]
        loops[0].call_soon_threadsafe(release.set)
        assert client.response().body == b"tock"


def test_head_has_the_length_of_get_and_no_body(serve: Serve) -> None:
    response = answer(serve, sends(start(), body(b"four")), params={"REQUEST_METHOD": "HEAD"})
    assert response.body == b""


def test_messages_of_extensions_are_ignored(serve: Serve) -> None:
    hint, push, debug, trailers = (
        {"type": f"http.response.{name}"} for name in ("early_hint", "push", "debug", "trailers")
    )
    response = answer(serve, sends(hint, start() | {"trailers": True}, push, debug, body(b"whole"), trailers))
    assert response.body == b"whole" and not response.errors


def test_an_application_may_go_on_after_its_response(serve: Serve) -> None:
    done: list[int] = []

    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"done"))
        await asyncio.sleep(0.05)
        done.append(1)

    with WebServer(serve(application)) as client:
        assert client.get().body == client.get().body == b"done"
        assert not done
        until(lambda: len(done) == 2)


# What is out of order.

WRONG = {
    "nothing": ([], "returned without sending http.response.start"),
    "no body": ([start()], "before its response was whole"),
    "a body first": ([body(b"x")], "sent http.response.body before its start"),
    "two starts": ([start(), start()], "sent http.response.start twice"),
    "a status of text": ([start("200")], "status is '200', not a number from 200 to 999"),
    "a status of a provisional response": ([start(101)], "status is 101, not a number from 200 to 999"),
    "headers of text": ([start(200, [("a", "b")])], "these headers are not pairs of byte strings"),
    "headers that are no pairs": ([start(200, [b"abc"])], "these headers are not pairs of byte strings"),
    "a header that smuggles": ([start(200, [(b"a", b"b\r\nc: d")]), body(b"x")], "CR, LF or NUL in the response head"),
    "a header with a bad name": ([start(200, [(b"a b", b"")])], "is not a token"),
    "a body of text": ([start(), body("text")], "a body of type str, not bytes: 'text'"),
    "an unknown message": ([{"type": "http.response.pathsend", "path": "/"}], "which no extension in its scope allows"),
    "an exception": ([LookupError("a secret")], "LookupError: a secret"),
    "an exception after the start": ([start(), LookupError("a secret")], "LookupError: a secret"),
    "a cancellation of its own": ([asyncio.CancelledError()], "CancelledError"),
    "sys.exit()": ([SystemExit(3)], "SystemExit: 3"),
}  # fmt: skip


@pytest.mark.parametrize(("messages", "told"), WRONG.values(), ids=WRONG)
def test_a_fault_before_the_head_is_answered_with_500(serve: Serve, log: Log, messages: Any, told: str) -> None:
    with WebServer(serve(sends(*messages))) as client:
        response = client.get()
        assert (response.status, response.body) == ("500 Internal Server Error", b"500 Internal Server Error\n")
        assert told in response.errors.decode()
        (line,) = [line for level, line in log.lines if level == "error"]
        assert told in line
        assert client.get().status == "500 Internal Server Error"  # nothing else is harmed


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "before its response was whole"),
        ([LookupError("a secret")], "LookupError: a secret"),
        ([start()], "sent http.response.start twice"),
        ([body("text")], "a body of type str"),
    ],
    ids=["never ends", "an exception", "two starts", "a body of text"],
)
def test_a_fault_after_the_head_cuts_the_response(serve: Serve, log: Log, messages: Any, told: str) -> None:
    with WebServer(serve(sends(start(), body(b"beginning", more=True), *messages))) as client:
        client.ask()
        with pytest.raises(EOFError):
            client.response()
    assert [told in line for level, line in log.lines if level == "error"] == [True]


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([body(b"more")], "sent http.response.body after the end of its response"),
        ([start()], "sent http.response.start after the end of its response"),
        ([LookupError("too late")], "LookupError: too late"),
    ],
    ids=["a body", "a start", "an exception"],
)
def test_a_fault_after_the_end_is_only_logged(serve: Serve, log: Log, messages: Any, told: str) -> None:
    with WebServer(serve(sends(start(), body(b"whole"), *messages))) as client:
        assert [client.get().body for _ in range(2)] == [b"whole"] * 2
    assert [told in line for level, line in log.wait(count=3) if level == "error"] == [True] * 2


def test_an_application_that_cannot_be_awaited_is_told_what_to_do(serve: Serve, log: Log) -> None:
    assert answer(serve, lambda scope, receive, send: None).status == "500 Internal Server Error"
    assert any("NoneType, which cannot be awaited (ASGI); if it is a WSGI application" in line for _, line in log.lines)


def test_a_body_beyond_its_length_is_cut_to_it(serve: Serve, log: Log) -> None:
    response = answer(serve, sends(start(200, [(b"content-length", b"3")]), body(b"12345")))
    assert response.body == b"123"
    assert any("2 bytes beyond its Content-Length" in line for _, line in log.lines)


# A visitor who leaves.


def test_an_abort_is_a_disconnect_and_sending_fails(serve: Serve, log: Log) -> None:
    told: list[Any] = []

    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(start())
        await send(body(b"beginning", more=True))
        told.append(await receive())
        try:
            await send(body(b"end"))
        except OSError as error:
            told.append(type(error))
            raise

    with WebServer(serve(application)) as client:
        client.ask()
        client.hear()
        client.say(AbortRequest(1))
        until(lambda: len(told) == 2)
        assert told == [{"type": "http.disconnect"}, RequestAborted]
        with pytest.raises(EOFError):
            client.response()
    assert [line for level, line in log.lines if "lifespan" not in line] == ["GET : the web server gave the request up"]


@pytest.mark.parametrize("error", [None, KeyError("gone")])
def test_an_application_that_ends_after_the_abort_is_told_of_in_one_line(serve: Serve, log: Log, error: Any) -> None:
    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if error:
            raise error

    with WebServer(serve(application)) as client:
        client.ask()
        client.say(AbortRequest(1))
        client.response()
    (line,) = [line for level, line in log.lines if "lifespan" not in line]
    assert line.startswith("GET : the web server gave the request up") and (not error or "KeyError('gone')" in line)


def test_who_vanishes_in_the_middle_of_a_body_is_a_disconnect(serve: Serve, log: Log) -> None:
    told: list[Any] = []

    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            told.append(message["body"])
        told.append(message["type"])

    with WebServer(serve(application)) as client:
        client.begin(REQUEST_METHOD="POST", CONTENT_LENGTH="100")
        client.say(RequestBody(b"some", 1))
        until(lambda: b"some" in told)
    until(lambda: told[-1] == "http.disconnect")
    assert [level for level, line in log.wait(count=2) if "lifespan" not in line] == ["info"]


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_who_hangs_up_while_it_waits_is_a_disconnect(serve: Serve, tcp: bool) -> None:  # noqa: FBT001
    told: list[Any] = []

    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        told.append((await receive())["type"])
        told.append((await receive())["type"])

    with WebServer(serve(application, tcp=tcp)) as client:
        client.ask()
        until(lambda: told)
    until(lambda: told == ["http.request", "http.disconnect"])


# Contexts.


def test_each_request_has_a_context_of_its_own(serve: Serve) -> None:
    seen: contextvars.ContextVar[int] = contextvars.ContextVar("seen", default=0)

    @http
    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.set(seen.get() + 1)
        while (await receive())["more_body"]:
            pass
        await send(start())
        await send(body(str(seen.get()).encode()))

    with WebServer(serve(application)) as client:
        assert [client.get(data).body for data in (b"", b"x" * 200_000, b"")] == [b"1"] * 3


@pytest.mark.parametrize("wsgi", [hello, echo])
def test_asgirefs_adapter_runs_a_wsgi_application_here(serve: Serve, wsgi: Any) -> None:
    assert answer(serve, http(WsgiToAsgi(wsgi)), b"body", process=True).status == "200 OK"


def test_asgirefs_communicator_gets_with_our_scope_what_our_visitor_gets(serve: Serve) -> None:
    application = shows(lambda scope: (scope["method"], scope["path"], sorted(scope["headers"])))
    scope = build_scope(build_environ(PARAMS | {"HTTP_X_A": "b"}, BASE))

    async def communicate() -> bytes:
        communicator = ApplicationCommunicator(application, scope)
        await communicator.send_input({"type": "http.request"})
        assert (await communicator.receive_output())["status"] == 200
        sent: bytes = (await communicator.receive_output())["body"]
        await communicator.wait()
        return sent

    assert asyncio.run(communicate()) == answer(serve, application, params={"HTTP_X_A": "b"}).body
