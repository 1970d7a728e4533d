"""Starts each web server with a configuration of ``examples/``, and the worker behind it, for the length of a block."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.house import ROOT
from tests.peers.frontends.processes import Process, running, unprivileged, unused_port
from tests.peers.frontends.visitor import Visitor
from tests.requirements import require

APP = ROOT / "tests" / "peers" / "frontends" / "app.py"


class Site(Visitor):
    """A web server that runs, as its visitors see it; ``front`` is its process."""

    def __init__(self, port: int, front: Process, *, tls: bool = False) -> None:
        super().__init__(port, tls=tls)
        self.front = front


class Worker:
    """``fcgi-run`` that runs: on a unix socket, and on a port of 127.0.0.1."""

    def __init__(self, socket: Path, port: int, process: Process) -> None:
        self.socket = socket
        self.port = port
        self.process = process


def example(path: str, edits: Mapping[str, str]) -> str:
    """A file of ``examples/``, with each key of ``edits`` replaced by its value: what a user would change, too."""
    text = (ROOT / "examples" / path).read_text("utf-8")
    for old, new in edits.items():
        assert old in text, f"examples/{path} does not say {old!r}"
        text = text.replace(old, new)
    return text


@contextmanager
def fcgi_run(
    directory: Path, *options: str, target: str = "", name: str = "worker", environ: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """``fcgi-run`` with ``target``, or with the application of the tests."""
    socket, port = directory / f"{name}.sock", unused_port()
    command = [sys.executable, "-m", "gateway.cli.fcgi_run", target or f"{APP}:application", *options]
    command += ["-b", f"unix:{socket}", "-b", f"127.0.0.1:{port}"]
    listens = [str(socket), ("127.0.0.1", port)]
    with running(command, directory=directory, name=name, listens=listens, environ=environ) as process:
        yield Worker(socket, port, process)


NGINX_MAIN = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr info;
{modules}
events {{ }}
http {{
    access_log off;
    client_body_temp_path body;
    fastcgi_temp_path fastcgi;
    proxy_temp_path proxy;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;
{site}
}}
"""


@contextmanager
def nginx(directory: Path, path: str, edits: Mapping[str, str]) -> Iterator[Site]:
    """nginx with ``examples/nginx/PATH`` in the place of /etc/nginx/conf.d, or of modules-enabled if that fits it."""
    port = unused_port()
    modules, site = "", example(f"nginx/{path}", {"listen 8080": f"listen 127.0.0.1:{port}", **edits})
    if "\nstream {" in site:
        stream = require("/usr/lib/nginx/modules/ngx_stream_module.so", package="libnginx-mod-stream")
        modules, site = f"load_module {stream};\n{site}", ""
    with nginx_with(directory, site, port=port, modules=modules) as started:
        yield started


@contextmanager
def nginx_with(directory: Path, site: str, *, port: int, modules: str = "") -> Iterator[Site]:
    """nginx with the configuration ``site``, which listens on ``port`` of 127.0.0.1 at least."""
    program = require("nginx", package="nginx-light")
    for wire in ("fastcgi", "scgi", "uwsgi"):
        shutil.copy(require(f"/etc/nginx/{wire}_params", package="nginx-light"), directory)
    text = NGINX_MAIN.format(modules=modules, site=site)
    (directory / "nginx.conf").write_text(text, "utf-8")
    command = [*unprivileged(), program, "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]
    listens = [("127.0.0.1", int(each)) for each in re.findall(r"\blisten 127\.0\.0\.1:(\d+)", text)]
    assert ("127.0.0.1", port) in listens
    with running(command, directory=directory, name="nginx", listens=listens) as front:
        yield Site(port, front)


APACHE_MAIN = """\
ServerRoot {directory}
ServerName site.example
Listen 127.0.0.1:{port}
PidFile apache.pid
ErrorLog /dev/stderr
LogLevel warn
{modules}
TypesConfig /dev/null
StartServers 1
ThreadsPerChild 16
MaxRequestWorkers 32
MinSpareThreads 1
KeepAliveTimeout 1
DocumentRoot {directory}
ScriptSock {directory}/cgid.sock
FcgidIPCDir {directory}/fcgid
FcgidProcessTableFile {directory}/fcgid.table
PassEnv PYTHONPATH
FcgidInitialEnv PYTHONPATH {root}
<Directory />
    AllowOverride All
</Directory>
{site}
"""

APACHE_MODULES = [
    *("mpm_event", "authz_core", "alias", "cgid", "dir", "env", "fcgid", "headers", "mime", "rewrite"),
    *("proxy", "proxy_ajp", "proxy_fcgi", "proxy_http", "proxy_scgi", "proxy_uwsgi"),
]


@contextmanager
def apache(directory: Path, site: str) -> Iterator[Site]:
    """Apache with the configuration ``site`` in the place of conf-enabled, and AllowOverride All."""
    program = require("apache2", package="apache2")
    require("/usr/lib/apache2/modules/mod_fcgid.so", package="libapache2-mod-fcgid")
    modules = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in APACHE_MODULES]
    port = unused_port()
    configuration = directory / "apache.conf"
    text = APACHE_MAIN.format(directory=directory, port=port, modules="\n".join(modules), root=ROOT, site=site)
    configuration.write_text(text, "utf-8")
    command = [*unprivileged(), program, "-DFOREGROUND", "-f", str(configuration)]
    with running(command, directory=directory, name="apache", listens=[("127.0.0.1", port)]) as front:
        yield Site(port, front)


LIGHTTPD_MAIN = """\
server.modules = ( "mod_setenv" )
setenv.set-environment = ( "PATH" => env.PATH, "PYTHONPATH" => env.PYTHONPATH )
server.port = {port}
server.bind = "127.0.0.1"
server.document-root = "{directory}"
server.max-keep-alive-idle = 1
server.upload-dirs = ( "{directory}" )
{site}
"""


@contextmanager
def lighttpd(directory: Path, path: str, edits: Mapping[str, str]) -> Iterator[Site]:
    """lighttpd with ``examples/lighttpd/PATH`` in the place of conf-enabled."""
    program = require("lighttpd", package="lighttpd")
    port = unused_port()
    configuration = directory / "lighttpd.conf"
    site = example(f"lighttpd/{path}", edits)
    configuration.write_text(LIGHTTPD_MAIN.format(port=port, directory=directory, site=site), "utf-8")
    command = [*unprivileged(), program, "-D", "-f", str(configuration)]
    with running(command, directory=directory, name="lighttpd", listens=[("127.0.0.1", port)]) as front:
        yield Site(port, front)


@contextmanager
def haproxy(
    directory: Path, path: str, edits: Mapping[str, str], *, certificate: Path | None = None
) -> Iterator[Site]:
    """HAProxy with ``examples/haproxy/PATH`` as its configuration; over TLS if there is a certificate."""
    port = unused_port()
    bind = f"bind 127.0.0.1:{port}" + (f" ssl crt {certificate}" if certificate else "")
    text = example(f"haproxy/{path}", {"bind :8080": bind, **edits})
    with haproxy_with(directory, text, port=port, tls=certificate is not None) as started:
        yield started


@contextmanager
def haproxy_with(directory: Path, text: str, *, port: int, tls: bool = False) -> Iterator[Site]:
    """HAProxy with the configuration ``text``, which binds ``port`` at least."""
    program = require("haproxy", package="haproxy")
    configuration = directory / "haproxy.cfg"
    configuration.write_text(text, "utf-8")
    command = [*unprivileged(), program, "-db", "-f", str(configuration)]
    with running(command, directory=directory, name="haproxy", listens=[("127.0.0.1", port)]) as front:
        yield Site(port, front, tls=tls)


@contextmanager
def caddy(directory: Path, path: str, edits: Mapping[str, str], *, tls: bool = False) -> Iterator[Site]:
    """Caddy with ``examples/caddy/PATH``; over TLS if told so, with a certificate that Caddy signs itself."""
    program = require("caddy", package="caddy")
    port = unused_port()
    address = f"https://site.example:{port}" if tls else f"http://:{port}"
    settings = "{\n    admin off\n    skip_install_trust\n    auto_https disable_redirects\n}\n"
    more = "    bind 127.0.0.1\n" + "    tls internal\n" * tls
    site = example(f"caddy/{path}", {"http://:8080 {\n": f"{address} {{\n{more}", **edits})
    (directory / "Caddyfile").write_text(settings + site, "utf-8")
    command = [*unprivileged(), program, "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    with running(command, directory=directory, name="caddy", listens=[("127.0.0.1", port)]) as front:
        yield Site(port, front, tls=tls)
