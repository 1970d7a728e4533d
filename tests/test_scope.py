"""The scope of an ASGI application: what becomes of a request's params (ASGI HTTP specification 2.5)."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.environ import base_environ, build_environ
from gateway.errors import RemoteProtocolError
from gateway.scope import build_scope, environ_from_scope, wants_websocket
from tests.corpus_files import Recording, recordings

BASE = base_environ(multithread=False, multiprocess=False, run_once=False)
USUAL = {
    "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "example.org", "SERVER_PORT": "80", "REQUEST_URI": "/",
}  # fmt: skip


def scope_of(*, repeated: list[tuple[str, str]] | None = None, mount: str | None = None, **params: str) -> Any:
    """The scope of a usual request with these params."""
    pairs = [*USUAL.items(), *params.items(), *repeated] if repeated else ()
    return build_scope(build_environ(USUAL | params, BASE, mount, repeated=pairs), repeated=pairs)


def test_a_scope_is_of_http() -> None:
    scope = scope_of()
    assert (scope["type"], scope["asgi"]) == ("http", {"version": "3.0", "spec_version": "2.5"})


def test_no_two_scopes_share_what_an_application_may_change() -> None:
    one, two = scope_of(), scope_of()
    assert one["asgi"] is not two["asgi"] and one["headers"] is not two["headers"]


def test_the_environ_comes_along_for_what_only_cgi_knows() -> None:
    assert scope_of(REMOTE_USER="kim")["gateway.environ"]["REMOTE_USER"] == "kim"


@pytest.mark.parametrize(
    ("protocol", "version"),
    [("HTTP/1.0", "1.0"), ("HTTP/1.1", "1.1"), ("HTTP/2.0", "2"), ("HTTP/3.0", "3"), ("INCLUDED", "1.1")],
)
def test_the_version_is_that_of_the_visitor(protocol: str, version: str) -> None:
    assert scope_of(SERVER_PROTOCOL=protocol)["http_version"] == version


def test_the_method_is_in_upper_case() -> None:
    assert scope_of(REQUEST_METHOD="post")["method"] == "POST"


@pytest.mark.parametrize(("https", "scheme"), [("on", "https"), ("", "http")])
def test_the_scheme_is_that_of_the_visitor(https: str, scheme: str) -> None:
    assert scope_of(HTTPS=https)["scheme"] == scheme


# The path.


def test_the_path_includes_the_root_path() -> None:
    scope = scope_of(SCRIPT_NAME="/app", PATH_INFO="/page", REQUEST_URI="/app/page")
    assert (scope["root_path"], scope["path"]) == ("/app", "/app/page")


def test_the_mount_itself_has_a_path() -> None:
    scope = scope_of(SCRIPT_NAME="/app", PATH_INFO="", REQUEST_URI="/app")
    assert (scope["root_path"], scope["path"]) == ("/app", "/app")


def test_a_stated_mount_is_the_root_path() -> None:
    scope = scope_of(PATH_INFO="/app/page", REQUEST_URI="/app/page", mount="/app")
    assert (scope["root_path"], scope["path"]) == ("/app", "/app/page")


def test_the_path_is_text() -> None:
    scope = scope_of(SCRIPT_NAME="/caf\xc3\xa9", PATH_INFO="/\xe2\x82\xac", REQUEST_URI="/caf%C3%A9/%E2%82%AC")
    assert (scope["root_path"], scope["path"]) == ("/café", "/café/€")


def test_a_path_that_is_not_utf_8_shows_what_it_can() -> None:
    scope = scope_of(PATH_INFO="/caf\xe9", REQUEST_URI="/caf%E9")
    assert (scope["path"], scope["raw_path"]) == ("/caf\ufffd", b"/caf%E9")


@pytest.mark.parametrize(
    ("uri", "raw"),
    [("/a%2Fb?c=/d", b"/a%2Fb"), ("http://example.org/a?b", b"/a"), ("http://example.org", b"/"), ("/\xe9", b"/\xe9")],
)
def test_the_raw_path_is_as_the_visitor_sent_it(uri: str, raw: bytes) -> None:
    assert scope_of(REQUEST_URI=uri)["raw_path"] == raw


def test_a_front_end_that_does_not_tell_the_raw_path_leaves_it_out() -> None:
    assert "raw_path" not in scope_of(REQUEST_URI="")


def test_the_query_string_is_as_the_visitor_sent_it() -> None:
    assert scope_of(QUERY_STRING="a=%2F&b=\xc3\xa9")["query_string"] == b"a=%2F&b=\xc3\xa9"


# Who talks to whom.


def test_the_client_is_the_visitor() -> None:
    assert scope_of(REMOTE_ADDR="192.0.2.7", REMOTE_PORT="4567")["client"] == ("192.0.2.7", 4567)


@pytest.mark.parametrize("port", ["", "none", "123456"])
def test_a_client_without_a_port_has_port_0(port: str) -> None:
    assert scope_of(REMOTE_ADDR="192.0.2.7", REMOTE_PORT=port)["client"] == ("192.0.2.7", 0)


def test_an_unknown_client_is_left_out() -> None:
    assert "client" not in scope_of()


def test_the_server_is_named_as_the_visitor_named_it() -> None:
    assert scope_of(SERVER_NAME="shop.example", SERVER_PORT="8443")["server"] == ("shop.example", 8443)


# Headers.


def test_headers_are_bytes_with_names_in_lower_case() -> None:
    headers = scope_of(HTTP_X_TWO_WORDS="J\xc3\xb6", CONTENT_TYPE="text/csv", CONTENT_LENGTH="0")["headers"]
    assert sorted(headers) == [
        (b"content-length", b"0"), (b"content-type", b"text/csv"), (b"x-two-words", b"J\xc3\xb6"),
    ]  # fmt: skip


def test_repeated_headers_stay_apart_and_in_order() -> None:
    headers = scope_of(repeated=[("HTTP_X_A", "2"), ("HTTP_X_B", "b"), ("HTTP_X_A", "1")])["headers"]
    assert headers == [(b"x-a", b"2"), (b"x-b", b"b"), (b"x-a", b"1")]


def test_repeated_cookies_are_joined() -> None:
    headers = scope_of(repeated=[("HTTP_COOKIE", "a=1"), ("HTTP_COOKIE", "b=2")])["headers"]
    assert headers == [(b"cookie", b"a=1; b=2")]


@pytest.mark.parametrize("repeated", [None, [("HTTP_X", "1"), ("HTTP_X", "2")]], ids=["plain", "repeated"])
def test_a_proxy_header_does_not_arrive(repeated: Any) -> None:
    assert b"proxy" not in dict(scope_of(repeated=repeated, HTTP_PROXY="evil:80")["headers"])


@pytest.mark.parametrize("repeated", [None, [("HTTP_X", "1"), ("HTTP_X", "2")]], ids=["plain", "repeated"])
def test_credentials_are_found_where_apache_puts_them(repeated: Any) -> None:
    headers = scope_of(repeated=repeated, REDIRECT_HTTP_AUTHORIZATION="Basic eDp5")["headers"]
    assert dict(headers)[b"authorization"] == b"Basic eDp5"


def test_a_length_that_came_twice_is_one_header() -> None:
    headers = scope_of(repeated=[("CONTENT_LENGTH", "3"), ("CONTENT_LENGTH", "3")])["headers"]
    assert headers == [(b"content-length", b"3")]


def test_a_transfer_encoding_stays_where_it_is_all_that_tells_of_a_body() -> None:
    assert scope_of(HTTP_TRANSFER_ENCODING="chunked")["headers"] == [(b"transfer-encoding", b"chunked")]
    assert scope_of(HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="3")["headers"] == [(b"content-length", b"3")]


# What real front ends send.


@pytest.mark.parametrize("recording", recordings("cgi", "fastcgi", "scgi", "uwsgi"), ids=repr)
def test_a_recording_makes_a_scope_that_agrees_with_its_environ(recording: Recording) -> None:
    params = dict(recording.params)
    repeated = recording.params if len(params) < len(recording.params) else ()
    environ = build_environ(params, BASE, recording.mount, repeated=repeated)
    scope = build_scope(environ, repeated=repeated)
    assert scope["path"] == recording.mount + recording.path_info
    assert scope["raw_path"] == recording.uri.partition("?")[0].encode()
    variables = [name for name in environ if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")]
    assert len({*dict(scope["headers"]), b"transfer-encoding"}) == len({*variables, "HTTP_TRANSFER_ENCODING"})


# What cannot be served.


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"HTTP_UPGRADE": "websocket", "HTTP_SEC_WEBSOCKET_KEY": "x"}, True),
        ({"HTTP_UPGRADE": "WebSocket", "HTTP_SEC_WEBSOCKET_KEY": "x"}, True),
        ({"HTTP_UPGRADE": "h2c"}, False),
        ({"HTTP_UPGRADE": "websocket"}, False),
        ({}, False),
    ],
)
def test_a_websocket_is_recognised(headers: dict[str, str], wanted: bool) -> None:  # noqa: FBT001
    assert wants_websocket(build_environ(USUAL | headers, BASE)) is wanted


# And back.


def environ_of(**scope: Any) -> Any:
    """The environ of the scope of a usual request, with these differences."""
    usual = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/", "root_path": "",
        "query_string": b"", "headers": [(b"host", b"example.org")], "server": ("example.org", 80), "client": None,
    }  # fmt: skip
    return environ_from_scope(usual | scope)


@pytest.mark.parametrize("recording", recordings("cgi", "fastcgi", "scgi", "uwsgi"), ids=str)
def test_a_request_survives_the_way_there_and_back(recording: Recording) -> None:
    environ = build_environ(dict(recording.params), BASE, repeated=recording.params)
    again = environ_from_scope(build_scope(environ, repeated=recording.params))
    names = {
        "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PORT", "wsgi.url_scheme",
        "CONTENT_LENGTH", "CONTENT_TYPE", *(name for name in environ if name.startswith("HTTP_")),
    } - {"HTTP_TRANSFER_ENCODING"}  # fmt: skip
    assert {name: again.get(name) for name in names} == {name: environ.get(name) for name in names}


@pytest.mark.parametrize(
    ("root", "path", "script", "info"),
    [
        ("", "/a", "", "/a"),
        ("/app", "/app/a", "/app", "/a"),
        ("/app/", "/app/a", "/app", "/a"),
        ("/app", "/app", "/app", ""),
        ("/app", "/application", "/app", "/application"),
        ("/app", "/a", "/app", "/a"),
        ("/app", "/app/app/a", "/app", "/app/a"),
        ("", "/caf\xe9 \u20ac", "", "/caf\xc3\xa9 \xe2\x82\xac"),
        ("", "/100%25", "", "/100%25"),
    ],
)
def test_the_path_is_divided_at_the_root_path(root: str, path: str, script: str, info: str) -> None:
    environ = environ_of(root_path=root, path=path)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, info)


def test_a_path_that_is_no_utf_8_is_taken_from_the_uri() -> None:
    environ = environ_of(root_path="/app", path="/app/caf\ufffd", raw_path=b"/app/caf%E9")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "/caf\xe9")


def test_the_uri_is_what_the_visitor_sent() -> None:
    assert environ_of(raw_path=b"/a%2Fb", path="/a/b", query_string=b"x=1")["REQUEST_URI"] == "/a%2Fb?x=1"


@pytest.mark.parametrize(("version", "protocol"), [("1.0", "HTTP/1.0"), ("2", "HTTP/2.0"), ("3", "HTTP/3.0")])
def test_the_protocol_is_that_of_the_visitor(version: str, protocol: str) -> None:
    assert environ_of(http_version=version)["SERVER_PROTOCOL"] == protocol


def test_a_header_with_an_underscore_passes_for_none_with_a_dash() -> None:
    headers = [(b"x_user", b"admin"), (b"x-user", b"kim"), (b"proxy", b"evil"), (b"content_length", b"9")]
    environ = environ_of(headers=headers)
    assert {name for name in environ if name.startswith(("HTTP_", "CONTENT_"))} == {"HTTP_X_USER"}
    assert environ["HTTP_X_USER"] == "kim"


def test_headers_that_come_twice_are_joined() -> None:
    environ = environ_of(headers=[(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-a", b"1"), (b"x-a", b"2")])
    assert (environ["HTTP_COOKIE"], environ["HTTP_X_A"]) == ("a=1; b=2", "1, 2")


def test_two_lengths_are_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="two different CONTENT_LENGTH"):
        environ_of(headers=[(b"content-length", b"1"), (b"content-length", b"2")])


def test_a_unix_socket_has_neither_port_nor_address() -> None:
    environ = environ_of(server=("/run/app.sock", None), client=None)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("example.org", "80")
    assert "REMOTE_ADDR" not in environ


def test_what_only_cgi_knows_is_kept() -> None:
    known = {"REMOTE_USER": "kim", "SSL_PROTOCOL": "TLSv1.3", "DOCUMENT_ROOT": "/srv", "OF_OURS": "x"}
    assert environ_of(**{"gateway.environ": known}).items() >= known.items()


def test_what_a_middleware_changed_is_what_it_is_now() -> None:
    known = {
        "HTTP_X": "old", "PATH_INFO": "/old", "HTTPS": "on", "REQUEST_SCHEME": "https", "REMOTE_ADDR": "192.0.2.1",
        "wsgi.url_scheme": "https", "gateway.repairs": ("proxy",),
    }  # fmt: skip
    environ = environ_of(**{"gateway.environ": known, "scheme": "http", "client": ("::1", 9)})
    told = [environ.get(name) for name in known]
    assert told == [None, "/", None, "http", "::1", "http", ()]
