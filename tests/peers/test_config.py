"""What ``gateway config`` prints is started as it is, with the real server, and serves the conformance suite."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from gateway.cli.configurations import FRONT_ENDS, Site, load
from gateway.cli.main import main
from gateway.client import Client
from gateway.testing.conformance import CONFORMANCE, cases_for, run_conformance
from tests.peers.frontends.configured import MOUNT, WIRES, Workers, started
from tests.peers.frontends.processes import running, unused_port
from tests.requirements import require, require_module

TARGET = "gateway.testing.conformance:application"

CUT_BY_LENGTH_ONLY = {"an error in a body without a length cuts it visibly"}
CUT_MAY_BE_502 = {
    "close() is called once after an error",
    "an error in the body cuts it visibly",
    "an error in a body without a length cuts it visibly",
    "a late change of mind cuts the body",
    "a body shorter than its Content-Length is cut visibly",
}
LENGTH_REQUIRED = {"a body without a length arrives", "a big body without a length arrives"}
DIFFERENT: dict[str, dict[str, set[str]]] = {
    "nginx": {"fastcgi": CUT_MAY_BE_502, "scgi": CUT_BY_LENGTH_ONLY, "uwsgi": CUT_BY_LENGTH_ONLY},
    "apache": {"scgi": LENGTH_REQUIRED | CUT_MAY_BE_502, "uwsgi": LENGTH_REQUIRED | CUT_MAY_BE_502},
    "lighttpd": dict.fromkeys(
        WIRES,
        CUT_BY_LENGTH_ONLY | {
            "an unknown method arrives", "a path in latin-1 is bytes as latin-1", "a header may be empty",
            "the status stays", "an empty header comes back",
        },
    ),
    "caddy": dict.fromkeys(WIRES, CUT_BY_LENGTH_ONLY),
    "haproxy": {"fastcgi": {"a big body without a length arrives", "a redirect is left to the visitor"}},
}  # fmt: skip
"""What front ends do their own way whatever they are told (docs/which-wire.md); a case may pass nevertheless."""
DIFFERENT["lighttpd"]["ajp"] |= {"the method PATCH arrives", "the path is decoded once"}


@pytest.fixture(scope="module")
def workers(directory: Path) -> Iterator[Workers]:
    with ExitStack() as stack:
        yield Workers(TARGET, directory, stack)


def conforms(port: int, *, wire: str, mount: str, different: Set[str] = frozenset()) -> None:
    """Ask, through the front end, the cases that show on HTTP, on the wire behind it, and where the application is."""
    shown = [case for case in CONFORMANCE if case in cases_for("http") and case in cases_for(wire)]
    shown += [case for case in CONFORMANCE if mount and " mount" in case.name]
    assert different <= {case.name for case in CONFORMANCE}
    with Client(f"http://127.0.0.1:{port}") as client:

        def visit(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["SCRIPT_NAME"] != mount:  # a case of an application that is the whole site
                environ["REQUEST_URI"] = mount + environ["REQUEST_URI"]
            return client(environ, start_response)

        run_conformance(visit, [case for case in shown if case.name not in different])


PORTS = dict.fromkeys([(server, "http") for server in FRONT_ENDS], "ipv6") | {("lighttpd", "ajp"): "unix"}
"""lighttpd waits for an ACK (40 ms) after each AJP packet over TCP."""
SITES = [
    (server, wire, site)
    for server in FRONT_ENDS
    for wire in load(server).wires
    for site in (
        {"bind": "unix", "mount": MOUNT, "stream": True}, {"bind": PORTS.get((server, wire), "ipv4"), "mount": ""}
    )
]  # fmt: skip
"""Each server on each wire: below a mount through a socket, streaming, and as the whole site through a port."""


@pytest.mark.parametrize(("server", "wire", "options"), SITES)
def test_a_front_end_serves_the_suite(
    workers: Workers, directory: Path, server: str, wire: str, options: dict[str, Any]
) -> None:
    mount, port = options["mount"], unused_port()
    bind = workers.bind(server, wire, mount, kind=options["bind"])
    (text,) = load(server).write(Site(TARGET, **options | {"bind": bind, "full": True, "port": port})).values()
    with started(server, text, folder=directory / str(port), port=port):
        conforms(port, wire=wire, mount=mount, different=DIFFERENT.get(server, {}).get(wire, set()))


PROGRAM = f"""\
#!{sys.executable}
import gateway
from gateway.testing.conformance import application
gateway.run(application)
"""


@pytest.mark.parametrize("options", [{"mount": MOUNT, "stream": True}, {}])
def test_a_front_end_that_starts_the_program_serves_the_suite(directory: Path, options: dict[str, Any]) -> None:
    port = unused_port()
    program = directory / f"{port}.fcgi"
    program.write_text(PROGRAM, "utf-8")
    program.chmod(0o755)
    (text,) = load("apache-fcgid").write(Site(str(program), full=True, port=port, **options)).values()
    with started("apache-fcgid", text, folder=directory / str(port), port=port):
        conforms(port, wire="fastcgi", mount=options.get("mount", ""), different=CUT_MAY_BE_502)


FCGI_RUN = [sys.executable, "-m", "gateway.cli.fcgi_run"]


def ping(words: list[str]) -> int:
    """Run a health check as the container does; its exit status."""
    assert words[:2] == ["gateway", "ping"]
    return CliRunner().invoke(main, words[1:]).exit_code


def test_systemd_hands_the_socket_over_and_hears_when_it_is_served(directory: Path) -> None:
    activate = require("systemd-socket-activate", package="systemd")
    place, notify = directory / "activated.sock", directory / "notify.sock"
    site = Site(TARGET, bind=f"scgi://unix:{place}")
    socket_unit, service = load("systemd").write(site).values()
    listen = re.findall("^ListenStream=(.*)$", socket_unit, re.MULTILINE)
    program, *words = shlex.split(re.findall("^ExecStart=(.*)$", service, re.MULTILINE)[0])
    assert (listen, os.path.basename(program)) == ([str(place)], "fcgi-run")
    command = [activate, "-l", listen[0], "-E", "NOTIFY_SOCKET", "-E", "PYTHONPATH", *FCGI_RUN, *words]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        ears.bind(str(notify))
        ears.settimeout(20)
        with running(
            command, directory=directory, name="systemd", listens=[str(place)], environ={"NOTIFY_SOCKET": str(notify)}
        ):  # fmt: skip
            assert ears.recv(1024).startswith(b"READY=1")
            with Client(f"scgi://{place}") as client:
                run_conformance(client, cases_for("scgi"))


def test_systemd_finds_the_units_sound_and_the_service_confined(directory: Path) -> None:
    analyze = require("systemd-analyze", package="systemd")
    for name, text in load("systemd").write(Site(TARGET)).items():
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE)  # which is there
        (directory / name).write_text(text, "utf-8")
    units = [str(directory / f"gateway.{kind}") for kind in ("socket", "service")]
    verified = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, timeout=60)
    assert (verified.returncode, verified.stderr) == (0, "")
    # 10 is a service that may do everything; systemd calls up to 2 OK, which few services of a distribution are.
    command = [analyze, "security", "--offline=true", "--threshold=20", units[1]]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_the_containers_of_compose_serve_the_suite(directory: Path) -> None:
    yaml = require_module("yaml", package="pyyaml")
    inner, port = unused_port(), unused_port()
    files = load("docker").write(Site(TARGET, bind=f"127.0.0.1:{inner}", mount=MOUNT, port=port))
    image = dict(line.split(" ", 1) for line in files["Dockerfile"].splitlines()[1:])
    services = yaml.safe_load(files["compose.yaml"])["services"]
    assert (services["web"]["ports"], services["gateway"]["build"]) == ([f"{port}:{port}"], ".")
    program, *words = json.loads(image["CMD"].replace("0.0.0.0", "127.0.0.1"))
    assert (program, image["EXPOSE"]) == ("fcgi-run", str(inner))
    text = files["nginx.conf"].replace("server gateway:", "server 127.0.0.1:")
    with running([*FCGI_RUN, *words], directory=directory, name="container", listens=[("127.0.0.1", inner)]):
        assert ping(json.loads(image["HEALTHCHECK"].partition("CMD ")[2])) == 0
        with started("nginx", text, folder=directory / str(port), port=port):
            conforms(port, wire="fastcgi", mount=MOUNT, different=DIFFERENT["nginx"]["fastcgi"])


def test_the_containers_of_a_pod_serve_the_suite(directory: Path) -> None:
    yaml = require_module("yaml", package="pyyaml")
    inner, port = unused_port(), unused_port()
    (text,) = load("kubernetes").write(Site(TARGET, bind=f"127.0.0.1:{inner}", stream=True, port=port)).values()
    config, deployment, service = yaml.safe_load_all(text)
    pod = deployment["spec"]["template"]
    app, web = pod["spec"]["containers"]
    assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"] == service["spec"]["selector"]
    assert pod["spec"]["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
    assert web["ports"] == [{"name": service["spec"]["ports"][0]["targetPort"], "containerPort": port}]
    _, *words = app["command"]
    with running([*FCGI_RUN, *words], directory=directory, name="pod", listens=[("127.0.0.1", inner)]):
        assert ping(app["readinessProbe"]["exec"]["command"]) == 0
        with started("nginx", config["data"]["nginx.conf"], folder=directory / str(port), port=port):
            conforms(port, wire="fastcgi", mount="", different=DIFFERENT["nginx"]["fastcgi"])
    assert ping(app["readinessProbe"]["exec"]["command"]) == 1


IIS = {
    "configuration": set(), "system.webServer": set(), "handlers": set(), "security": set(),
    "add": {"name", "path", "verb", "modules", "resourceType"},
    "httpPlatform": {"processPath", "arguments", "stdoutLogEnabled", "stdoutLogFile"},
    "requestFiltering": {"allowDoubleEscaping"}, "requestLimits": {"maxAllowedContentLength"},
}  # fmt: skip
"""Elements and attributes as Microsoft documents them for system.webServer and HttpPlatformHandler."""


def test_iis_is_told_what_is_documented_and_its_program_serves_the_suite(directory: Path) -> None:
    port = unused_port()
    (text,) = load("iis").write(Site(TARGET)).values()
    root = ElementTree.fromstring(text)
    assert {element.tag: {*element.attrib} for element in root.iter()} == IIS
    (platform,) = root.iter("httpPlatform")
    words = shlex.split(platform.attrib["arguments"].replace("%HTTP_PLATFORM_PORT%", str(port)))
    with running([sys.executable, *words], directory=directory, name="iis", listens=[("127.0.0.1", port)]):
        conforms(port, wire="http", mount="")
