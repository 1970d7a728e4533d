"""``gateway trace``: requests as bars and figures, environs side by side, wires decoded, and how it exits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.annotate import Annotation, annotator
from gateway.cli.main import main
from gateway.cli.trace_page import BAR, bar
from gateway.events import WEB_SERVER
from gateway.measure.phases import MODELS, Timeline
from tests.house import ROOT

HELLO = f"{ROOT}/examples/hello.py:application"
APPLICATIONS = """\
import os

def parted(environ, start_response):
    start_response("200 OK" if environ["wsgi.run_once"] else "404 Not Found", [])
    return [b"x"]

def dying(environ, start_response):
    os._exit(1)
"""


def trace(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["trace", *arguments])


@pytest.fixture(scope="module")
def page() -> str:
    """What is shown for the usual models."""
    result = trace(HELLO, "/path?name=value")
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def long_page() -> str:
    """What is shown for other models, verbosely."""
    return trace("-v", "--chdir", f"{ROOT}/examples", "--as", "fastcgi,scgi,uwsgi,http", "hello:application").stdout


@pytest.fixture(scope="module")
def told() -> Any:
    """What is told to programs, of all models."""
    return json.loads(trace("--json", "--as", ",".join(MODELS), HELLO, "/path").stdout)


def section(page: str, title: str) -> str:
    """The lines below a title."""
    return page.partition(title)[2].partition("\n\n")[0]


class TestOfThePage:
    def test_each_request_is_a_bar(self, page: str) -> None:
        bars = re.findall(r"^(\w+) +(1st|2nd) ([A-Za-z·]+) +([\d.]+) ms  pid \d+, its (1st|2nd) request$", page, re.M)
        assert [(model, ordinal, served) for model, ordinal, _, _, served in bars] == [
            ("cgi", "1st", "1st"), ("cgi", "2nd", "1st"), ("fork", "1st", "1st"), ("fork", "2nd", "1st"),
            ("fastcgi", "1st", "1st"), ("fastcgi", "2nd", "2nd"),
        ]  # fmt: skip
        assert max(len(drawn) for _, _, drawn, _, _ in bars) == BAR

    def test_each_phase_is_a_row_whose_cells_add_up(self, page: str) -> None:
        rows = re.findall(r"^ (\S) (.{18})((?: +[\d.–]+){6})$", page, re.M)
        assert [name.strip() for _, name, _ in rows] == [
            "fork+exec", "interpreter start", "imports", "accept", "receive", "fork", "application", "write", "exit",
            "unmeasured",
        ]  # fmt: skip
        cells = [[0.0 if cell == "–" else float(cell) for cell in row.split()] for _, _, row in rows]
        whole = [float(cell) for cell in section(page, "whole").partition("\n")[0].split()]
        assert [sum(column) for column in zip(*cells, strict=True)] == pytest.approx(whole, abs=0.01)

    def test_it_says_how_much_a_process_for_each_request_costs(self, page: str) -> None:
        whole = dict(re.findall(r"^(\w+) +2nd \S+ +([\d.]+) ms", page, re.M))
        times = re.findall(r"^The 2nd request takes ([\d.]+) times as long by (\w+) as by fastcgi\.$", page, re.M)
        for factor, model in times:
            assert float(factor) == pytest.approx(float(whole[model]) / float(whole["fastcgi"]), rel=0.05, abs=0.1)
        assert [model for _, model in times] == ["cgi", "fork"]

    def test_where_nothing_stays_a_fork_is_the_measure(self) -> None:
        page = trace("--as", "fork,cgi", HELLO).stdout
        assert re.search(r"^The 2nd request takes [\d.]+ times as long by cgi as by fork\.$", page, re.M)

    def test_a_variable_that_differs_stands_with_the_models_that_give_it(self, page: str) -> None:
        environ = section(page, "environ: what the application is called with\n")
        assert re.search(r"^  wsgi.run_once +cgi +True\n +fork, fastcgi +False$", environ, re.M)
        assert re.search(r"^  SERVER_SOFTWARE +cgi +gateway\n +fork, fastcgi +–$", environ, re.M)

    def test_those_that_are_the_same_are_only_named(self, page: str) -> None:
        alike = section(page, "environ: what the application is called with\n").partition("The same by all:")[2]
        assert {"REQUEST_METHOD", "QUERY_STRING", "wsgi.version"} <= {name.strip() for name in alike.split(",")}

    def test_a_wire_that_two_models_speak_is_shown_once(self, page: str) -> None:
        said = section(page, "fastcgi: what crosses the wire (fork, fastcgi, 1st request)\n").splitlines()
        assert said[0] == "> BEGIN_REQUEST  request 1  Responder  keep the connection"
        assert {">   QUERY_STRING = name=value", "<   Status: 200 OK"} < set(said)

    def test_of_cgi_the_environment_and_stdout_are(self, page: str) -> None:
        said = section(page, "cgi: environment and stdout, run once more (cgi, 1st request)\n").splitlines()
        assert {"> QUERY_STRING = name=value", "< Status: 200 OK"} < set(said)
        assert not any(line.startswith("> PATH =") for line in said)

    def test_verbosely_each_byte_is(self, long_page: str) -> None:
        said = section(long_page, "scgi: what crosses the wire (scgi, 1st request)\n")
        assert re.search(r"^> 00000004  43 4f 4e 54 45 4e 54 5f  CONTENT_ +CONTENT_LENGTH =", said, re.M)
        assert re.search(r"^< 00000000  53 74 61 74 75 73 ", said, re.M)

    def test_more_models_than_fit_are_told_in_another_table(self, long_page: str) -> None:
        heads = re.findall(r"^milliseconds +(.*)$", long_page, re.M)
        assert [head.split() for head in heads] == [["fastcgi", "scgi", "uwsgi"], ["http"]]


    def test_a_name_in_any_script_goes_over_any_wire(self) -> None:
        page = trace("--as", "cgi,uwsgi", HELLO, "/이름").stdout
        assert page.startswith(f"{HELLO}, GET /%EC%9D%B4%EB%A6%84\n")
        assert [line.split() for line in page.splitlines() if "> " in line and " PATH_INFO" in line] == [
            [">", "PATH_INFO", "=", "/이름"], [">", "PATH_INFO", "=", "/이름"],
        ]  # fmt: skip


class TestOfJSON:
    def test_every_request_of_every_model_is_there(self, told: Any) -> None:
        assert [request["model"] for request in told["requests"]] == [model for model in MODELS for _ in range(2)]

    def test_its_phases_reach_from_its_beginning_to_its_end(self, told: Any) -> None:
        for request in told["requests"]:
            ends = [phase["end"] for phase in request["phases"]]
            assert [phase["start"] for phase in request["phases"]] == [0, *ends[:-1]]
            assert ends[-1] == request["whole"]

    def test_its_bytes_are_those_of_the_wire(self, told: Any) -> None:
        first = {wire: said[0] for wire, said in told["wires"].items()}
        assert {said["from"] for said in first.values()} == {"web-server"}
        for wire, said in first.items():
            annotation = Annotation(annotator(wire, WEB_SERVER))
            assert b"".join(line.data for line in annotation.feed(bytes.fromhex(said["hex"])))
            assert annotation.fault is None

    def test_the_environ_of_every_model_is_there(self, told: Any) -> None:
        assert {environ["PATH_INFO"] for environ in told["environ"].values()} == {"/path"}


class TestOfTheExit:
    def test_models_that_answer_otherwise_are_1(self, tmp_path: Path) -> None:
        (tmp_path / "parted.py").write_text(APPLICATIONS)
        result = trace("--as", "cgi,fork", "--chdir", str(tmp_path), "parted:parted")
        assert (result.exit_code, "do not answer alike: 200 OK, 404 Not Found" in result.stderr) == (1, True)

    def test_an_application_that_dies_is_1_and_its_bar_has_no_more_than_was_told(self, tmp_path: Path) -> None:
        (tmp_path / "dying.py").write_text(APPLICATIONS)
        result = trace("--as", "fork,cgi", f"{tmp_path}/dying.py:dying")
        assert "fork    2nd ·" in result.stdout
        assert (result.exit_code, "no model answers: 502 Bad Gateway" in result.stderr) == (1, True)

    def test_an_application_that_is_not_there_is_3(self) -> None:
        result = trace("--chdir", f"{ROOT}/examples", "hello:aplication")
        assert (result.exit_code, "did you mean" in result.stderr) == (3, True)

    def test_a_cgi_program_is_2(self) -> None:
        result = trace(f"{ROOT}/cgi-bin/hello.py")
        assert (result.exit_code, "is a CGI program" in result.stderr) == (2, True)

    def test_a_path_that_is_none_is_2(self) -> None:
        result = trace(HELLO, "path")
        assert (result.exit_code, "'path' does not begin with /" in result.stderr) == (2, True)

    def test_a_model_that_is_none_is_2(self) -> None:
        result = trace("--as", "cgi,fcgi", HELLO)
        assert (result.exit_code, "no model is called 'fcgi'; there are: cgi, fork" in result.stderr) == (2, True)


def test_what_is_too_short_for_a_bar_is_one_letter() -> None:
    moments = {"asked": 0, "called": 4, "answered": 10, "written": 11, "last_byte": 12}
    assert [text for text, _ in bar(Timeline("http", "200 OK", moments), 10_000)] == ["A"]
