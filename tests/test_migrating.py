"""``docs/migrating.md``, tried from its first line to its last: every file is written, every command run as shown."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.compat import AMENDED, REMOVED, REPLACED
from tests import virtual_environment
from tests.house import ROOT
from tests.page import Page, Reader
from tests.peers.frontends.processes import unused_port
from tests.requirements import require, require_module

PAGE = Page("migrating.md")


@pytest.fixture(scope="module")
def said() -> Iterator[list[str]]:
    """What each command of the page said."""
    for program in ("curl", "spawn-fcgi"):
        require(program, package=program)
    require_module("django", package="django")
    if sys.version_info >= (3, 13):
        require_module("cgi", package="legacy-cgi")
    folder = Path(tempfile.mkdtemp(prefix="gateway-")).resolve()
    folder.chmod(0o755)  # unlike those of pytest: CGI programs of root's run as nobody
    own = {number: str(unused_port()) for number in ("4000", "3033", "8000")} | {
        "/run/flip.sock": str(folder / "flip.sock"),
        "/run/shop.sock": str(folder / "shop.sock"),
        "/srv/venv": str(folder / "venv"),
        "/srv/shop": str(folder),
        "www-data": pwd.getpwuid(os.geteuid()).pw_name,
    }
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        reader = Reader(PAGE, folder, own=own, python=virtual_environment.make(folder / "venv"))
        reader.follow(stack)
        yield reader.said


@pytest.mark.parametrize(("number", "command", "output"), [(n, *pair) for n, pair in enumerate(PAGE.commands)])
def test_a_command_says_what_the_page_shows(said: list[str], number: int, command: str, output: str) -> None:
    assert said[number] == output, command


def test_every_block_is_tried() -> None:
    assert PAGE.untried() == []


def test_every_name_that_compat_stands_in_for_has_a_section() -> None:
    headings = " ".join(re.findall(r"^## (.*)$", PAGE.text, re.MULTILINE))
    packages = {name.partition(".")[0] for name in (*REPLACED, *AMENDED, *REMOVED)}
    assert [name for name in packages if {"django": "runfcgi"}.get(name, name) not in headings] == []


@pytest.mark.parametrize("extra", ["legacy", "migrate"])
def test_an_extra_that_it_names_is_there(extra: str) -> None:
    assert f"gateway[{extra}]" in PAGE.text
    assert re.search(rf"^{extra} =\n    \w", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("link", PAGE.links())
def test_a_link_leads_somewhere(link: str) -> None:
    assert PAGE.leads_somewhere(link)
