"""The page of ``gateway demo`` in a browser: what it draws and says, to the keyboard, in Korean, without scripts."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from gateway.cli.demo.lanes import KEPT, LANES
from gateway.cli.demo.texts import texts
from tests.browser import DESKTOP, ENTER, PHONE, TAB, Browser
from tests.browser import browser as browser
from tests.browser import chromium as chromium
from tests.house import ROOT
from tests.running_demo import Demo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the demo's numbers come from /proc")

SEND_ALL, ASK_ALL = "header button[value='50']", "header button[value='1']"
CONTRAST = 4.5
"""Of text to what is behind it, at least (WCAG 2.2, 1.4.3)."""

HUES = """
return [...document.querySelectorAll(arguments[0])].map((shown) => shown.style.getPropertyValue("--hue"));
"""
LONGEST = """
const lengths = [...document.querySelectorAll(arguments[0])].map((bar) => {
  const [whole, last] = [bar, bar.lastChild].map((one) => one.getBoundingClientRect());
  return (last.right - whole.left) / whole.width;
});
return Math.max(...lengths);
"""
"""How much of its track the longest bar takes."""
FOCUS = """
const at = document.activeElement;
return [at.closest("article")?.id ?? at.tagName, getComputedStyle(at).outlineStyle];
"""
FAINT = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function paint(...colours) {
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
function luminance(rgb) {
  const [r, g, b] = rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const faint = [];
for (const element of document.body.querySelectorAll("*")) {
  const says = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  if (!says || !element.checkVisibility() || element.closest(".unseen, script, noscript")) continue;
  const behind = [];
  for (let at = element; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
  const ground = paint("white", ...behind), ink = paint("white", ...behind, getComputedStyle(element).color);
  const [low, high] = [luminance(ground), luminance(ink)].sort((a, b) => a - b);
  const contrast = (high + 0.05) / (low + 0.05);
  if (contrast < arguments[0]) faint.push(`${element.tagName} ${element.className}: ${contrast.toFixed(2)}`);
}
return faint;
"""


UNCOVERED = {"COVERAGE_PROCESS_CONFIG": ""}
"""Coverage is for other tests to see: here each CGI process would start ten times as slowly."""


@pytest.fixture(scope="module")
def demo(chromium: Browser) -> Iterator[Demo]:
    with tempfile.TemporaryDirectory(prefix="d-") as folder:
        started = Demo(folder, **UNCOVERED)
        yield started
        started.stop()


def visit(browser: Browser, demo: Demo, **visitor: Any) -> dict[str, str]:
    """Open the page and wait until it is live and drawn: what it says in the visitor's language."""
    browser.open(f"{demo.url}/", **visitor)
    said = texts(visitor.get("language", "en"))
    browser.until(lambda: browser.text("#connection") == said["connected"], what="the stream of events")
    browser.until(lambda: all(browser.count(f"#{lane} .rows li") for lane in LANES), what="the drawings")
    return said


def shown(browser: Browser, lane: str) -> dict[str, str]:
    """The numbers of a lane on the page."""
    script = "return [...document.querySelectorAll(arguments[0])].map((dd) => [dd.dataset.value, dd.innerText])"
    return dict(browser.run(script, f"#{lane} [data-value]"))


class TestLive:
    def test_fifty_requests_to_every_lane_fill_the_lanes(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        browser.click(SEND_ALL)
        browser.until(lambda: "asyncio" in browser.text("#summary"), what="the summary")
        browser.until(lambda: browser.count("#cgi .strip i") == KEPT, what="the drawings")
        assert [browser.count(f"#{lane} .strip i") for lane in LANES] == [KEPT] * 4
        assert browser.text("#summary").startswith("CGI: answers 50, processes 50, median ")
        assert "FastCGI: answers 50, processes 1, median " in browser.text("#summary")
        assert len(set(browser.run(HUES, "#cgi .strip i"))) == KEPT
        assert len(set(browser.run(HUES, "#aio .strip i"))) == 1
        browser.screenshot("demo-desktop")

    def test_its_numbers_are_the_server_s(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        browser.click(ASK_ALL)
        browser.until(lambda: browser.text("#summary"), what="the summary")
        for lane, counted in demo.numbers().items():
            told = {name: str(counted[name]) for name in ("pid", "served", "asked", "processes")}
            on_page = partial(shown, browser, lane)
            browser.until(partial(lambda told, on_page: told.items() <= on_page().items(), told, on_page), what=lane)
            for name, counter in (("median", "median"), ("took", "waited")):
                assert float(on_page()[name]) == pytest.approx(counted[counter] / 1e6, abs=0.06)

    def test_a_request_from_a_terminal_is_drawn_too(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        pid = str(demo.ask("cgi")["pid"])
        browser.until(lambda: shown(browser, "cgi")["pid"] == pid, what="the process")

    def test_the_phases_of_a_model_are_its_own(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        browser.click("#cgi button[value='1']")
        browser.click("#fastcgi button[value='1']")
        script = "return [...document.querySelectorAll(arguments[0])].map((i) => [i.dataset.phase, i.style.left])"

        def phases(lane: str) -> list[str]:
            drawn = browser.run(script, f"#{lane} .rows li:first-child i")
            assert sorted(drawn, key=lambda part: float(part[1].rstrip("%"))) == drawn
            return [name for name, _ in drawn if name != "unmeasured"]

        started = ["fork+exec", "interpreter start", "imports", "receive", "application", "write", "exit"]
        browser.until(lambda: phases("cgi") == started, what="the phases of CGI")
        browser.until(lambda: phases("fastcgi") == ["receive", "application", "write"], what="those of FastCGI")

    def test_zoom_draws_each_lane_to_its_own_scale(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        # After some requests the first one, with the start of its process, is drawn no more.
        browser.until(lambda: demo.ask("fastcgi") and browser.run(LONGEST, "#fastcgi .bar") < 0.9, what="short bars")
        browser.click("#zoom")
        browser.until(lambda: browser.run(LONGEST, "#fastcgi .bar") > 0.95, what="long bars")

    def test_all_at_once_holds_for_the_buttons_of_a_lane_too(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        browser.click("#at_once")
        browser.click("#aio button[value='50']")
        browser.until(lambda: browser.text("#summary").startswith("asyncio: answers 50"), what="the summary")
        assert demo.numbers()["aio"]["median"] > 20e6  # as long as the application waits

    def test_what_is_one_click_away_is_of_the_last_request(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        browser.click("#fork details[data-part=environ] summary")
        browser.click("#fork details[data-part=records] summary")
        demo.get("/fork/somewhere?a=b")
        browser.until(lambda: "/somewhere" in browser.text("#fork details[data-part=environ]"), what="the environ")
        browser.until(lambda: "QUERY_STRING = a=b" in browser.text("#fork .records"), what="the records")
        assert "BEGIN_REQUEST" in browser.text("#fork .records")
        assert "END_REQUEST" in browser.text("#fork .records")

    def test_who_prefers_reduced_motion_sees_few_changes(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo, calm=True)
        browser.run(
            "window.changes = 0; new MutationObserver(() => window.changes++)"
            ".observe(document.querySelector('#fastcgi .rows'), {childList: true})"
        )
        began = time.monotonic()
        browser.click("#fastcgi button[value='50']")
        browser.until(lambda: browser.text("#summary").startswith("FastCGI: answers 50"), what="the summary")
        asked = str(demo.numbers()["fastcgi"]["asked"])
        browser.until(lambda: shown(browser, "fastcgi")["asked"] == asked, what="the last drawing")
        assert 0 < browser.run("return window.changes") <= time.monotonic() - began + 2

    def test_it_says_so_when_the_demo_has_stopped(self, chromium: Browser) -> None:
        with tempfile.TemporaryDirectory(prefix="d-") as folder:
            stopped = Demo(folder, **UNCOVERED)
            visit(chromium, stopped)
            stopped.stop()
        chromium.until(lambda: chromium.text("#connection") == texts("en")["disconnected"], what="the news")
        chromium.click(ASK_ALL)
        chromium.until(lambda: chromium.text("#summary") == texts("en")["disconnected"], what="the news")
        chromium.driver.get("about:blank")
        assert all("net::ERR_" in complaint for complaint in chromium.complaints())


class TestForEverybody:
    def test_the_keyboard_reaches_everything_in_order(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        reached = []
        for _ in range(40):
            browser.press(TAB)
            place, outline = browser.run(FOCUS)
            reached.append(place)
            assert outline != "none"
            if reached[-1] == "PRE":
                break
        of_lanes = [lane for lane in LANES for _ in range(5)]  # two buttons, a link, two things that are a click away
        assert reached == ["A", "A", "BUTTON", "BUTTON", "INPUT", "INPUT", "SUMMARY", *of_lanes, "PRE"]

    def test_the_keyboard_alone_asks_and_looks(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        asked = demo.numbers()["cgi"]["asked"]
        browser.run("document.querySelector('header summary').focus()")
        browser.press(TAB, ENTER)  # the first button of the first lane
        browser.until(lambda: shown(browser, "cgi")["asked"] == str(asked + 1), what="an answer")
        assert browser.run("return document.activeElement.matches('#cgi button')")
        browser.press(TAB, TAB, TAB, ENTER)
        browser.until(lambda: "REQUEST_METHOD" in browser.text("#cgi details[data-part=environ]"), what="the environ")

    def test_every_control_has_a_name_of_its_own(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        nodes = browser.tell("Accessibility.getFullAXTree")["nodes"]
        named = [
            (node["role"]["value"], node["name"]["value"])
            for node in nodes
            if not node["ignored"] and node["role"]["value"] in ("button", "link", "checkbox", "DisclosureTriangle")
        ]
        assert len(named) == 7 + 5 * len(LANES)
        assert len(set(named)) == len(named)
        assert all(name for _, name in named)

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_text_stands_out_from_what_is_behind_it(self, browser: Browser, demo: Demo, theme: str) -> None:
        visit(browser, demo, dark=theme == "dark")
        for lane in LANES:
            browser.click(f"#{lane} details[data-part=records] summary")
        browser.until(lambda: browser.text("#aio .records"), what="the records")
        assert browser.run(FAINT, CONTRAST) == []
        browser.screenshot(f"demo-{theme}")

    @pytest.mark.parametrize("language", ["en", "ko"])
    @pytest.mark.parametrize("size", [PHONE, (320, 640), (800, 600)], ids=str)
    def test_it_fits_a_screen_of_any_width(
        self, browser: Browser, demo: Demo, language: str, size: tuple[int, int]
    ) -> None:  # fmt: skip
        visit(browser, demo, language=language, size=size)
        assert browser.run("return document.documentElement.scrollWidth") <= size[0]
        browser.screenshot(f"demo-{language}-{size[0]}")

    def test_a_korean_browser_gets_it_in_korean(self, browser: Browser, demo: Demo) -> None:
        said = visit(browser, demo, language="ko")
        assert browser.run("return document.documentElement.lang") == "ko"
        assert browser.texts("header button") == [said["ask_all"], said["send_all"]]
        browser.click(ASK_ALL)
        browser.until(lambda: "응답 1개" in browser.text("#summary"), what="the summary")
        browser.screenshot("demo-korean")

    def test_the_language_can_be_switched(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo, language="ko")
        browser.click("nav a[lang=en]")
        browser.until(lambda: browser.text("#connection") == texts("en")["connected"], what="the English page")
        assert browser.text("nav a[aria-current]") == "English"

    def test_without_scripts_a_button_brings_a_page_with_new_numbers(self, browser: Browser, demo: Demo) -> None:
        browser.open(f"{demo.url}/", scripts=False, language="ko")
        before = shown(browser, "cgi")
        browser.click("#cgi button[value='1']")
        asked = str(int(before["asked"]) + 1)
        browser.until(lambda: shown(browser, "cgi").get("asked") == asked, what="another page")
        assert shown(browser, "cgi")["pid"] != before["pid"]
        assert texts("ko")["interpreter start"] in browser.text("#cgi .parts")
        assert texts("ko")["noscript"] in browser.text("footer")
        browser.screenshot("demo-without-scripts")


class TestAlone:
    def test_everything_it_needs_comes_from_the_demo(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        loaded = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert {f"{demo.url}/page.css", f"{demo.url}/page.js", f"{demo.url}/events"} >= set(loaded)

    def test_the_browser_would_let_nothing_else_in(self, browser: Browser, demo: Demo) -> None:
        visit(browser, demo)
        refused = browser.driver.execute_async_script(
            "const done = arguments[0]; document.addEventListener('securitypolicyviolation',"
            " (event) => done(event.effectiveDirective), {once: true});"
            "document.body.append(Object.assign(document.createElement('script'), {textContent: '1'}))"
        )
        assert refused == "script-src-elem"
        assert len(browser.complaints()) == 1


def test_the_picture_in_the_documentation_is_small() -> None:
    picture = (ROOT / "docs" / "images" / "demo.png").read_bytes()
    assert picture[1:4] == b"PNG"
    assert int.from_bytes(picture[16:20], "big") == DESKTOP[0]
    assert len(picture) < 250_000
