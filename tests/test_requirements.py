"""A missing peer skips with advice, and fails in CI."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.requirements import require, require_module


@pytest.fixture
def newcomer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_REQUIRE_PEERS", raising=False)


@pytest.fixture
def ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_REQUIRE_PEERS", "1")


@pytest.mark.usefixtures("newcomer")
def test_a_newcomer_is_told_what_to_install() -> None:
    with pytest.raises(pytest.skip.Exception, match="not on this machine; to run this test: apt-get"):
        require("no-such-server", package="nosuch")
    with pytest.raises(pytest.skip.Exception, match="to run this test: pip install nosuch"):
        require_module("no_such_module", package="nosuch")


@pytest.mark.usefixtures("ci")
def test_ci_fails_where_something_is_missing() -> None:
    with pytest.raises(pytest.fail.Exception, match="no-such-server is not on this machine"):
        require("no-such-server", package="nosuch")
    with pytest.raises(pytest.fail.Exception, match="no_such_module is not on this machine"):
        require_module("no_such_module", package="nosuch")


def test_a_name_a_pattern_and_a_path_are_found() -> None:
    shell = require("sh", package="dash")
    assert require(shell, package="dash") == require("s[h]", package="dash") == shell
    assert require(__file__, package="gateway") == __file__


def test_the_newest_match_of_a_pattern_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.requirements.FOLDERS", [str(tmp_path)])
    for name in ("php-fpm8.2", "php-fpm8.4", "php-fpm8.3"):
        (tmp_path / name).touch(mode=0o755)
    assert require("php-fpm*", package="php-fpm") == str(tmp_path / "php-fpm8.4")


def test_a_module_that_fails_to_import_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_module_either")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ModuleNotFoundError, match="no_such_module_either"):
        require_module("half_installed", package="half-installed")
