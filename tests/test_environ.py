"""A request's params as an environ: every recording of the corpus, every repair, and the way back."""

from __future__ import annotations

import io
from typing import Any
from wsgiref.validate import check_environ  # type: ignore[attr-defined]

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.environ import (
    ADVICE,
    base_environ,
    build_environ,
    build_params,
    check_mount,
    decode_path,
    encode_path,
    needs_advice,
    redirected,
)
from gateway.errors import RemoteProtocolError
from tests.corpus_files import Recording, recordings

BASE = base_environ(multithread=True, multiprocess=False, run_once=False)
SERVER = {"SERVER_NAME": "example.test", "SERVER_PORT": "80"}

RECORDINGS = recordings("cgi", "fastcgi", "scgi", "uwsgi")  # AJP has attributes and headers, but no params


def environ_of(recording: Recording, *, mount: str | None = None) -> dict[str, Any]:
    params = dict(recording.params)
    repeated = recording.params if len(params) < len(recording.params) else ()
    return build_environ(params, BASE, mount, repeated=repeated)


def environ_from(mount: str | None = None, **params: str) -> dict[str, Any]:
    return build_environ(SERVER | params, BASE, mount)


def paths(environ: dict[str, Any]) -> tuple[str, str]:
    return environ["SCRIPT_NAME"], environ["PATH_INFO"]


# -- what real front ends sent


@pytest.mark.parametrize("recording", RECORDINGS, ids=repr)
def test_with_a_mount_every_front_end_gives_the_right_paths(recording: Recording) -> None:
    assert paths(environ_of(recording, mount=recording.mount)) == (recording.mount, recording.path_info)


GUESSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "apache-cgi": ("", ()),
    "apache-cgi-htaccess": ("", ("path-rewritten",)),
    "apache-fastcgi-mod_fcgid": ("", ()),
    "apache-fastcgi-proxypass": ("/app", ("path-info",)),
    "apache-fastcgi-proxypass-repaired": ("", ()),
    "apache-fastcgi-proxypass-reuse": ("/app", ("path-info",)),
    "apache-fastcgi-sethandler-generic-setenvif": ("", ()),
    "apache-fastcgi-unix-sethandler": ("", ()),
    "apache-scgi": ("/app", ("path-info",)),
    "haproxy-fastcgi": ("", ()),
    "lighttpd-fastcgi": ("", ()),
    "lighttpd-scgi": ("", ()),
    "lighttpd-uwsgi": ("", ()),
    "nginx-fastcgi-minimal": ("/fcgi-min/app", ("path-info",)),
    "nginx-fastcgi-rootmount": ("/root-mount/app", ()),
    "nginx-fastcgi-split": ("", ()),
    "nginx-scgi": ("", ("path-doubled",)),
    "nginx-scgi-minimal": ("/scgi-min/app", ("path-missing",)),
    "nginx-uwsgi-minimal": ("/uwsgi-min/app", ()),
    "nginx-uwsgi-split": ("", ()),
}
"""The best guess without a mount: how much of it stays in PATH_INFO, and what is repaired."""


@pytest.mark.parametrize("recording", RECORDINGS, ids=repr)
def test_without_a_mount_the_paths_are_the_best_guess(recording: Recording) -> None:
    in_path_info, _ = GUESSES[recording.configuration]
    expected = recording.mount.removesuffix(in_path_info), in_path_info + recording.path_info
    assert paths(environ_of(recording)) == expected


@pytest.mark.parametrize("recording", RECORDINGS, ids=repr)
def test_the_environ_names_what_was_repaired(recording: Recording) -> None:
    in_path_info, expected = GUESSES[recording.configuration]
    names = [name for name, _ in recording.params]
    if any(name.startswith("HTTP_") and names.count(name) > 1 for name in names):
        expected += ("duplicates",)
    if "HTTP_PROXY" in names:
        expected += ("proxy",)
    if recording.configuration.startswith("apache") and recording.path_info.endswith("/c/d") and not in_path_info:
        expected += ("path-escaped",)
    assert sorted(environ_of(recording)["gateway.repairs"]) == sorted(expected)


@pytest.mark.parametrize("recording", RECORDINGS, ids=repr)
def test_a_recorded_request_makes_a_legal_environ(recording: Recording) -> None:
    for mount in (None, recording.mount):
        check_environ(environ_of(recording, mount=mount) | {"wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()})


@pytest.mark.parametrize("recording", RECORDINGS, ids=repr)
def test_a_recorded_request_keeps_its_scheme_method_and_query(recording: Recording) -> None:
    environ = environ_of(recording)
    assert environ["wsgi.url_scheme"] == ("https" if recording.variant == "get-https" else "http")
    assert environ["REQUEST_METHOD"] == recording.method
    assert environ["QUERY_STRING"] == recording.uri.partition("?")[2]


@pytest.mark.parametrize("recording", [one for one in RECORDINGS if one.variant != "get-bare"], ids=repr)
def test_a_recorded_request_keeps_its_headers(recording: Recording) -> None:
    environ = environ_of(recording)
    assert environ["HTTP_X_DUP"] == "one, two"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["HTTP_X_LATIN1"] == "caf\xe9"
    assert environ["HTTP_USER_AGENT"] == "gateway-probe/1"
    assert "HTTP_PROXY" not in environ


SILENT = {"apache-fastcgi-proxypass", "apache-fastcgi-proxypass-reuse", "apache-scgi"}
"""Configurations without CGIPassAuth."""


@pytest.mark.parametrize("recording", [one for one in RECORDINGS if one.variant != "get-bare"], ids=repr)
def test_credentials_arrive_wherever_they_are_sent(recording: Recording) -> None:
    expected = None if recording.configuration in SILENT else "Basic dTpw"
    assert environ_of(recording).get("HTTP_AUTHORIZATION") == expected


@pytest.mark.parametrize("recording", RECORDINGS, ids=repr)
def test_a_body_is_described_as_it_was_sent(recording: Recording) -> None:
    environ = environ_of(recording)
    sent = dict(recording.params).get("CONTENT_LENGTH")
    assert environ.get("CONTENT_LENGTH") == (str(len(recording.stdin)) if sent else None)
    form = "application/x-www-form-urlencoded" if recording.method == "POST" else None
    assert environ.get("CONTENT_TYPE") == form


def test_every_configuration_of_the_corpus_has_its_guess() -> None:
    assert {recording.configuration for recording in RECORDINGS} == set(GUESSES)


# -- what is always there


def test_what_a_front_end_leaves_out_has_a_default() -> None:
    environ = build_environ({}, BASE)
    assert environ == BASE | {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.0",
        "gateway.repairs": ("server-name",),
    }


def test_the_params_and_the_base_are_left_as_they_were() -> None:
    params = {"HTTP_PROXY": "evil", "CONTENT_LENGTH": "", "SCRIPT_NAME": "/"}
    base = dict(BASE)
    build_environ(params, base)
    assert params == {"HTTP_PROXY": "evil", "CONTENT_LENGTH": "", "SCRIPT_NAME": "/"}
    assert base == BASE


@pytest.mark.parametrize("name", sorted(BASE))
def test_no_param_can_stand_for_what_is_ours(name: str) -> None:
    assert build_environ(SERVER | {name: "forged"}, BASE)[name] == BASE[name]


@pytest.mark.parametrize(
    ("params", "scheme"),
    [
        ({}, "http"),
        ({"HTTPS": "on"}, "https"),
        ({"HTTPS": "ON"}, "https"),
        ({"HTTPS": "1"}, "https"),
        ({"HTTPS": "off"}, "http"),
        ({"HTTPS": ""}, "http"),
        ({"REQUEST_SCHEME": "https"}, "https"),
        ({"REQUEST_SCHEME": "http"}, "http"),
        ({"HTTPS": "", "REQUEST_SCHEME": "https"}, "https"),
        ({"HTTPS": "off", "REQUEST_SCHEME": "https"}, "http"),
    ],
)
def test_the_scheme_is_recognised(params: dict[str, str], scheme: str) -> None:
    assert environ_from(**params)["wsgi.url_scheme"] == scheme


@pytest.mark.parametrize(
    ("params", "name", "port"),
    [
        ({"HTTP_HOST": "example.test"}, "example.test", "80"),
        ({"HTTP_HOST": "example.test", "HTTPS": "on"}, "example.test", "443"),
        ({"HTTP_HOST": "example.test:8080"}, "example.test", "8080"),
        ({"HTTP_HOST": "[::1]"}, "[::1]", "80"),
        ({"HTTP_HOST": "[::1]:8080"}, "[::1]", "8080"),
        ({"HTTP_HOST": "example.test:²"}, "example.test:²", "80"),
        ({"SERVER_NAME": "", "SERVER_PORT": "", "HTTP_HOST": "example.test:81"}, "example.test", "81"),
        ({"SERVER_NAME": "known", "HTTP_HOST": "example.test:81"}, "known", "81"),
        ({"SERVER_PORT": "82", "HTTP_HOST": "example.test:81"}, "example.test", "82"),
        ({}, "localhost", "80"),
    ],
)
def test_a_server_without_name_or_port_is_named_after_the_host(params: dict[str, str], name: str, port: str) -> None:
    environ = build_environ(params, BASE)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert environ["gateway.repairs"] == ("server-name",)


def test_a_server_with_name_and_port_is_not_renamed() -> None:
    environ = environ_from(HTTP_HOST="other:81")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["gateway.repairs"]) == ("example.test", "80", ())


@pytest.mark.parametrize("name", ["HTTP_AUTHORIZATION", "Authorization", "REDIRECT_HTTP_AUTHORIZATION"])
def test_credentials_are_found_under_three_names(name: str) -> None:
    environ = environ_from(**{name: "Basic dTpw"})
    assert environ["HTTP_AUTHORIZATION"] == "Basic dTpw"
    assert environ["gateway.repairs"] == (() if name == "HTTP_AUTHORIZATION" else ("authorization",))


def test_empty_credentials_are_none() -> None:
    assert "HTTP_AUTHORIZATION" not in environ_from(Authorization="", REDIRECT_HTTP_AUTHORIZATION="")


def test_a_proxy_header_is_dropped() -> None:
    environ = environ_from(HTTP_PROXY="http://evil.invalid/")
    assert "HTTP_PROXY" not in environ
    assert environ["gateway.repairs"] == ("proxy",)


# -- lengths and duplicates


@pytest.mark.parametrize("length", ["0", "5", "0005", "9" * 18])
def test_a_content_length_that_is_a_number_is_kept(length: str) -> None:
    assert environ_from(CONTENT_LENGTH=length)["CONTENT_LENGTH"] == length


@pytest.mark.parametrize("name", ["CONTENT_LENGTH", "CONTENT_TYPE"])
def test_an_empty_description_of_the_body_is_none(name: str) -> None:
    assert name not in environ_from(**{name: ""})


@pytest.mark.parametrize("length", ["five", "-1", "+1", "1.0", "0x1", " 1", "1, 1", "1_0", "²", "9" * 19, "9" * 5000])
def test_a_content_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^CONTENT_LENGTH is '.{0,40}', not a number of bytes$") as caught:
        environ_from(CONTENT_LENGTH=length)
    assert caught.value.status_hint == "400 Bad Request"


def test_a_length_that_caddy_does_not_know_is_none() -> None:
    assert "CONTENT_LENGTH" not in environ_from(CONTENT_LENGTH="-1", SERVER_SOFTWARE="Caddy/v2.6.2")


def joined(*pairs: tuple[str, str]) -> dict[str, Any]:
    repeated = [*SERVER.items(), *pairs]
    return build_environ(dict(repeated), BASE, repeated=repeated)


def test_a_repeated_header_is_joined_with_commas() -> None:
    environ = joined(("HTTP_X", "one"), ("HTTP_Y", "1"), ("HTTP_X", ""), ("HTTP_X", "two"), ("HTTP_Y", "2"))
    assert (environ["HTTP_X"], environ["HTTP_Y"]) == ("one, , two", "1, 2")
    assert environ["gateway.repairs"] == ("duplicates",)


def test_a_repeated_cookie_is_joined_with_semicolons() -> None:
    assert joined(("HTTP_COOKIE", "a=1"), ("HTTP_COOKIE", "b=2"))["HTTP_COOKIE"] == "a=1; b=2"


def test_of_any_other_param_the_last_one_wins() -> None:
    environ = joined(("SCRIPT_NAME", "/wrong"), ("SCRIPT_NAME", "/right"), ("PATH_INFO", "/x"), ("PATH_INFO", ""))
    assert paths(environ) == ("/right", "")
    assert environ["gateway.repairs"] == ()


@pytest.mark.parametrize("lengths", [("5", "5"), ("", "5"), ("5", ""), ("5", "", "5")])
def test_the_same_content_length_twice_is_one(lengths: tuple[str, ...]) -> None:
    assert joined(*(("CONTENT_LENGTH", length) for length in lengths))["CONTENT_LENGTH"] == "5"


@pytest.mark.parametrize("lengths", [("5", "6"), ("5", "", "6"), ("5", "05"), ("5", "x")])
def test_two_different_content_lengths_are_refused(lengths: tuple[str, ...]) -> None:
    with pytest.raises(RemoteProtocolError, match="two different CONTENT_LENGTH: '5' and") as caught:
        joined(*(("CONTENT_LENGTH", length) for length in lengths))
    assert caught.value.status_hint == "400 Bad Request"


# -- paths


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/", "/"),
        ("/app/x?a=/../", "/app/x"),
        ("/a%20b/%C3%A9", "/a b/\xc3\xa9"),
        ("/a%2Fb", "/a/b"),
        ("/a%2fb", "/a/b"),
        ("/a%252Fb", "/a%2Fb"),
        ("/a%3Fb?c", "/a?b"),
        ("/caf\xe9", "/caf\xe9"),
        ("//a//b/", "/a/b/"),
        ("/a/./b/.", "/a/b/"),
        ("/a/../b/..", "/"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/a/%2e%2e/%2E/b", "/b"),
        ("/a/..%2Fb", "/b"),
        ("/a/...", "/a/..."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/", "/a/"),
        ("http://example.test/app/x?y", "/app/x"),
        ("http://example.test", "/"),
        ("*", "/"),
        ("", "/"),
        ("/100%", "/100%"),
        ("/%4", "/%4"),
        ("/%zz/%+1/% 1/%1 /%_1/%\xb2\xb2", "/%zz/%+1/% 1/%1 /%_1/%\xb2\xb2"),
    ],
)
def test_a_uri_has_a_path(uri: str, path: str) -> None:
    assert decode_path(uri) == path


@given(st.lists(st.text(st.characters(max_codepoint=255, exclude_characters="/"), min_size=1)))
def test_a_path_survives_the_round_trip(segments: list[str]) -> None:
    path = "/" + "/".join(segment for segment in segments if segment not in (".", ".."))
    assert decode_path(encode_path(path)) == path


@given(st.text(st.characters(max_codepoint=255)))
def test_a_decoded_path_never_climbs(uri: str) -> None:
    path = decode_path(uri)
    assert path[0] == "/"
    assert not {"..", "."} & set(path.split("/"))
    assert "//" not in path


def test_what_a_uri_reserves_is_encoded() -> None:
    assert encode_path('/a?b#c[d]%"<>\\^`{|}\x00\x7f') == "/a%3Fb%23c%5Bd%5D%25%22%3C%3E%5C%5E%60%7B%7C%7D%00%7F"


MOUNTED: list[tuple[str, dict[str, str], tuple[str, str]]] = [
    ("/app", {"SCRIPT_NAME": "/app", "PATH_INFO": "/x"}, ("/app", "/x")),
    ("/app", {"SCRIPT_NAME": "/app", "PATH_INFO": ""}, ("/app", "")),
    ("/app", {"SCRIPT_NAME": "/app"}, ("/app", "")),
    ("/app", {"SCRIPT_NAME": "/app/x"}, ("/app", "/x")),
    ("/app", {"PATH_INFO": "/app/x"}, ("/app", "/x")),
    ("/app", {"SCRIPT_NAME": "/", "PATH_INFO": "app/x"}, ("/app", "/x")),
    ("/app", {"REQUEST_URI": "/app/a%20b?q"}, ("/app", "/a b")),
    ("/app", {"REQUEST_URI": "http://example.test/app/x"}, ("/app", "/x")),
    ("/app", {"SCRIPT_NAME": "/app", "PATH_INFO": "/app/x", "REQUEST_URI": "/app/x"}, ("/app", "/x")),
    ("/app", {"SCRIPT_NAME": "/app", "PATH_INFO": "/app/x", "REQUEST_URI": "/app/app/x"}, ("/app", "/app/x")),
    ("/app", {"SCRIPT_NAME": "/app/x", "PATH_INFO": "/app/x", "REQUEST_URI": "/app/x"}, ("/app", "/x")),
    ("/app", {"SCRIPT_NAME": "/index.cgi", "PATH_INFO": "/app/x", "REQUEST_URI": "/app/x"}, ("/app", "/x")),
    ("/app", {"SCRIPT_NAME": "/app.cgi", "PATH_INFO": "/x", "REDIRECT_URL": "/app/x"}, ("/app", "/x")),
    ("/app", {"SCRIPT_NAME": "/app", "PATH_INFO": "/x", "REQUEST_URI": "/elsewhere"}, ("/app", "/x")),
    ("/a b", {"REQUEST_URI": "/a%20b/x"}, ("/a b", "/x")),
    ("/app", {"SCRIPT_NAME": "/app", "PATH_INFO": "/a%2Fb", "REQUEST_URI": "/app/a%2Fb"}, ("/app", "/a/b")),
    ("/app", {"SCRIPT_NAME": "/app", "PATH_INFO": "/a%2Fb", "REQUEST_URI": "/app/a%252Fb"}, ("/app", "/a%2Fb")),
    ("/app", {"PATH_INFO": "/app/a%2Fb%2Fc", "REQUEST_URI": "/app/a%2Fb%252Fc"}, ("/app", "/a/b%2Fc")),
    ("", {"SCRIPT_NAME": "", "PATH_INFO": "/x"}, ("", "/x")),
    ("", {"SCRIPT_NAME": "/x"}, ("", "/x")),
    ("", {"SCRIPT_NAME": "/x", "PATH_INFO": "/y"}, ("", "/x/y")),
    ("", {"SCRIPT_NAME": "/"}, ("", "/")),
    ("", {"SCRIPT_NAME": "/", "PATH_INFO": "/x"}, ("", "/x")),
    ("", {"REQUEST_URI": "/x"}, ("", "/x")),
    ("", {}, ("", "/")),
]  # fmt: skip


@pytest.mark.parametrize(("mount", "params", "expected"), MOUNTED)
def test_a_mount_wins(mount: str, params: dict[str, str], expected: tuple[str, str]) -> None:
    assert paths(environ_from(mount, **params)) == expected


@pytest.mark.parametrize(
    "params",
    [
        {"SCRIPT_NAME": "/apple"},
        {"SCRIPT_NAME": "/ap", "PATH_INFO": "/p"},
        {"SCRIPT_NAME": "", "PATH_INFO": "/other"},
        {"SCRIPT_NAME": "/"},
        {"REQUEST_URI": "/app/../other"},
        {"SCRIPT_NAME": "/index.cgi", "PATH_INFO": "/x", "REDIRECT_URL": "/app/x", "REDIRECT_STATUS": "404"},
        {},
    ],
)
def test_a_path_outside_the_mount_is_a_404(params: dict[str, str]) -> None:
    with pytest.raises(
        RemoteProtocolError, match=r"^the path '.*' is outside the mount '/app': the web server"
    ) as caught:
        environ_from("/app", **params)
    assert caught.value.status_hint == "404 Not Found"


def test_a_front_end_that_is_right_about_the_mount_is_not_repaired() -> None:
    assert environ_from("/app", SCRIPT_NAME="/app", PATH_INFO="/x")["gateway.repairs"] == ()


def test_a_front_end_that_is_wrong_about_the_mount_is_repaired() -> None:
    assert environ_from("/app", SCRIPT_NAME="/app/x")["gateway.repairs"] == ("path-mount",)


GUESSED: list[tuple[str, dict[str, str], tuple[str, str], tuple[str, ...]]] = [
    ("right", {"SCRIPT_NAME": "/app", "PATH_INFO": "/x", "REQUEST_URI": "/app/x"}, ("/app", "/x"), ()),
    ("right, the same twice", {"SCRIPT_NAME": "/app", "PATH_INFO": "/app/x", "REQUEST_URI": "/app/app/x"},
     ("/app", "/app/x"), ()),
    ("right, alike", {"SCRIPT_NAME": "/app", "PATH_INFO": "/apple", "REQUEST_URI": "/apple"}, ("/app", "/apple"), ()),
    ("the root as a slash", {"SCRIPT_NAME": "/", "PATH_INFO": "/x"}, ("", "/x"), ()),
    ("the root as a slash, PATH_INFO without", {"SCRIPT_NAME": "/", "PATH_INFO": "x"}, ("", "/x"), ()),
    ("the root and nothing else", {"SCRIPT_NAME": "/"}, ("", "/"), ()),
    ("nothing", {}, ("", "/"), ()),
    ("nothing but REQUEST_URI", {"REQUEST_URI": "/a%20b?q"}, ("", "/a b"), ("path-missing",)),
    ("nothing but DOCUMENT_URI", {"REQUEST_URI": "/old", "DOCUMENT_URI": "/new"}, ("", "/new"), ("path-missing",)),
    ("all in SCRIPT_NAME, nginx", {"SCRIPT_NAME": "/app/x", "SERVER_SOFTWARE": "nginx/1.22.1"}, ("", "/app/x"),
     ("path-info",)),
    ("all in SCRIPT_NAME, who knows", {"SCRIPT_NAME": "/app", "SERVER_SOFTWARE": "Other/1"}, ("/app", ""), ()),
    ("all in SCRIPT_NAME, ProxyPass",
     {"SCRIPT_NAME": "/front/a%2Fb", "SCRIPT_FILENAME": "proxy:fcgi://127.0.0.1:9000/back/a%2Fb"}, ("/front", "/a/b"),
     ("path-info",)),
    ("doubled", {"SCRIPT_NAME": "/app", "PATH_INFO": "/app/x", "DOCUMENT_URI": "/app/x"}, ("/app", "/x"),
     ("path-doubled",)),
    ("doubled, IIS", {"SCRIPT_NAME": "/app", "PATH_INFO": "/app/x", "SERVER_SOFTWARE": "Microsoft-IIS/10.0"},
     ("/app", "/x"), ("path-doubled",)),
    ("doubled, who knows", {"SCRIPT_NAME": "/app", "PATH_INFO": "/app/x"}, ("/app", "/app/x"), ()),
    ("rewritten", {"SCRIPT_NAME": "/index.cgi", "PATH_INFO": "/x", "REDIRECT_URL": "/app/x"}, ("/app", "/x"),
     ("path-rewritten",)),
    ("rewritten, a folder", {"SCRIPT_NAME": "/index.cgi", "PATH_INFO": "", "REDIRECT_URL": "/app/"}, ("/app", "/"),
     ("path-rewritten",)),
    ("rewritten, but visible", {"SCRIPT_NAME": "/app", "PATH_INFO": "/x", "REDIRECT_URL": "/app/x"},
     ("/app", "/x"), ()),
    ("rewritten to something else", {"SCRIPT_NAME": "/index.cgi", "PATH_INFO": "/y", "REDIRECT_URL": "/app/x"},
     ("/index.cgi", "/y"), ()),
    ("an ErrorDocument", {"SCRIPT_NAME": "/e.cgi", "PATH_INFO": "/x", "REDIRECT_URL": "/x", "REDIRECT_STATUS": "404"},
     ("/e.cgi", "/x"), ()),
    ("%2F", {"SCRIPT_NAME": "/app", "PATH_INFO": "/a%2Fb", "REQUEST_URI": "/app/a%2Fb"}, ("/app", "/a/b"),
     ("path-escaped",)),
    ("%252F", {"SCRIPT_NAME": "/app", "PATH_INFO": "/a%2Fb", "REQUEST_URI": "/app/a%252Fb"}, ("/app", "/a%2Fb"), ()),
    ("%2F and %252F", {"SCRIPT_NAME": "/app", "PATH_INFO": "/a%2fb%2Fc", "REQUEST_URI": "/app/a%2fb%252Fc"},
     ("/app", "/a/b%2Fc"), ("path-escaped",)),
    ("%2F, who knows", {"SCRIPT_NAME": "/app", "PATH_INFO": "/a%2Fb"}, ("/app", "/a%2Fb"), ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "expected", "repairs"), [case[1:] for case in GUESSED], ids=[case[0] for case in GUESSED]
)
def test_without_a_mount_it_is_guessed(
    params: dict[str, str], expected: tuple[str, str], repairs: tuple[str, ...]
) -> None:
    environ = environ_from(**params)
    assert paths(environ) == expected
    assert environ["gateway.repairs"] == repairs


@pytest.mark.parametrize(
    ("mount", "checked"), [("/app", "/app"), ("/app/", "/app"), ("/", ""), ("", ""), ("/a/b", "/a/b")]
)
def test_a_mount_is_a_path_without_a_closing_slash(mount: str, checked: str) -> None:
    assert check_mount(mount) == checked


@pytest.mark.parametrize("mount", ["app", "//app", "/a//b", "/app?x", "http://example.test/app"])
def test_what_is_no_mount_is_refused(mount: str) -> None:
    with pytest.raises(ValueError, match="is not a path: it begins with one slash, like /app"):
        check_mount(mount)


# -- advice


def test_every_repair_has_its_advice() -> None:
    assert all(ADVICE[repair] for recording in RECORDINGS for repair in environ_of(recording)["gateway.repairs"])


@pytest.mark.parametrize("repair", ["path-info", "path-missing", "path-doubled", "authorization", "server-name"])
def test_what_a_configuration_can_mend_is_worth_a_line(repair: str) -> None:
    assert needs_advice(repair)


@pytest.mark.parametrize("repair", ["duplicates", "proxy", "path-escaped", "path-rewritten", "path-mount"])
def test_what_nobody_can_mend_is_not(repair: str) -> None:
    assert not needs_advice(repair)


# -- and back


@pytest.mark.parametrize("recording", RECORDINGS, ids=repr)
def test_a_recorded_request_can_be_passed_on(recording: Recording) -> None:
    environ = environ_of(recording, mount=recording.mount)
    again = build_environ(build_params(environ), BASE, recording.mount)
    headers = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    assert {name: value for name, value in again.items() if name.startswith("HTTP_")} == headers
    for name in ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "wsgi.url_scheme", "SERVER_PORT"):
        assert again[name] == environ[name], name
    assert again["gateway.repairs"] == ()


def test_only_what_belongs_to_the_request_is_passed_on() -> None:
    environ = {"REQUEST_METHOD": "GET", "PATH": "/usr/bin", "LANG": "C", "wsgi.version": (1, 0), "HTTP_X": 5}
    assert build_params(environ) == {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "",
        "QUERY_STRING": "",
        "REQUEST_URI": "",
    }


@pytest.mark.parametrize("name", ["HTTP_X", "SSL_CLIENT_VERIFY", "REDIRECT_STATUS", "REMOTE_USER", "SCRIPT_FILENAME"])
def test_what_a_front_end_adds_is_passed_on(name: str) -> None:
    assert build_params({name: "value"})[name] == "value"


def test_a_proxy_header_is_not_passed_on() -> None:
    assert "HTTP_PROXY" not in build_params({"HTTP_PROXY": "http://evil.invalid/"})


@pytest.mark.parametrize(
    ("environ", "uri"),
    [
        ({"SCRIPT_NAME": "/a b", "PATH_INFO": "/\xe9?"}, "/a%20b/%E9%3F"),
        ({"SCRIPT_NAME": "", "PATH_INFO": "/x", "QUERY_STRING": "a=1&b=%20"}, "/x?a=1&b=%20"),
        ({"PATH_INFO": "/a/b", "QUERY_STRING": "q", "RAW_URI": "/a%2Fb?q"}, "/a%2Fb?q"),
        ({"PATH_INFO": "/x", "REQUEST_URI": "/as/it/came"}, "/as/it/came"),
    ],
)
def test_the_uri_is_passed_on_or_made(environ: dict[str, str], uri: str) -> None:
    assert build_params(environ)["REQUEST_URI"] == uri


def test_https_is_passed_on() -> None:
    params = build_params({"wsgi.url_scheme": "https"})
    assert (params["HTTPS"], params["REQUEST_SCHEME"]) == ("on", "https")
    assert "HTTPS" not in build_params({"wsgi.url_scheme": "http"})


# -- local redirects


UPLOAD = {
    "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/app", "PATH_INFO": "/x", "REQUEST_URI": "/app/x", "RAW_URI": "/app/x",
    "CONTENT_LENGTH": "5", "CONTENT_TYPE": "text/plain", "HTTP_CONTENT_MD5": "x", "HTTP_TRANSFER_ENCODING": "chunked",
    "HTTP_COOKIE": "a=1", "wsgi.input_terminated": True,
}  # fmt: skip


def test_a_local_redirect_is_a_get_of_another_path() -> None:
    environ = redirected(UPLOAD, "/app/a%20b?new", "/app")
    assert (environ["REQUEST_METHOD"], environ["REQUEST_URI"]) == ("GET", "/app/a%20b?new")
    assert (*paths(environ), environ["QUERY_STRING"]) == ("/app", "/a b", "new")


def test_a_local_redirect_keeps_the_headers_but_not_the_body() -> None:
    environ = redirected(UPLOAD, "/other", "")
    assert environ["HTTP_COOKIE"] == "a=1"
    assert environ["wsgi.input"].read() == b""
    assert not {"CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_CONTENT_MD5", "HTTP_TRANSFER_ENCODING", "RAW_URI"} & set(
        environ
    )


def test_a_local_redirect_of_head_is_a_head() -> None:
    assert redirected({"REQUEST_METHOD": "HEAD"}, "/other", "")["REQUEST_METHOD"] == "HEAD"
