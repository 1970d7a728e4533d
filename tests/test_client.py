"""``gateway.Client`` forwards a request whole, and brings its response back as it comes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.client import Client
from gateway.client.upstream import Upstream
from gateway.errors import ConfigError, LocalProtocolError
from gateway.events import (
    WEB_SERVER,
    EndOfResponse,
    ErrorOutput,
    Request,
    RequestBody,
    Response,
    ResponseBody,
)
from gateway.limits import Limits
from gateway.protocols import connection_class
from gateway.protocols.fastcgi import STDOUT, Connection, encode_record
from tests.leftovers import Leftovers
from tests.upstreams import END, OK, Answer, Peer, Upstreams, echo, respond
from tests.wsgi_calls import ask

MIB = 1024 * 1024


@pytest.fixture
def start(nothing_left_over: Leftovers, tmp_path: Path) -> Iterator[Upstreams]:
    with Upstreams(tmp_path) as upstreams:
        yield upstreams


# The request


def test_the_environ_arrives_as_params(start: Upstreams) -> None:
    client, upstream = start()
    ask(client, "/a b", QUERY_STRING="x=1", HTTP_X_TRICK="yes", REQUEST_METHOD="DELETE")
    assert upstream.params.items() >= {
        "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "DELETE", "PATH_INFO": "/a b", "QUERY_STRING": "x=1",
        "HTTP_X_TRICK": "yes", "REQUEST_URI": "/a%20b?x=1",
    }.items()  # fmt: skip


def test_params_are_added_and_win(start: Upstreams) -> None:
    client, upstream = start(params={"PATH_INFO": "/mine", "APP_ENV": "test"})
    ask(client, "/theirs")
    assert (upstream.params["PATH_INFO"], upstream.params["APP_ENV"]) == ("/mine", "test")


def test_params_from_makes_the_params(start: Upstreams) -> None:
    client, upstream = start(params_from=lambda environ: {"ONLY": environ["PATH_INFO"]})
    ask(client, "/x")
    assert upstream.params == {"ONLY": "/x"}


def test_a_param_beyond_latin_1_is_the_callers_mistake(start: Upstreams) -> None:
    client, _ = start(params={"EURO": "€"})
    with pytest.raises(LocalProtocolError, match="not latin-1"):
        ask(client)


@pytest.mark.parametrize(
    ("path", "script", "info"),
    [
        ("/x.php", "/x.php", ""),
        ("/", "/index.php", ""),
        ("/blog/", "/blog/index.php", ""),
        ("/x.php/a/b", "/x.php", "/a/b"),
        ("/x.php/", "/x.php", "/"),
        ("/x.php/y.php/z", "/x.php", "/y.php/z"),
        ("/x.phpx/y", "/x.phpx/y", ""),
        ("/../../etc/passwd", "/etc/passwd", ""),
        ("/x.php/../../../secret.php", "/secret.php", ""),
        ("//a//./b.php", "/a/b.php", ""),
        ("/caf\xc3\xa9 %41.php", "/caf\xc3\xa9 %41.php", ""),
        ("", "/index.php", ""),
    ],
)
def test_root_names_the_script_as_php_wants_it(start: Upstreams, path: str, script: str, info: str) -> None:
    client, upstream = start(root="/srv/www/")
    ask(client, path, SCRIPT_NAME="/mount")
    assert upstream.params.items() >= {
        "DOCUMENT_ROOT": "/srv/www", "SCRIPT_FILENAME": "/srv/www" + script, "SCRIPT_NAME": "/mount" + script,
        "PATH_INFO": info, "PATH_TRANSLATED": info and "/srv/www" + info, "REDIRECT_STATUS": "200",
    }.items()  # fmt: skip


def test_index_completes_a_folder(start: Upstreams) -> None:
    client, upstream = start(root="/srv", index="main.php")
    ask(client, "/blog/")
    assert upstream.params["SCRIPT_FILENAME"] == "/srv/blog/main.php"


def test_a_path_with_nul_is_refused(start: Upstreams) -> None:
    client, upstream = start(root="/srv")
    assert ask(client, "/shell.jpg\0.php").status == "400 Bad Request"
    assert upstream.peers == []


def test_an_upstream_that_falls_behind_is_sent_the_rest_once_it_takes_more() -> None:
    near, far = socket.socketpair()
    with far:
        upstream = Upstream(near, Connection(WEB_SERVER), name="slow", timeout=0.1)
        upstream.connection.send(Request({}, 1))
        while upstream.push():
            upstream.connection.send(RequestBody(bytes(65536), 1))
        far.recv(100 * MIB)
        assert upstream.events() == []  # and no timeout
        upstream.close()


# The response


def test_an_answer_counts_though_the_upstream_stopped_reading() -> None:
    near, far = socket.socketpair()
    with contextlib.closing(Upstream(near, Connection(WEB_SERVER), name="hasty", timeout=1)) as upstream:
        upstream.connection.send(Request({}, 1))
        far.sendall(encode_record(STDOUT, 1, b"Status: 413 Too Long\n\n"))
        far.close()
        assert not upstream.push()
        assert upstream.events() == [Response("413 Too Long", [], 1)]


def test_a_wire_may_end_its_response_by_hanging_up() -> None:
    near, far = socket.socketpair()
    with contextlib.closing(Upstream(near, connection_class("cgi")(WEB_SERVER), name="brief", timeout=1)) as upstream:
        far.sendall(b"Status: 204 No Content\n\n")
        far.close()
        assert upstream.events() + upstream.events() == [Response("204 No Content", []), EndOfResponse()]


@pytest.mark.parametrize(("status", "given"), [("404", "404 Not Found"), ("299", "299 Unknown")])
def test_a_status_without_a_reason_is_given_one(start: Upstreams, status: str, given: str) -> None:
    client, _ = start(respond(Response(status, OK.headers, 1)))
    assert ask(client).status == given


def test_what_belongs_to_one_connection_is_not_passed_on(start: Upstreams) -> None:
    client, _ = start(respond(Response("200 OK", [*OK.headers, ("Connection", "close")], 1)))
    assert ask(client).headers == {"Content-Type": "text/plain"}


def test_an_upstream_may_say_everything_before_it_reads(start: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        for _ in range(64):
            peer.say(ErrorOutput(b"e" * 65535 + b"\n", 1))
        peer.say(OK, ResponseBody(bytes(4 * MIB), 1))
        peer.say(ResponseBody(peer.body(), 1), END)

    client, _ = start(answer)
    answered = ask(client, body=bytes(4 * MIB), REQUEST_METHOD="POST")
    assert (len(answered.body), len(answered.errors)) == (8 * MIB, 4 * MIB)


# Error output


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ([b"one\ntwo\n"], "one\ntwo\n"),
        ([b"o", b"ne\n"], "one\n"),
        ([b"caf\xc3", b"\xa9\n"], "café\n"),
        ([b"no end"], "no end\n"),
        ([b"\xff\n"], "\\xff\n"),
    ],
)
def test_error_output_goes_on_line_by_line(start: Upstreams, sent: list[bytes], written: str) -> None:
    def answer(peer: Peer) -> None:
        peer.body()
        peer.say(*(ErrorOutput(data, 1) for data in sent), OK, END)

    client, _ = start(answer)
    assert ask(client).errors == written


def test_a_line_of_error_output_that_is_too_long_to_wait_for_goes_on_in_pieces(start: Upstreams) -> None:
    def answer(peer: Peer) -> None:
        peer.body()
        peer.say(*[ErrorOutput(b"x" * 65_000, 1)] * 4, OK, END)

    client, _ = start(answer)
    lines = ask(client).errors.split("\n")
    assert len(lines) > 2 and "".join(lines) == "x" * 260_000


# Local redirects (RFC 3875 §6.2.2)


def redirect_to(location: str) -> Answer:
    """Redirect the first request, and describe the one that follows."""

    def answer(peer: Peer) -> None:
        body = peer.body()
        if "first" in peer.params["PATH_INFO"]:
            # As bytes: the application's end of the wire states a status, and then it is no local redirect.
            peer.write(encode_record(STDOUT, 1, b"Location: " + location.encode() + b"\n\nnot shown"))
            peer.say(END)
        else:
            names = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "CONTENT_LENGTH")
            told = [str(peer.params.get(name)) for name in names]
            peer.say(OK, ResponseBody(" ".join([*told, str(len(body))]).encode(), 1), END)

    return answer


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/app/second%20one?x=1", "GET /app /second one x=1 /app/second%20one?x=1 None 0"),
        ("/app", "GET /app   /app None 0"),
        ("/else/where", "GET  /else/where  /else/where None 0"),
        ("/application", "GET  /application  /application None 0"),
        ("/app/../../second", "GET  /second  /app/../../second None 0"),
    ],
)
def test_a_local_redirect_is_a_get_of_another_path(start: Upstreams, location: str, asked: str) -> None:
    client, upstream = start(redirect_to(location))
    answer = ask(client, "/first", SCRIPT_NAME="/app", REQUEST_METHOD="POST", body=b"form")
    assert answer.body.decode() == asked
    assert len(upstream.peers) == 1


def test_a_local_redirect_of_a_head_request_is_one(start: Upstreams) -> None:
    client, upstream = start(redirect_to("/second"))
    assert client.request("HEAD", "/first") == ("200 OK", OK.headers, b"")
    assert upstream.params["REQUEST_METHOD"] == "HEAD"


def test_local_redirects_that_go_round_in_a_circle_end(start: Upstreams, caplog: pytest.LogCaptureFixture) -> None:
    client, _ = start(redirect_to("/first"))
    assert ask(client, "/first").status == "502 Bad Gateway"
    assert f"more than {Limits.local_redirects} local redirects (limit local_redirects), the last" in caplog.text


# What else a Client is


def test_ping_asks_what_the_upstream_tells_about_itself(start: Upstreams) -> None:
    client, _ = start()
    assert client.ping() == {"FCGI_MAX_CONNS": "10000", "FCGI_MAX_REQS": "1", "FCGI_MPXS_CONNS": "0"}


def test_request_sends_headers_and_body(start: Upstreams) -> None:
    client, upstream = start(echo)
    headers = [("Content-Type", "text/x"), ("X-Trick", "yes")]
    assert client.request("PUT", "/a%20b?c=d", headers=headers, body=b"e") == ("200 OK", OK.headers, b"e")
    assert upstream.params.items() >= {
        "REQUEST_METHOD": "PUT", "REQUEST_URI": "/a%20b?c=d", "PATH_INFO": "/a b", "QUERY_STRING": "c=d",
        "CONTENT_TYPE": "text/x", "CONTENT_LENGTH": "1", "HTTP_X_TRICK": "yes",
    }.items()  # fmt: skip


@pytest.mark.parametrize("url", ["fastcgi:///run/app.sock", "fastcgi://unix:/run/app.sock", "FastCGI:///run/app.sock"])
def test_the_repr_shows_the_address_and_the_pool(url: str) -> None:
    assert repr(Client(url, pool_size=3)) == "<Client fastcgi://unix:/run/app.sock idle=0/3>"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("gopher://127.0.0.1:70", "no wire is called 'gopher'; there are: "),
        ("127.0.0.1:9000", "write for example fastcgi://127.0.0.1:9000"),
        ("fastcgi://127.0.0.1", "it names no port"),
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once(url: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        Client(url)
