"""``docs/from-cgi-bin.md``, tried from its first line to its last; nginx is started where its configuration stands."""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.page import Page, Reader
from tests.peers.frontends.processes import unused_port
from tests.peers.frontends.servers import nginx
from tests.requirements import require, require_module

PAGE = Page("from-cgi-bin.md")


class Visitor(Reader):
    """Who follows the page."""

    def __init__(self, folder: Path) -> None:
        port = unused_port()
        own = {
            "127.0.0.1:8000": f"127.0.0.1:{port}",
            "--port 8000": f"--port {port}",
            "/run/cgi.sock": str(folder / "cgi.sock"),
            "www-data": pwd.getpwuid(os.geteuid()).pw_name,
            "/srv/venv": str(Path(sys.executable).parent.parent),
        }
        super().__init__(PAGE, folder, own=own)

    def configure(self, stack: ExitStack) -> None:
        """Start nginx."""
        site = stack.enter_context(nginx(self.folder, "cgi-bin.conf", {"/run/cgi.sock": self.own["/run/cgi.sock"]}))
        self.own["127.0.0.1:8080"] = f"127.0.0.1:{site.port}"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each command of the page said."""
    for program, package in {"cc": "gcc", "curl": "curl", "perl": "perl", "php-cgi": "php-cgi"}.items():
        require(program, package=package)
    for module in ("flask", "django"):
        require_module(module, package=module)
    if sys.version_info >= (3, 13):
        require_module("cgi", package="legacy-cgi")
    with ExitStack() as stack:
        reader = Visitor(tmp_path_factory.mktemp("site"))
        reader.follow(stack)
        yield reader.said


@pytest.mark.parametrize(("number", "command", "output"), [(n, *pair) for n, pair in enumerate(PAGE.commands)])
def test_a_command_says_what_the_page_shows(said: list[str], number: int, command: str, output: str) -> None:
    assert said[number] == output, command


def test_the_page_quotes_the_configuration() -> None:
    quoted = [text for _, language, text in PAGE.blocks if language == "nginx"]
    assert quoted == [(ROOT / "examples" / "nginx" / "cgi-bin.conf").read_text("utf-8")]


def test_every_block_is_tried() -> None:
    assert PAGE.untried() == ["nginx"]


def test_the_extra_that_it_names_brings_legacy_cgi() -> None:
    assert "gateway[legacy]" in PAGE.text
    assert re.search(r"^legacy =\n    legacy-cgi;", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("link", PAGE.links())
def test_a_link_leads_somewhere(link: str) -> None:
    assert PAGE.leads_somewhere(link)
