"""flup's clients, as WSGI applications in front of our servers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.compat.flup_client import FCGIApp, SCGIApp
from tests.serving import PLAIN, Serve
from tests.wsgi_calls import ask

TOLD = ("PATH_INFO", "HTTP_X_HEADER", "HTTP_PROXY", "SECRET", "MINE")
SAID = {"HTTP_X_HEADER": "told", "HTTP_PROXY": "evil", "SECRET": "ours"}
APPS: list[Any] = [FCGIApp, SCGIApp]


def tell(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Elsewhere", [PLAIN])
    told = " ".join(f"{name}={environ.get(name)}" for name in TOLD)
    return [told.encode(), b" ", environ["wsgi.input"].read()]


@pytest.fixture(params=APPS, ids=lambda app: app.__name__)
def app(request: pytest.FixtureRequest) -> Any:
    return request.param


def place_of(serve: Serve, app: Any, **options: Any) -> str:
    return serve(tell, protocol="fastcgi" if app is FCGIApp else "scgi", **options).address


def test_it_passes_on_what_flup_passes_on(serve: Serve, app: Any) -> None:
    answer = ask(app(connect=place_of(serve, app)), "/x", body=b"a body", REQUEST_METHOD="POST", **SAID)
    assert (answer.status, answer.headers["Content-Type"]) == ("404 Elsewhere", "text/plain")
    assert answer.body == b"PATH_INFO=/x HTTP_X_HEADER=told HTTP_PROXY=None SECRET=None MINE=None a body"


def test_unfiltered_it_passes_on_all_that_is_in_capitals(serve: Serve, app: Any) -> None:
    answer = ask(app(connect=place_of(serve, app), filterEnviron=False), "/x", **SAID)
    assert answer.body == b"PATH_INFO=/x HTTP_X_HEADER=told HTTP_PROXY=None SECRET=ours MINE=None "


def test_a_subclass_may_say_what_is_passed_on(serve: Serve, app: Any) -> None:
    class Own(app):  # type: ignore[misc]
        _environRenames = {"SECRET": "MINE"}

    answer = ask(Own(connect=place_of(serve, app)), "/x", **SAID)
    assert answer.body == b"PATH_INFO=/x HTTP_X_HEADER=told HTTP_PROXY=None SECRET=None MINE=ours "


@pytest.mark.parametrize("named", ["connect", "host and port"])
def test_a_server_may_be_a_host_and_a_port(serve: Serve, app: Any, named: str) -> None:
    host, port = place_of(serve, app, tcp=True).split(":")
    place = {"connect": (host, int(port))} if named == "connect" else {"host": host, "port": int(port)}
    assert ask(app(**place), "/x").status == "404 Elsewhere"


def test_an_ipv6_address_is_one(app: Any) -> None:
    assert "[::1]:9" in repr(app(host="::1", port=9)._client)


@pytest.mark.parametrize("place", [{}, {"host": "localhost"}])
def test_without_a_place_it_is_refused(app: Any, place: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="say where the server is"):
        app(**place)


def test_a_command_is_not_started_as_with_flup() -> None:
    with pytest.raises(NotImplementedError, match="start it yourself"):
        FCGIApp(command="/srv/app.fcgi")
