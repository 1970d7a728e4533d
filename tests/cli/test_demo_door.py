"""The application behind the page of ``gateway demo``, asked as an ASGI server asks it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.cli.demo import lanes, stream
from gateway.cli.demo.door import POLICY, DemoDoor
from gateway.cli.demo.lanes import LANES
from gateway.errors import ConfigError
from tests.asgi_calls import Answer, Request, run, until

pytestmark = [
    pytest.mark.usefixtures("nothing_left_over"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]

FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"accept": "application/json"}


def behind(visit: Callable[[DemoDoor], Coroutine[Any, Any, Any]]) -> Any:
    """What a visit gives; nothing of the lanes is left after it."""

    async def main() -> Any:
        door = DemoDoor()
        try:
            return await visit(door)
        finally:
            await door.shut()

    return run(main())


def ask(path: str, **request: Any) -> Answer:
    """One request to a door of its own."""
    answer: Answer = behind(lambda door: Request(door, path, **request).answer())
    return answer


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The FastCGI worker has nothing to load."""
    monkeypatch.setitem(LANES, "fastcgi", ("fastcgi", "nothing:application"))


@pytest.fixture(scope="module")
def page() -> Answer:
    """The page, asked for by a strange name."""
    return ask("/", headers={"host": "<i>"})


def test_the_page_is_whole_and_lets_nothing_else_in(page: Answer) -> None:
    assert (page.status, page.headers["content-security-policy"]) == (200, POLICY)
    assert "'unsafe" not in POLICY
    assert page.body.count(b"<article") == len(LANES)
    assert b"$" not in page.body


def test_the_name_that_a_visitor_calls_it_by_is_escaped(page: Answer) -> None:
    assert b"http://&lt;i&gt;/" in page.body
    assert b"<i>" not in page.body


def test_texts_for_the_script_cannot_end_its_element(page: Answer) -> None:
    assert b"<" not in page.body.partition(b'id="texts">')[2].partition(b"</script>")[0]


def test_the_page_asks_every_lane_once_and_no_more() -> None:
    async def twice(door: DemoDoor) -> list[int]:
        for _ in range(2):
            await Request(door, "/").answer()
        numbers = (await Request(door, "/numbers").answer()).json
        return [numbers[lane]["asked"] for lane in LANES]

    assert behind(twice) == [1, 1, 1, 1]


@pytest.mark.parametrize(("path", "kind"), [("/page.css", "text/css"), ("/page.js", "text/javascript")])
def test_a_file_of_the_page_has_its_type(path: str, kind: str) -> None:
    assert ask(path).headers["content-type"] == f"{kind}; charset=utf-8"


def test_a_head_request_has_no_body() -> None:
    assert ask("/cgi/", method="HEAD").body == b""


def test_where_nobody_can_tell_what_processes_cost_the_page_shows_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_platform() -> None:
        raise ConfigError("there is no /proc")

    monkeypatch.setattr(lanes, "check_platform", check_platform)
    page = ask("/").body.decode()
    assert page.count('data-value="processes">–<') == page.count('data-value="memory">–<') == len(LANES)


def test_an_unknown_path_gives_a_404_that_names_the_known_ones() -> None:
    answer = ask("/nothing")
    assert (answer.status, answer.body.endswith(b"/ /cgi/ /fork/ /fastcgi/ /aio/\n")) == (404, True)


def test_the_rest_of_the_path_is_handed_on() -> None:
    async def look(door: DemoDoor) -> bytes:
        await Request(door, "/cgi/a/b", query="c=d").answer()
        return (await Request(door, "/part", query="lane=cgi&part=environ").answer()).body

    shown = behind(look).decode()
    for name, value in (("SCRIPT_NAME", "/cgi"), ("PATH_INFO", "/a/b"), ("QUERY_STRING", "c=d")):
        assert f'<th scope="row">{name}</th><td>{value}</td>' in shown


def test_of_what_a_program_inherits_only_the_names_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_MINE", "secret")

    async def look(door: DemoDoor) -> bytes:
        await Request(door, "/cgi/").answer()
        return (await Request(door, "/part", query="lane=cgi&part=environ").answer()).body

    shown = behind(look)
    assert (b"TOKEN_OF_MINE" in shown, b"secret" in shown) == (True, False)


def test_the_records_of_a_wire_are_decoded_and_cgi_has_none() -> None:
    async def look(door: DemoDoor) -> list[str]:
        await Request(door, "/send", method="POST", body=b"count=1", headers=FORM | JSON).answer()
        parts = [Request(door, "/part", query=f"lane={lane}&part=records") for lane in LANES]
        return [(await part.answer()).body.decode() for part in parts]

    cgi, *others = behind(look)
    assert "RFC 3875" in cgi
    for records in others:
        assert '<span class="type">BEGIN_REQUEST</span>' in records
        assert '<li class="answers level0"><b>&lt;</b> <span class="type">END_REQUEST</span>' in records


@pytest.mark.parametrize("part", ["environ", "records"])
def test_before_the_first_request_there_is_nothing_to_show(part: str) -> None:
    assert b"Nothing was asked yet." in ask("/part", query=f"lane=cgi&part={part}").body


def test_an_unknown_part_gives_a_404_that_names_the_known_ones() -> None:
    answer = ask("/part", query="lane=cgi&part=all")
    assert (answer.status, b"environ, records" in answer.body) == (404, True)


class TestSend:
    def test_a_click_in_the_page_is_told_what_the_answers_came_to(self) -> None:
        answer = ask("/send", method="POST", body=b"lane=fastcgi&count=50", headers=FORM | JSON)
        assert answer.json.keys() == {"fastcgi"}
        assert (answer.json["fastcgi"]["answers"], answer.json["fastcgi"]["processes"]) == (50, 1)

    @pytest.mark.parametrize("lane", ["fastcgi", "aio"])
    def test_of_requests_at_once_one_waits_for_the_other_only_without_an_event_loop(self, lane: str) -> None:
        async def send(door: DemoDoor) -> list[dict[str, Any]]:
            form = f"lane={lane}&count=50&at_once=on".encode()
            await Request(door, "/send", method="POST", body=form, headers=FORM).answer()
            return list(door._lanes[lane].recent)

        made: list[dict[str, Any]] = behind(send)
        assert sorted(request["served"] for request in made) == [*range(1, 51)]
        in_a_row = max(request["waited"] for request in made) > 49 * 20e6
        assert in_a_row is (lane == "fastcgi")

    def test_a_click_without_scripts_goes_back_to_the_page(self) -> None:
        answer = ask("/send", method="POST", query="lang=ko", body=b"lane=fork&count=1", headers=FORM)
        assert (answer.status, answer.headers["location"]) == (303, "/?lang=ko#fork")

    @pytest.mark.parametrize("form", [b"", b"count=51", b"count=1&lane=scgi", b"count=x"])
    def test_what_the_page_does_not_offer_is_refused(self, form: bytes) -> None:
        answer = ask("/send", method="POST", body=form, headers=FORM)
        assert (answer.status, b"count is 1 or 50, and lane" in answer.body) == (400, True)

    def test_only_a_post_has_requests_made(self) -> None:
        answer = ask("/send", query="count=1")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")

    def test_another_site_cannot_have_requests_made(self) -> None:
        answer = ask("/send", method="POST", body=b"count=1", headers=FORM | {"sec-fetch-site": "cross-site"})
        assert answer.status == 403

    def test_a_body_too_large_to_be_a_form_is_refused(self) -> None:
        answer = ask("/send", method="POST", body=b"x" * 1_000_001, headers=FORM)
        assert answer.status == 413


class TestFailure:
    def test_of_a_worker_is_shown_on_the_page_and_said_in_the_terminal(
        self, broken: None, caplog: pytest.LogCaptureFixture
    ) -> None:  # fmt: skip
        page = ask("/", headers={"accept-language": "en"}).body.decode()
        assert '<p class="error">502 Bad Gateway: the terminal says why</p>' in page
        assert page.count('<p class="error"></p>') == len(LANES) - 1
        assert "/fastcgi/ failed: fastcgi: the process exited with status 3" in caplog.text

    def test_of_a_worker_gives_a_502_to_who_asks_for_its_lane(self, broken: None) -> None:
        answer = ask("/fastcgi/")
        assert (answer.status, answer.body) == (502, b"502 Bad Gateway: the terminal says why\n")

    def test_is_counted(self, broken: None) -> None:
        answer = ask("/send", method="POST", body=b"lane=fastcgi&count=1", headers=FORM | JSON)
        assert answer.json["fastcgi"] == {"answers": 0, "processes": 0, "median": 0}


class TestEvents:
    def test_begin_with_what_there_is_and_go_on_with_what_happens(self) -> None:
        async def listen(door: DemoDoor) -> bytes:
            page = Request(door, "/events")
            task = page.start()
            await until(lambda: page.messages[1:])
            await Request(door, "/fastcgi/").answer()
            await until(lambda: b"event: request" in page.body and b"event: processes" in page.body)
            door.stream.end()
            await task
            return page.body

        told: bytes = behind(listen)
        assert told.startswith(b'event: lanes\ndata: {"cgi":{"recent":[]')
        assert b'"lane":"fastcgi","asked":1' in told

    def test_end_for_a_page_that_does_not_take_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stream, "ROOM", 3)

        async def listen(door: DemoDoor) -> None:
            page = Request(door, "/events")
            task = page.start()
            await until(lambda: page.messages[1:])
            page.takes.clear()
            for _ in range(6):
                door.stream.publish("request", {})
            assert not door.stream.heard
            page.takes.set()
            await asyncio.wait_for(task, 10)

        behind(listen)


def test_a_lane_remembers_the_latest_requests_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "KEPT", 3)

    async def send(door: DemoDoor) -> list[int]:
        for _ in range(5):
            await Request(door, "/aio/").answer()
        return [request["asked"] for request in door._lanes["aio"].recent]

    assert behind(send) == [3, 4, 5]


def test_reprs_tell_the_state() -> None:
    async def look(door: DemoDoor) -> str:
        return repr(door)

    shown = behind(look)
    assert shown.startswith("<DemoDoor <Stream listeners=0> [<Lane cgi asked=0 pid=None>, <Lane fork ")
