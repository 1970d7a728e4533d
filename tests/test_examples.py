"""The programs of ``examples/`` as CGI programs, the commands that start them, and the page that quotes their files.

``tests/peers`` starts the configurations.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.house import ROOT

EXAMPLES = ROOT / "examples"
FRONT_ENDS = ["apache", "caddy", "haproxy", "lighttpd", "nginx"]
CONFIGURATIONS = {
    str(path.relative_to(EXAMPLES)): path.read_text("utf-8")
    for front_end in FRONT_ENDS
    for path in sorted((EXAMPLES / front_end).iterdir())
}
PAGE = (ROOT / "docs" / "which-wire.md").read_text("utf-8")
LIST = (EXAMPLES / "README.md").read_text("utf-8")
QUOTED = re.findall(r"^\[([\w./-]+)\]\(\.\./examples/\1\):\n\n```\w*\n(.*?)```$", PAGE, re.DOTALL | re.MULTILINE)
HEADINGS = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
COMMANDS = sorted({
    command
    for text in (PAGE, *CONFIGURATIONS.values())
    for command in re.findall(r"`([^`\n]*fcgi-run [^`\n]*)`", text)
    if ":application" in command
})  # fmt: skip

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


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_that_starts_the_worker_is_right(command: str) -> None:
    variables = dict(re.findall(r"(\w+)=(\S+) ", command))
    words = command.partition("fcgi-run ")[2].split()
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli.fcgi_run", *words, "--check-config"], cwd=EXAMPLES, timeout=20,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | variables, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_every_configuration_is_started() -> None:
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests" / "peers").glob("test_*.py"))
    found = re.findall(r'\b(nginx|lighttpd|haproxy|caddy)\(\w+, f?"([^"]+)"|example\(f?"(apache)/([^"]+)"', tests)
    started = {f"{server or apache}/{name or path}" for server, name, apache, path in found}
    started |= {path.format(wire=wire) for path in started for wire in ("scgi", "uwsgi")}
    assert set(CONFIGURATIONS) <= started


@pytest.mark.parametrize("path", CONFIGURATIONS)
def test_every_configuration_is_listed(path: str) -> None:
    assert f"[{path}]({path})" in LIST


def test_the_page_knows_every_configuration_for_a_worker() -> None:
    for_a_worker = {path for path, text in CONFIGURATIONS.items() if "fcgi-run hello" in text}
    assert for_a_worker - {"lighttpd/authorizer.conf"} == set(re.findall(r"\(\.\./examples/(\S+/\S+)\)", PAGE))


@pytest.mark.parametrize(("path", "quoted"), QUOTED)
def test_the_page_quotes_the_file(path: str, quoted: str) -> None:
    assert quoted == CONFIGURATIONS[path]


def test_the_page_quotes_nothing_else() -> None:
    assert len(QUOTED) == PAGE.count("```") / 2 > 0


@pytest.mark.parametrize(("text", "target"), re.findall(r"\[([^]]*)\]\(([^)]*)\)", PAGE))
def test_a_link_of_the_page_leads_somewhere(text: str, target: str) -> None:
    headings = ["#" + re.sub(r"[^\w -]", "", line).lower().strip().replace(" ", "-") for line in HEADINGS]
    assert target in headings or (ROOT / "docs" / target).exists()
