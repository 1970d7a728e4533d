"""The fixture ``nothing_left_over`` sees what it promises to see."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from tests.leftovers import Leftovers


@pytest.fixture
def leftovers() -> Leftovers:
    return Leftovers()


def test_nothing_is_left_over_at_first(leftovers: Leftovers) -> None:
    assert leftovers.wait(timeout=0) == []


def test_sees_a_thread(leftovers: Leftovers) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")
    thread.start()
    assert leftovers.wait(timeout=0) == ["thread forgotten"]
    end.set()
    assert leftovers.wait() == []


def test_sees_a_descriptor(leftovers: Leftovers) -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    assert leftovers.wait(timeout=0) == [f"descriptor {descriptor} → {os.devnull}"]
    os.close(descriptor)
    assert leftovers.wait() == []


def test_sees_a_child_and_the_zombie_it_becomes(leftovers: Leftovers) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (_, process) = leftovers.wait(timeout=0)
    assert process.startswith(f"process {child.pid} (python")
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert any(text.endswith("state Z)") for text in leftovers.wait(timeout=0))
    child.communicate()
    assert leftovers.wait() == []


def test_the_fixture_fails_a_test_that_leaves_something(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    pytester.makeconftest("from tests.conftest import nothing_left_over")
    pytester.makepyfile("import os\n\ndef test_that_forgets(nothing_left_over):\n    os.pipe()\n")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["left over by this test: descriptor * → pipe:*; descriptor * → pipe:*"])
