"""``docs/persistent-workers.md``, tried from its first line to its last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.limits import LIMITS
from tests.page import Page, Reader

PAGE = Page("persistent-workers.md")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each command of the page said."""
    folder = tmp_path_factory.mktemp("shop")
    with ExitStack() as stack:
        reader = Reader(PAGE, folder, own={"/run/shop.sock": str(folder / "shop.sock")})
        reader.follow(stack)
        yield reader.said


@pytest.mark.parametrize(("number", "command", "output"), [(n, *pair) for n, pair in enumerate(PAGE.commands)])
def test_a_command_says_what_the_page_shows(said: list[str], number: int, command: str, output: str) -> None:
    assert said[number] == output, command


def test_every_block_is_tried() -> None:
    assert PAGE.untried() == []


def test_the_limits_that_it_names_hold() -> None:
    assert f"{LIMITS['record_body'] // 1024} KiB are kept (`--limit-record-body`)" in PAGE.text
    assert f"{LIMITS['record_requests']:,}\nrequests of each process (`--limit-record-requests`)" in PAGE.text
