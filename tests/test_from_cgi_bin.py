"""``docs/from-cgi-bin.md``, tried from its first line to its last: its files are written, its commands run as shown.

A command that serves runs until the next one that does.  Ports, sockets, the user and the virtual environment are those
of the test; nginx is started where its configuration stands.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.peers.frontends.processes import child_environ, running, unused_port, wait_for
from tests.peers.frontends.servers import nginx
from tests.requirements import require, require_module

PAGE = (ROOT / "docs" / "from-cgi-bin.md").read_text("utf-8")
BLOCKS = re.findall(r"(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
"""The file's name, if it is one; the language; the text."""
PROGRAMS = {"gateway": "gateway", "fcgi-run": "gateway.cli.fcgi_run"}
"""What is run as ``python -m`` from this checkout."""


def session(text: str) -> list[tuple[str, str]]:
    """The commands of a block, and what each of them shows."""
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)


COMMANDS = [pair for _, language, text in BLOCKS if language == "console" for pair in session(text)]


def serves(command: str) -> bool:
    """Whether a command stays until it is stopped."""
    return command.startswith(("gateway serve ", "fcgi-run ", "gunicorn "))


class Reader:
    """Who follows the page, in a folder of his own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        """What each command said, in the words of the page."""
        self._servers = ExitStack()
        self._started = 0
        port = unused_port()
        self._own = {  # what stands in the page, and what it is here
            "127.0.0.1:8000": f"127.0.0.1:{port}",
            "--port 8000": f"--port {port}",
            "/run/cgi.sock": str(folder / "cgi.sock"),
            "www-data": pwd.getpwuid(os.geteuid()).pw_name,
            "/srv/venv": str(Path(sys.executable).parent.parent),
        }
        self._environ = child_environ(folder)
        (folder / "bin").mkdir()
        for name, words in {"python3": "", **{name: f"-m {module}" for name, module in PROGRAMS.items()}}.items():
            # A CGI program gets no PYTHONPATH, and finds this checkout nonetheless.
            program = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {words} "$@"\n'
            (folder / "bin" / name).write_text(program)
            (folder / "bin" / name).chmod(0o755)
        self._environ["PATH"] = f"{folder / 'bin'}:{self._environ['PATH']}"

    def follow(self, stack: ExitStack) -> None:
        """Do what the page says."""
        stack.push(self._stop)
        for name, language, text in BLOCKS:
            if name:
                path = self.folder / name
                path.parent.mkdir(mode=0o755, exist_ok=True)
                path.write_text(text, "utf-8")
            elif language == "nginx":
                edits = {"/run/cgi.sock": self._own["/run/cgi.sock"]}
                site = stack.enter_context(nginx(self.folder, "cgi-bin.conf", edits))
                self._own["127.0.0.1:8080"] = f"127.0.0.1:{site.port}"
            else:
                for command, output in session(text):
                    told = self._serve(command, output) if serves(command) else self._run(command)
                    self.said.append(self._page_says(told))

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", f"umask 022; {self._here(command)}"], cwd=self.folder, env=self._environ, timeout=60,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout if done.stdout or not done.returncode else f"exit status {done.returncode}: {done.stderr}"

    def _serve(self, command: str, output: str) -> str:
        self._stop()
        self._started += 1
        words = shlex.split(self._here(command))
        program = ["-m", PROGRAMS.get(words[0], words[0])]
        address = re.search(r"unix:(\S+)|127.0.0.1:(\d+)|--port (\d+)", self._here(command))
        assert address, f"nothing in {command!r} says where it serves"
        listens = address[1] or ("127.0.0.1", int(address[2] or address[3]))
        server = running(
            [sys.executable, *program, *words[1:]], directory=self.folder, name=f"server-{self._started}",
            listens=[listens], environ=self._environ,
        )  # fmt: skip
        process = self._servers.enter_context(server)
        if output:
            wait_for(lambda: process.said().count("\n") >= output.count("\n"), timeout=20.0, otherwise=process.said)
        return "".join(process.said().splitlines(keepends=True)[: output.count("\n")])

    def _stop(self, *exc_info: object) -> None:
        self._servers.close()

    def _here(self, text: str) -> str:
        for told, own in self._own.items():
            text = text.replace(told, own)
        return text

    def _page_says(self, text: str) -> str:
        for told, own in self._own.items():
            text = text.replace(own, told)
        return text


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
        reader = Reader(tmp_path_factory.mktemp("site"))
        reader.follow(stack)
        yield reader.said


@pytest.mark.parametrize(("number", "command", "output"), [(n, *pair) for n, pair in enumerate(COMMANDS)])
def test_a_command_says_what_the_page_shows(said: list[str], number: int, command: str, output: str) -> None:
    assert said[number] == output, command


def test_the_page_quotes_the_configuration() -> None:
    quoted = [text for _, language, text in BLOCKS if language == "nginx"]
    assert quoted == [(ROOT / "examples" / "nginx" / "cgi-bin.conf").read_text("utf-8")]


def test_every_block_is_tried() -> None:
    assert len(BLOCKS) == PAGE.count("```") / 2
    assert {language for name, language, _ in BLOCKS if not name} == {"console", "nginx"}


def test_the_extra_that_it_names_brings_legacy_cgi() -> None:
    assert "gateway[legacy]" in PAGE
    assert re.search(r"^legacy =\n    legacy-cgi;", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)]*)\)", PAGE))))
def test_a_link_leads_somewhere(target: str) -> None:
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = ["#" + re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings]
    assert target in anchors or (ROOT / "docs" / target).exists()
