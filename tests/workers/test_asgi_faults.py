"""ASGI applications that break the rules, on every wire and worker: a clear end, one log line, nobody else harmed."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.events import EndOfResponse
from tests.serving import SPOKEN, WORKERS, Log, Serve, WebServer

pytestmark = pytest.mark.usefixtures("unmeasured_children")

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


def body(data: Any, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


# What an application sends or raises, what is told of it, and whether the visitor has a head by then.
FAULTS: dict[str, tuple[list[Any], str, bool]] = {
    "nothing": ([], "returned without sending http.response.start", False),
    "a body before its start": ([body(b"x")], "sent http.response.body before its start", False),
    "two starts": ([START, START], "sent http.response.start twice", False),
    "a body of text": ([START, body("text")], "a body of type str, not bytes: 'text'", False),
    "an exception": ([LookupError("a secret")], "LookupError: a secret", False),
    "an exception after the start": ([START, LookupError("a secret")], "LookupError: a secret", False),
    "an exception after the head": ([START, body(b"a", more=True), LookupError("a secret")], "LookupError", True),
    "no end": ([START, body(b"a", more=True)], "before its response was whole", True),
    "a start in the middle": ([START, body(b"a", more=True), START], "sent http.response.start twice", True),
}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Sends what the request names, and says hello where it names nothing."""
    assert scope["type"] == "http"
    name = dict(scope["headers"]).get(b"x-fault", b"").decode()
    for message in FAULTS[name][0] if name else [START, body(b"hello")]:
        if isinstance(message, BaseException):
            raise message
        await send(message)


@pytest.mark.parametrize("worker", ["aio", "fork"])
@pytest.mark.parametrize("wire", SPOKEN)
def test_a_fault_of_an_asgi_application_is_told_once(
    serve: Serve, log: Log, subtests: pytest.Subtests, wire: str, worker: str
) -> None:
    server = serve(application, protocol=wire, **WORKERS[worker])
    for name, (_, told, has_head) in FAULTS.items():
        with subtests.test(name):
            before = len(log.lines)
            with WebServer(server) as client:
                client.ask(HTTP_X_FAULT=name)
                assert (status(client) == "500 Internal Server Error") != has_head
            ((level, line),) = [said for said in log.wait(count=before + 1)[before:] if "lifespan" not in said[1]]
            assert (level, line.count(told)) == ("error", 1)
            with WebServer(server) as client:
                assert client.get().body == b"hello"


def status(client: WebServer) -> str:
    """The status of an answer, which ends or breaks off; "" if it does so before anybody has looked."""
    said = ""
    try:
        while not isinstance(event := client.hear(), EndOfResponse):
            said = getattr(event, "status", said)
    except EOFError:
        pass  # that is one way to end it
    return said
