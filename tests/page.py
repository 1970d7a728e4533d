"""A page of the documentation, followed from its first line to its last: files are written, commands run as shown.

A command that serves runs until the next one that does.  Ports, sockets, the user and the virtual environment are those
of the test.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.house import ROOT
from tests.peers.frontends.processes import child_environ, running, wait_for

PROGRAMS = {"gateway": "gateway", "fcgi-run": "gateway.cli.fcgi_run"}
"""What is run as ``python -m`` from this checkout."""


class Page:
    """A file of ``docs/``: its blocks, and the commands in them."""

    def __init__(self, name: str) -> None:
        self.text = (ROOT / "docs" / name).read_text("utf-8")
        self.blocks: list[tuple[str, str, str]] = re.findall(
            r"(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE
        )
        """The file's name, if it is one; the language; the text."""
        self.commands = [
            pair for name, language, text in self.blocks if language == "console" for pair in _session(text)
        ]
        """Each command, and what it shows."""

    def untried(self) -> list[str]:
        """The languages of blocks that are neither files nor commands; every block is one if this is short."""
        assert len(self.blocks) == self.text.count("```") / 2
        return sorted({language for name, language, _ in self.blocks if not name and language != "console"})

    def links(self) -> list[str]:
        """Where its links lead to."""
        return sorted(set(re.findall(r"\]\(([^)]*)\)", self.text)))

    def leads_somewhere(self, link: str) -> bool:
        """Whether there is such a heading, or file."""
        headings = re.findall(r"^#+ (.*)$", self.text, re.MULTILINE)
        anchors = ["#" + re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings]
        return link in anchors or (ROOT / "docs" / link).exists()


def _session(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)


class Reader:
    """Who follows a page, in a folder of his own.

    ``own`` says what stands in the page and is something else here; ``python`` runs whatever is Python.
    """

    def __init__(self, page: Page, folder: Path, *, own: Mapping[str, str], python: str = sys.executable) -> None:
        self.folder = folder
        self.said: list[str] = []
        """What each command said, in the words of the page."""
        self.own = dict(own)
        self._page = page
        self._python = python
        self._servers = ExitStack()
        self._started = 0
        self._environ = child_environ(folder)
        (folder / "bin").mkdir()
        plain = {"python": "", "python3": ""}
        for name, words in (plain | {name: f"-m {module}" for name, module in PROGRAMS.items()}).items():
            # A CGI program gets no PYTHONPATH, and finds this checkout nonetheless.
            program = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {python} {words} "$@"\n'
            (folder / "bin" / name).write_text(program)
            (folder / "bin" / name).chmod(0o755)
        self._environ["PATH"] = f"{folder / 'bin'}:{self._environ['PATH']}"

    def follow(self, stack: ExitStack) -> None:
        """Do what the page says."""
        stack.push(self._stop)
        for name, language, text in self._page.blocks:
            if name:
                path = self.folder / name
                path.parent.mkdir(mode=0o755, exist_ok=True)
                path.write_text(self.here(text), "utf-8")
            elif language == "console":
                for command, output in _session(text):
                    told = self._serve(command, output) if self.serves(command) else self._run(command)
                    self.said.append(self._page_says(told))
            else:
                self.configure(stack)

    def configure(self, stack: ExitStack) -> None:
        """Start the server whose configuration the page shows."""
        raise AssertionError("a page with a configuration has a reader who knows it")

    def serves(self, command: str) -> bool:
        """Whether a command stays until it is stopped."""
        return command.endswith(" &") or command.startswith(("gateway serve ", "fcgi-run ", "gunicorn "))

    def here(self, text: str) -> str:
        """What a text of the page is here."""
        for told, own in self.own.items():
            text = text.replace(told, own)
        return text

    def _page_says(self, text: str) -> str:
        for told, own in self.own.items():
            text = text.replace(own, told)
        return text

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", f"umask 022; {self.here(command)}"], cwd=self.folder, env=self._environ, timeout=60,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout if done.stdout or not done.returncode else f"exit status {done.returncode}: {done.stderr}"

    def _serve(self, command: str, output: str) -> str:
        self._stop()
        self._started += 1
        words = shlex.split(self.here(command.removesuffix(" &")))
        if words[0] in (*PROGRAMS, "gunicorn"):
            words = [self._python, "-m", PROGRAMS.get(words[0], words[0]), *words[1:]]
        server = running(
            words, directory=self.folder, name=f"server-{self._started}", listens=[self._address(words)],
            environ=self._environ,
        )  # fmt: skip
        process = self._servers.enter_context(server)
        if output:
            wait_for(lambda: process.said().count("\n") >= output.count("\n"), timeout=20.0, otherwise=process.said)
        return "".join(process.said().splitlines(keepends=True)[: output.count("\n")])

    def _address(self, words: list[str]) -> str | tuple[str, int]:
        """Where a command listens, as it says, or the script that it runs."""
        paths = [self.folder / word for word in words[1:]]
        scripts = [path for path in paths if path.suffix in (".fcgi", ".py") and path.is_file()]
        for text in (shlex.join(words), *(script.read_text("utf-8") for script in scripts)):
            found = re.search(r"unix:(\S+)|-s (\S+)|127.0.0.1\W+(\d+)|port[ =](\d+)", text)
            if found:
                return found[1] or found[2] or ("127.0.0.1", int(found[3] or found[4]))
        raise AssertionError(f"nothing in {words} says where it serves")

    def _stop(self, *exc_info: object) -> None:
        self._servers.close()
