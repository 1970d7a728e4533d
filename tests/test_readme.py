"""What the README claims, tried: its commands, its programs, its links."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gateway.cli.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^    (\S.*)$", README, re.MULTILINE)
PATHS = os.pathsep.join([str(ROOT), *(path for path in sys.path if path)])
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", "utf-8")
SCRIPTS = dict(re.findall(r"^([\w-]+) = (\S+)$", SETUP["options.entry_points"]["console_scripts"], re.MULTILINE))
CGI = {"GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SERVER_NAME": "example.test", "SERVER_PORT": "80"}


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PATHS, **variables}
    return subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, timeout=30, check=False)


@pytest.fixture
def app_py(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(PROGRAMS[0], "utf-8")
    return path


def test_the_first_two_commands_are_one_line_each_and_make_their_own_virtual_environment() -> None:
    demo, tests = COMMANDS[:2]
    assert demo == "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/gateway demo"
    assert tests == "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest"


def test_ci_installs_and_tests_as_the_second_command_does() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "-m venv .venv" in script
    assert ".venv/bin/pip install -q -e '.[test,dev]'" in script
    assert ".venv/bin/pytest" in script


def test_the_first_program_is_a_cgi_script(app_py: Path) -> None:
    done = run(sys.executable, str(app_py), cwd=app_py.parent, **CGI)
    assert done.stdout.startswith("Status: 200 OK\nContent-Type: text/plain\n")
    assert done.stdout.endswith("\n\nHello, world!\n")


@pytest.mark.parametrize("options", ["-b unix:app.sock", "--worker-model fork", "--mount /app -w 4 --threads 8"])
def test_the_first_program_runs_under_fcgi_run(app_py: Path, options: str) -> None:
    command = [sys.executable, "-m", "gateway.cli.fcgi_run", "app:application", *shlex.split(options)]
    done = run(*command, "--check-config", cwd=app_py.parent)
    assert (done.returncode, done.stderr) == (0, "")


SERVING = [command for command in COMMANDS if re.match(r"\w+-run (app:|--cgi-bin)", command)]
GATEWAY = [command for command in COMMANDS if command.startswith("gateway ")]


@pytest.mark.parametrize("command", SERVING)
def test_a_command_that_serves_starts(app_py: Path, command: str) -> None:
    (app_py.parent / "cgi-bin").mkdir()
    name, *words = shlex.split(command.replace("/run/", f"{app_py.parent}/"))
    module, function = SCRIPTS[name].split(":")
    program = f"from {module} import {function}; {function}()"
    done = run(sys.executable, "-c", program, *words, "--check-config", cwd=app_py.parent)
    assert (done.returncode, "Error" in done.stderr) == (0, False)


@pytest.mark.parametrize("command", GATEWAY)
def test_a_gateway_command_takes_the_options_shown(command: str) -> None:
    name, *words = shlex.split(command)[1:]
    asked = main.get_command(click.Context(main), name)
    assert asked is not None
    asked.make_context(name, list(words), resilient_parsing=True)
    known = {option for parameter in asked.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_the_cgi_bin_script_serves_a_project_that_is_elsewhere(tmp_path: Path) -> None:
    package = tmp_path / "myproject"
    package.mkdir()
    (package / "wsgi.py").write_text(PROGRAMS[0].partition("if __name__")[0], "utf-8")
    program = PROGRAMS[1].replace("/home/me/myproject", str(tmp_path))
    assert program.startswith("#!/home/me/venv/bin/python\n")
    script = tmp_path / "script.cgi"
    script.write_text(program, "utf-8")
    assert run(sys.executable, str(script), cwd=tmp_path, **CGI).stdout.endswith("Hello, world!\n")


def test_the_other_direction_takes_the_arguments_shown() -> None:
    names: dict[str, object] = {}
    exec(PROGRAMS[3], names)
    assert repr(names["php"]).startswith("<Client fastcgi://unix:/run/php/php-fpm.sock")
    assert "git-http-backend" in repr(names["git"])


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
