"""What the tests of one file share: a directory for their servers, and a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.frontends.servers import Worker, fcgi_run


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where configurations, sockets and logs are."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="module")
def worker(directory: Path) -> Iterator[Worker]:
    """``fcgi-run`` with the application of the front ends, at its defaults but for four threads."""
    with fcgi_run(directory, "--threads", "4") as worker:
        yield worker
