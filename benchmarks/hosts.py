"""The hosts section: throughput of web servers that run a CGI program for each request."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from . import nginx
from .contenders import CONNECTIONS, GATEWAY, Peer, program
from .hello import BODY
from .load import WARM_UP, Round, measure_round, summarize
from .measure import Result, drive
from .report import Column, Section
from .servers import SOURCE, StartError, running, unused_port

APACHE = Peer("Apache", program("apache2", "-v"), "apt install apache2")
FCGIWRAP = Peer("fcgiwrap", program("fcgiwrap", "-h"), "apt install fcgiwrap")
LIGHTTPD = Peer("lighttpd", program("lighttpd", "-v"), "apt install lighttpd")
GCC = Peer("gcc", program("gcc", "--version"), "apt install gcc libc6-dev")
PEERS = [APACHE, FCGIWRAP, LIGHTTPD]

TITLE = f"A hello-world CGI program, {CONNECTIONS} connections"
COLUMNS = [
    Column("req/s", "throughput", "{:,.0f}"),
    Column("p50 ms", "p50", "{:.2f}"),
    Column("p99 ms", "p99", "{:.2f}"),
]
NOTE = (
    "The program in C is started for each request by all of them; the Python script is started by lighttpd, and runs "
    "in a fork of a warm interpreter under gateway, which has one process with eight threads. There is no column of "
    "CPU time, because the kernel adds that of programs to no server that leaves their end to others."
)

APACHE_CONFIGURATION = """\
ServerRoot {place}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {place}/apache.pid
ErrorLog /dev/stderr
ScriptSock {place}/cgid.sock
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
{user}
MaxKeepAliveRequests 0
ScriptAlias / {root}/
"""
LIGHTTPD_CONFIGURATION = """\
server.modules = ( "mod_cgi" )
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{root}"
server.max-keep-alive-requests = 1000000
cgi.assign = ( "" => "" )
"""


@dataclass(frozen=True, slots=True)
class Host:
    """A server of the programs in {root}: on {port}, or on {socket} with these directives in the nginx before it."""

    name: str
    peer: Peer
    command: tuple[str, ...]
    configuration: str = ""
    directives: str = ""

    @property
    def slug(self) -> str:
        """The name as it appears in the URL and in names of files."""
        return re.sub(r"\W+", "-", self.name).strip("-").lower()


def gateway_host(name: str, *options: str, directives: str = "") -> Host:
    """One process of ours."""
    command = (sys.executable, "-m", "gateway.cli.fcgi_run", "--cgi-bin", "{root}", "--cgi-execution", "*.py=fork")
    return Host(name, GATEWAY, (*command, "--threads", "8", "--no-control-socket", *options), directives=directives)


OURS_BEHIND_NGINX = gateway_host(
    "gateway behind nginx",
    *("-b", "unix:{socket}"),
    directives='fastcgi_param SCRIPT_NAME ""; fastcgi_param PATH_INFO $rest; fastcgi_keep_conn on;',
)
OURS = gateway_host("gateway", "--protocol", "http", "-b", "127.0.0.1:{port}")
MOD_CGID = Host("Apache mod_cgid", APACHE, ("apache2", "-DFOREGROUND", "-f", "{file}"), APACHE_CONFIGURATION)
WRAP = Host(
    "nginx and fcgiwrap",
    FCGIWRAP,
    ("fcgiwrap", "-c", "4", "-s", "unix:{socket}"),
    directives="fastcgi_param SCRIPT_FILENAME {root}$rest;",
)
MOD_CGI = Host("lighttpd mod_cgi", LIGHTTPD, ("lighttpd", "-D", "-f", "{file}"), LIGHTTPD_CONFIGURATION)

PROGRAM, SCRIPT = "plain", "plain.py"
MEASURED = {
    **{f"C: {host.name}": (host, PROGRAM) for host in (OURS_BEHIND_NGINX, OURS, MOD_CGID, WRAP, MOD_CGI)},
    **{f"Python: {host.name}": (host, SCRIPT) for host in (OURS_BEHIND_NGINX, OURS, MOD_CGI)},
}
NAMES = list(MEASURED)


def run(names: Collection[str], *, seconds: float, rounds: int, progress: Callable[[str], None]) -> Section:
    """Measure those of MEASURED that are called `names`."""
    results = {name: Result(name) for name in MEASURED if name in names}
    for name, result in results.items():
        for peer in (MEASURED[name][0].peer, GCC):
            if peer.version() is None:
                result.status, result.remark = "skipped", f"needs {peer.name}: {peer.install}"
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        progress("hosts: starting servers")
        running_hosts = start(results, place=place, stack=stack)
        measured: dict[str, list[Round]] = {name: [] for name in running_hosts}
        for url, _ in running_hosts.values():
            drive(url, seconds=min(seconds, WARM_UP))
        for number in range(rounds):
            for name, (url, pid) in running_hosts.items():
                progress(f"hosts: round {number + 1} of {rounds}, {name}")
                measured[name].append(measure_round(url, pid=pid, seconds=seconds))
    results |= {name: summarize(name, taken) for name, taken in measured.items()}
    return Section("hosts", TITLE, COLUMNS, list(results.values()), NOTE)


def start(results: dict[str, Result], *, place: Path, stack: ExitStack) -> dict[str, tuple[str, int]]:
    """Start the servers that `results` ask for; URL and process of what works, and a note on what does not."""
    wanted = {name: MEASURED[name] for name, result in results.items() if result.status == "measured"}
    if not wanted:
        return {}
    root = place / "cgi-bin"
    install(root)
    bases: dict[Host, str] = {}
    pids: dict[Host, int] = {}
    failures: dict[Host, str] = {}
    hosts = list(dict.fromkeys(host for host, _ in wanted.values()))
    fronted = [host for host in hosts if host.directives]
    port = unused_port()
    for host in hosts:
        try:
            bases[host], pids[host] = start_host(host, root=root, stack=stack)
        except StartError as error:
            failures[host] = str(error)
    if fronted:
        bases |= {host: f"http://127.0.0.1:{port}/{host.slug}" for host in fronted}
        (place / "nginx.conf").write_text(nginx_configuration(fronted, root=root, port=port))
        command = ["nginx", "-p", str(place), "-e", "stderr", "-c", "nginx.conf"]
        stack.enter_context(running(command, address=("127.0.0.1", port), log=place / "nginx.log"))
    urls = {}
    for name, (host, script) in wanted.items():
        problem = failures.get(host) or check(f"{bases[host]}/{script}")
        if problem:
            results[name].status, results[name].remark = "failed", problem
        else:
            urls[name] = f"{bases[host]}/{script}", pids[host]
    return urls


def install(root: Path) -> None:
    """Put the programs where everybody may read them: Apache's run as another user than root's."""
    root.mkdir()
    root.parent.chmod(0o755)
    subprocess.run(["gcc", "-O2", "-o", root / PROGRAM, SOURCE / "cgi_scripts" / "plain.c"], check=True)
    script = (SOURCE / "cgi_scripts" / SCRIPT).read_text()
    python = os.path.realpath(sys.executable)  # a virtual environment starts later
    (root / SCRIPT).write_text(script.replace("/usr/bin/env python3", python))
    shutil.copymode(SOURCE / "cgi_scripts" / SCRIPT, root / SCRIPT)


def start_host(host: Host, *, root: Path, stack: ExitStack) -> tuple[str, int]:
    """Start one server; its URL, if nothing is before it, and its process."""
    place, port = root.parent, unused_port()
    file, socket = place / f"{host.slug}.conf", place / f"{host.slug}.sock"
    user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
    values = {"root": root, "place": place, "port": port, "file": file, "socket": socket, "user": user}
    file.write_text(host.configuration.format(**values))
    command = [word.format(**values) for word in host.command]
    address = str(socket) if host.directives else ("127.0.0.1", port)
    server = stack.enter_context(running(command, address=address, log=file.with_suffix(".log")))
    return f"http://127.0.0.1:{port}", server.pid


def nginx_configuration(hosts: list[Host], *, root: Path, port: int) -> str:
    """The nginx before those hosts that speak FastCGI."""
    left_out = ("SCRIPT_NAME", "PATH_INFO")
    params = [line for line in nginx.PARAMS.strip().splitlines() if not line.startswith(left_out)]
    shared = " ".join(f"fastcgi_param {param};" for param in [*params, nginx.OWN_PARAMS["fastcgi"]])
    upstreams = [f"upstream {h.slug} {{ server unix:{root.parent}/{h.slug}.sock; keepalive 4; }}" for h in hosts]
    locations = [
        f"location ~ ^/{host.slug}(?<rest>/.*)$ {{ {shared} {host.directives.format(root=root)} "
        f"fastcgi_pass {host.slug}; }}"
        for host in hosts
    ]
    return nginx.MAIN.format(
        user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
        directory=root.parent,
        port=port,
        upstreams="\n".join(upstreams),
        locations="\n".join(locations),
    )


def check(url: str) -> str:
    """What is wrong with the answer from `url`; nothing if it is right."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            answer = response.read()
    except OSError as error:
        return str(error)
    return "" if answer == BODY else f"answered {answer[:60]!r} where {BODY!r} was due"
