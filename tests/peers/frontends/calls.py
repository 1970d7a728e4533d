"""``gateway call -v`` as a user runs it: what it exits with, shows and prints."""

from __future__ import annotations

from typing import NamedTuple

from click.testing import CliRunner

from gateway.cli.main import main


class Called(NamedTuple):
    """What came of a call."""

    status: int
    body: bytes
    sent: list[str]
    received: list[str]
    said: list[str]
    """What is neither: of the call itself, and of the application."""


def call(*arguments: str) -> Called:
    """Run ``gateway call -v``, and sort what it shows."""
    result = CliRunner().invoke(main, ["call", "-v", "--timeout", "20", *arguments])
    lines = result.stderr.splitlines()
    sent, received = ([line[2:] for line in lines if line.startswith(mark)] for mark in ("> ", "< "))
    said = [line for line in lines if not line.startswith(("> ", "< "))]
    return Called(result.exit_code, result.stdout_bytes, sent, received, said)
