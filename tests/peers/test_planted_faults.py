"""``gateway doctor URL`` through real front ends: silent on a right configuration, and each planted fault is named.

A planting is a line of the right configuration and what stands in its place: what is between « and » is at fault, and
the lines that the doctor prints are written there instead.  Then it must be silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.configurations import FRONT_ENDS, Site, load
from gateway.cli.main import main
from tests.peers.frontends.configured import MOUNT, Workers, started
from tests.peers.frontends.processes import unused_port

TARGET = "gateway.cli.echo:application"


@pytest.fixture(scope="module")
def workers(directory: Path) -> Iterator[Workers]:
    with ExitStack() as stack:
        yield Workers(TARGET, directory, stack)


def examine(server: str, text: str, *, mount: str, port: int, folder: Path, stream: bool) -> tuple[int, list[str]]:
    """The doctor's exit status, and what he says, line by line, of a front end with this configuration."""
    with started(server, text, folder=folder, port=port):
        words = ["doctor", f"http://localhost:{port}{mount}", *["--stream"] * stream]
        result = CliRunner().invoke(main, words)
    assert result.output, result.exception
    return result.exit_code, result.output.splitlines()


RIGHT = [(server, wire, mount) for server in FRONT_ENDS for wire in load(server).wires for mount in ("", MOUNT)]


@pytest.mark.parametrize(("server", "wire", "mount"), RIGHT)
def test_nothing_is_wrong_with_what_gateway_config_prints(
    workers: Workers, tmp_path: Path, server: str, wire: str, mount: str
) -> None:
    port, stream = unused_port(), bool(mount)
    site = Site(bind=workers.bind(server, wire, mount), mount=mount, stream=stream, full=True, port=port)
    (text,) = load(server).write(site).values()
    status, said = examine(server, text, mount=mount, port=port, folder=tmp_path / "right", stream=stream)
    assert (status, len(said)) == (0, 1), said


NGINX = [
    ("fastcgi", "the application lives", {"fastcgi_split_path_info ^(/app)(/.*)$;": "«»",
                                          "fastcgi_param PATH_INFO $fastcgi_path_info;": ""}),
    ("fastcgi", "variables of a request do not arrive", {"include /etc/nginx/fastcgi_params;": "«»"}),
    ("fastcgi", "(httpoxy)", {'fastcgi_param HTTP_PROXY "";': "«»"}),
    ("fastcgi", "413 Request Entity Too Large to an upload of 2 MiB", {"client_max_body_size 64m;": "«»"}),
    ("fastcgi", "a connection of its own", {"keepalive 8;": "«»", "fastcgi_keep_conn on;": "«»"}),
    ("scgi", "arrives when all is said", {"scgi_buffering off;": "«»"}),  # by FastCGI it is, on kept connections
    ("fastcgi", "SERVER_NAME or SERVER_PORT does not arrive", {"server_name localhost;": "«»"}),
    ("fastcgi", "by http is told to be one by https", {"fastcgi_pass": "«fastcgi_param HTTPS on;» fastcgi_pass"}),
    ("fastcgi", "visitors can forge headers", {"listen": "«underscores_in_headers on;» listen"}),
    ("fastcgi", "page for a 404 does not reach", {
        "fastcgi_pass app;": "«fastcgi_intercept_errors on;» error_page 404 /none; fastcgi_pass app;"}),
    ("scgi", "(httpoxy)", {'scgi_param HTTP_PROXY "";': "«»"}),
    ("http", "arrives as 'app'", {"proxy_set_header Host $http_host;": "«»"}),
    ("http", "told to be one by gopher", {"proxy_set_header X-Forwarded-Proto $scheme;": "«»"}),
]  # fmt: skip
APACHE = [
    ("fastcgi", "the Authorization header does not arrive", {"CGIPassAuth On": "«»"}),
    ("fastcgi", "404 Not Found to a path with %2F", {"AllowEncodedSlashes NoDecode": "«»"}),
    ("fastcgi", "the application lives", {
        "ProxyFCGIBackendType GENERIC": '«ProxyFCGISetEnvIf true SCRIPT_NAME /»',
        'ProxyFCGISetEnvIf "%{REQUEST_URI} =~ m#^(/app)(.*)$#" SCRIPT_NAME "$1"': "",
        'ProxyFCGISetEnvIf "%{REQUEST_URI} =~ m#^(/app)(.*)$#" PATH_INFO "$2"': ""}),
    ("fastcgi", "a connection of its own", {"ProxySet enablereuse=on": "«»"}),
    ("fastcgi", "arrives when all is said", {"ProxySet flushpackets=on": "«»"}),
    ("fastcgi", "Content-Length of a response does not reach", {"SetEnv ap_trust_cgilike_cl 1": "«»"}),
    ("fastcgi", "page for a 404 does not reach", {"AllowEnc": "«ProxyErrorOverride On»\nAllowEnc"}),
    ("ajp", "(httpoxy)", {"RequestHeader unset Proxy early": "«»"}),
    ("http", "the Host localhost:", {"ProxyPreserveHost On": "«»"}),
]  # fmt: skip
LIGHTTPD = [
    ("fastcgi", "404 Not Found", {'"check-local" => "disable"': "«»"}),
    ("fastcgi", "arrives when all is said", {"server.stream-response-body = 1": "«»"}),
    ("ajp", "(httpoxy)", {'setenv.set-request-header = ( "Proxy" => "" )': "«»"}),
]  # fmt: skip
HAPROXY = [
    ("fastcgi", "the application lives", {"path-info ^(/app)(/.*)?$": "«»"}),
    ("fastcgi", "the Authorization header does not arrive", {"pass-header authorization": "«»"}),
    ("fastcgi", "a connection of its own", {"http-reuse always": "«»", "option keep-conn": "«no option keep-conn»"}),
]  # fmt: skip
PLANTED = [
    (server, wire, words, planting)
    for server, faults in (("nginx", NGINX), ("apache", APACHE), ("lighttpd", LIGHTTPD), ("haproxy", HAPROXY))
    for wire, words, planting in faults
]


@pytest.mark.parametrize(("server", "wire", "words", "planting"), PLANTED)
def test_a_planted_fault_is_named_with_the_lines_that_mend_it(
    workers: Workers, tmp_path: Path, server: str, wire: str, words: str, planting: dict[str, str]
) -> None:
    port = unused_port()
    site = Site(bind=workers.bind(server, wire, MOUNT), mount=MOUNT, stream=True, full=True, port=port)
    (text,) = load(server).write(site).values()
    for line, planted in planting.items():
        assert text.count(line) == 1
        text = text.replace(line, planted)
    stream = "said" in words
    status, said = examine(
        server, re.sub("[«»]", "", text), mount=MOUNT, port=port, folder=tmp_path / "wrong", stream=stream
    )  # fmt: skip
    assert (status, [line for line in said if line[0] != " "]) == (1, said[:1])
    assert words in said[0]
    assert said[0].endswith(f"{load(server).title} needs")
    assert mend(text, said[1:]) != text
    right = examine(server, mend(text, said[1:]), mount=MOUNT, port=port, folder=tmp_path / "right", stream=stream)
    assert (right[0], len(right[1])) == (0, 1), right


def mend(text: str, said: list[str]) -> str:
    """The configuration with the lines that the doctor printed, each group at its place."""
    groups = re.split(r"^ *# in .*:\n|^ +# .*\n", "\n".join([*said, ""]), flags=re.MULTILINE)
    for group in filter(None, groups):
        before, _, rest = text.partition("«")
        text = before + group.strip() + rest.partition("»")[2]
    return text
