"""Starts what ``gateway config`` prints: a front end with a whole configuration, and workers on every wire."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gateway.cli.configurations import load
from tests.house import ROOT
from tests.peers.frontends.processes import Process, reserved_ports, running, unprivileged
from tests.requirements import require

MOUNT = "/app"
INTERFACES = Path("/proc/net/if_inet6")
LOOPBACK = "[::1]" if INTERFACES.exists() and " lo" in INTERFACES.read_text("ascii") else "127.0.0.1"
"""Not every container has IPv6."""
WIRES = ["fastcgi", "scgi", "uwsgi", "ajp", "http"]

COMMANDS = {
    "nginx": ["nginx", "-e", "stderr", "-p", ".", "-g", "daemon off; pid nginx.pid;", "-c"],
    "apache": ["apache2", "-DFOREGROUND", "-f"],
    "apache-fcgid": ["apache2", "-DFOREGROUND", "-f"],
    "lighttpd": ["lighttpd", "-D", "-f"],
    "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config"],
    "haproxy": ["haproxy", "-db", "-f"],
}
PACKAGES = {"nginx": "nginx-light"}
"""Where one is not called as its program."""
TEMPORARY = "".join(f"    {kind}_temp_path t;\n" for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi"))

# A visitor who keeps his connection hears of a response cut short when the front end closes it: at once, please.
HERE = {
    "nginx": lambda text: text.replace("http {\n", "http {\n" + TEMPORARY),
    "apache": lambda text: text + "KeepAlive Off\n",
    "apache-fcgid": lambda text: text + f"KeepAlive Off\nFcgidInitialEnv PYTHONPATH {ROOT}\n",
    "lighttpd": lambda text: text + "server.max-keep-alive-requests = 0\n",
    "caddy": lambda text: "{\n    admin off\n}\n" + text,
    "haproxy": lambda text: text,
}
"""What is different here: temporary files in a folder of the test's own, ports of the test's own."""


class Workers:
    """``fcgi-run`` with one application, on every wire, on a socket and on ports: as it is, and with two mounts."""

    def __init__(self, target: str, directory: Path, stack: ExitStack) -> None:
        self._places: dict[tuple[str | None, str, str], str] = {}
        ports = stack.enter_context(reserved_ports(3 * len(WIRES)))
        ports6 = stack.enter_context(reserved_ports(3 * len(WIRES), host=LOOPBACK.strip("[]")))
        for number, mount in enumerate((None, "/", MOUNT)):
            name = f"worker{number}"
            for wire in WIRES:
                self._places[mount, wire, "unix"] = f"{wire}://unix:{directory / name}-{wire}"
                self._places[mount, wire, "ipv4"] = f"{wire}://127.0.0.1:{ports.pop()}"
                self._places[mount, wire, "ipv6"] = f"{wire}://{LOOPBACK}:{ports6.pop()}"
            binds = [place for (at, _, _), place in self._places.items() if at == mount]
            command = [sys.executable, "-m", "gateway.cli.fcgi_run", target, "--threads", "4"]
            command += [word for place in binds for word in ("-b", place)] + (["--mount", mount] if mount else [])
            listens = [place.partition("unix:")[2] for place in binds if "unix:" in place]
            stack.enter_context(running(command, directory=directory, name=name, listens=listens))

    def bind(self, server: str, wire: str, mount: str, *, kind: str = "unix") -> str:
        """Where those listen that a front end needs: with a mount if it cannot tell them."""
        return self._places[None if wire in load(server).tells_mount else mount or "/", wire, kind]


@contextmanager
def started(server: str, text: str, *, folder: Path, port: int) -> Iterator[Process]:
    """The server with a whole configuration."""
    folder.mkdir()
    program, *words = COMMANDS[server]
    path = folder / next(iter(load(server).files))
    path.write_text(HERE[server](text), "utf-8")
    command = [*unprivileged(), require(program, package=PACKAGES.get(program, program)), *words, str(path)]
    with running(
        command, directory=folder, name=server, listens=[("127.0.0.1", port)], environ={"PWD": str(folder)}
    ) as process:
        yield process
