"""Bind strings, connect URLs, what listening and connecting refuse and why, inherited sockets, peers."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.address import (
    Address,
    allowed_peers,
    bound_address,
    connect,
    describe_peer,
    inherited_sockets,
    listen,
    parse_bind,
    parse_connect,
    peer_allowed,
    remove,
)
from gateway.errors import ConfigError

pytestmark = pytest.mark.usefixtures("nothing_left_over")
ROOT = Path(__file__).parent.parent
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without permission")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory whose name is short enough for the sockets in it, and open to every user."""
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def run(source: str, *arguments: object, uid: int | None = None, **options: object) -> str:
    """What a Python program prints; it may import gateway."""
    program = textwrap.dedent(source)
    if uid is not None:
        # First the imports, which that user may not be allowed to read.
        program = f"import os, pwd, gateway.address\nos.setgroups([])\nos.setgid({uid})\nos.setuid({uid})\n{program}"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def stale(path: Path) -> None:
    """Leave the socket file of a server that died."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize(
    ("text", "address", "canonical"),
    [
        ("unix:/run/app.sock", Address(path="/run/app.sock"), "unix:/run/app.sock"),
        ("unix:///run/app.sock", Address(path="/run/app.sock"), "unix:/run/app.sock"),
        ("/run/app.sock", Address(path="/run/app.sock"), "unix:/run/app.sock"),
        ("unix:relative.sock", Address(path="relative.sock"), "unix:relative.sock"),
        ("unix:@abstract", Address(path="\0abstract"), "unix:@abstract"),
        ("unix:./@file", Address(path="./@file"), "unix:./@file"),
        ("127.0.0.1:8001", Address(host="127.0.0.1", port=8001), "127.0.0.1:8001"),
        ("127.0.0.1:0", Address(host="127.0.0.1"), "127.0.0.1:0"),
        ("127.0.0.1", Address(host="127.0.0.1", port=9000), "127.0.0.1:9000"),
        ("localhost:8001", Address(host="localhost", port=8001), "localhost:8001"),
        (":8001", Address(host="0.0.0.0", port=8001), "0.0.0.0:8001"),
        ("[::1]:8001", Address(host="::1", port=8001), "[::1]:8001"),
        ("[::]", Address(host="::", port=9000), "[::]:9000"),
        ("tcp://127.0.0.1:8001", Address(host="127.0.0.1", port=8001), "127.0.0.1:8001"),
        ("fd://3", Address(fd=3), "fd://3"),
        (" 127.0.0.1:8001\n", Address(host="127.0.0.1", port=8001), "127.0.0.1:8001"),
        ("fastcgi://127.0.0.1:8001", Address(host="127.0.0.1", port=8001, protocol="fastcgi"), None),
        ("FastCGI://[::1]:8001/", Address(host="::1", port=8001, protocol="fastcgi"), "fastcgi://[::1]:8001"),
        ("fastcgi:///run/app.sock", Address(path="/run/app.sock", protocol="fastcgi"), "fastcgi://unix:/run/app.sock"),
        ("fastcgi://unix:app.sock", Address(path="app.sock", protocol="fastcgi"), None),
        ("fastcgi://unix:@name", Address(path="\0name", protocol="fastcgi"), None),
        ("fastcgi://fd://3", Address(fd=3, protocol="fastcgi"), None),
    ],
)
def test_a_bind_string_is_parsed_and_written_back(text: str, address: Address, canonical: str | None) -> None:
    parsed = parse_bind(text)
    assert parsed == address
    assert str(parsed) == (canonical or text)
    assert parse_bind(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "it is empty"),
        ("fastcgi://", "it is empty"),
        ("9000", "127.0.0.1:9000 for this machine only, :9000 for every interface"),
        ("unix:", "names no path"),
        ("unix:@", "names no path"),
        ("unix:/run/a\0b", "names no path"),
        ("app.sock", "a path stands after unix:"),
        ("run/app", "a path stands after unix:"),
        ("127.0.0.1:9000/app", "none after a port"),
        ("::1:9000", "brackets, [::1]:9000"),
        ("[::1:9000", "[::1]:9000"),
        ("[::1]9000", "[::1]:9000"),
        ("[host]:9000", "[::1]:9000"),
        ("localhost:", "'' is no port"),
        ("localhost:http", "'http' is no port"),
        ("localhost:65536", "up to 65535"),
        ("localhost:-1", "'-1' is no port"),
        ("localhost:" + "9" * 5000, "up to 65535"),
        ("fd://three", "as in fd://3"),
        ("fd://" + "9" * 30, "as in fd://3"),
        ("two..dots:9000", "no host name"),
        (f"{'x' * 64}.org:9000", "no host name"),
        ("a\0b:9000", "no host name"),
    ],
)
def test_a_bad_bind_string_is_refused_with_the_text_and_a_hint(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_bind(text)
    assert str(caught.value).startswith(repr(text) + " is no address: ")
    assert hint in str(caught.value)
    assert "Accepted: unix:PATH, HOST:PORT" in str(caught.value)


def test_the_default_port_is_the_callers() -> None:
    assert parse_bind("127.0.0.1", default_port=8000).port == 8000


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("fastcgi://127.0.0.1:9000", Address(host="127.0.0.1", port=9000, protocol="fastcgi")),
        ("fastcgi://:9000", Address(host="127.0.0.1", port=9000, protocol="fastcgi")),
        ("fastcgi://[::1]:9000", Address(host="::1", port=9000, protocol="fastcgi")),
        ("fastcgi:///run/php/php8.2-fpm.sock", Address(path="/run/php/php8.2-fpm.sock", protocol="fastcgi")),
        ("fastcgi://unix:app.sock", Address(path="app.sock", protocol="fastcgi")),
        ("unix:/run/app.sock", Address(path="/run/app.sock", protocol="scgi")),
        ("127.0.0.1:9000", Address(host="127.0.0.1", port=9000, protocol="scgi")),
    ],
)
def test_a_connect_url_is_parsed(url: str, address: Address) -> None:
    assert parse_connect(url, protocol="scgi") == address


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("unix:/run/app.sock", "write for example fastcgi://unix:/run/app.sock"),
        ("fastcgi://127.0.0.1", "it names no port"),
        ("fastcgi://fd://3", "nothing to connect to; give a path or HOST:PORT"),
    ],
)
def test_a_connect_url_that_leads_nowhere_is_refused(url: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_connect(url)
    assert repr(url) in str(caught.value)
    assert hint in str(caught.value)


def test_addresses_are_values() -> None:
    one, same, other = parse_bind(":9000"), parse_bind("0.0.0.0"), parse_bind("fastcgi://:9000")
    assert {one, same} == {one}
    assert one != other
    assert one != "0.0.0.0:9000"
    assert repr(other) == "Address('fastcgi://0.0.0.0:9000')"
    assert [parse_bind(text).kind for text in ("unix:a", ":1", "fd://1")] == ["unix", "tcp", "fd"]


# Listening.


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:0", "localhost:0", "unix:{folder}/app.sock", "unix:@gw-{pid}"])
def test_a_client_reaches_a_listener(text: str, folder: Path) -> None:
    with listen(parse_bind(text.format(folder=folder, pid=os.getpid()))) as server:
        assert server.gettimeout() is None
        assert not server.get_inheritable()
        with connect(bound_address(server), timeout=5.0) as client, server.accept()[0] as accepted:
            assert client.gettimeout() == 5.0
            client.sendall(b"hello")
            assert accepted.recv(5) == b"hello"


def test_a_connection_sends_small_packets_at_once_on_both_sides() -> None:
    server = listen(parse_bind("127.0.0.1:0"))
    with server, connect(bound_address(server), timeout=5.0) as client, server.accept()[0] as accepted:
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_can_be_used_again_at_once() -> None:
    with listen(parse_bind("127.0.0.1:0")) as server:
        address = bound_address(server)
        client = connect(address, timeout=5.0)
        accepted, _ = server.accept()
        accepted.close()  # this side now waits in TIME_WAIT
        client.close()
    listen(address).close()


def test_a_taken_port_is_named_with_the_command_that_finds_its_owner() -> None:
    with listen(parse_bind("127.0.0.1:0")) as server, pytest.raises(ConfigError) as caught:
        listen(address := bound_address(server))
    assert f"cannot listen on {address}: another program listens there" in str(caught.value)
    assert f"`ss -ltnp sport = :{address.port}`" in str(caught.value)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_this_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"{host} is no address of this machine; `ip address` lists them"):
        listen(Address(host=host, port=9000))


@as_root
def test_a_privileged_port_is_refused_to_an_ordinary_user() -> None:
    source = """
        from gateway.address import ConfigError, listen, parse_bind
        try:
            listen(parse_bind("127.0.0.1:1")).close()
        except ConfigError as error:
            print(error)
    """
    printed = run(source, uid=NOBODY)
    if not printed:
        pytest.skip("this machine lets everybody use low ports (net.ipv4.ip_unprivileged_port_start)")
    assert "user nobody (uid 65534) may not use a port below 1024; choose a higher one" in printed


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_socket_file_has_the_mode_asked_for_whatever_the_umask(folder: Path, mode: int) -> None:
    before = os.umask(0o027)
    try:
        listen(Address(path=f"{folder}/app.sock"), mode=mode, umask=0o777).close()
        assert stat.S_IMODE(os.stat(folder / "app.sock").st_mode) == mode
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_a_socket_file_follows_the_umask_asked_for(folder: Path) -> None:
    listen(Address(path=f"{folder}/app.sock"), umask=0o007).close()
    assert stat.S_IMODE(os.stat(folder / "app.sock").st_mode) == 0o770


def test_the_socket_is_known_to_the_system_by_the_name_asked_for(folder: Path) -> None:
    address = Address(path=f"{folder}/app.sock")
    stale(folder / "app.sock")
    with listen(address) as server:
        assert bound_address(server) == address
    assert os.listdir(folder) == ["app.sock"]


def test_a_stale_socket_file_is_replaced(folder: Path) -> None:
    stale(folder / "app.sock")
    address = Address(path=f"{folder}/app.sock")
    with listen(address) as server, connect(address, timeout=5.0), server.accept()[0]:
        pass
    assert os.listdir(folder) == ["app.sock"]


@pytest.mark.parametrize("text", ["unix:{folder}/app.sock", "unix:@gw-{pid}"])
def test_a_live_socket_is_not_stolen(text: str, folder: Path) -> None:
    address = parse_bind(text.format(folder=folder, pid=os.getpid()))
    with listen(address) as server:
        with pytest.raises(ConfigError) as caught:
            listen(address)
        assert str(caught.value) == (
            f"cannot listen on {address}: it is in use by a running server (pid {os.getpid()}, uid {os.getuid()}); "
            "stop it or choose another path"
        )
        with connect(address, timeout=5.0):
            server.accept()[0].close()


def test_a_live_socket_with_a_full_queue_is_not_stolen(folder: Path) -> None:
    address = Address(path=f"{folder}/app.sock")
    refused = pytest.raises(ConfigError, match=r"in use by a running server \(connecting says: Resource temporarily")
    with listen(address, backlog=0), connect(address, timeout=5.0), refused:
        listen(address)


def test_a_server_between_its_bind_and_its_listen_is_not_robbed(folder: Path) -> None:
    address = Address(path=f"{folder}/app.sock")
    with socket.socket(socket.AF_UNIX) as slow:
        slow.bind(address.path)
        late = threading.Timer(0.02, slow.listen)
        late.start()
        with pytest.raises(ConfigError, match="in use by a running server"):
            listen(address)
        late.join()


def test_of_many_servers_that_start_over_one_stale_socket_exactly_one_wins(folder: Path) -> None:
    source = """
        import sys
        from gateway.address import Address, ConfigError, connect, listen
        address = Address(path=sys.argv[1])
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            server = listen(address)
        except ConfigError as error:
            print("refused", flush=True)
        else:
            print("won", flush=True)
            sys.stdin.readline()
    """
    stale(folder / "app.sock")
    command = [sys.executable, "-c", textwrap.dedent(source), f"{folder}/app.sock"]
    pipe = subprocess.PIPE
    servers = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    try:
        assert [server.stdout and server.stdout.readline() for server in servers] == ["ready\n"] * 4
        for server in servers:
            assert server.stdin
            print(file=server.stdin, flush=True)
        assert sorted(server.stdout.readline() for server in servers if server.stdout) == ["refused\n"] * 3 + ["won\n"]
        with connect(Address(path=f"{folder}/app.sock"), timeout=5.0):
            pass
    finally:
        for server in servers:
            server.communicate()
    assert os.listdir(folder) == ["app.sock"]


@pytest.mark.skipif(sys.platform != "linux", reason="the claim is an abstract socket")
def test_a_stale_socket_file_that_another_process_is_removing_is_left_to_it(folder: Path) -> None:
    stale(folder / "app.sock")
    status = os.stat(folder / "app.sock")
    with socket.socket(socket.AF_UNIX) as claim:
        claim.bind(f"\0gateway-unlink-{status.st_dev}-{status.st_ino}")
        with pytest.raises(ConfigError, match="other servers keep taking the path; choose another one"):
            listen(Address(path=f"{folder}/app.sock"))
    assert os.path.samestat(status, os.stat(folder / "app.sock"))


def test_a_platform_without_unix_sockets_is_told_to_use_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ConfigError, match=r"no unix sockets; use 127\.0\.0\.1:9000"):
        listen(parse_bind("unix:app.sock"))


@pytest.mark.parametrize("kind", ["file", "directory", "symlink"])
def test_what_is_no_socket_is_never_removed(folder: Path, kind: str) -> None:
    path = folder / "app.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        stale(folder / "other.sock")
        path.symlink_to(folder / "other.sock")
    with pytest.raises(ConfigError, match=rf"{path} exists and is not a socket; choose another path"):
        listen(Address(path=str(path)))
    assert path.is_symlink() or path.exists()


def test_a_missing_directory_is_named_with_the_command_that_makes_it(folder: Path) -> None:
    with pytest.raises(ConfigError, match=rf"the directory {folder}/a/b does not exist; `mkdir -p {folder}/a/b`"):
        listen(Address(path=f"{folder}/a/b/app.sock"))


@pytest.mark.parametrize("extra", [0, 1])
def test_a_path_may_have_107_bytes_and_no_more(folder: Path, extra: int) -> None:
    path = f"{folder}/".ljust(105 + extra, "x") + "é"
    if extra == 0:
        listen(Address(path=path)).close()
    else:
        with pytest.raises(ConfigError, match="the path has 108 bytes, a unix socket's at most 107"):
            listen(Address(path=path))


LISTEN = """
    import sys
    from gateway.address import ConfigError, connect, listen, parse_bind
    try:
        listen(parse_bind(sys.argv[1])).close()
    except ConfigError as error:
        print(error)
"""


@as_root
def test_a_directory_without_permission_is_described(folder: Path) -> None:
    assert run(LISTEN, f"unix:{folder}/app.sock", uid=NOBODY) == (
        f"cannot listen on unix:{folder}/app.sock: user nobody (uid 65534) may not make or replace files in {folder}, "
        "which belongs to user root (uid 0) with mode 0755; choose a directory of that user's "
        "(systemd: RuntimeDirectory=)\n"
    )


@as_root
def test_a_user_without_a_name_is_called_by_its_number(folder: Path) -> None:
    assert f"user 54321 may not make or replace files in {folder}" in run(LISTEN, f"unix:{folder}/a", uid=54321)


@as_root
def test_a_directory_below_a_locked_one_is_described_by_the_locked_one(folder: Path) -> None:
    (folder / "locked" / "run").mkdir(parents=True)
    os.chmod(folder / "locked", 0o700)
    assert f"files in {folder}/locked, which" in run(LISTEN, f"unix:{folder}/locked/run/app.sock", uid=NOBODY)


@as_root
def test_a_stale_socket_of_another_user_in_a_sticky_directory_stays(folder: Path) -> None:
    os.chmod(folder, 0o1777)
    stale(folder / "app.sock")
    os.chmod(folder / "app.sock", 0o777)
    assert "may not make or replace files" in run(LISTEN, f"unix:{folder}/app.sock", uid=NOBODY)
    os.chmod(folder / "app.sock", 0o700)
    assert "connecting says: Permission denied" in run(LISTEN, f"unix:{folder}/app.sock", uid=NOBODY)
    assert os.listdir(folder) == ["app.sock"]


def test_removing_unlinks_the_socket_file_once(folder: Path) -> None:
    address = Address(path=f"{folder}/app.sock")
    assert not remove(address)
    listen(address).close()
    assert remove(address)
    assert not remove(address)
    assert os.listdir(folder) == []


def test_removing_finds_a_relative_path_after_a_change_of_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    address = parse_bind("unix:app.sock")
    listen(address).close()
    monkeypatch.chdir(ROOT)
    assert remove(address)
    assert os.listdir(folder) == []


def test_removing_leaves_the_socket_of_a_later_server_alone(folder: Path) -> None:
    old, new = Address(path=f"{folder}/app.sock"), Address(path=f"{folder}/app.sock")
    listen(old).close()
    with listen(new):
        assert not remove(old)
        connect(new, timeout=5.0).close()
    assert remove(new)


def test_a_socket_file_that_is_gone_already_is_no_error(folder: Path) -> None:
    address = Address(path=f"{folder}/app.sock")
    listen(address).close()
    os.unlink(address.path)
    assert not remove(address)


def test_a_listening_descriptor_is_taken_over() -> None:
    with listen(parse_bind("127.0.0.1:0")) as server:
        descriptor = os.dup(server.fileno())
        with listen(Address(fd=descriptor)) as same:
            assert same.fileno() == descriptor
            assert bound_address(same, protocol="fastcgi").port == bound_address(server).port


def test_a_descriptor_that_does_not_listen_is_refused_and_left_open() -> None:
    reader, writer = os.pipe()
    with socket.socket() as idle:
        for descriptor in (reader, idle.fileno(), 999):
            with pytest.raises(ConfigError, match=rf"fd://{descriptor}: it is no listening socket here"):
                listen(Address(fd=descriptor))
        idle.bind(("127.0.0.1", 0))
    os.close(reader)
    os.close(writer)


# Connecting.


@pytest.mark.parametrize(
    ("url", "kind"),
    [("fastcgi://unix:{folder}/none", FileNotFoundError), ("fastcgi://unix:{folder}/stale", ConnectionRefusedError)],
)
def test_a_server_that_is_not_there_is_named(folder: Path, url: str, kind: type[OSError]) -> None:
    stale(folder / "stale")
    address = parse_connect(url.format(folder=folder))
    with pytest.raises(kind) as caught:
        connect(address, timeout=5.0)
    assert caught.value.strerror is not None
    assert caught.value.strerror.startswith(f"cannot connect to {address}: ")
    assert caught.value.strerror.endswith("is the server running, and listening there?")


def test_a_refused_tcp_connection_is_named() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = bound_address(reserved, protocol="fastcgi")
        with pytest.raises(ConnectionRefusedError, match=f"cannot connect to {address}: Connection refused; is the"):
            connect(address, timeout=5.0)


def test_a_host_without_address_is_named() -> None:
    with pytest.raises(socket.gaierror, match=r"cannot connect to fastcgi://no-such-host.invalid:9000: "):
        connect(parse_connect("fastcgi://no-such-host.invalid:9000"), timeout=5.0)


@as_root
def test_a_socket_without_permission_is_described(folder: Path) -> None:
    source = """
        import sys
        from gateway.address import Address, connect
        try:
            connect(Address(path=sys.argv[1]), timeout=5.0)
        except PermissionError as error:
            print(error.strerror)
    """
    with listen(Address(path=f"{folder}/app.sock"), mode=0o660):
        assert run(source, f"{folder}/app.sock", uid=NOBODY) == (
            f"cannot connect to unix:{folder}/app.sock: user nobody (uid 65534) may not write to the socket, "
            "which belongs to user root (uid 0) with mode 0660; widen its server's mode\n"
        )


def test_connecting_waits_for_a_place_in_a_full_queue(folder: Path) -> None:
    address = Address(path=f"{folder}/app.sock")
    with listen(address, backlog=0) as server, connect(address, timeout=5.0):
        late = threading.Timer(0.1, lambda: server.accept()[0].close())
        late.start()
        with connect(address, timeout=5.0) as second:
            assert second.gettimeout() == 5.0
        late.join()


def test_connecting_to_a_full_queue_ends_at_the_timeout(folder: Path) -> None:
    address = Address(path=f"{folder}/app.sock")
    with listen(address, backlog=0), connect(address, timeout=5.0):
        start = time.monotonic()
        with pytest.raises(TimeoutError, match=rf"cannot connect to {address} in 0.15 s; is it overloaded\?"):
            connect(address, timeout=0.15)
        assert 0.1 < time.monotonic() - start < 2.0


# Inherited sockets.

TAKE = """
    import os, sys
    from gateway.address import bound_address, inherited_sockets
    if os.environ.get("LISTEN_PID") == "self":
        os.environ["LISTEN_PID"] = str(os.getpid())
    sockets = inherited_sockets(fd0=sys.argv[1:] != ["no-fd0"])
    print(*(f"{bound_address(sock)} {sock.fileno()} {sock.get_inheritable()}" for sock in sockets), sep="\\n")
    print(os.readlink("/proc/self/fd/0"), {name for name in os.environ if name.startswith("LISTEN_")} or "clean")
    print(inherited_sockets())
"""


def test_a_listening_descriptor_0_is_taken_and_replaced_by_dev_null() -> None:
    with listen(parse_bind("127.0.0.1:0")) as server:
        assert run(TAKE, stdin=server) == f"{bound_address(server)} 3 False\n/dev/null clean\n[]\n"


def test_a_listening_descriptor_0_never_becomes_descriptor_1_or_2() -> None:
    source = """
        import os
        from gateway.address import inherited_sockets
        answer = os.dup(1)
        os.close(1)
        os.close(2)
        os.write(answer, b"%d" % inherited_sockets()[0].fileno())
    """
    with listen(parse_bind("127.0.0.1:0")) as server:
        assert run(source, stdin=server) == "4"


def test_a_listening_descriptor_0_can_be_left_alone() -> None:
    with listen(parse_bind("127.0.0.1:0")) as server:
        first, second, third = run(TAKE, "no-fd0", stdin=server).splitlines()
    assert first == ""
    assert second.startswith("socket:")
    assert "laddr=" in third


@pytest.mark.parametrize("kind", ["connected", "bound", "datagram", "file"])
def test_a_descriptor_0_that_does_not_listen_is_not_taken(kind: str) -> None:
    one, other = socket.socketpair()
    plain = socket.socket(type=socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
    with one, other, plain, open(os.devnull) as null:
        plain.bind(("127.0.0.1", 0))
        printed = run(TAKE, stdin={"connected": one, "file": null}.get(kind, plain))
    assert printed.startswith("\n")
    assert printed.endswith("\n[]\n")


def systemd(*sockets: socket.socket, pid: str = "self", count: str = "") -> str:
    """Start TAKE as systemd does: the sockets are descriptors 3, 4 ...; LISTEN_PID is the process itself."""
    source = f"""
        import os, sys
        descriptors = [os.dup(int(text)) for text in sys.argv[1:]]
        for target, descriptor in enumerate(descriptors, 3):
            os.dup2(descriptor, 50 + target)
        for target, _ in enumerate(descriptors, 3):
            os.dup2(50 + target, target)
        os.closerange(3 + len(descriptors), 99)
        os.environ |= dict(LISTEN_PID={pid!r}, LISTEN_FDS={count!r} or str(len(descriptors)), LISTEN_FDNAMES="a:b")
        os.execv(sys.executable, [sys.executable, "-c", {textwrap.dedent(TAKE)!r}])
    """
    numbers = [sock.fileno() for sock in sockets]
    return run(source, *numbers, pass_fds=numbers, stdin=subprocess.DEVNULL)


def test_the_sockets_of_systemd_are_taken_in_order(folder: Path) -> None:
    with listen(parse_bind("127.0.0.1:0")) as one, listen(Address(path=f"{folder}/app.sock")) as two:
        printed = systemd(one, two)
        assert printed == f"{bound_address(one)} 3 False\n{bound_address(two)} 4 False\n/dev/null clean\n[]\n"


def test_the_sockets_of_systemd_are_for_the_process_it_started_only() -> None:
    with listen(parse_bind("127.0.0.1:0")) as one:
        assert systemd(one, pid="1") == "\n/dev/null clean\n[]\n"


def test_without_a_process_manager_nothing_is_inherited() -> None:
    environ = {"PATH": "/bin"}
    assert inherited_sockets(environ, fd0=False) == []
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("count", "message"),
    [("two", "LISTEN_FDS='two' is not a number"), ("1", "fd://3: it is no listening socket here; whoever starts")],
)
def test_what_systemd_would_never_pass_is_refused(count: str, message: str) -> None:
    source = f"""
        import os
        from gateway.address import ConfigError, inherited_sockets
        os.closerange(3, 9)
        try:
            inherited_sockets(dict(LISTEN_PID=str(os.getpid()), LISTEN_FDS={count!r}))
        except ConfigError as error:
            print(error)
    """
    assert message in run(source, stdin=subprocess.DEVNULL)


# Peers.


def test_a_tcp_peer_is_described_by_its_address() -> None:
    server = listen(parse_bind("[::1]:0"))
    with server, connect(bound_address(server), timeout=5.0) as client, server.accept()[0] as accepted:
        assert describe_peer(accepted) == f"[::1]:{client.getsockname()[1]}"
        assert describe_peer(client) == f"[::1]:{server.getsockname()[1]}"


def test_a_unix_peer_is_described_by_its_path_or_else_its_process(folder: Path) -> None:
    address = Address(path=f"{folder}/app.sock")
    with listen(address) as server, connect(address, timeout=5.0) as client, server.accept()[0] as accepted:
        assert describe_peer(client) == f"unix:{folder}/app.sock"
        assert describe_peer(accepted) == f"unix socket, pid {os.getpid()}, uid {os.getuid()}"


def test_a_unix_peer_is_described_where_its_process_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    one, other = socket.socketpair()
    with one, other:
        assert describe_peer(one) == "unix socket, process unknown"


def test_a_peer_that_is_gone_can_be_described() -> None:
    with socket.socket() as never:
        assert describe_peer(never) == "a peer that is gone (Transport endpoint is not connected)"


@pytest.mark.parametrize(
    ("value", "peers"),
    [
        (None, None),
        ("", None),
        ("199.170.183.28,199.170.183.71", {"199.170.183.28", "199.170.183.71"}),
        (" 127.0.0.1, ::FFFF:127.0.0.1 ,0:0::1", {"127.0.0.1", "::1"}),
    ],
)
def test_the_allowed_peers_are_read_from_the_environment(value: str | None, peers: set[str] | None) -> None:
    assert allowed_peers({} if value is None else {"FCGI_WEB_SERVER_ADDRS": value}) == peers


@pytest.mark.parametrize("value", ["localhost", "127.0.0.1,", "127.0.0.1 10.0.0.1", "10.0.0.0/8", ","])
def test_a_bad_list_of_peers_is_refused_not_taken_for_everyone(value: str) -> None:
    with pytest.raises(ConfigError, match=r"is no list of IP addresses such as 127.0.0.1,192.0.2.7"):
        allowed_peers({"FCGI_WEB_SERVER_ADDRS": value})


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        (("127.0.0.1", 4567), True),
        (("::ffff:127.0.0.1", 4567, 0, 0), True),
        (("fe80::1%eth0", 4567, 0, 2), True),
        (("127.0.0.2", 4567), False),
        ("", False),
    ],
)
def test_a_peer_is_looked_up_in_the_list(peer: object, allowed: bool) -> None:  # noqa: FBT001
    assert peer_allowed(peer, frozenset({"127.0.0.1", "fe80::1"})) is allowed
    assert peer_allowed(peer, None)
