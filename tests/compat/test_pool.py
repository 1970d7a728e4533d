"""How many processes the pool of flup's forking servers wants."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.compat import pool
from gateway.prefork.arbiter import Arbiter


@pytest.fixture
def arbiter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Of a pool that keeps two to five idle, and has ten at most; it starts and ends none."""
    monkeypatch.setenv("SERVER_SOFTWARE", "")  # gunicorn writes to it
    monkeypatch.setattr(Arbiter, "manage_workers", lambda self: None)
    app = pool._Application(print, [], "fastcgi", {"workers": 10, "loglevel": "warning"})
    arbiter = pool._Arbiter(app, spare=(2, 5))
    arbiter.WORKERS = {}
    yield arbiter
    arbiter.busy.close()


@pytest.mark.parametrize(("there", "busy", "wanted"), [
    (0, 0, 5), (5, 0, 5), (5, 3, 5), (5, 4, 6), (5, 5, 7), (7, 7, 9), (9, 9, 10), (10, 10, 10), (10, 5, 10), (10, 1, 6),
])  # fmt: skip
def test_it_wants_two_to_five_that_are_idle(arbiter: Any, there: int, busy: int, wanted: int) -> None:
    for number in range(there):
        worker = SimpleNamespace(age=number)
        pool._assign(arbiter, worker)
        arbiter.WORKERS[number] = worker
    for number in range(busy):
        pool._begin(arbiter.WORKERS[number], None)
    arbiter.manage_workers()
    assert arbiter.num_workers == wanted


def test_a_place_is_free_again_when_its_worker_has_ended(arbiter: Any) -> None:
    for number in range(3):
        pool._assign(arbiter, worker := SimpleNamespace())
        arbiter.WORKERS[number] = worker
    pool._begin(arbiter.WORKERS.pop(1), None)
    pool._assign(arbiter, worker := SimpleNamespace())
    assert (worker.slot, arbiter.busy[1]) == (1, 0)


def test_a_worker_is_idle_after_its_request(arbiter: Any) -> None:
    pool._assign(arbiter, worker := SimpleNamespace())
    pool._begin(worker, None)
    pool._finish(worker, None, {}, None)
    assert arbiter.busy[worker.slot] == 0


def test_nobody_is_told_that_this_is_gunicorn(arbiter: Any) -> None:
    assert "SERVER_SOFTWARE" not in os.environ


def test_sighup_is_remembered(arbiter: Any) -> None:
    with pytest.raises(StopIteration):
        arbiter.handle_hup()
    assert arbiter.hung_up
