"""A browser for tests of pages: Debian's Chromium without a screen, driven by its chromedriver (W3C WebDriver).

    def test_…(browser: Browser) -> None:
        browser.open(url, language="ko")
        browser.press(TAB, ENTER)
        browser.until(lambda: browser.text("#cgi .pid"), what="an answer")

``browser`` is one Chromium for all tests of a file; ``open`` makes it a new visitor.  A test that has logged errors to
the console fails.  Not together with ``nothing_left_over``: Chromium starts processes as it likes.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.house import ROOT
from tests.requirements import require, require_module

SCREENSHOTS = ROOT / "build" / "screenshots"
"""Where pictures of pages are kept; no part of the repository."""
PATIENCE = 20.0
TAB, ENTER = "\ue004", "\ue007"  # W3C WebDriver, §17.4.2
DESKTOP, PHONE = (1280, 900), (390, 844)

T = TypeVar("T")


class Browser:
    """One Chromium, and what tests ask it for."""

    def __init__(self) -> None:
        require_module("selenium", package="selenium")
        chromium = require("chromium", package="chromium")
        driver = require("chromedriver", package="chromium-driver")
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in ("headless=new", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars", "no-first-run"):
            options.add_argument(f"--{argument}")
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium refuses to run as root with it
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        self._agent = self.driver.execute_script("return navigator.userAgent")

    def close(self) -> None:
        """End it."""
        self.driver.quit()

    def open(
        self, url: str, *, language: str = "en", size: tuple[int, int] = DESKTOP, dark: bool = False,
        calm: bool = False, scripts: bool = True, offline: bool = False,
    ) -> None:  # fmt: skip
        """Show a page to a new visitor; ``calm`` is one who prefers reduced motion."""
        width, height = size
        media = {"prefers-color-scheme": "dark" if dark else "light"}
        media["prefers-reduced-motion"] = "reduce" if calm else "no-preference"
        self.tell("Network.enable")
        self.tell("Network.clearBrowserCookies")
        speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.tell("Network.emulateNetworkConditions", offline=offline, **speed)
        self.tell("Network.setUserAgentOverride", userAgent=self._agent, acceptLanguage=language)
        self.tell("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.tell("Emulation.setEmulatedMedia", features=[{"name": name, "value": media[name]} for name in media])
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.tell("Emulation.setDeviceMetricsOverride", **screen)
        self.driver.get(url)

    def tell(self, command: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools Protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def run(self, script: str, *arguments: object) -> Any:
        """What a function with this body returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """What is read at the first element that a CSS selector finds, "" if it finds none yet."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)).strip()

    def texts(self, selector: str) -> list[str]:
        """What is read at each."""
        script = "return Array.from(document.querySelectorAll(arguments[0]), (found) => found.innerText.trim())"
        found: list[str] = self.run(script, selector)
        return found

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return int(self.run("return document.querySelectorAll(arguments[0]).length", selector))

    def click(self, selector: str) -> None:
        """Click where a person would: it must be there, and not be covered."""
        self.driver.find_element("css selector", selector).click()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def until(self, condition: Callable[[], T], *, what: str) -> T:
        """Wait for the first true value of a condition."""
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for {what}"
            time.sleep(0.02)
        return value

    def complaints(self) -> list[str]:
        """What the console has complained about since the last time: scripts, the network, the security policy."""
        log: list[dict[str, Any]] = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]

    def screenshot(self, name: str, *, height: float = 0.0) -> Path:
        """Keep a picture of the whole page, or of so many pixels from its top."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        whole = self.tell("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": whole["width"], "height": height or whole["height"], "scale": 1}
        picture = self.tell("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path = SCREENSHOTS / f"{name}.png"
        path.write_bytes(base64.b64decode(picture))
        return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser of a file of tests."""
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The same, for one test, whose pages must leave the console empty."""
    yield chromium
    complaints = chromium.complaints()
    chromium.driver.get("about:blank")  # nothing of its page goes on
    assert not complaints, "\n".join(complaints)
