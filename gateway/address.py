"""Where a server listens and a client connects: bind strings, connect URLs, inherited sockets, who is at the other end.

One grammar for all of them: ``unix:PATH``, ``unix:@ABSTRACT``, ``/PATH``, ``HOST:PORT``, ``:PORT``, ``[IPV6]:PORT`` or
``fd://N``, each optionally after ``PROTOCOL://``, which only ``protocols/`` judges.  Inherited sockets follow FastCGI
1.0 §2.2 (descriptor 0 listens) and systemd's sd_listen_fds(3); the check of the peer's address follows FastCGI §3.2.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
import time

from gateway.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

UNIX_PATH_LIMIT = 107 if sys.platform == "linux" else 103
"""Bytes in the path of a unix socket: sizeof(sun_path) - 1, as in unix(7) and in the BSDs' unix(4)."""


class Address:
    """One place: the path of a unix socket, a TCP host and port, or an open descriptor; ``str`` gives the bind string.

    The path of an abstract socket begins with NUL, as the socket module has it, and is written with ``@``.
    """

    __slots__ = ("path", "host", "port", "fd", "protocol", "_created")

    def __init__(self, *, path: str = "", host: str = "", port: int = 0, fd: int = -1, protocol: str = "") -> None:
        self.path = path
        self.host = host
        self.port = port
        self.fd = fd
        self.protocol = protocol
        self._created: tuple[str, tuple[int, ...]] | None = None  # what listen() made, for remove()

    @property
    def kind(self) -> str:
        """``"unix"``, ``"tcp"`` or ``"fd"``."""
        return "unix" if self.path else "tcp" if self.host else "fd"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        if self.path:
            place = "unix:" + self.path.replace("\0", "@")
        elif self.host:
            place = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        else:
            place = f"fd://{self.fd}"
        return f"{self.protocol}://{place}" if self.protocol else place

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


def parse_bind(text: str, *, default_port: int = 9000) -> Address:
    """Parse where to listen.  ``:9000`` is every IPv4 interface, as it is for gunicorn; ``[::]:9000`` every IPv6 one.

    Raises ConfigError, also for a lone ``9000``: FastCGI trusts whoever connects, so "this machine only" or "everyone"
    is not a guess to make.

    >>> parse_bind("fastcgi:///run/app.sock")
    Address('fastcgi://unix:/run/app.sock')
    """
    return _parse(text, default_port=default_port, default_host="0.0.0.0")


def parse_connect(url: str, *, protocol: str = "") -> Address:
    """Parse where to connect.  ``protocol`` is the wire to speak when the URL names none; one of them must."""
    address = _parse(url, default_port=None, default_host="127.0.0.1")
    address.protocol = address.protocol or protocol
    if not address.protocol:
        raise ConfigError(f"{url!r} does not say which protocol to speak; write for example fastcgi://{address}")
    if address.kind == "fd":
        raise ConfigError(f"{url!r} is a descriptor to listen on, nothing to connect to; give a path or HOST:PORT")
    return address


def _parse(text: str, *, default_port: int | None, default_host: str) -> Address:
    place = text.strip()
    protocol, separator, rest = place.partition("://")
    if separator and protocol.isidentifier() and protocol not in ("unix", "fd"):
        protocol = "" if protocol == "tcp" else protocol.lower()  # tcp:// is how gunicorn says none
        place = rest if rest.startswith("/") else rest.removesuffix("/")
    else:
        protocol = ""
    if place.startswith(("unix:", "/")):
        path = place.removeprefix("unix:")
        path = path[2:] if path.startswith("//") else path  # unix:///run/app.sock, as gunicorn and Docker write it
        if not path.strip("@") or "\0" in path:
            raise _refusal(text, "it names no path")
        return Address(path="\0" + path[1:] if path[0] == "@" else path, protocol=protocol)
    if place.startswith("fd://"):
        if not (place[5:].isdecimal() and len(place) < 15):
            raise _refusal(text, "a descriptor is a number, as in fd://3")
        return Address(fd=int(place[5:]), protocol=protocol)
    host, port = _split_host(text, place)
    if not port and default_port is None:
        raise _refusal(text, "it names no port")
    return Address(host=host or default_host, port=int(port or default_port or 0), protocol=protocol)


def _split_host(text: str, place: str) -> tuple[str, str]:
    if not place:
        raise _refusal(text, "it is empty")
    if place.isdecimal():
        raise _refusal(text, f"write 127.0.0.1:{place} for this machine only, :{place} for every interface")
    if "/" in place or place.endswith(".sock"):
        raise _refusal(text, "a path stands after unix:, and none after a port")
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        if not bracket or colon not in ("", ":") or ":" not in host:
            raise _refusal(text, "an IPv6 address is written [::1]:9000")
    else:
        host, colon, port = place.partition(":")
        if ":" in port:
            raise _refusal(text, "an IPv6 address is written in brackets, [::1]:9000")
    if colon and not (port.isdecimal() and len(port) < 6 and int(port) < 65536):
        raise _refusal(text, f"{port!r} is no port; a port is a number up to 65535")
    # RFC 1035 §2.3.4; Python raises UnicodeError for anything else, long after.
    labels = host.removesuffix(".").split(".")
    if host and not (host.isascii() and host.isprintable() and all(0 < len(label) < 64 for label in labels)):
        raise _refusal(text, f"{host!r} is no host name")
    return host, port


def _refusal(text: str, reason: str) -> ConfigError:
    accepted = "unix:PATH, HOST:PORT, :PORT, [IPV6]:PORT or fd://N, each also after PROTOCOL://"
    return ConfigError(f"{text!r} is no address: {reason}. Accepted: {accepted}")


def listen(
    address: Address, *, backlog: int = 2048, mode: int | None = None, umask: int | None = None,
    reuse_port: bool = False,
) -> socket.socket:  # fmt: skip
    """Bind and listen; the socket blocks and is not inheritable.  Raises ConfigError that says what to do next.

    ``mode`` are the permissions of a unix socket, which it has from its first moment; ``umask`` says the same the other
    way round and yields to ``mode``.  Call it before there are threads: the umask belongs to the process.
    ``backlog`` is gunicorn's default, and the kernel caps it (net.core.somaxconn).  ``reuse_port``: see socket(7).
    """
    try:
        if address.kind == "fd":
            sock = _listening_socket(address.fd)
            if sock is None:
                raise OSError(errno.EINVAL, "it is no listening socket here; whoever starts this process must pass one")
            return sock
        sock = _socket(address)
        try:
            if address.kind == "unix":
                _bind_unix(sock, address, umask if mode is None else 0o777 & ~mode)
            else:
                if os.name == "posix":  # elsewhere it would let two servers share the port
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if reuse_port:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
                sock.bind((address.host, address.port))
            sock.listen(backlog)
        except OSError:
            sock.close()
            raise
        return sock
    except OSError as error:
        raise ConfigError(f"cannot listen on {address}: {_advice(address, error)}") from error


def _socket(address: Address) -> socket.socket:
    if address.kind == "tcp":  # a name such as localhost is IPv4, which its clients can be relied on to try
        return socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EAFNOSUPPORT, "Python on this platform has no unix sockets; use 127.0.0.1:9000")
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _bind_unix(sock: socket.socket, address: Address, umask: int | None) -> None:
    """Bind to the path itself: of one that is renamed to it, ss, lsof and getsockname() would go on showing the old."""
    path, size = address.path, len(os.fsencode(address.path))
    if size > UNIX_PATH_LIMIT:
        raise OSError(errno.ENAMETOOLONG, f"the path has {size} bytes, a unix socket's at most {UNIX_PATH_LIMIT}")
    for _ in range(3):  # more than once only when somebody else starts on this path at this moment
        before = os.umask(umask) if umask is not None else None
        try:
            sock.bind(path)
            take_over(address)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        finally:
            if before is not None:
                os.umask(before)
        _clear(address)
    raise OSError(errno.EADDRINUSE, "other servers keep taking the path; choose another one")


def _clear(address: Address) -> None:
    """Remove a stale socket file; raise if the path is in use or is no socket at all.

    A server between its bind and its listen refuses connections like a dead one: so ask twice, some time apart, and
    then remove nothing but the file that was asked.
    """
    path = address.path
    try:
        asked = None if path[0] == "\0" else _identity(path)
        if asked and not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EADDRINUSE, f"{path} exists and is not a socket; choose another path")
        for patience in (0.05, 0.0):
            with _socket(address) as probe:
                probe.setblocking(False)
                answer = probe.connect_ex(path)
                if answer == errno.ENOENT:
                    return
                if answer != errno.ECONNREFUSED:
                    who = _process_of(probe) if answer == 0 else f"connecting says: {os.strerror(answer)}"
                    problem = f"it is in use by a running server ({who}); stop it or choose another path"
                    raise OSError(errno.EADDRINUSE, problem)
            time.sleep(patience)
        if asked:
            _unlink(path, asked)
    except FileNotFoundError:
        pass  # its owner stopped just now


def _identity(path: str) -> tuple[int, ...]:
    """What tells a file from a later one that got its name, or even its inode number."""
    status = os.lstat(path)
    return (status.st_dev, status.st_ino, status.st_mtime_ns)


def _unlink(path: str, identity: tuple[int, ...]) -> bool:
    """Remove ``path`` if it is still that file.  One process at a time: a second could hit the first's new socket."""
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            if sys.platform == "linux":  # an abstract name leaves no file, and goes with the process
                claim.bind("\0gateway-unlink-{}-{}".format(*identity))
        except OSError:
            return False  # whoever has the claim removes the file
        if _identity(path) != identity:
            return False
        os.unlink(path)
        return True


def take_over(address: Address) -> None:
    """Make :func:`remove` responsible for the socket file that is there now, if there is one."""
    if address.path and address.path[0] != "\0" and os.path.lexists(address.path):
        address._created = (os.path.abspath(address.path), _identity(address.path))


def remove(address: Address) -> bool:
    """Unlink the socket file that ``listen`` made for this address; say whether it was still there and still ours."""
    created, address._created = address._created, None
    try:
        return created is not None and _unlink(*created)
    except FileNotFoundError:
        return False


def _advice(address: Address, error: OSError) -> str:
    """What went wrong with listening, in terms of what can be changed."""
    if address.kind == "unix":
        directory = os.path.dirname(os.path.abspath(address.path))
        if error.errno == errno.ENOENT:
            return f"the directory {directory} does not exist; `mkdir -p {directory}` (systemd: RuntimeDirectory=)"
        if error.errno in (errno.EACCES, errno.EPERM):
            while not os.path.isdir(directory):  # below a directory that one may not search, nothing is seen
                directory = os.path.dirname(directory)
            return (
                f"{_account()} may not make or replace files in {directory}, which {_ownership(directory)}; "
                "choose a directory of that user's (systemd: RuntimeDirectory=)"
            )
    elif isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{address.host} is no address of this machine; `ip address` lists them, 0.0.0.0 is all of them"
    elif error.errno == errno.EADDRINUSE:
        return f"another program listens there, see `ss -ltnp sport = :{address.port}`; stop it or choose another port"
    elif error.errno == errno.EACCES:
        return f"{_account()} may not use a port below 1024; choose a higher one"
    return error.strerror or str(error)


def _ownership(path: str) -> str:
    status = os.stat(path)
    return f"belongs to {_account(status.st_uid)} with mode {stat.S_IMODE(status.st_mode):04o}"


def _account(uid: int | None = None) -> str:
    try:
        import pwd  # only once something went wrong: it may have to ask a directory server

        uid = os.geteuid() if uid is None else uid
        return f"user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (ImportError, KeyError):
        return f"user {uid}" if uid is not None else "this user"


def inherited_sockets(environ: MutableMapping[str, str] | None = None, *, fd0: bool = True) -> list[socket.socket]:
    """Take the listening sockets of a process manager: descriptor 0 (spawn-fcgi, mod_fcgid, lighttpd), else systemd's.

    They can be taken once: /dev/null replaces descriptor 0, because the application's children would otherwise hold the
    socket as their stdin, and systemd's variables are removed, because they were meant for this process only.
    """
    environ = os.environ if environ is None else environ
    sock = _listening_socket(0) if fd0 else None
    if sock is None:
        return _systemd_sockets(environ)
    import fcntl  # not on every platform, where descriptor 0 is no socket either

    moved = fcntl.fcntl(sock.detach(), fcntl.F_DUPFD_CLOEXEC, 3)  # 1 and 2 may be closed (§2.2), and stay so
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return [socket.socket(fileno=moved)]


def _systemd_sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    # sd_listen_fds(3): the descriptors start at 3, and are ours only if $LISTEN_PID is this process.
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return []
    if not count.isdigit():
        raise ConfigError(f"LISTEN_FDS={count!r} is not a number; it is how many sockets systemd passes")
    return [listen(Address(fd=fd)) for fd in range(3, 3 + int(count))]


def _listening_socket(fd: int) -> socket.socket | None:
    """The stream socket ``fd`` if it listens.

    FastCGI 1.0 §2.2 has getpeername() fail with ENOTCONN tell a listening socket; a socket that was never connected
    fails alike, so SO_ACCEPTCONN is asked.
    """
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return None
        sock = socket.socket(fileno=fd)
    except OSError:  # not open, or a kind of socket that Python has no family for: either way none of ours
        return None
    if sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.set_inheritable(False)
        return sock
    sock.detach()
    return None


def bound_address(sock: socket.socket, *, protocol: str = "") -> Address:
    """The address a socket is bound to: what port 0 became, or what an inherited socket listens on."""
    return _named(sock.getsockname(), protocol)


def _named(name: tuple[str, int] | str | bytes, protocol: str = "") -> Address:
    if isinstance(name, tuple):
        return Address(host=name[0], port=name[1], protocol=protocol)
    return Address(path=os.fsdecode(name), protocol=protocol)  # bytes if abstract


def connect(address: Address, *, timeout: float | None) -> socket.socket:
    """Connect; the socket keeps the timeout (seconds).  Raises the OSError that happened, with what to look at."""
    try:
        if address.kind == "tcp":
            sock = socket.create_connection((address.host, address.port), timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        return _connect_unix(_socket(address), address.path, timeout)
    except OSError as error:
        raise explain_connect(address, error, timeout=timeout) from error


def _connect_unix(sock: socket.socket, path: str, timeout: float | None) -> socket.socket:
    """Wait for a place in the listen queue, which connect(2) does only on a blocking socket.

    Python's own timeout makes it non-blocking: a busy server would at once look like a broken one (EAGAIN).
    """
    limit = struct.pack("@ll", *divmod(int((timeout or 0) * 1_000_000), 1_000_000))  # struct timeval; 0 is for ever
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.connect(path)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bytes(len(limit)))
        sock.settimeout(timeout)
    except OSError:
        sock.close()
        raise
    return sock


def explain_connect(address: Address, error: OSError, *, timeout: float | None) -> OSError:
    """The error to raise for the one that happened: of its kind, and it says what to look at."""
    if isinstance(error, (BlockingIOError, TimeoutError)):
        return TimeoutError(errno.ETIMEDOUT, f"cannot connect to {address} in {timeout} s; is it overloaded?")
    what = f"{error.strerror or error}"
    if isinstance(error, PermissionError) and os.path.exists(address.path):
        what = f"{_account()} may not write to the socket, which {_ownership(address.path)}; widen its server's mode"
    elif isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        what += "; is the server running, and listening there?"
    return type(error)(error.errno, f"cannot connect to {address}: {what}")


def describe_peer(sock: socket.SocketType) -> str:
    """Name the other end of a connection for a log line: ``127.0.0.1:4567``, ``unix:/path`` or its process."""
    try:
        name = sock.getpeername()
    except OSError as error:
        return f"a peer that is gone ({error.strerror})"
    return str(_named(name)) if name else f"unix socket, {_process_of(sock)}"


def _process_of(sock: socket.SocketType) -> str:
    """The process at the other end of a unix socket: who connected, or who called listen (SO_PEERCRED, unix(7))."""
    if not hasattr(socket, "SO_PEERCRED"):
        return "process unknown"
    return "pid {}, uid {}".format(*struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))


def allowed_peers(environ: Mapping[str, str]) -> frozenset[str] | None:
    """The addresses in FCGI_WEB_SERVER_ADDRS (FastCGI 1.0 §3.2); None, for everyone, when it is unset or empty."""
    listed = environ.get("FCGI_WEB_SERVER_ADDRS", "").strip()
    if not listed:
        return None
    peers = frozenset(_canonical(item.strip()) for item in listed.split(","))
    if "" in peers:
        raise ConfigError(f"FCGI_WEB_SERVER_ADDRS={listed!r} is no list of IP addresses such as 127.0.0.1,192.0.2.7")
    return peers


def peer_allowed(peer: object, allowed: frozenset[str] | None) -> bool:
    """Whether to serve the peer, given as ``accept`` returns it; the list turns away whoever comes not by TCP/IP."""
    return allowed is None or (isinstance(peer, tuple) and _canonical(peer[0]) in allowed)


def _canonical(address: str) -> str:
    """One spelling for each IP address; an IPv4 client of an IPv6 socket counts as IPv4; "" for what is no address."""
    address = address.partition("%")[0].lower().removeprefix("::ffff:")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, address))
    except OSError:
        return ""
