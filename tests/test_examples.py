"""The programs of ``examples/`` as CGI programs; ``tests/peers`` starts them and the configurations in other ways."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.house import ROOT

CGI = {
    "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/app", "PATH_INFO": "/a b",
    "QUERY_STRING": "x=1", "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
}  # fmt: skip


def answer(program: str) -> bytes:
    """Run one of the programs as a web server does, and see that it does not complain."""
    environ = CGI | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "examples" / program]
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_hello_tells_how_it_was_called() -> None:
    output = answer("hello.py")
    assert b"(one request, then exit)\n" in output
    assert output.endswith(b"\nSCRIPT_NAME=/app\nPATH_INFO=/a b\nQUERY_STRING=x=1\n")


def test_the_gatekeeper_says_that_it_only_authorizes() -> None:
    output = answer("gatekeeper.py")
    assert output.startswith(b"Status: 500 ")
    assert b'lighttpd: "mode" => "authorizer"' in output
