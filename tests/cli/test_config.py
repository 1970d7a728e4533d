"""``gateway config``: what it prints, refuses, writes and has checked; ``tests/peers/test_config.py`` starts it all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.configurations import FRONT_ENDS, Site, load
from gateway.cli.main import main
from tests.house import ROOT
from tests.requirements import require

PAGE = (ROOT / "docs" / "which-wire.md").read_text("utf-8")
CHECKERS = {"nginx": "nginx-light", "apache": "apache2", "apache-fcgid": "apache2", "lighttpd": "lighttpd",
            "caddy": "caddy", "haproxy": "haproxy"}  # fmt: skip
ROWS = [row for server in FRONT_ENDS for rows in load(server).files.values() for row in rows]
MATTERS = {matter for _, matters, _ in ROWS for matter in matters}


def config(*words: str) -> Result:
    return CliRunner().invoke(main, ["config", *words])


def printed(*words: str) -> str:
    result = config(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_the_lines_for_a_server_that_is_there_are_all_that_is_printed() -> None:
    assert printed("nginx", "hello:application", "--mount", "/app", "--stream") == (
        "# nginx in front of `fcgi-run hello:application -b unix:/run/hello.sock`\n"
        "\n"
        "upstream hello {\n"
        "    server unix:/run/hello.sock;\n"
        "    keepalive 8;\n"
        "}\n"
        "\n"
        "location ~ ^/app(/|$) {\n"
        "    client_max_body_size 64m;\n"
        "    fastcgi_split_path_info ^(/app)(/.*)$;\n"
        "    include fastcgi_params;\n"
        "    fastcgi_param PATH_INFO $fastcgi_path_info;\n"
        '    fastcgi_param HTTP_PROXY "";\n'
        "    fastcgi_keep_conn on;\n"
        "    fastcgi_buffering off;\n"
        "    fastcgi_request_buffering off;\n"
        "    fastcgi_pass hello;\n"
        "}\n"
    )


def test_the_whole_of_a_server_has_a_name_and_listens() -> None:
    text = printed("nginx", "--full", "--host", "example.org", "--port", "8081")
    assert "listen 8081;" in text
    assert "server_name example.org;" in text


@pytest.mark.parametrize("size", ["1", "100"])
def test_the_size_of_uploads_is_told(size: str) -> None:
    assert f"client_max_body_size {size}m;" in printed("nginx", "--size", size)
    assert f"FcgidMaxRequestLen {int(size) << 20}" in printed("apache-fcgid", "/srv/a.py", "--size", size)


def test_ajp_has_a_secret_and_packets() -> None:
    text = printed("apache", "-b", "ajp://127.0.0.1", "--secret", "--packet-size", "65536")
    assert "ProxyIOBufferSize 65536\n" in text
    assert 'ProxyPass "/" "ajp://127.0.0.1:8009/" "secret=${GATEWAY_SECRET}"\n' in text


def test_a_socket_for_all_wires_is_asked_by_the_best() -> None:
    assert "fastcgi_pass" in printed("nginx", "-b", "auto://unix:/run/hello.sock")
    assert "--protocol auto" in printed("systemd", "-b", "auto://unix:/run/hello.sock")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["nginx", "-b", "scgi://127.0.0.1", "--mount", "/app"], "fcgi-run app:application -b scgi://127.0.0.1:4000"),
        (["apache", "-b", "scgi://:1", "--mount", "/app"], "fcgi-run app:application -b scgi://0.0.0.0:1 --mount /app"),
        (["caddy", "-b", "http://[::1]:1"], "fcgi-run app:application -b http://[::1]:1 --mount /"),
    ],
)
def test_the_command_that_starts_the_application_knows_what_the_server_cannot_tell(
    words: list[str], command: str
) -> None:  # fmt: skip
    assert f"`{command}`" in printed(*words)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["haproxy", "-b", "scgi://:1"], "HAProxy does not speak scgi, but fastcgi and http; scgi goes with nginx, "),
        (["caddy", "-b", "ajp://:1"], "Caddy does not speak ajp, but fastcgi and http; ajp goes with Apache and "),
        (["nginx", "-b", "gopher://:70"], "no wire is called 'gopher'"),
        (["nginx", "-b", "unix:@abstract"], "bind unix:PATH or HOST:PORT"),
        (["nginx", "-b", "fd://3"], "bind unix:PATH or HOST:PORT"),
        (["nginx", "--mount", "/a b"], "choose a mount of plain letters"),
        (["nginx", "--mount", "app"], "is not a path: it begins with one slash"),
        (["apache-fcgid"], "app:application is no program: name one by its path"),
        (["apache-fcgid", "/srv/a.py", "-b", ":1"], "starts the program itself: leave --bind out"),
        (["docker", "-b", "unix:/run/a.sock"], "containers reach each other by TCP: leave --bind out"),
        (["nginx", "-o", "/nowhere/nginx.conf"], "/nowhere/nginx.conf: No such file or directory"),
        (["apache2"], "'apache2' is not one of 'nginx', 'apache'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_can(words: list[str], refusal: str) -> None:
    result = config(*words)
    assert (result.exit_code, refusal in result.stderr) == (2, True), result.stderr


def test_one_file_is_written_where_it_is_wished(tmp_path: Path) -> None:
    assert printed("caddy", "-o", str(tmp_path / "site.caddy")) == ""
    assert (tmp_path / "site.caddy").read_text("utf-8") == printed("caddy")


def test_several_files_are_written_into_a_directory(tmp_path: Path) -> None:
    printed("systemd", "hello:application", "-o", str(tmp_path / "units"))
    assert {path.name for path in (tmp_path / "units").iterdir()} == {"hello.socket", "hello.service"}


@pytest.mark.parametrize("server", CHECKERS)
def test_the_servers_own_checker_finds_nothing(server: str, tmp_path: Path) -> None:
    require(load(server).check[0], package=CHECKERS[server])
    target = str(tmp_path / "hello.py") if server == "apache-fcgid" else "hello:application"
    for words in ([], ["--mount", "/a.b/~d-e", "--stream"]):
        result = config(server, target, *words, "--check")
        assert (result.exit_code, result.stderr) == (0, "")


def test_what_the_checker_finds_is_said() -> None:
    require("haproxy", package="haproxy")
    result = config("haproxy", "-b", "no.such.host.invalid:1", "--check")
    assert result.exit_code == 1
    assert result.stderr.startswith("haproxy -c -f:\n")
    assert "no.such.host.invalid" in result.stderr.partition("\n")[2]


def test_a_checker_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *words, **options: None)
    result = config("caddy", "--check")
    assert (result.exit_code, result.stderr) == (1, "caddy is not installed here: nothing was checked\n")


def test_without_a_checker_nothing_is_checked() -> None:
    result = config("iis", "--check")
    assert (result.exit_code, result.stderr) == (1, "IIS has no checker that could be asked here\n")


def test_what_a_server_needs_says_where_it_goes() -> None:
    site = Site(mount="/app", stream=True)
    assert load("nginx").lines_for("keep", site) == [
        "# in upstream:", "keepalive 8;", "# in location:", "fastcgi_keep_conn on;"
    ]  # fmt: skip
    assert load("apache").lines_for("keep", site) == ["# in Proxy:", "ProxySet enablereuse=on"]
    assert load("haproxy").lines_for("keep", site)[-2:] == ["# in fcgi-app:", "option keep-conn"]


EXAMPLES = [
    (path, server, wire)
    for server in FRONT_ENDS
    for wire in load(server).wires
    for path in sorted((ROOT / "examples" / server).iterdir())
    if f"fcgi-run hello:application{f' --protocol {wire}' if wire != 'fastcgi' else ' -b'} " in path.read_text("utf-8")
    and path.name != "authorizer.conf"
]


@pytest.mark.parametrize(("path", "server", "wire"), EXAMPLES, ids=lambda value: getattr(value, "name", value))
def test_an_example_has_every_line_that_its_configuration_needs(path: Path, server: str, wire: str) -> None:
    text = path.read_text("utf-8")
    mount = "" if path.name == "whole-site.conf" else "/app"
    bind = f"{wire}://" + re.findall("-b (127.0.0.1:9000|unix:/run/hello.sock)", text)[0]
    site = Site("hello:application", bind=bind, mount=mount, stream=server == "lighttpd")
    lines = [line for matter in MATTERS for line in load(server).lines_for(matter, site)]
    stated = re.sub(r"\s+", " ", re.sub(r"(^|\s)#.*", "", text, flags=re.MULTILINE))
    lines = [line.removeprefix("ProxySet ").rstrip(",") for line in lines if line[0] != "#"]
    assert [line for line in lines if line not in stated] == []


@pytest.mark.parametrize("command", re.findall(r"`gateway (config [^`]+)`", PAGE))
def test_the_commands_of_the_page_work(command: str) -> None:
    assert CliRunner().invoke(main, command.split()).exit_code == 0
