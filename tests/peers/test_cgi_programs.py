"""A cgi-bin that others wrote, under every server that can serve it: the answers are those of Apache's mod_cgid."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from tests.peers.cgi_bin import EXECUTION, CGIBin, noise
from tests.peers.frontends.processes import running, unused_port
from tests.peers.frontends.servers import Site, apache, nginx
from tests.peers.frontends.visitor import Answer, Visitor
from tests.requirements import require, require_module

MIB = 1024 * 1024

# The servers.

HOST = """\
from gateway import CGIDirectory

application = CGIDirectory(
    {root!r}, execution={execution!r}, interpreters={{".php": ["php-cgi"]}}, environment={environment!r}
)

async def asgi(scope, receive, send):
    await application.asgi({{**scope, "root_path": "/cgi-bin"}}, receive, send)
"""


class Server(NamedTuple):
    """Somebody's HTTP server, and how it is told to serve ``host.application`` below /cgi-bin."""

    command: str
    environ: dict[str, str] = {}
    needs: Callable[[], object] = lambda: None


SERVERS = {
    "gunicorn": Server(
        "python3 -m gunicorn host -b 127.0.0.1:PORT --threads 4 --no-control-socket", {"SCRIPT_NAME": "/cgi-bin"}
    ),
    "waitress": Server(
        "python3 -m waitress --listen=127.0.0.1:PORT --url-prefix=/cgi-bin host:application",
        needs=lambda: require_module("waitress", package="waitress"),
    ),
    "uWSGI": Server(
        "uwsgi_python3 --http-socket 127.0.0.1:PORT --mount /cgi-bin=host.py --manage-script-name --need-app "
        "--enable-threads --threads 4 --die-on-term",
        needs=lambda: require("uwsgi_python3", package="uwsgi-plugin-python3"),
    ),
    "uvicorn": Server(
        "python3 -m uvicorn host:asgi --port PORT", needs=lambda: require_module("uvicorn", package="uvicorn")
    ),
    "hypercorn": Server(
        "python3 -m hypercorn host:asgi -b 127.0.0.1:PORT",
        needs=lambda: require_module("hypercorn", package="hypercorn"),
    ),
    "daphne": Server("python3 -m daphne host:asgi -p PORT", needs=lambda: require_module("daphne", package="daphne")),
}
FRONT_ENDS = ["nginx and fcgi-run"]


@contextmanager
def served(name: str, *, cgi_bin: CGIBin, folder: Path) -> Iterator[Site]:
    """The directory, below /cgi-bin of a server."""
    if name in FRONT_ENDS:
        with behind_nginx(cgi_bin, folder) as site:
            yield site
        return
    server = SERVERS[name]
    server.needs()
    port = unused_port()
    host = HOST.format(root=str(cgi_bin.root), execution=EXECUTION, environment=cgi_bin.environment)
    (folder / "host.py").write_text(host)
    command = server.command.replace("PORT", str(port)).split()
    listens = [("127.0.0.1", port)]
    with running(command, directory=folder, name=name, listens=listens, environ=server.environ) as process:
        yield Site(port, process)


@contextmanager
def behind_nginx(cgi_bin: CGIBin, directory: Path) -> Iterator[Site]:
    """Our own server, in the place of fcgiwrap; the variables come from nginx's configuration."""
    execution = ",".join(f"{pattern}={name}" for pattern, name in EXECUTION.items())
    command = [
        sys.executable, "-m", "gateway.cli.fcgi_run", "--cgi-bin", str(cgi_bin.root), "--mount", "/cgi-bin",
        "--cgi-interpreter", ".php=php-cgi", "--cgi-execution", execution, "-b", "unix:cgi.sock", "--threads", "4",
        "--cgi-pass-environment", ",".join(cgi_bin.environment),
    ]  # fmt: skip
    params = "".join(f"fastcgi_param {name} {value};\n" for name, value in cgi_bin.environment.items())
    edits = {
        "unix:/run/cgi.sock": f"unix:{directory}/cgi.sock",
        "# fastcgi_param GIT_PROJECT_ROOT": f"{params}# fastcgi_param",
    }
    with ExitStack() as stack:
        listens = [f"{directory}/cgi.sock"]
        stack.enter_context(running(command, directory=directory, name="fcgi-run", listens=listens))
        yield stack.enter_context(nginx(directory, "cgi-bin.conf", edits))


APACHE = """\
LoadModule actions_module /usr/lib/apache2/modules/mod_actions.so
{variables}
AllowEncodedSlashes NoDecode
Alias /cgi-bin/ {root}/
Action php-cgi /php-cgi
ScriptAlias /php-cgi {php}
<Directory {root}>
    Options +ExecCGI
    SetHandler cgi-script
    CGIPassAuth On
    Require all granted
    <Files *.php>
        SetHandler php-cgi
    </Files>
</Directory>
<Directory /usr>
    Require all granted
</Directory>
"""


def under_apache(cgi_bin: CGIBin) -> str:
    """Apache's mod_cgid, as it serves the same directory."""
    php = shutil.which("php-cgi") or "/usr/bin/php-cgi"  # only the visitor of PHP needs it to be there
    variables = "\n".join(f'SetEnv {name} "{value}"' for name, value in cgi_bin.environment.items())
    return APACHE.format(root=cgi_bin.root, php=php, variables=variables)


# The programs.


class Tourist(Visitor):
    """A visitor that keeps every answer."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.port)
        self.answers: list[Answer] = []

    def ask(self, *args: Any, **options: Any) -> Answer:
        """As of Visitor."""
        self.answers.append(super().ask(*args, **options))
        return self.answers[-1]


class Form(NamedTuple):
    """A form as browsers send it, with a file."""

    body: bytes
    headers: list[tuple[str, str]]


def form(file: bytes, **fields: str) -> Form:
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'.encode() for name, text in fields.items()]
    name = 'form-data; name="file"; filename="a b.bin"'
    parts.append(f"Content-Disposition: {name}\r\nContent-Type: application/octet-stream\r\n\r\n".encode() + file)
    body = b"".join(b"--limit\r\n" + part + b"\r\n" for part in parts) + b"--limit--\r\n"
    return Form(body, [("Content-Type", "multipart/form-data; boundary=limit")])


def shell(visitor: Tourist) -> None:
    headers = [("X-Asked", "a"), ("Cookie", "b=c; d=e"), ("Authorization", "Basic bWU6cHc="), ("Proxy", "evil")]
    visitor.get("/cgi-bin/told.sh", headers)
    assert b"argument" not in visitor.get("/cgi-bin/told.sh/a%20b/%C3%A9?x=1&y=%20", headers).body
    assert b"argument two\nargument words\n" in visitor.get("/cgi-bin/told.sh?two+words").body
    assert visitor.post("/cgi-bin/told.sh", noise(50_000)).body.endswith(noise(50_000))
    assert visitor.post("/cgi-bin/told.sh", [b"in ", b"chunks"]).body.endswith(b"\nin chunks")
    assert visitor.ask("DELETE", "/cgi-bin/told.sh").status == 200
    assert visitor.ask("HEAD", "/cgi-bin/told.sh").body == b""


def in_c(visitor: Tourist) -> None:
    require("gcc", package="gcc")
    numbers = b"".join(b"%d\n" % number for number in range(100_000))
    assert visitor.post("/cgi-bin/sum", numbers).body == b"4999950000\n"
    assert visitor.post("/cgi-bin/sum", [b"1\n2", b"0\n"]).body == b"21\n"
    assert visitor.post("/cgi-bin/sum", b"x\n").status == 422


def perl(visitor: Tourist) -> None:
    require("perl", package="perl")
    assert visitor.get("/cgi-bin/form.pl/ask?name=a%26b+c").body == b"/ask a&b c\n"
    assert visitor.post("/cgi-bin/form.pl", b"name=me").body == b"/thanks me\n"


def perl_with_cgi_pm(visitor: Tourist) -> None:
    require("/usr/share/perl5/CGI.pm", package="libcgi-pm-perl")
    asked = form(noise(MIB), name="Zoë & co")
    assert b"file " in visitor.post("/cgi-bin/upload.pl/there", asked.body, asked.headers).body
    visitor.post("/cgi-bin/upload.pl?name=%C3%A9", b"name=a&name=b%20c")
    assert b"visit 7\n" in visitor.get("/cgi-bin/upload.pl?x=1;y=2", [("Cookie", "visits=6")]).body


def php(visitor: Tourist) -> None:
    require("php-cgi", package="php-cgi")
    first = visitor.get("/cgi-bin/guestbook.php")
    cookie = first.all("Set-Cookie")[0].partition(";")[0]
    asked = form(noise(MIB), name="Zoë & co").body.replace(b'name="file"', b'name="picture"')
    second = visitor.post("/cgi-bin/guestbook.php/a%20b", asked, [*form(b"").headers, ("Cookie", cookie)])
    assert b"visit 2\npath /a b\n" in second.body and b"file a b.bin 1048576 " in second.body
    assert visitor.get("/cgi-bin/guestbook.php?status=404").status == 404
    assert b"session_start" not in visitor.get("/cgi-bin/guestbook.php?-s").body


def python(name: str) -> Callable[[Tourist], None]:
    def old(visitor: Tourist) -> None:
        require_module("cgi", package="legacy-cgi")
        asked = form(noise(MIB), name="Zoë & co")
        assert b"in cgi-bin\nfile a b.bin 1048576 " in visitor.post(f"/cgi-bin/{name}", *asked).body
        assert b"a 1, 2\nb x y\n" in visitor.get(f"/cgi-bin/{name}?b=x+y&a=1&a=2").body
        assert b"name me\n" in visitor.post(f"/cgi-bin/{name}", b"name=me").body
        assert visitor.ask("HEAD", f"/cgi-bin/{name}?a=1").all("X-Method") == ["HEAD"]

    return old


def git(visitor: Tourist) -> None:
    require("/usr/lib/git-core/git-http-backend", package="git")
    refs = visitor.get("/cgi-bin/git-http-backend/projects/a.git/info/refs?service=git-upload-pack")
    assert b" refs/heads/main\n" in refs.body
    assert visitor.get("/cgi-bin/git-http-backend/projects/b.git/info/refs?service=git-upload-pack").status == 404
    visitor.get("/cgi-bin/git-http-backend/projects/a.git/HEAD")


def cgit(visitor: Tourist) -> None:
    require("/usr/lib/git-core/git-http-backend", package="git")
    require("/usr/lib/cgit/cgit.cgi", package="cgit")
    visitor.get("/cgi-bin/cgit.cgi/")
    assert b"A change" in visitor.get("/cgi-bin/cgit.cgi/a.git/log/").body
    assert b"two" in visitor.get("/cgi-bin/cgit.cgi/a.git/plain/file").body
    assert visitor.get("/cgi-bin/cgit.cgi/a.git/snapshot/a-main.tar.gz").body[:2] == b"\x1f\x8b"


def gitweb(visitor: Tourist) -> None:
    require("/usr/lib/cgi-bin/gitweb.cgi", package="gitweb")
    visitor.get("/cgi-bin/gitweb.cgi")
    assert b"A change" in visitor.get("/cgi-bin/gitweb.cgi?p=a.git;a=summary").body
    assert visitor.get("/cgi-bin/gitweb.cgi?p=none.git;a=summary").status == 404


def awstats(visitor: Tourist) -> None:
    require("/usr/lib/cgi-bin/awstats.pl", package="awstats")
    asked = "/cgi-bin/awstats.pl?config=shop&month=06&year=2020"
    visitor.get(asked)
    assert b"/prices.html" in visitor.get(f"{asked}&framename=mainright").body


def mapserver(visitor: Tourist) -> None:
    require("/usr/lib/cgi-bin/mapserv", package="cgi-mapserver")
    image = visitor.get("/cgi-bin/mapserv?mode=map")
    assert image.all("Content-Type") == ["image/png"] and image.body.startswith(b"\x89PNG")
    assert visitor.get("/cgi-bin/mapserv?mode=map&mapext=3+3+6+5").body != image.body


PROGRAMS: dict[str, Callable[[Tourist], None]] = {
    "a shell script": shell,
    "a program in C": in_c,
    "a Perl script": perl,
    "a Perl script with CGI.pm": perl_with_cgi_pm,
    "a PHP script": php,
    **{f"a Python script, {strategy}": python(f"fields-{strategy}.py") for strategy in EXECUTION.values()},
    "git-http-backend": git,
    "cgit": cgit,
    "gitweb": gitweb,
    "AWStats": awstats,
    "MapServer": mapserver,
}


# The comparison.

SERVERS_OWN = {
    "accept-ranges", "connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "via",
}  # fmt: skip
"""Headers that a server makes, each as it likes."""
BLURRED = [
    (rb"PHPSESSID=\w+", b"PHPSESSID=x"),
    (rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d (GMT|[+-]\d{4})", b"a date"),
    (rb"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", b"a date"),
]
"""What is another in each answer of the same program."""


def blur(text: bytes) -> bytes:
    for pattern, word in BLURRED:
        text = re.sub(pattern, word, text)
    return text


def comparable(answer: Answer) -> tuple[int, list[tuple[str, bytes]], list[bytes]]:
    """What of an answer the program has said; Apache joins headers of one name (RFC 9110 §5.3)."""
    names = {name.lower() for name, _ in answer.headers} - SERVERS_OWN
    headers = [(name, blur(", ".join(answer.all(name)).encode("latin-1"))) for name in sorted(names)]
    return answer.status, headers, blur(answer.body).split(b"\n")


@pytest.fixture(scope="module")
def cgi_bin() -> Iterator[CGIBin]:
    """The directory, one for all servers.  It is not pytest's, because Apache's programs are nobody's."""
    with TemporaryDirectory(prefix="cgi-bin-") as folder:
        os.chmod(folder, 0o755)
        yield CGIBin(Path(folder))


@pytest.fixture(scope="module")
def reference(cgi_bin: CGIBin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], list[Answer]]]:
    """What Apache answers to the visitor of a program, who comes once."""
    folder = tmp_path_factory.mktemp("apache")
    answers: dict[str, list[Answer]] = {}
    with apache(folder, under_apache(cgi_bin)) as site:

        def visit(program: str) -> list[Answer]:
            if program not in answers:
                visitor = Tourist(site)
                PROGRAMS[program](visitor)
                answers[program] = visitor.answers
            return answers[program]

        yield visit


@pytest.fixture(scope="module", params=[*SERVERS, *FRONT_ENDS])
def site(request: pytest.FixtureRequest, cgi_bin: CGIBin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Each of the servers."""
    with served(request.param, cgi_bin=cgi_bin, folder=tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_answers_as_it_does_under_apache(
    site: Site, program: str, reference: Callable[[str], list[Answer]]
) -> None:
    visitor = Tourist(site)
    PROGRAMS[program](visitor)
    for ours, theirs in zip(visitor.answers, reference(program), strict=True):
        assert comparable(ours) == comparable(theirs)


def test_a_program_may_answer_while_it_reads(site: Site) -> None:
    # Apache is not asked: its mod_cgid writes all of the input before it reads, and the two would wait for each other.
    assert site.post("/cgi-bin/told.sh", noise(MIB)).body.endswith(noise(MIB))


def test_a_python_script_is_run_as_it_was_chosen(site: Site) -> None:
    def run(strategy: str) -> tuple[int, int]:
        process, parent = map(int, site.get(f"/cgi-bin/family-{strategy}.py").body.split())
        return process, parent

    (first, server), (second, same_server) = run("spawn"), run("spawn")
    assert (first == second, same_server) == (False, server)
    (first, warm), (second, same_warm) = run("fork"), run("fork")
    assert (first == second, same_warm, warm == server) == (False, warm, False)
    assert run("inprocess")[0] == server


class TestGit:
    """Hundreds of lines of protocol in both directions, which git checks by hash."""

    def test_clones_and_fetches_shallow(self, site: Site, cgi_bin: CGIBin, tmp_path: Path) -> None:
        require("/usr/lib/git-core/git-http-backend", package="git")
        url = f"http://127.0.0.1:{site.port}/cgi-bin/git-http-backend/projects/a.git"
        cgi_bin.git("clone", "-q", "--depth", "1", url, "a", folder=tmp_path)
        assert cgi_bin.git("rev-list", "--count", "HEAD", folder=tmp_path / "a") == "1"
        cgi_bin.git("fetch", "-q", "--unshallow", folder=tmp_path / "a")
        assert cgi_bin.git("rev-list", "--count", "HEAD", folder=tmp_path / "a") == "2"

    def test_pushes_in_chunks(self, site: Site, cgi_bin: CGIBin, tmp_path: Path) -> None:
        require("/usr/lib/git-core/git-http-backend", package="git")
        bare, work = cgi_bin.folder / "pushed" / f"{site.port}.git", tmp_path / "work"
        shutil.copytree(cgi_bin.projects / "a.git", bare)
        url = f"http://127.0.0.1:{site.port}/cgi-bin/git-http-backend/pushed/{bare.name}"
        cgi_bin.git("clone", "-q", url, str(work))
        cgi_bin.commit(work, noise(3 * MIB))  # beyond http.postBuffer, 1 MiB, git sends chunks
        cgi_bin.git("push", "-q", "origin", "HEAD:main", folder=work)
        assert cgi_bin.git("rev-parse", "main", folder=bare) == cgi_bin.git("rev-parse", "HEAD", folder=work)
        assert cgi_bin.git("cat-file", "-s", "main:file", folder=bare) == str(3 * MIB)
