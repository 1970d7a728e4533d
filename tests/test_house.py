"""The house of DESIGN.md §2 stands as drawn, and the rules that say so are awake."""

from __future__ import annotations

import configparser
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import house
from tests.imports import modules_imported

Rule = Callable[[str, str], Iterator[str]]

RULES: list[Rule] = [
    house.against_the_arrows,
    house.impure,
    house.names_a_wire,
    house.typing_at_run_time,
    house.too_long,
    house.undocumented,
    house.unfinished_or_decorated,
]

BROKEN: list[tuple[Rule, str, str, str]] = [
    (house.against_the_arrows, "gateway.events", "from gateway.exchange import Exchange", "events may import errors"),
    (house.against_the_arrows, "gateway.head", "import gateway.environ", "against the arrows"),
    (house.against_the_arrows, "gateway.head", "from . import environ", "against the arrows"),
    (house.against_the_arrows, "gateway.apps.wsgi", "from ..workers.once import run", "against the arrows"),
    (house.against_the_arrows, "gateway.apps.wsgi", "def f():\n    from gateway import client", "wsgi:2 imports"),
    (house.against_the_arrows, "gateway.apps.wsgi", "if TYPE_CHECKING:\n    import gateway.client", "wsgi:2 imports"),
    (house.against_the_arrows, "gateway.client", "__import__('gateway.workers.threads')", "against the arrows"),
    (house.against_the_arrows, "gateway.errors", "import gateway.events", "nothing of this package"),
    (house.against_the_arrows, "gateway.workers.once", "from gateway import Client", "where it is defined"),
    (house.against_the_arrows, "gateway.attic", "", "no arrow leads to"),
    (house.impure, "gateway.protocols.fastcgi", "import socket", "this room is pure"),
    (house.impure, "gateway.environ", "def f():\n    from concurrent.futures import Future", "environ:2 imports"),
    (house.impure, "gateway.events", "from dataclasses import dataclass", "this room is pure"),
    (house.names_a_wire, "gateway.workers.once", "from gateway.protocols import cgi", "names the wire cgi"),
    (house.names_a_wire, "gateway.client", "HOME = 'gateway.protocols.fastcgi'", "names the wire fastcgi"),
    (house.typing_at_run_time, "gateway.events", "from typing import Any", "under `if TYPE_CHECKING:`"),
    (house.too_long, "gateway.events", "pass\n" * 451, "has 451 lines"),
    (house.too_long, "gateway.events", "def f():\n" + "    pass\n" * 58, "f has 59 lines"),
    (house.undocumented, "gateway.events", "import os", "has no docstring"),
    (house.undocumented, "gateway.events", "'What.'\ndef parse(): pass", "parse has no docstring"),
    (house.undocumented, "gateway.events", "'What.'\nclass Event: pass", "Event has no docstring"),
    (house.unfinished_or_decorated, "gateway.client", "x = 1  # TODO", "leaves work behind"),
    (house.unfinished_or_decorated, "gateway.client", "# ------ imports ------", "banner"),
    (house.sleeps, "tests.test_client", "time.sleep(0.3)", "sleeps 0.3 s"),
    (house.sleeps, "tests.test_client", "await asyncio.sleep(2)", "sleeps 2 s"),
]

SOUND: list[tuple[Rule, str, str]] = [
    (house.against_the_arrows, "gateway.workers.threads", "import gateway.environ; from gateway.apps import wsgi"),
    (house.against_the_arrows, "gateway.workers.threads", "from . import once; from gateway.events import Request"),
    (house.against_the_arrows, "gateway.head", "environ['gateway.repairs'] = 1; import gatewayless"),
    (house.against_the_arrows, "gateway.cli.main", "from gateway import run, __version__"),
    (house.impure, "gateway.workers.threads", "import socket, threading, logging"),
    (house.names_a_wire, "gateway.workers.once", "from gateway.protocols import WIRES; WIRES['fastcgi']"),
    (house.names_a_wire, "gateway.cli.fcgi_run", "from gateway.protocols import fastcgi"),
    (house.typing_at_run_time, "gateway.events", "if TYPE_CHECKING:\n    from typing import Any"),
    (house.too_long, "gateway.events", "def f():\n" + "    pass\n" * 57),
    (house.undocumented, "gateway.events", "'What.'\ndef _f(): pass\nclass _C:\n    def m(self): pass"),
    (house.unfinished_or_decorated, "gateway.client", "x = '---- TODO ----'  # a … - b ... (§6.2)"),
    (house.sleeps, "tests.test_client", "time.sleep(0.01); time.sleep(interval)"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    complaints = [complaint for module, source in house.modules() for complaint in rule(module, source)]
    assert not complaints, "\n" + "\n".join(complaints)


@pytest.mark.parametrize(("rule", "module", "source", "complaint"), BROKEN)
def test_the_rule_notices(rule: Rule, module: str, source: str, complaint: str) -> None:
    found = list(rule(module, source))
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(("rule", "module", "source"), SOUND)
def test_the_rule_lets_pass(rule: Rule, module: str, source: str) -> None:
    assert list(rule(module, source)) == []


def test_every_rule_is_seen_to_notice_and_to_let_pass() -> None:
    rules = {*RULES, house.sleeps}
    assert {rule for rule, *_ in BROKEN} == {rule for rule, *_ in SOUND} == rules


def test_the_rules_look_at_the_whole_package() -> None:
    found = {house.room_of(module) for module, _ in house.modules()}
    assert found >= {"__init__", "errors", "events", "protocols", "workers"}


def test_no_arrow_leads_in_a_circle() -> None:
    assert all(room in house.ARROWS for room in " ".join(house.ARROWS.values()).split())
    assert all(house.reachable(room) for room in house.ARROWS)  # a circle would never return


@pytest.mark.filterwarnings("default::pytest.PytestWarning")
def test_functions_near_the_limit_are_pointed_out() -> None:
    for module, source in house.modules():
        for name, line, lines in house.functions(source):
            if lines > house.FUNCTION_LINES_WISHED:
                warnings.warn(pytest.PytestWarning(f"{module}:{line} {name} has {lines} lines"), stacklevel=1)


@pytest.mark.parametrize("folder", ["gateway", "tests", "benchmarks", "examples", "cgi-bin"])
def test_no_file_has_an_empty_name(folder: str) -> None:
    paths = [path.relative_to(house.ROOT) for path in (house.ROOT / folder).rglob("*.py")]
    complaints = [complaint for path in paths for complaint in house.empty_name(path)]
    assert not complaints, "\n" + "\n".join(complaints)


@pytest.mark.parametrize("path", ["gateway/utils.py", "tests/common/test_x.py"])
def test_an_empty_name_is_noticed(path: str) -> None:
    (complaint,) = house.empty_name(Path(path))
    assert "name it after what it does" in complaint


def test_no_test_sleeps() -> None:
    complaints = [
        complaint
        for path in sorted((house.ROOT / "tests").rglob("*.py"))
        for complaint in house.sleeps(str(path.relative_to(house.ROOT)), path.read_text("utf-8"))
    ]
    assert not complaints, "\n" + "\n".join(complaints)


def test_importing_gateway_loads_nothing_else() -> None:
    imported = modules_imported([sys.executable, "-c", "import gateway"], env={"PYTHONPATH": str(house.ROOT)})
    assert imported == {"__future__", "gateway"}


def test_ci_installs_every_package_that_a_test_requires() -> None:
    setup = configparser.ConfigParser()
    setup.read(house.ROOT / "setup.cfg", "utf-8")
    installed = {
        "require": (house.ROOT / ".ci" / "apt-packages.txt").read_text("utf-8").split(),
        "require_module": setup["options.extras_require"]["test"].replace(";", " ").split(),
    }
    missing = [
        f"{path.name}: CI does not install {package}; add it to .ci/apt-packages.txt or to the test extra of setup.cfg"
        for path in sorted((house.ROOT / "tests").rglob("*.py"))
        if path.name != "test_requirements.py"
        for function, package in house.required_packages(path.read_text("utf-8"))
        if package not in installed[function]
    ]
    assert not missing, "\n" + "\n".join(missing)
