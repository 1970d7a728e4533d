"""The requests that every model is asked: from a list of URLs, from a HAR file, or the usual ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.measure.requests import Request, read_har, read_urls, usual_requests
from gateway.measure.target import Target

URLS = """\
# the shop
/
/search?q=shoes

post /login
https://shop.example/basket?full#top
https://shop.example
"""


def har(*requests: dict[str, Any]) -> str:
    """A HAR 1.2 file, as far as it is read."""
    return json.dumps({"log": {"entries": [{"request": {"method": "GET", **request}} for request in requests]}})


def test_a_list_has_a_path_or_a_url_on_each_line(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text(URLS)
    requests = read_urls(tmp_path / "urls.txt")
    assert [str(request) for request in requests] == [
        "GET /", "GET /search?q=shoes", "POST /login", "GET /basket?full", "GET /",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("/\nGET / HTTP/1.1", r"line 2: 'GET / HTTP/1\.1' is no URL; write /path\?query or POST /path"),
        ("search", "line 1: 'search' is no URL"),
        ("# nothing", "names no URL; write a path on each line"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_list_with_a_mistake_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "urls.txt").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=complaint):
        read_urls(tmp_path / "urls.txt")


def test_a_har_file_gives_method_path_headers_and_body_of_what_the_first_host_was_asked(tmp_path: Path) -> None:
    (tmp_path / "a.har").write_text(
        har(
            {
                "method": "POST", "url": "https://shop.example/login?next=%2F",
                "headers": [
                    {"name": ":authority", "value": "shop.example"}, {"name": "Cookie", "value": "a=b"},
                    {"name": "Connection", "value": "keep-alive"}, {"name": "Content-Length", "value": "7"},
                ],
                "postData": {"mimeType": "text/plain", "text": "user=me"},
            },
            {"url": "https://cdn.example/logo.png"},
            {"url": "https://shop.example", "postData": {"encoding": "base64", "text": "AAE="}},
        )
    )  # fmt: skip
    assert read_har(tmp_path / "a.har") == [
        Request("POST", "/login?next=%2F", (("Cookie", "a=b"),), b"user=me"),
        Request("GET", "/", (), b"\0\1"),
    ]


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"log": {"entries": []}}', '{"log": {"entries": [{}]}}'])
def test_what_is_no_har_file_says_where_to_get_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.har").write_text(text)
    with pytest.raises(ConfigError, match="save one in the network tab of a browser"):
        read_har(tmp_path / "a.har")


def test_an_application_and_a_script_are_asked_for_their_root() -> None:
    assert usual_requests(Target("app:application", kind="wsgi", folder="/")) == [Request("GET", "/")]


def test_a_directory_is_asked_for_each_of_its_programs(tmp_path: Path) -> None:
    target = Target(".", kind="program", folder=str(tmp_path))
    with pytest.raises(ConfigError, match=r"there is no CGI program in .*; a program is a file with chmod \+x"):
        usual_requests(target)
    for name in ("b.sh", "sub/a.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert [request.path for request in usual_requests(target)] == ["/b.sh", "/sub/a.sh"]
