"""The console script ``gateway``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway import __version__
from gateway.cli.main import COMMANDS, main
from tests.house import ROOT
from tests.imports import modules_imported


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("command", ["gateway demo", "fcgi-run app:application", "cgi-run app:application"])
def test_help_names_every_command(command: str) -> None:
    assert command in invoke("--help")


def test_help_has_a_line_for_every_command() -> None:
    lines = invoke("--help").partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines[: len(COMMANDS)]] == [*COMMANDS]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert f" {command} [OPTIONS]" in invoke(command, "--help")


def test_help_fits_a_terminal_of_80_columns() -> None:
    assert max(map(len, invoke("--help").splitlines())) <= 80


def test_help_says_in_which_situation_to_use_which() -> None:
    help_text = " ".join(invoke("--help").split())
    assert "fcgi-run The web server speaks FastCGI" in help_text
    assert "cgi-run The web server starts a program for each request" in help_text


def test_the_version_is_the_package_s() -> None:
    assert invoke("--version") == f"gateway, version {__version__}\n"


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["server"])
    assert (result.exit_code, "No such command 'server'" in result.output) == (2, True)


def test_a_port_must_be_one() -> None:
    result = CliRunner().invoke(main, ["demo", "--port", "65536"])
    assert (result.exit_code, "65536 is not in the range" in result.output) == (2, True)


def test_the_demo_says_where_it_can_run_when_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.fork")
    result = CliRunner().invoke(main, ["demo"])
    assert (result.exit_code, "run it on Linux" in result.output) == (1, True)


def test_python_m_gateway_is_the_same_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--version"],
        env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == f"gateway, version {__version__}\n"


def test_help_loads_no_server() -> None:
    imported = modules_imported([sys.executable, "-m", "gateway", "--help"], env={"PYTHONPATH": str(ROOT)})
    assert not {"gunicorn", "rich", "socket", "gateway.workers", "gateway.client"} & imported
