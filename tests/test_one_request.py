"""``docs/one-request.md`` and its Korean half: alike in sections, commands and figures, and true.

The page's files are written and its commands run, in a directory like the reader's.  Figures differ from machine to
machine; what else the commands say must be what the page shows.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.trace_page import LETTERS
from gateway.measure.phases import MEANINGS
from tests.house import ROOT
from tests.peers.frontends.processes import child_environ
from tests.requirements import require_module

DOCS = ROOT / "docs"
ENGLISH, KOREAN = ((DOCS / name).read_text("utf-8") for name in ("one-request.md", "one-request.ko.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"`(\w+\.py)`[^`]*```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMANDS = [text for language, text in BLOCK.findall(ENGLISH) if language == "console"]
PROGRAMS = {"gateway": "-m gateway", "cgi-run": "-m gateway.cli.cgi_run", "python3": ""}
LEFT_OUT = "…"


def prose(page: str) -> str:
    """A page without its blocks."""
    return BLOCK.sub("", page)


def sections(page: str) -> list[str]:
    """The prose below each heading."""
    return re.split(r"^#+ .*$", prose(page), flags=re.MULTILINE)[1:]


def figures(text: str) -> list[str]:
    """The numbers in a text."""
    return sorted(re.findall(r"(?<![\d.])\d+(?:,\d{3})*(?:\.\d+)?(?![\d.]*\d)", text))


class TestOfTheTwoLanguages:
    def test_they_have_the_same_sections(self) -> None:
        levels = [re.findall(r"^(#+) ", prose(page), re.MULTILINE) for page in (ENGLISH, KOREAN)]
        assert levels[0] == levels[1]

    def test_they_have_the_same_commands_programs_and_drawings(self) -> None:
        assert BLOCK.findall(ENGLISH) == BLOCK.findall(KOREAN)

    @pytest.mark.parametrize("number", range(len(sections(ENGLISH))))
    def test_they_have_the_same_figures(self, number: int) -> None:
        english, korean = figures(sections(ENGLISH)[number]), figures(sections(KOREAN)[number])
        assert english == korean

    def test_their_tables_have_the_same_rows_and_columns(self) -> None:
        shapes = [[line.count("|") for line in page.splitlines() if line.startswith("|")] for page in (ENGLISH, KOREAN)]
        assert shapes[0] == shapes[1]

    def test_their_links_lead_to_the_same_pages_and_those_are_there(self) -> None:
        own = {"one-request.md", "one-request.ko.md"}
        linked = [set(re.findall(r"\]\(([^)]+)\)", page)) - own for page in (ENGLISH, KOREAN)]
        assert linked[0] == linked[1]
        assert all((DOCS / link).exists() for link in linked[0])


class TestOfWhatItClaims:
    @pytest.mark.parametrize("name", MEANINGS)
    def test_it_says_of_each_phase_how_it_is_measured(self, name: str) -> None:
        assert f"| `{LETTERS[name][0]}` | {name} | {MEANINGS[name]} |\n" in ENGLISH
        assert f"| `{LETTERS[name][0]}` | {name} | " in KOREAN

    def test_its_figures_are_those_of_the_commands(self) -> None:
        shown = [float(figure.replace(",", "")) for figure in figures("".join(COMMANDS))]
        for section in sections(ENGLISH)[2:]:
            text = "\n".join(line for line in section.splitlines() if line[:1] != "|")
            for figure in re.findall(r"\d+\.\d+", text):
                digits = len(figure.partition(".")[2])
                assert any(round(one, digits) == float(figure) for one in shown), f"{figure} stands in no output"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's directory, with the page's files in it."""
    require_module("django", package="django")
    folder = tmp_path_factory.mktemp("one-request")
    for name, text in FILE.findall(ENGLISH):
        (folder / name).write_text(text, "utf-8")
    shutil.copytree(ROOT / "examples" / "django_project", folder / "django_project")
    programs = folder / "bin"
    programs.mkdir()
    for name, words in PROGRAMS.items():
        (programs / name).write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {words} "$@"\n')
        (programs / name).chmod(0o755)
    return folder


def run(command: str, folder: Path) -> str:
    """What a command writes to stdout, on a wide terminal."""
    environ = child_environ(folder)
    environ |= {"PATH": f"{folder / 'bin'}:{environ['PATH']}", "COLUMNS": "110"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=100,
    ).stdout  # fmt: skip


def session(block: str) -> tuple[str, str]:
    """The command of a block, and what it shows."""
    parted = re.fullmatch(r"\$ (.*\n(?:> .*\n)*)((?:.*\n)*)", block)
    assert parted
    return parted[1].replace("\n> ", "\n"), parted[2]


def shape(text: str) -> list[str]:
    """The lines of a text but for what differs from run to run: figures, and what is drawn from them."""
    text = re.sub(r"^(\w+ +\w+) [A-Za-z·]+ +(?=[\d.]+ ms)", r"\1 BAR ", text, flags=re.MULTILINE)
    text = re.sub(r"\d[\d.,]*( (ms|µs|s|[KM]iB)\b)?", "N", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: " ".join(block.split()[1:4]))
def test_a_command_says_what_the_page_shows(block: str, folder: Path) -> None:
    command, shown = session(block)
    said = iter(shape(run(command, folder)))
    for line in shape(shown):
        assert line == LEFT_OUT or line in said, f"{line!r} is not said, or not there"
