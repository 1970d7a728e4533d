"""Old scripts, started as they are: by gateway.compat, or with the packages that they were written for."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.client import Client
from tests.peers.frontends.processes import Address, Process, child_environ, running

DISPATCH = Path(__file__).parent / "dispatch"
COMPAT = (sys.executable, "-m", "gateway.compat", "-q")
"""What an old script is run by."""
CGI = {
    "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/app", "PATH_INFO": "/",
    "QUERY_STRING": "", "SERVER_NAME": "site.example", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
}  # fmt: skip


@contextmanager
def started(
    script: str | Path, *words: str, directory: Path, listens: Sequence[Address], by: Sequence[str] = COMPAT,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Process]:  # fmt: skip
    """A script that serves while the block runs; a name is one in ``dispatch``."""
    command = [*by, str(DISPATCH / script), *words]
    with running(command, directory=directory, name="script", listens=listens, environ=environ) as process:
        yield process


@contextmanager
def spawned(
    script: str | Path, *words: str, directory: Path, by: Sequence[str] = COMPAT,
    environ: Mapping[str, str] | None = None, wire: str = "fastcgi", ends: int = 0,
) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:  # fmt: skip
    """A script that is started as web servers and spawn-fcgi do it, with its socket as descriptor 0."""
    path = directory / "spawned.sock"
    env = child_environ(directory) | dict(environ or {})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with subprocess.Popen([*by, str(DISPATCH / script), *words], cwd=directory, env=env, stdin=listener) as process:
            try:
                with Client(f"{wire}://{path}", pool_size=0, timeout=40) as client:
                    yield process, client
            finally:
                process.terminate()
                path.unlink()
    assert process.returncode == ends


def run(
    script: str | Path, *words: str, directory: Path, by: Sequence[str] = COMPAT, stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    """A script that ends by itself, as CGI unless ``environ`` is something else."""
    env = child_environ(directory) | dict(CGI if environ is None else environ)
    return subprocess.run(
        [*by, str(DISPATCH / script), *words], cwd=directory, env=env, input=stdin, capture_output=True, timeout=60
    )


def body_of(done: subprocess.CompletedProcess[bytes]) -> str:
    """The body of a CGI response."""
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("latin-1").replace("\r\n", "\n").partition("\n\n")[2]
