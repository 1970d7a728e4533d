"""What a process tree costs, on trees of known cost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.errors import ConfigError
from gateway.measure import processes
from gateway.measure.processes import Tree, check_platform, started
from tests.serving import until

pytestmark = pytest.mark.usefixtures("nothing_left_over")

CPU = 0.2
"""Seconds of processor time that BURN takes."""
BURN = f"import time\nwhile time.process_time() < {CPU}: pass\n"
MIB = 1 << 20


@contextmanager
def python(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs some code, says that it has, and ends with its stdin."""
    command = [sys.executable, "-S", "-E", "-c", f"{code}\nprint(flush=True)\nimport sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


@pytest.mark.parametrize(
    "code",
    [
        BURN,
        f"import threading; t = threading.Thread(target=exec, args=({BURN!r}, {{}})); t.start(); t.join()",
        f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-E', '-c', {BURN!r}])",
    ],
    ids=["itself", "a thread that has ended", "a child that has ended"],
)
def test_cpu_time_is_that_of_the_process_its_threads_and_its_children(code: str) -> None:
    with python(code) as process:
        assert CPU <= Tree(process.pid).cpu() < CPU + 0.3


def test_cpu_time_of_a_child_that_lives_counts() -> None:
    child = f"{BURN}print(flush=True); import sys; sys.stdin.read()"
    start = f"import subprocess, sys; c = subprocess.Popen([sys.executable, '-S', '-E', '-c', {child!r}],"
    with python(f"{start} stdout=subprocess.PIPE); c.stdout.readline()") as process:
        assert len(Tree(process.pid).pids()) == 2
        assert Tree(process.pid).cpu() >= CPU


def test_cpu_time_of_what_we_start_ourselves_is_that_of_our_children() -> None:
    before = Tree(None).cpu()
    subprocess.run([sys.executable, "-S", "-E", "-c", BURN])
    assert CPU <= Tree(None).cpu() - before < CPU + 0.3


def test_memory_is_that_of_the_whole_tree() -> None:
    with python("") as small, python(f"b = b'x' * (50 * {MIB})") as large:
        difference = Tree(large.pid).pss() - Tree(small.pid).pss()
    assert 45 * MIB < difference < 60 * MIB


def test_what_we_start_ourselves_is_a_tree_too_but_for_what_is_apart() -> None:
    with python("") as one, python("") as other:
        assert {one.pid, other.pid} <= {*Tree(None).pids()}
        assert other.pid not in Tree(None, apart=[other.pid]).pids()
        assert os.getpid() not in Tree(None).pids()


def test_a_tree_that_has_ended_costs_nothing() -> None:
    with python("") as process:
        tree = Tree(process.pid)
        assert repr(tree) == f"<Tree [{process.pid}]>"
    assert (tree.pids(), tree.cpu(), tree.pss()) == ([], 0.0, 0)


def test_a_process_that_ends_while_it_is_looked_at_is_passed_over() -> None:
    with python("") as process:
        pass
    assert (processes._clock(process.pid), processes._pss(process.pid)) == (0.0, 0)


def test_the_kernel_counts_what_is_started() -> None:
    before = started()
    for _ in range(3):
        subprocess.run(["true"])
    assert until(lambda: started() - before >= 3)


def test_elsewhere_than_on_linux_it_says_where_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError, match="run this on Linux, in a container or in WSL"):
        check_platform()
