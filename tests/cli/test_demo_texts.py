"""What the page of ``gateway demo`` says: whole in every language, and nothing that is not said."""

from __future__ import annotations

import re

import pytest

from gateway.cli.demo import door, page
from gateway.cli.demo.texts import LANGUAGES, choose, texts
from gateway.measure.phases import MEANINGS, UNMEASURED
from tests.house import ROOT

SAID = {language: texts(language) for language in LANGUAGES}
FOLDER = ROOT / "gateway" / "cli" / "demo"
NAMES = {"cgi_name", "fastcgi_name", "aio_name", "fork+exec"}
"""What is called the same in every language."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text(language: str) -> None:
    assert SAID[language].keys() == SAID["en"].keys()
    assert all(SAID[language].values())


def test_korean_is_written_in_korean() -> None:
    assert {key for key, text in SAID["ko"].items() if not re.search("[가-힣]", text)} == NAMES


def test_a_text_has_the_same_places_to_fill_in_every_language() -> None:
    for key in SAID["en"]:
        places = {tuple(sorted(re.findall(r"{\w+}", SAID[language][key]))) for language in LANGUAGES}
        assert len(places) == 1, key


def test_every_phase_has_a_name_and_a_colour() -> None:
    style = (FOLDER / "page.css").read_text("utf-8")
    for phase in (*MEANINGS, UNMEASURED):
        assert phase in SAID["en"]
        assert f'[data-phase="{phase}"]' in style


def test_no_text_is_said_nowhere() -> None:
    sources = "".join((FOLDER / name).read_text("utf-8") for name in ("page.html", "lane.html", "page.js", "page.py"))
    said = set(re.findall(r"\$(\w+)|texts\.(\w+)|say\(\"(\w+)\"|said\[\"(\w+)\"\]|said\['(\w+)'\]", sources))
    found = {key for keys in said for key in keys if key} | {"connected", "disconnected", *MEANINGS, UNMEASURED}
    of_lanes = {f"{lane}_{what}" for lane in door.LANES for what in ("name", "what", "about")}
    of_phases = {f"{phase} means" for phase in page.PHASES}
    assert SAID["en"].keys() - found == of_lanes | of_phases


@pytest.mark.parametrize(
    ("wanted", "accepted", "chosen"),
    [
        ("", "", "en"),
        ("", "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("", "en-GB, ko;q=0.3", "en"),
        ("", "fr, de;q=0.5", "en"),
        ("", "ko;q=none", "en"),
        ("ko", "en", "ko"),
        ("tlh", "ko", "ko"),
    ],
)
def test_the_language_is_the_one_asked_for_or_else_the_browser_s(wanted: str, accepted: str, chosen: str) -> None:
    assert choose(wanted, accepted) == chosen
