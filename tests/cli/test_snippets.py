"""The lines for the web server; ``tests/peers/test_snippets.py`` starts each of them."""

from __future__ import annotations

import os

import pytest

from gateway.address import parse_bind
from gateway.cli.configurations import snippet

PARAM_WIRES = ["fastcgi", "scgi", "uwsgi"]


def lines_for(bind: str, mount: str | None = None, **wire_options: object) -> str:
    return snippet(parse_bind(bind), mount, wire_options)


@pytest.mark.parametrize("wire", PARAM_WIRES)
def test_without_a_mount_the_whole_path_is_the_applications(wire: str) -> None:
    assert lines_for(f"{wire}://unix:/run/app.sock") == (
        "location / {\n"
        "    client_max_body_size 64m;\n"
        f"    include {wire}_params;\n"
        f'    {wire}_param SCRIPT_NAME "";\n'
        f"    {wire}_param PATH_INFO $document_uri;\n"
        f'    {wire}_param HTTP_PROXY "";\n'
        f"    {wire}_pass unix:/run/app.sock;\n"
        "}"
    )


def test_what_is_for_all_wires_is_asked_for_fastcgi() -> None:
    assert lines_for("auto://127.0.0.1:1", "/app") == lines_for("fastcgi://127.0.0.1:1", "/app")


@pytest.mark.parametrize(
    ("bind", "place"),
    [
        ("0.0.0.0:9000", "127.0.0.1:9000"), ("[::]:9000", "[::1]:9000"), ("[::1]:9000", "[::1]:9000"),
        ("unix:/a b/s", "unix:/a b/s"), ("unix:s", f"unix:{os.getcwd()}/s"),
    ],
)  # fmt: skip
def test_the_place_is_where_the_web_server_finds_it(bind: str, place: str) -> None:
    quote = '"' * (" " in place)
    assert f"    fastcgi_pass {quote}{place}{quote};\n" in lines_for(f"fastcgi://{bind}")
    assert f"    proxy_pass {quote}http://{place}{quote};\n" in lines_for(f"http://{bind}")
    ajp = f"{place}|ajp://app" if bind.startswith("unix:") else f"ajp://{place}"
    assert f'ProxyPass "/" "{ajp}/"' in lines_for(f"ajp://{bind}")


@pytest.mark.parametrize("wire", [*PARAM_WIRES, "http"])
def test_a_mount_is_no_pattern(wire: str) -> None:
    assert r"/v1\.0)" in lines_for(f"{wire}://:1", "/v1.0") or r"^/v1\.0(/|$)" in lines_for(f"{wire}://:1", "/v1.0")


def test_the_secret_itself_is_not_told() -> None:
    told = lines_for("ajp://:8009", "/app", secret="s3same")
    assert told.startswith("# Apache with mod_proxy_ajp and mod_headers\nAllow")
    assert told.endswith('ProxyPass "/app" "ajp://127.0.0.1:8009/app" "secret=${GATEWAY_SECRET}"')
    assert "s3same" not in told


def test_apache_is_told_of_larger_packets() -> None:
    assert "ProxyIOBufferSize 65536" in lines_for("ajp://:8009", packet_size=65536).splitlines()


@pytest.mark.parametrize("bind", ["fastcgi://unix:@abstract", "gopher://127.0.0.1:70"])
def test_where_no_web_server_gets_there_is_nothing_to_tell(bind: str) -> None:
    assert lines_for(bind) == ""


def test_a_mount_that_would_have_to_be_quoted_is_left_to_the_reader() -> None:
    assert lines_for("fastcgi://unix:/run/app.sock", "/a b") == ""
