"""What every test may use: the hypothesis profile, ``nothing_left_over``, and servers that end with the test."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator

import hypothesis
import pytest

from gateway.workers.aio import new_loop
from tests.leftovers import Leftovers
from tests.serving import log as log
from tests.serving import serve as serve

# hypothesis has a profile of its own for CI (derandomized, no database) and picks it by the environment.  A loaded
# two-core machine says nothing about a single example, so the deadline is off everywhere.
hypothesis.settings.register_profile("gateway", deadline=None)
hypothesis.settings.load_profile("gateway")

# Whoever runs the tests in the background (a shell without job control, nohup) has them ignore signals, and all that
# they start would too.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)


_measured = True  # is what a forked child of ours runs?


def _tell_only_what_we_ran() -> None:
    """A forked child writes down what it has covered when it ends; its parent's share costs 0.1 s each time."""
    measuring = getattr(sys.modules.get("coverage"), "Coverage", None)
    if measuring is not None and (current := measuring.current()) is not None:
        collector = current._collector
        if _measured:
            for lines in collector.data.values():  # patch=fork is not this: see setup.cfg
                lines.clear()
        else:
            collector.pause()
            collector.tracers.clear()


os.register_at_fork(after_in_child=_tell_only_what_we_ran)
new_loop().close()  # libuv, where it is, keeps a pipe from the first loop of a process on


def pytest_collection_finish() -> None:
    """Ten thousand tests are no garbage: the collector need not look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def unmeasured_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked children run what other tests have measured already: each saves its parent 20 ms and more."""
    monkeypatch.setattr(sys.modules[__name__], "_measured", False)


@pytest.fixture
def nothing_left_over() -> Iterator[Leftovers]:
    """Fail the test if a thread, a descriptor or a child process that it created outlives it by two seconds.

    Name it before the fixtures that start servers, so that those have ended when it looks.
    """
    leftovers = Leftovers()
    yield leftovers
    found = leftovers.wait(timeout=2.0)
    if found:
        pytest.fail("left over by this test: " + "; ".join(found), pytrace=False)
