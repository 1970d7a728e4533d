"""Servers of others: those that are installed answer, those that are not say how to install them."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.measure import peers
from gateway.measure.load import ask
from gateway.measure.models import MODELS, USUAL, running
from gateway.measure.peers import PEERS, choose, distribution, program
from gateway.measure.requests import Request
from gateway.measure.target import Target
from tests.house import ROOT
from tests.requirements import require, require_module

HELLO = Target("tests.measure.stateful:hello", kind="wsgi", folder=str(ROOT))
ASGI = Target("tests.measure.stateful:asynchronous", kind="asgi", folder=str(ROOT))
SCRIPT = Target("examples/hello.py", kind="python", folder=str(ROOT))


def require_peer(name: str) -> None:
    """Skip, or fail in CI, unless it is installed."""
    if name == "mod_cgid":
        require("apache2", package="apache2")
        require("setpriv", package="util-linux")
    elif name == "fcgiwrap":
        require("fcgiwrap", package="fcgiwrap")
    elif name == "flup":
        require_module("flup", package="flup")
    elif name == "uvicorn":
        require_module("uvicorn", package="uvicorn")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("flup", HELLO), ("gunicorn", HELLO), ("uvicorn", HELLO), ("uvicorn", ASGI),
        ("mod_cgid", HELLO), ("fcgiwrap", HELLO), ("fcgiwrap", SCRIPT),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("nothing_left_over")
def test_a_peer_that_is_installed_answers(name: str, target: Target) -> None:
    require_peer(name)
    assert PEERS[name].version()
    with running(PEERS[name].model, target) as started:
        answer = ask(started.application, Request("GET", "/"))
    assert (answer.status, answer.body[:5].lower()) == ("200 OK", b"hello"), started.said()


@pytest.mark.usefixtures("nothing_left_over")
def test_uwsgi_is_compared_where_pip_has_built_it() -> None:
    if PEERS["uWSGI"].version() is None:
        pytest.skip("pip install uwsgi: it compiles for a minute, which CI spares itself")
    with running(PEERS["uWSGI"].model, HELLO) as started:
        assert ask(started.application, Request("GET", "/")).body == b"hello\n"


def test_what_is_not_installed_has_no_version() -> None:
    assert (distribution("no-such-package")(), program("no-such-program")()) == (None, None)
    assert program("sh", "-c", "echo 1.2.3", beside="/no/such/module.so")() is None


def test_a_program_tells_its_version() -> None:
    assert program("sh", "-c", "echo sh version 1.2.3")() == "1.2.3"


def test_a_program_that_tells_none_is_there_all_the_same() -> None:
    assert program("sh", "-c", ":")() == ""


class TestChoose:
    @pytest.fixture(autouse=True)
    def only_gunicorn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            peers,
            "PEERS",
            {
                name: peers.Peer(peer.model, (lambda: "1") if name == "gunicorn" else (lambda: None), peer.install)
                for name, peer in PEERS.items()
            },
        )

    def test_takes_all_that_serve_the_target_and_are_installed(self) -> None:
        chosen, missing = choose(HELLO)
        assert [model.name for model in chosen] == ["cgi", "fork", "fastcgi", "processes", "threads", "aio", "gunicorn"]
        assert missing["flup"] == "pip install flup"
        assert missing["fcgiwrap"] == "apt-get install fcgiwrap"

    def test_takes_for_scripts_what_runs_scripts(self) -> None:
        chosen, missing = choose(SCRIPT)
        assert [model.name for model in chosen] == ["cgi", "cgi-bin", "warm", "inprocess"]
        assert [*missing] == ["mod_cgid", "fcgiwrap"]

    def test_takes_what_is_named_in_its_order(self) -> None:
        chosen, missing = choose(HELLO, "ajp, cgi,flup,cgi")
        assert [model.name for model in chosen] == ["ajp", "cgi"]
        assert [*missing] == ["flup"]

    def test_refuses_a_name_that_there_is_not(self) -> None:
        with pytest.raises(ConfigError, match="no model is called 'fcgi'; there are: cgi, fork, fastcgi"):
            choose(HELLO, "fcgi")

    def test_refuses_what_cannot_serve_the_target(self) -> None:
        with pytest.raises(ConfigError, match="threads cannot serve"):
            choose(SCRIPT, "threads")

    def test_says_how_to_install_the_only_ones(self) -> None:
        with pytest.raises(ConfigError, match="none of these is installed: pip install flup"):
            choose(HELLO, "flup")


def test_the_usual_models_are_those_that_differ_by_more_than_the_wire() -> None:
    assert set(MODELS) - set(USUAL) == {"scgi", "uwsgi", "ajp", "http"}
