"""The Django project and the Flask application of ``examples/``: the same source and the same answers, everywhere.

Behind nginx they run under ``fcgi-run``, behind Apache as CGI programs by WSGI.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.peers.frontends.servers import apache, example, fcgi_run, nginx
from tests.peers.frontends.visitor import Answer, Headers, Visitor
from tests.requirements import require_module

TARGETS = {
    "django": ("django_project", "notes.wsgi:application"),
    "django-asgi": ("django_project", "notes.asgi:application"),
    "flask": ("flask_app", "notes:app"),
}
OF_THE_SERVER = {"connection", "date", "keep-alive", "server", "transfer-encoding"}
FORM = ("Content-Type", "application/x-www-form-urlencoded")
FILE = bytes(range(256)) * 1000
MULTIPART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + FILE + b"\r\n--x--\r\n"


@pytest.fixture(scope="module", params=sorted(TARGETS))
def sites(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Visitor]]:
    """One framework behind nginx and behind Apache."""
    framework, _, _ = request.param.partition("-")
    require_module(framework, package=framework)
    folder, target = TARGETS[request.param]
    home = ROOT / "examples" / folder
    directory: Path = tmp_path_factory.mktemp(request.param)
    program = {"/srv/hello/hello.py": str(home / "notes.cgi"), "/srv/hello": str(home)}
    with (
        fcgi_run(directory, "--chdir", str(home), "--mount", "/app", target=target) as worker,
        nginx(directory, "mounted.conf", {"unix:/run/hello.sock": f"unix:{worker.socket}"}) as kept,
        apache(directory, example("apache/cgi.conf", program)) as started,
    ):
        yield [kept, started]


def seen(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """What must be the same: all but what the server says of itself, and what is new for each visitor."""
    headers = [(name.lower(), value) for name, value in answer.headers if name.lower() not in OF_THE_SERVER]
    cookies = [(name, re.sub(r"=[^;]+|expires=[^;]+", "=", value)) for name, value in headers]
    return answer.status, sorted(cookies), re.sub(rb'value="\w+"', b"", answer.body)


def same(answers: list[Answer]) -> Answer:
    behind_nginx, behind_apache = answers
    assert seen(behind_nginx) == seen(behind_apache)
    return behind_nginx


def cookies(answer: Answer, before: str = "") -> str:
    pairs = dict(pair.split("=", 1) for pair in before.split("; ") if pair)
    pairs |= dict(value.partition(";")[0].split("=", 1) for value in answer.all("Set-Cookie"))
    return "; ".join(f"{name}={value}" for name, value in pairs.items())


def add_note(site: Visitor, note: str) -> tuple[Answer, Answer]:
    """What a browser does: get the form, send it, follow the redirect."""
    page = site.get("/app/")
    token = re.search(rb'value="(\w+)"', page.body)
    body = f"note={note}" + (f"&csrfmiddlewaretoken={token[1].decode()}" if token else "")
    jar = cookies(page)
    headers: Headers = [FORM, ("Cookie", jar)] if jar else [FORM]
    sent = site.post("/app/add", body.encode(), headers)
    return sent, site.get(sent.all("Location")[0], [("Cookie", cookies(sent, jar))])


def test_a_page_is_the_same(sites: list[Visitor]) -> None:
    page = same([site.get("/app/") for site in sites])
    assert page.status == 200
    assert b'action="/app/add"' in page.body


def test_a_head_request_is_the_same(sites: list[Visitor]) -> None:
    assert same([site.ask("HEAD", "/app/") for site in sites]).body == b""


def test_a_path_and_a_query_arrive_the_same(sites: list[Visitor]) -> None:
    told = same([site.get("/app/note/caf%C3%A9/a%20b?x=1&x=%E2%82%AC") for site in sites]).json()
    assert (told["name"], told["query"]) == ("café/a b", {"x": ["1", "€"]})


def test_a_form_and_a_session_work_the_same(sites: list[Visitor]) -> None:
    sent, shown = zip(*(add_note(site, "milk+%26+%3Chay%3E") for site in sites), strict=True)
    assert same(list(sent)).all("Location") == ["/app/"]
    assert b"<ul><li>milk &amp; &lt;hay&gt;</li></ul>" in same(list(shown)).body


@pytest.mark.parametrize("body", [MULTIPART, [MULTIPART[:70_000], MULTIPART[70_000:]]], ids=["length", "chunked"])
def test_an_upload_arrives_the_same(sites: list[Visitor], body: bytes | list[bytes]) -> None:
    headers = [("Content-Type", "multipart/form-data; boundary=x")]
    told = same([site.post("/app/upload", body, headers) for site in sites]).json()
    assert told == {"name": "a.bin", "sha256": hashlib.sha256(FILE).hexdigest()}


def test_a_page_that_is_not_there_is_the_same(sites: list[Visitor]) -> None:
    assert same([site.get("/app/nowhere") for site in sites]).status == 404
