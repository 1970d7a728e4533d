"""``gateway call``: a request by any wire from the command line, what it shows, and how it exits."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.address import parse_connect
from gateway.cli.main import main
from gateway.cli.transcript import Transcript
from gateway.events import APPLICATION
from gateway.testing import Server, serve_in_thread
from tests.house import ROOT
from tests.leftovers import Leftovers

WIRES = ["fastcgi", "scgi", "uwsgi", "ajp", "http"]
COMMAND = [sys.executable, "-m", "gateway", "call"]
ENVIRON = os.environ | {"PYTHONPATH": str(ROOT)}
TOLD = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_HOST",
        "HTTP_X_NAME", "HTTP_USER_AGENT", "SERVER_PROTOCOL")  # fmt: skip


def application(environ: Any, start_response: Any) -> Iterator[bytes]:
    """Tells what it was asked, or does what the path says."""
    path = environ["PATH_INFO"]
    status = {"/missing": "404 Not Found", "/broken": "503 Service Unavailable"}.get(path, "200 OK")
    if path == "/complain":
        environ["wsgi.errors"].write("a complaint\n")
    if path == "/short":
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "9")])
        yield b"four"
        return
    start_response(status, [("Content-Type", "text/plain"), ("X-Colour", "red")])
    if path == "/echo":
        while block := environ["wsgi.input"].read(65536):
            yield block
    elif path == "/environ":
        yield json.dumps({name: environ.get(name) for name in TOLD}).encode()
    else:
        yield b"hello"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    """One for each wire."""
    with ExitStack() as stack:
        yield {
            wire: stack.enter_context(serve_in_thread(application, protocol=wire, wire_options=options))
            for wire, options in [*((wire, {}) for wire in WIRES if wire != "ajp"), ("ajp", {"secret": "sesame"})]
        }


@pytest.fixture(params=WIRES)
def url(request: pytest.FixtureRequest, servers: dict[str, Server]) -> str:
    return servers[request.param].url


@pytest.fixture
def fastcgi(servers: dict[str, Server]) -> str:
    return servers["fastcgi"].url


def call(*arguments: str, stdin: bytes = b"", **environ: str) -> Result:
    return CliRunner().invoke(main, ["call", *arguments], input=stdin, env={"GATEWAY_SECRET": "sesame"} | environ)


def told(*arguments: str) -> Any:
    """What the application was told."""
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@contextmanager
def peer(wire: str, folder: Path, answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that treats one connection so."""
    path = folder / "peer.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.settimeout(10)
                answer(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"{wire}://{path}"
        thread.join(10)


# The request


def test_the_body_of_the_response_goes_to_stdout(url: str) -> None:
    result = call(url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hello", "")


def test_the_path_and_the_query_arrive(url: str) -> None:
    environ = told(url, "/environ?x=1&y=%20")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/environ", "x=1&y=%20")


def test_a_path_may_be_written_as_people_do(fastcgi: str) -> None:
    result = call("-v", fastcgi, "/a café?q=é")
    assert "REQUEST_URI = /a%20caf%C3%A9?q=%C3%A9" in result.stderr
    assert "PATH_INFO = /a café" in result.stderr


def test_method_and_headers_arrive(url: str) -> None:
    lines = ("X-Name: one", "x-name: two", "Host: site.example", "User-Agent: me")
    environ = told("-X", "DELETE", *(f"-H{line}" for line in lines), url, "/environ")
    assert environ["REQUEST_METHOD"] == "DELETE"
    assert environ["HTTP_X_NAME"].replace(", ", ",") == "one,two"
    assert (environ["HTTP_HOST"], environ["HTTP_USER_AGENT"]) == ("site.example", "me")


def test_data_is_a_form_that_is_posted(url: str) -> None:
    environ = told("-d", "name=value", url, "/environ")
    assert (environ["REQUEST_METHOD"], environ["CONTENT_LENGTH"]) == ("POST", "10")
    assert environ["CONTENT_TYPE"] == "application/x-www-form-urlencoded"
    assert call("-d", "name=value", url, "/echo").stdout == "name=value"


def test_a_content_type_may_be_said(fastcgi: str) -> None:
    environ = told("-d", "{}", "-H", "Content-Type: application/json", fastcgi, "/environ")
    assert environ["CONTENT_TYPE"] == "application/json"


def test_a_file_is_a_body_of_known_length(url: str, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x\n" * 100_000)
    assert told("-d", f"@{tmp_path}/body", url, "/environ")["CONTENT_LENGTH"] == "200000"
    assert call("-X", "PUT", "-d", f"@{tmp_path}/body", url, "/echo").stdout_bytes == b"x\n" * 100_000


def test_stdin_is_a_body_that_ends_when_it_ends(url: str) -> None:
    data = os.urandom(300_000)
    assert call("-d", "-", url, "/echo", stdin=data).stdout_bytes == data


@pytest.mark.parametrize("wire", ["fastcgi", "scgi", "uwsgi", "ajp"])
def test_the_mount_is_where_the_application_lives(servers: dict[str, Server], wire: str) -> None:
    environ = told("--mount", "/app", servers[wire].url, "/app/environ")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "/environ")


def test_http_asks_for_the_host_that_it_connects_to() -> None:
    with serve_in_thread(application, protocol="http", tcp=True) as server:
        assert told(server.url, "/environ")["HTTP_HOST"] == server.address


@pytest.mark.parametrize("wire", WIRES)
def test_a_path_may_follow_the_port(wire: str) -> None:
    with serve_in_thread(application, protocol=wire, tcp=True) as server:
        assert told(f"{server.url}/environ?x=1")["QUERY_STRING"] == "x=1"


def test_params_are_added_and_win(fastcgi: str) -> None:
    result = call("-v", "--param", "SCRIPT_FILENAME=/srv/x.php", "--param", "REQUEST_METHOD=PURGE", fastcgi)
    assert ">   SCRIPT_FILENAME = /srv/x.php\n" in result.stderr and ">   REQUEST_METHOD = PURGE\n" in result.stderr


def test_root_and_index_name_the_script(fastcgi: str) -> None:
    result = call("-v", "--root", "/srv/www", "--index", "main.php", fastcgi, "/blog/")
    assert ">   SCRIPT_FILENAME = /srv/www/blog/main.php\n" in result.stderr


# The response


def test_include_shows_the_head_first(url: str) -> None:
    head, _, body = call("-i", url).stdout_bytes.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"X-Colour: red" in head
    assert body == b"hello"


def test_head_shows_the_head_alone(url: str) -> None:
    result = call("-I", url)
    assert result.stdout.startswith("HTTP/1.1 200 OK") and "hello" not in result.stdout


def test_output_is_a_file(fastcgi: str, tmp_path: Path) -> None:
    result = call("-o", f"{tmp_path}/page", fastcgi)
    assert (result.exit_code, result.stdout, (tmp_path / "page").read_text()) == (0, "", "hello")


def test_the_applications_complaints_go_to_stderr(fastcgi: str) -> None:
    result = call(fastcgi, "/complain")
    assert (result.stdout, result.stderr) == ("hello", "a complaint\n")


def test_on_a_terminal_a_body_without_an_end_of_line_gets_one(fastcgi: str) -> None:
    master, terminal = os.openpty()
    with open(terminal, "wb") as out:
        process = subprocess.run([*COMMAND, fastcgi], stdout=out, stderr=out, env=ENVIRON)
    with open(master, "rb", buffering=0) as screen:
        assert (process.returncode, screen.read(100)) == (0, b"hello\r\n")


def test_a_response_is_written_as_it_comes(tmp_path: Path, nothing_left_over: Leftovers) -> None:
    seen = threading.Event()

    def answer(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"Status: 200 OK\r\n\r\nfirst")
        assert seen.wait(10)
        sock.sendall(b"second")

    with peer("scgi", tmp_path, answer) as url:
        process = subprocess.Popen([*COMMAND, url], stdout=subprocess.PIPE, env=ENVIRON)
        assert process.stdout is not None
        with process.stdout as out:
            assert os.read(out.fileno(), 100) == b"first"
            seen.set()
            assert out.read() == b"second"
        assert process.wait(10) == 0


# What -v shows


def test_verbose_shows_params_and_records_both_ways(fastcgi: str) -> None:
    first, *lines, last = call("-v", "-d", "abc", fastcgi).stderr.splitlines()
    assert first == f"* calling {fastcgi}"
    assert ">   REQUEST_METHOD = POST" in lines and ">   CONTENT_LENGTH = 3" in lines
    assert [line for line in lines if not line.startswith(">   ")][2:] == [
        "> PARAMS  request 1  end", "> STDIN  request 1  3 bytes", "> STDIN  request 1  end",
        "< STDOUT  request 1  64 bytes", "<   Status: 200 OK", "<   Content-Type: text/plain", "<   X-Colour: red",
        "< STDOUT  request 1  end", "< END_REQUEST  request 1  appStatus 0  REQUEST_COMPLETE",
    ]  # fmt: skip
    assert last.startswith("* 200 OK, 5 bytes in ")


@pytest.mark.parametrize(
    ("wire", "sent", "received"),
    [
        ("scgi", "> netstring  ", "< Status: 200 OK"),
        ("uwsgi", "> request  ", "< HTTP/1.1 200 OK"),
        ("ajp", "> Forward Request  ", "<   200 OK"),
        ("http", "> GET / HTTP/1.1", "< HTTP/1.1 200 OK"),
    ],
)
def test_verbose_speaks_of_each_wire_in_its_words(
    servers: dict[str, Server], wire: str, sent: str, received: str
) -> None:
    lines = call("-v", servers[wire].url).stderr.splitlines()
    assert lines[1].startswith(sent)
    assert received in lines


def test_twice_verbose_shows_every_byte(url: str) -> None:
    lines = call("-vv", "-d", "a body", url).stderr.splitlines()
    sent, received = (
        bytes.fromhex("".join(line[12:35] for line in lines if line.startswith(mark))) for mark in ("> ", "< ")
    )
    assert b"a body" in sent and b"hello" in received


def test_verbose_leaves_stdout_alone(url: str) -> None:
    assert call("-v", url).stdout == "hello"


def test_verbose_is_coloured_where_colours_are(fastcgi: str) -> None:
    assert "\x1b[" in call("-v", fastcgi, FORCE_COLOR="1", TERM="xterm-256color").stderr
    assert "\x1b[" not in call("-v", fastcgi).stderr


def test_verbose_names_the_rule_that_the_server_broke(tmp_path: Path, nothing_left_over: Leftovers) -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with peer("fastcgi", tmp_path, answer) as url:
        lines = call("-v", url).stderr.splitlines()
    assert "< record version is 72, not 1 (§3.3)" in lines


# How it exits


def test_any_status_is_a_success(url: str) -> None:
    assert (call(url, "/missing").exit_code, call(url, "/broken").exit_code) == (0, 0)


def test_fail_makes_a_status_of_400_a_failure(url: str) -> None:
    result = call("--fail", url, "/missing")
    assert (result.exit_code, result.stdout, result.stderr) == (22, "hello", "gateway call: 404 Not Found\n")
    assert call("--fail", url).exit_code == 0


@pytest.mark.parametrize("wire", WIRES)
def test_nobody_at_the_address_is_7(wire: str, tmp_path: Path) -> None:
    result = call(f"{wire}://{tmp_path}/none.sock")
    assert (result.exit_code, result.stdout) == (7, "")
    assert "is the server running, and listening there?" in result.stderr


@pytest.mark.parametrize("wire", WIRES)
def test_a_server_that_hangs_up_is_18(wire: str, tmp_path: Path, nothing_left_over: Leftovers) -> None:
    with peer(wire, tmp_path, lambda sock: sock.recv(65536) and None) as url:
        result = call(url)
    assert (result.exit_code, result.stdout) == (18, "")
    assert result.stderr.startswith(f"gateway call: {wire}://unix:")


def test_a_server_that_resets_the_connection_is_18(tmp_path: Path, nothing_left_over: Leftovers) -> None:
    end_of_stdin = b"\x01\x05\0\x01\0\0\0\0"

    def leave_it_unread(sock: socket.socket) -> None:
        while not sock.recv(65536, socket.MSG_PEEK).endswith(end_of_stdin):
            pass

    with peer("fastcgi", tmp_path, leave_it_unread) as url:
        result = call("-d", "never read", url)
    assert (result.exit_code, "the connection broke: " in result.stderr) == (18, True)


def test_a_response_that_breaks_off_is_18(url: str) -> None:
    result = call(url, "/short")
    assert (result.exit_code, result.stdout) == (18, "four")


@pytest.mark.parametrize("wire", ["fastcgi", "ajp", "http"])
def test_bytes_of_another_wire_are_8(wire: str, tmp_path: Path, nothing_left_over: Leftovers) -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"garbage, garbage\n\n")
        sock.recv(1)

    with peer(wire, tmp_path, answer) as url:
        assert call(url).exit_code == 8


@pytest.mark.parametrize("wire", WIRES)
def test_a_server_that_says_nothing_is_28(wire: str, tmp_path: Path, nothing_left_over: Leftovers) -> None:
    def answer(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass

    with peer(wire, tmp_path, answer) as url:
        result = call("--timeout", "0.1", url)
    assert (result.exit_code, "nothing moved for 0.1 s" in result.stderr) == (28, True)


def test_a_body_that_cannot_be_read_is_26(fastcgi: str, tmp_path: Path) -> None:
    result = call("-d", f"@{tmp_path}/none", fastcgi)
    assert (result.exit_code, "No such file or directory" in result.stderr) == (26, True)
    result = call("-d", "-", "-H", "Content-Length: 10", fastcgi, "/echo", stdin=b"four")
    assert (result.exit_code, "ended 6 bytes before its CONTENT_LENGTH" in result.stderr) == (26, True)


def test_an_output_that_cannot_be_written_is_23(fastcgi: str, tmp_path: Path) -> None:
    assert call("-o", f"{tmp_path}/no/folder", fastcgi).exit_code == 23
    command = [*COMMAND, fastcgi]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=ENVIRON)
    assert (done.returncode, done.stderr) == (23, b"gateway call: the response: No space left on device\n")


def test_a_reader_who_has_seen_enough_is_23_and_no_complaint(fastcgi: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out:
        done = subprocess.run([*COMMAND, fastcgi], stdout=out, stderr=subprocess.PIPE, env=ENVIRON)
    assert (done.returncode, done.stderr) == (23, b"")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Missing argument 'URL'"),
        (("gopher://127.0.0.1:70",), "no wire is called 'gopher'"),
        (("127.0.0.1:9000",), "write for example fastcgi://127.0.0.1:9000"),
        (("fastcgi://x.sock", "path"), "x.sock"),
        (("fastcgi:///x.sock", "path"), "the path 'path' does not begin with /"),
        (("--mount", "/app", "fastcgi:///x.sock", "/application"), "does not begin with /app"),
        (("--mount", "app", "fastcgi:///x.sock"), "mount 'app' is not a path"),
        (("-H", "no header", "fastcgi:///x.sock"), "'no header' is not a token"),
        (("-H", "Name", "fastcgi:///x.sock"), "'Name' is no header: a name, a colon and a value"),
        (("-H", "Content-Length: x", "fastcgi:///x.sock"), "CONTENT_LENGTH is 'x'"),
        (("--param", "NAME", "fastcgi:///x.sock"), "--param 'NAME' is not NAME=VALUE"),
        (("--packet-size", "10", "ajp:///x.sock"), "packet_size is 10"),
        (("--packet-size", "9000", "fastcgi:///x.sock"), "the wire fastcgi does not take these options"),
    ],
)
def test_wrong_usage_is_2(arguments: tuple[str, ...], complaint: str) -> None:
    result = call(*arguments)
    assert (result.exit_code, complaint in result.stderr) == (2, True), result.stderr


def test_what_a_wire_cannot_say_is_2(servers: dict[str, Server]) -> None:
    result = call("-H", "X: " + "x" * 70_000, servers["uwsgi"].url)
    assert (result.exit_code, "a packet takes 65535" in result.stderr) == (2, True)


def test_a_wrong_secret_is_a_403_that_the_server_explains_to_itself(servers: dict[str, Server]) -> None:
    assert call("-i", "--secret", "wrong", servers["ajp"].url).stdout.startswith("HTTP/1.1 403 Forbidden")


def test_the_repr_of_a_transcript_shows_what_happened() -> None:
    transcript = Transcript(parse_connect("scgi:///app.sock"), detail=0)
    transcript(APPLICATION, b"")
    assert repr(transcript) == "<Transcript detail=0 connected=True over=True>"


def test_ctrl_c_is_130(tmp_path: Path, nothing_left_over: Leftovers) -> None:
    asked = threading.Event()

    def answer(sock: socket.socket) -> None:
        while sock.recv(65536):
            asked.set()

    with peer("fastcgi", tmp_path, answer) as url:
        process = subprocess.Popen([*COMMAND, url], stderr=subprocess.PIPE, env=ENVIRON)
        assert asked.wait(20)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        with process.stderr as said:
            assert said.read() == b""
        assert process.wait(10) == 130
