"""What every front end must get right: each class is one matter, and a front end is a test class made of them.

The class that is made of them has a fixture ``site`` and an application at /app.
"""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.peers.frontends.app import BLOCK
from tests.peers.frontends.processes import wait_for
from tests.peers.frontends.servers import Site

FIVE_MIB = BLOCK * 80

PATHS = {
    "/app": "",
    "/app/": "/",
    "/app/a/b": "/a/b",
    "/app/a%20b": "/a b",
    "/app/%E2%82%AC": "/\xe2\x82\xac",
    "/app/c%2Fd": "/c/d",
    "/app/100%2525": "/100%25",
    "/app/what%3F": "/what?",
    "/app/app": "/app",
}
"""What a visitor asks for, and PATH_INFO for it; SCRIPT_NAME is always /app."""


class FrontEnd:
    """Shows what the servers said when a test fails."""

    @pytest.fixture(autouse=True)
    def _what_the_servers_said(self, site: Site) -> Iterator[None]:
        logs = sorted(site.front.log.parent.glob("*.log"))
        sizes = [log.stat().st_size for log in logs]
        yield
        for log, size in zip(logs, sizes, strict=True):
            said = log.read_bytes()[size:].decode("utf-8", "replace")
            if said:
                print(f"{log.name}:\n{said}")


def told_in_turn(site: Site) -> list[dict[str, Any]]:
    """What the application tells of ten requests, one after the other.

    Who visits stays until the end: a visitor who leaves once Content-Length is reached may be faster than END_REQUEST,
    and then the web server gives up a connection that it would have kept.
    """
    with ExitStack() as visits:
        return [json.load(visits.enter_context(site.asking("GET", "/app/"))) for _ in range(10)]


class KeptConnections(FrontEnd):
    """Connections to the application are used again."""

    def test_connections_are_used_again(self, site: Site) -> None:
        assert len({tuple(told["sockets"]) for told in told_in_turn(site)}) < 10


class UnkeptConnections(FrontEnd):
    """Each request comes on a connection of its own."""

    def test_connections_are_not_used_again(self, site: Site) -> None:
        assert len({tuple(told["sockets"]) for told in told_in_turn(site)}) == 10


class Requests(FrontEnd):
    """The environ is what the visitor asked."""

    @pytest.mark.parametrize(("target", "path"), PATHS.items())
    def test_the_path_is_split_and_decoded(self, site: Site, target: str, path: str) -> None:
        told = site.get(target).json()
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/app", path)

    def test_the_uri_stays_as_it_is(self, site: Site) -> None:
        assert site.get("/app/a%20b/c%2Fd?x=%2F").json()["REQUEST_URI"] == "/app/a%20b/c%2Fd?x=%2F"

    @pytest.mark.parametrize("query", ["x=1&y=%E2%82%AC", "a+b=%26&c", ""])
    def test_the_query_string_stays_as_it_is(self, site: Site, query: str) -> None:
        assert site.get(f"/app/?{query}").json()["QUERY_STRING"] == query

    def test_a_repeated_header_is_joined(self, site: Site) -> None:
        told = site.get("/app/", [("X-Dup", "one"), ("X-Dup", "two")]).json()
        assert told["HTTP_X_DUP"].replace(" ", "") == "one,two"

    def test_credentials_reach_the_application(self, site: Site) -> None:
        assert site.get("/app/", [("Authorization", "Basic dTpw")]).json()["HTTP_AUTHORIZATION"] == "Basic dTpw"

    def test_cookies_reach_the_application(self, site: Site) -> None:
        assert site.get("/app/", [("Cookie", "a=1; b=2")]).json()["HTTP_COOKIE"] == "a=1; b=2"

    def test_a_proxy_header_does_not_become_http_proxy(self, site: Site) -> None:
        assert "HTTP_PROXY" not in site.get("/app/", [("Proxy", "http://evil.example/")]).json()

    def test_the_scheme_is_the_visitors(self, site: Site) -> None:
        assert site.get("/app/").json()["wsgi.url_scheme"] == ("https" if site.tls else "http")

    def test_ten_visitors_at_once_get_an_answer_each(self, site: Site) -> None:
        with ThreadPoolExecutor(10) as visitors:
            answers = visitors.map(lambda n: site.get(f"/app/{n}").json()["PATH_INFO"], range(20))
            assert list(answers) == [f"/{n}" for n in range(20)]


class Addresses(FrontEnd):
    """Who visits is known."""

    def test_the_visitors_address_is_told(self, site: Site) -> None:
        assert site.get("/app/", source="127.0.0.2").json()["REMOTE_ADDR"] == "127.0.0.2"


class ForwardedAddresses(FrontEnd):
    """The same by HTTP, which has headers for it."""

    def test_the_last_address_in_a_header_is_the_visitors(self, site: Site) -> None:
        told = site.get("/app/", [("X-Forwarded-For", "192.0.2.1")], source="127.0.0.2").json()
        assert told["HTTP_X_FORWARDED_FOR"].split(",")[-1].strip() == "127.0.0.2"

    def test_the_scheme_in_a_header_is_the_visitors(self, site: Site) -> None:
        told = site.get("/app/", [("X-Forwarded-Proto", "gopher")]).json()
        assert told["HTTP_X_FORWARDED_PROTO"] == "http"


class Bodies(FrontEnd):
    """A request's body arrives whole, whatever way it is sent."""

    def test_a_form_arrives_with_its_type_and_length(self, site: Site) -> None:
        form = "application/x-www-form-urlencoded"
        told = site.post("/app/", b"name=value", [("Content-Type", form)]).json()
        assert (told["REQUEST_METHOD"], told["CONTENT_TYPE"], told["CONTENT_LENGTH"]) == ("POST", form, "10")
        assert told["sha256"] == hashlib.sha256(b"name=value").hexdigest()

    def test_a_body_in_chunks_arrives_whole(self, site: Site) -> None:
        told = site.post("/app/", iter([b"in ", b"three ", b"chunks"])).json()
        assert told["sha256"] == hashlib.sha256(b"in three chunks").hexdigest()

    def test_5_mib_arrive_intact(self, site: Site) -> None:
        told = site.post("/app/", FIVE_MIB).json()
        assert (told["size"], told["sha256"]) == (len(FIVE_MIB), hashlib.sha256(FIVE_MIB).hexdigest())

    def test_a_body_that_nobody_reads_does_no_harm(self, site: Site) -> None:
        assert site.post("/app/?do=cookies", BLOCK).body == b"baked\n"


class LongBodiesInChunks(FrontEnd):
    """A body whose length nobody announced may be long."""

    def test_5_mib_in_chunks_arrive_intact(self, site: Site) -> None:
        told = site.post("/app/", iter([BLOCK] * 80)).json()
        assert (told["size"], told["sha256"]) == (len(FIVE_MIB), hashlib.sha256(FIVE_MIB).hexdigest())


class Responses(FrontEnd):
    """The visitor gets what the application said, and nothing else."""

    def test_5_mib_come_back_intact(self, site: Site) -> None:
        assert site.get("/app/?do=download&blocks=80").body == FIVE_MIB

    def test_head_has_the_headers_of_get_and_no_body(self, site: Site) -> None:
        answer = site.ask("HEAD", "/app/?do=cookies")
        assert (len(answer.all("Set-Cookie")), answer.all("Content-Length"), answer.body) == (2, ["6"], b"")

    @pytest.mark.parametrize("status", [204, 304])
    def test_a_status_without_content_has_none(self, site: Site, status: int) -> None:
        answer = site.get(f"/app/?do=empty&status={status}")
        assert (answer.status, answer.all("X-Empty"), answer.body) == (status, ["yes"], b"")

    def test_a_redirect_leads_where_the_application_said(self, site: Site) -> None:
        answer = site.get("/app/?do=redirect")
        assert (answer.status, answer.all("Location")) == (302, ["http://elsewhere.example/a%20b?c=d"])
        assert answer.body == b"there\n"

    def test_two_cookies_stay_two(self, site: Site) -> None:
        assert site.get("/app/?do=cookies").all("Set-Cookie") == ["a=1; Path=/", "b=2; Path=/"]

    def test_an_exception_is_a_500_that_tells_the_visitor_nothing(self, site: Site) -> None:
        answer = site.get("/app/?do=fail")
        assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")


class ErrorLog(FrontEnd):
    """What the application reports is in the error log of the web server."""

    def test_what_the_application_says_on_wsgi_errors_is_logged(self, site: Site) -> None:
        site.get("/app/?do=complain")
        wait_for(lambda: "the application complains" in site.front.said(), otherwise=site.front.said)

    def test_the_traceback_of_an_exception_is_logged(self, site: Site) -> None:
        site.get("/app/?do=fail")
        wait_for(lambda: "RuntimeError: failed on purpose" in site.front.said(), otherwise=site.front.said)


class CutsOfKnownLength(FrontEnd):
    """A response that breaks off looks broken to the visitor (docs/decisions/0006-visible-abort.md)."""

    def test_a_response_shorter_than_announced_is_not_taken_for_whole(self, site: Site) -> None:
        assert is_seen_to_break("/app/?do=cut&length=20", site)


class Cuts(CutsOfKnownLength):
    """The same if nobody announced its length."""

    def test_a_response_cut_short_is_not_taken_for_whole(self, site: Site) -> None:
        assert is_seen_to_break("/app/?do=cut", site)


def is_seen_to_break(target: str, site: Site) -> bool:
    """Does the visitor see that the response is not whole?"""
    try:
        answer = site.get(target)
    except (http.client.IncompleteRead, http.client.RemoteDisconnected):
        return True
    return answer.status >= 500


class CutsOfKnownLengthWhileStreaming(FrontEnd):
    """A response of known length that breaks off looks broken to a visitor who has seen its beginning."""

    def test_a_response_shorter_than_announced_is_not_taken_for_whole(self, site: Site, tmp_path: Path) -> None:
        assert is_seen_to_break_off("/app/?do=cut&length=20", site, flag=tmp_path / "go on")


class CutsWhileStreaming(CutsOfKnownLengthWhileStreaming):
    """The same if nobody announced its length."""

    def test_a_response_cut_short_is_not_taken_for_whole(self, site: Site, tmp_path: Path) -> None:
        assert is_seen_to_break_off("/app/?do=cut", site, flag=tmp_path / "go on")


def is_seen_to_break_off(target: str, site: Site, *, flag: Path) -> bool:
    """Does the visitor, who has the beginning, see that the response is not whole?"""
    with site.asking("GET", f"{target}&until={quote(str(flag))}") as response:
        assert response.read(10) == b"half of it"
        flag.touch()
        try:
            response.read()
        except http.client.IncompleteRead:
            return True
        return False


class Streaming(FrontEnd):
    """What the application says arrives when it is said."""

    def test_a_response_arrives_piece_by_piece(self, site: Site, tmp_path: Path) -> None:
        flag = tmp_path / "go on"
        with site.asking("GET", f"/app/?do=ticks&until={quote(str(flag))}") as response:
            first = response.readline()
            flag.touch()
            assert (first, response.read()) == (b"one\n", b"two\n")
