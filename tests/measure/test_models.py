"""The process models: each is started for real, answers, and leaves nothing behind."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.measure import models as the_models
from gateway.measure.load import ask
from gateway.measure.models import MODELS, Model, running
from gateway.measure.processes import Tree
from gateway.measure.requests import Request
from gateway.measure.target import Target, recognize
from tests.house import ROOT
from tests.serving import until

pytestmark = pytest.mark.usefixtures("nothing_left_over")

HELLO = Target("tests.measure.stateful:hello", kind="wsgi", folder=str(ROOT))
GET = Request("GET", "/")
SERVER = "import socket, sys, time; listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1] + '/socket'); "


def fake(code: str) -> Model:
    """A server that is not one."""
    return Model("fake", "a fake", ("{python}", "-c", code, "{place}"))


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.serves(HELLO)])
def test_every_model_answers_for_an_application(name: str) -> None:
    with running(MODELS[name], HELLO) as started:
        answer = ask(started.application, GET)
    assert (answer.status, answer.body) == ("200 OK", b"hello\n")


@pytest.mark.parametrize("name", ["cgi", "cgi-bin", "warm", "inprocess"])
def test_every_model_of_programs_answers_for_one(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.cgi").write_text(f"#!{sys.executable}\nprint('Content-Type: text/plain\\n\\nhello')\n")
    (tmp_path / "a.cgi").chmod(0o755)
    with running(MODELS[name], recognize("a.cgi", folder=str(tmp_path))) as started:
        answer = ask(started.application, GET)
    assert (answer.status, answer.body) == ("200 OK", b"hello\n")


def test_an_asgi_application_is_served_as_well() -> None:
    target = Target("tests.measure.stateful:asynchronous", kind="asgi", folder=str(ROOT))
    with running(MODELS["fastcgi"], target) as started:
        assert ask(started.application, GET).status == "200 OK"


def replace_name(target: Target, name: str) -> Target:
    """Another application of the same file."""
    return Target(target.name.replace("hello", name), kind=target.kind, folder=target.folder)


def test_a_server_of_several_processes_is_known_with_its_tree_and_its_environment() -> None:
    whoami = replace_name(HELLO, "whoami")
    with running(MODELS["processes"], whoami, environment={"WHO": "me"}, processes=2) as started:
        assert repr(started).startswith(f"<Running processes pid={started.pid} <Client fastcgi://unix:")
        assert (started.title, ask(started.application, GET).body) == ("FastCGI, 2 workers", b"me")
        assert until(lambda: len(Tree(started.pid).pids()) == 3)


def test_a_request_that_a_worker_does_not_survive_is_not_repeated() -> None:
    with running(MODELS["fastcgi"], replace_name(HELLO, "dying")) as started:
        statuses = [ask(started.application, GET).status[:3] for _ in range(3)]
        assert until(lambda: "exited with code 7" in started.said())
    assert statuses == ["200", "200", "502"]


def test_a_server_that_ends_says_why() -> None:
    with pytest.raises(ConfigError) as caught, running(fake("raise SystemExit('no licence')"), HELLO):
        pass
    assert str(caught.value) == "a fake: it exited with status 1. Mend what it says, or leave fake out:\nno licence"


def test_a_server_that_never_listens_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(the_models, "START_TIMEOUT", 0.2)
    with pytest.raises(ConfigError) as caught, running(fake(SERVER + "time.sleep(60)"), HELLO):
        pass
    assert "it takes no connections after 0.2 s" in str(caught.value)


def test_a_server_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(the_models, "STOP_TIMEOUT", 0.1)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); listener.listen(); time.sleep(60)"
    with running(fake(SERVER + stubborn), HELLO) as started:
        assert Tree(started.pid).pids() == [started.pid]
    assert Tree(started.pid).pids() == []


def test_a_model_that_cannot_serve_a_target_says_so() -> None:
    script = Target("a.cgi", kind="python", folder="/")
    with pytest.raises(ConfigError, match="threads cannot serve"), running(MODELS["threads"], script):
        pass


def test_a_server_of_one_program_does_not_serve_a_directory(tmp_path: Path) -> None:
    model = replace(MODELS["cgi"], directories=False)
    assert not model.serves(Target(".", kind="program", folder=str(tmp_path)))
