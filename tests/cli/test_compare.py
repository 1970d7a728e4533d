"""``gateway compare``: from a command line to tables, JSON and a report, and what its exit status says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import main
from gateway.measure import agreement
from gateway.measure.comparison import Settings
from gateway.measure.models import MODELS
from gateway.measure.peers import PEERS
from gateway.measure.processes import Tree
from tests.house import ROOT
from tests.serving import until

QUICK = ("--rounds", "1", "--seconds", "0.05", "--concurrency", "2,1")
SCRIPT = f"#!{sys.executable}\nprint('Content-Type: text/plain\\n\\nhello')\n"


def run(*arguments: str, chdir: Path = ROOT) -> Result:
    """The command, in this process; its servers start in a folder."""
    return CliRunner().invoke(main, ["compare", "--chdir", str(chdir), *QUICK, *arguments])


def compare(*arguments: str, chdir: Path = ROOT, status: int = 0) -> dict[str, Any]:
    """What it measured."""
    result = run("--json", "-", *arguments, chdir=chdir)
    assert result.exit_code == status, result.output
    return dict(json.loads(result.stdout))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path, Path]:
    """The command on examples/hello.py: what it said, the report and the figures that it wrote."""
    folder = tmp_path_factory.mktemp("compare")
    html, figures = folder / "report.html", folder / "figures.json"
    models = "cgi,fork,fastcgi,scgi"
    done = run("examples.hello:application", "--models", models, "--html", str(html), "--json", str(figures))
    return done, html, figures


class TestHello:
    def test_says_first_what_a_process_costs(self, files: tuple[Result, Path, Path]) -> None:
        assert files[0].exit_code == 0, files[0].output
        assert files[0].stdout.lstrip().startswith("A process for each request costs ")
        assert " × as much CPU as a FastCGI worker that stays: " in files[0].stdout

    def test_has_a_row_for_each_model_in_each_table(self, files: tuple[Result, Path, Path]) -> None:
        words = [line.split()[0] for line in files[0].stdout.splitlines() if line.strip()]
        assert [word for word in words if word in ("cgi", "fork", "fastcgi", "scgi")] == [
            "cgi", "fork", "fastcgi", "scgi",
        ] * 2  # fmt: skip
        assert "2 visitors at once" in files[0].stdout

    def test_shows_where_the_application_shows_how_it_is_served(self, files: tuple[Result, Path, Path]) -> None:
        assert "fork, fastcgi, scgi: request 1, GET /, is answered differently, even alone" in files[0].stdout
        assert "    -Hello from process … (one request, then exit)" in files[0].stdout

    def test_writes_figures_and_report(self, files: tuple[Result, Path, Path]) -> None:
        _, html, figures = files
        assert [row["name"] for row in json.loads(figures.read_text())["models"]] == ["cgi", "fork", "fastcgi", "scgi"]
        assert html.read_text("utf-8").startswith("<!DOCTYPE html>")
        assert f"Written: {html}" in files[0].stderr


def test_a_django_project_answers_alike_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "REPLAYED", 2)
    project = ROOT / "examples" / "django_project"
    figures = compare("notes.wsgi:application", "--models", "cgi,fastcgi", chdir=project)
    cgi, worker = figures["models"]
    assert worker["says"] == "answers agree"
    assert cgi["ratio"] > 10


def test_an_asgi_application_is_compared_as_well() -> None:
    figures = compare("tests.measure.stateful:asynchronous", "--models", "fastcgi,http")
    assert [row["says"] for row in figures["models"]] == ["answers agree"] * 2


def test_a_script_and_a_directory_are_compared_as_well(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(SCRIPT)
    (tmp_path / "hello.py").chmod(0o755)
    for target, path in (("hello.py", "/"), (".", "/hello.py")):
        figures = compare(target, "--models", "cgi,warm,inprocess", chdir=tmp_path)
        assert figures["requests"] == [f"GET {path}"]
        assert [(row["failed"], row["says"]) for row in figures["models"]] == [(0, "answers agree")] * 3


def test_state_that_leaks_is_an_exit_status_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("/\n/login\n/\n")
    arguments = ("--models", "cgi,threads", "--threads", "2", "--urls", str(tmp_path / "urls.txt"))
    result = run("tests.measure.stateful:leaky", *arguments)
    assert result.exit_code == 4
    assert "threads: request 3, GET /, is answered differently after GET /login" in result.stdout


def test_a_crash_is_an_exit_status_of_its_own() -> None:
    result = run("tests.measure.stateful:dying", "--models", "cgi,fastcgi")
    assert result.exit_code == 4
    assert "fastcgi: request 3, GET /, fails after the 2 before it" in result.stdout
    assert "first with: 502 Bad Gateway: " in result.stdout
    assert "exited with code 7." in result.stdout


def test_what_a_browser_asked_is_asked_again(tmp_path: Path) -> None:
    entry = {"request": {"method": "GET", "url": "https://shop.example/basket?id=7"}}
    (tmp_path / "shop.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    figures = compare(
        "tests.measure.stateful:hello", "--models", "fastcgi", "--processes", "3", "--har", str(tmp_path / "shop.har")
    )
    assert figures["requests"] == ["GET /basket?id=7"]
    assert figures["settings"]["processes"] == 3


def test_the_report_on_stdout_is_all_there_is() -> None:
    result = run("tests.measure.stateful:hello", "--models", "fastcgi", "--html", "-")
    assert result.stdout.startswith("<!DOCTYPE html>")
    assert result.stdout.endswith("</html>\n")


def test_the_help_names_every_model_within_80_columns() -> None:
    text = CliRunner().invoke(main, ["compare", "--help"]).stdout
    assert {*MODELS, *PEERS} <= {*re.findall(r"[\w-]+", text)}
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["no_such_module:app"], 3, "cannot load 'no_such_module:app'"),
        (["examples.hello:application", "--models", "fcgi"], 1, "no model is called 'fcgi'; there are: cgi, fork"),
        (["examples.hello:application", "--concurrency", "1,x"], 2, "'1,x' is no list of numbers; write for example"),
        (["examples.hello:application", "--concurrency", "0"], 2, "is no list of numbers"),
        (["examples.hello:application", "--urls", "setup.cfg", "--har", "setup.cfg"], 2, "leave one out"),
        (["examples.hello:application", "--urls", "no/such/file"], 2, "does not exist"),
        (["examples.hello:application", "--har", "setup.cfg"], 1, "setup.cfg is no HAR file"),
        ([], 2, "Missing argument 'TARGET'"),
    ],
)
def test_a_mistake_says_what_to_do(
    arguments: list[str], status: int, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    result = run(*arguments)
    assert (result.exit_code, complaint in result.output) == (status, True), result.output


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "no" / "report.html"
    result = run("tests.measure.stateful:hello", "--models", "fastcgi", "--html", str(file))
    assert result.exit_code == 1
    assert f"cannot write {file}: No such file or directory; name another file" in result.output


def test_by_default_there_are_as_many_workers_as_processors() -> None:
    assert Settings().processes == max(2, os.cpu_count() or 1)


def test_a_signal_ends_it_with_all_that_it_has_started() -> None:
    command = [sys.executable, "-m", "gateway", "compare", "--models", "fastcgi", "examples.hello:application"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as comparing:
        tree = Tree(comparing.pid)
        until(lambda: len(tree.pids()) >= 3, timeout=30)  # itself, an arbiter, a worker
        others = [Tree(pid) for pid in tree.pids()]
        comparing.send_signal(signal.SIGTERM)
        assert comparing.wait(30) == 128 + signal.SIGTERM
    assert until(lambda: not any(one.pids() for one in others))
