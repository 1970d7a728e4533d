"""The HTML page of a comparison: complete, in need of nothing, and readable to whoever comes, on whatever screen."""

from __future__ import annotations

import os
import re
import shlex
import struct
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gateway.measure.agreement import Verdict
from gateway.measure.comparison import Comparison, Level, Row
from gateway.measure.report import PAGE, cpu_chart, headline, latency_chart, memory, render, times
from tests.browser import DESKTOP, PHONE, Browser
from tests.browser import browser as browser
from tests.browser import chromium as chromium
from tests.house import ROOT
from tests.requirements import require

VOID = {"meta", "rect", "line", "circle"}
LEAK = Verdict(4, "GET /me", leaks=True, after="GET /login", diff=[" hi", "-visitor: <nobody>", "+visitor: alice"])
MISSING = {"flup": "pip install flup"}


def level(concurrency: int, *, p50: float, cpu: float | None, failed: int = 0, pss: int = 20 << 20) -> Level:
    """A level of which only these figures matter."""
    throughput = concurrency / p50 if p50 else 0.0
    return Level(concurrency, 1000, failed, throughput, p50, 2 * p50, 3 * p50, p50, cpu, pss, 0.0, (cpu or 0.0,))


def row(name: str, title: str, *, cpu: float | None, p50: float, **fields: Any) -> Row:
    """A model with three loads."""
    levels = [level(concurrency, p50=concurrency * p50, cpu=cpu) for concurrency in (1, 4, 16)]
    return Row(name, title, levels=levels, cpu=cpu, pss=18 << 20, cold_start=0.1, requests=3008, **fields)


def comparison(*rows: Row) -> Comparison:
    """What was measured of a shop."""
    settings = {"concurrency": (1, 4, 16), "rounds": 3, "seconds": 0.28}
    return Comparison("shop:<app>", ["GET /", "GET /login"], list(rows), "cgi", {"python": "CPython 3.13.0"}, settings)


CGI = row("cgi", "CGI: a process for each request", cpu=0.0203, p50=0.018, started=1.0)
WORKER = row("fastcgi", "FastCGI, one worker", cpu=0.000047, p50=0.00012, verdict=LEAK)
APACHE = row("mod_cgid", "Apache mod_cgid: CGI", cpu=None, p50=0.021, started=1.0)
BROKEN = row("aio", "FastCGI, one worker with asyncio", cpu=0.0001, p50=0.0002, failed=7,
             fault="500 Internal Server Error: KeyError", said="Traceback: KeyError")  # fmt: skip
ABSENT = Row("uWSGI", "uWSGI", absence="uWSGI: it exited with status 1")
BROKEN.levels[1] = level(4, p50=0.0, cpu=0.0001, failed=1000)
ALL = comparison(CGI, WORKER, APACHE, BROKEN, ABSENT)


class Page(HTMLParser):
    """What is in a page; every element must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[tuple[str, str | None]] = []
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [pair for pair in attrs if pair[0] in ("src", "href", "action", "data", "poster", "srcset")]
        if ("role", "img") in attrs:
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def html() -> str:
    """The page of everything that there can be."""
    return render(ALL, missing=MISSING)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    """The same, parsed."""
    return Page(html)


@pytest.fixture(scope="module")
def url(html: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a browser finds it."""
    file: Path = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(html, "utf-8")
    return file.as_uri()


def test_the_headline_is_the_ratio_that_matters() -> None:
    assert headline(ALL) == (
        "A process for each request costs 432 × as much CPU as a FastCGI worker that stays: 20.3 ms instead of 47 µs"
    )


@pytest.mark.parametrize("rows", [[WORKER], [CGI], [CGI, BROKEN], [BROKEN, APACHE]])
def test_without_two_that_answered_the_headline_says_what_was_compared(rows: list[Row]) -> None:
    assert headline(comparison(*rows)) == f"shop:<app>, served in {len(rows)} way{'s' * (len(rows) > 1)}"


def test_without_a_worker_the_headline_compares_with_the_cheapest() -> None:
    fork = row("fork", "fork: a warm process forks", cpu=0.002, p50=0.002)
    assert headline(comparison(CGI, fork)).startswith("A process for each request costs 10 × as much CPU as fork: ")


def test_the_page_needs_nothing_but_itself(html: str, page: Page) -> None:
    assert page.links == []
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import|https?:", html)


def test_every_chart_has_a_title_and_a_description(html: str, page: Page) -> None:
    assert len(page.images) == 3
    for image in page.images:
        for name in str(image["aria-labelledby"]).split():
            assert f' id="{name}">' in html


def test_a_chart_is_told_in_words() -> None:
    told = f"{CGI.title}: 20.3 ms; {BROKEN.title}: 100 µs; {WORKER.title}: 47 µs"
    assert f'<desc id="cpu-told">{told}</desc>' in render(ALL, missing={})


def test_an_axis_has_the_powers_of_ten_by_their_names() -> None:
    slow = row("aio", "slow", cpu=0.00002, p50=0.1)
    ticks = re.findall(r'<text class="tick[^>]*>([^<]+)<', cpu_chart(comparison(CGI, slow)) + latency_chart([slow]))
    assert ticks == ["10 µs", "100 µs", "1 ms", "10 ms", "10 ms", "100 ms", "1 s"]


def test_the_page_has_every_figure(page: Page) -> None:
    words = " ".join("".join(page.words).split())
    for figure in ("432 ×", "20.3 ms", "47 µs", "18.0 MiB", "20.0 MiB", "120 µs", "CPython 3.13.0", "0.28", "100 ms"):
        assert figure in words, figure


def test_the_page_shows_where_answers_part(page: Page) -> None:
    words = "".join(page.words)
    assert "request 4, GET /me, is answered differently after GET /login" in words
    assert "-visitor: <nobody>\n+visitor: alice" in words


def test_the_page_reports_what_failed_and_what_is_missing(page: Page) -> None:
    words = "".join(page.words)
    assert "aio failed 7 of 3,008 requests, first with: 500 Internal Server Error: KeyError." in words
    assert "Traceback: KeyError" in words
    assert "uWSGI: it exited with status 1" in words
    assert "Not installed: flup: pip install flup." in words


def test_a_name_is_no_markup(html: str) -> None:
    assert "<app>" not in html
    assert "shop:&lt;app&gt;" in html


def test_a_page_of_one_model_is_a_page() -> None:
    Page(render(comparison(WORKER), missing={}))


def test_the_template_has_both_schemes_and_a_printed_one() -> None:
    text = PAGE.read_text("utf-8")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


@pytest.mark.parametrize(
    ("ratio", "shown"), [(None, "–"), (0.8, "0.8 ×"), (9.94, "9.9 ×"), (9.96, "10 ×"), (1234.5, "1,234 ×")]
)
def test_a_ratio_has_the_digits_that_matter(ratio: float | None, shown: str) -> None:
    assert times(ratio) == shown


def test_memory_is_in_mebibytes() -> None:
    assert (memory(0), memory(19_922_944)) == ("0", "19.0 MiB")


@pytest.mark.parametrize("size", [DESKTOP, PHONE, (360, 740)], ids=["desktop", "phone", "small phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_browser_nothing_is_cut_off(
    browser: Browser, url: str, size: tuple[int, int], *, dark: bool
) -> None:  # fmt: skip
    browser.open(url, size=size, dark=dark, offline=True, scripts=True)
    browser.screenshot(f"report-{size[0]}-{'dark' if dark else 'light'}")
    assert "432\N{NO-BREAK SPACE}× as much CPU" in browser.text("h1")
    # Every label of a chart, and the page as a whole, ends before the right edge does.
    edge = "Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll('svg text')]"
    assert browser.run(f"return {edge}.map((text) => text.getBoundingClientRect().right))") <= size[0]
    assert browser.run("return performance.getEntriesByType('resource').length") == 0


def test_in_the_dark_letters_are_light(browser: Browser, url: str) -> None:
    colours = "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
    browser.open(url)
    light = browser.run(colours)
    browser.open(url, dark=True)
    assert [sum(map(int, re.findall(r"\d+", one))) > 384 for one in (*light, *browser.run(colours))] == [
        False, True, True, False
    ]  # fmt: skip


def test_the_picture_in_the_documentation_is_made_as_it_says(html: str, tmp_path: Path) -> None:
    chromium = require("chromium", package="chromium")
    pictures = ROOT / "docs" / "images"
    _, command = re.findall(r"^    (.+)$", (pictures / "README.md").read_text("utf-8"), re.MULTILINE)
    (tmp_path / "report.html").write_text(html, "utf-8")
    unboxed = ["--no-sandbox"] * (os.geteuid() == 0)  # Chromium refuses to run as root with it
    done = subprocess.run(
        [chromium, *unboxed, *shlex.split(command)[1:]], cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sizes = [(folder / "report.png").read_bytes()[16:24] for folder in (pictures, tmp_path)]  # PNG §11.2.1
    assert sizes == [struct.pack(">II", 1440, 1400)] * 2
    assert (pictures / "report.png").stat().st_size < 200_000
