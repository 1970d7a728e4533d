"""What servers are told of an application: one file for each server, and for ``gateway config`` and ``fcgi-run`` alike.

A server's files are tables.  A row says when its line is there (words of the :class:`Site`; ``a/b`` is either), what it
is there for, by which ``gateway doctor URL`` finds the line that mends a fault, and the line itself.  When it is to
``mend``, the line states what goes without saying, for those who have said otherwise.
"""

from __future__ import annotations

import os
import re
from copy import copy
from importlib import import_module
from itertools import groupby
from textwrap import dedent

from gateway.address import Address
from gateway.environ import check_mount
from gateway.errors import ConfigError
from gateway.workers.listener import parse_listen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    Values = Mapping[str, object]

SERVERS = {
    "nginx": "gateway.cli.configurations.nginx",
    "apache": "gateway.cli.configurations.apache",
    "apache-fcgid": "gateway.cli.configurations.apache_fcgid",
    "lighttpd": "gateway.cli.configurations.lighttpd",
    "caddy": "gateway.cli.configurations.caddy",
    "haproxy": "gateway.cli.configurations.haproxy",
    "iis": "gateway.cli.configurations.iis",
    "systemd": "gateway.cli.configurations.systemd",
    "docker": "gateway.cli.configurations.docker",
    "kubernetes": "gateway.cli.configurations.kubernetes",
}
"""A server's name, and the module whose ``configuration`` it is.  A new server is a new row here, and its own file."""

FRONT_ENDS = ("nginx", "apache", "lighttpd", "caddy", "haproxy")
"""Those that connect to ``fcgi-run``."""
BIND = "unix:/run/{name}.sock"
"""Where an application is taken to listen unless somebody says where."""


class Site:
    """What a configuration is for.

    ``target`` is the application, or the path of a program; ``bind`` is where ``fcgi-run`` listens, ``mount`` where the
    application lives in the site.  ``stream``: what either side says is passed on as it is said.  ``size`` is that of
    the largest upload, in MiB.  ``keep``: connections to the application are used again.  ``secret`` and
    ``packet_size`` are AJP's.  ``full``: the whole of a server, called ``host``, that listens on ``port``.
    Raises ConfigError.
    """

    def __init__(
        self, target: str = "app:application", *, bind: str | Address = "", mount: str = "", stream: bool = False,
        size: int = 64, keep: bool = True, secret: bool = False, packet_size: int | None = None, full: bool = False,
        host: str = "localhost", port: int = 8080,
    ) -> None:  # fmt: skip
        self.target = target
        self.name = re.sub(r"\W", "_", os.path.basename(target.partition(":")[0]).partition(".")[0]) or "app"
        self.bound = bool(bind)
        if isinstance(bind, Address):
            self.address, self.wire = bind, bind.protocol
        else:
            self.address, self.wire = parse_listen(bind or BIND.format(name=self.name), protocol="fastcgi")
        try:
            self.mount = check_mount(mount)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.stream = stream
        self.size = size
        self.keep = keep
        self.secret = secret
        self.packet_size = packet_size
        self.full = full
        self.host = host
        self.port = port

    def __repr__(self) -> str:
        return f"<Site {self.target} {self.wire}://{self.address} mount={self.mount!r}>"

    @property
    def path(self) -> str:
        """The path of its socket; "" if it has a port."""
        return os.path.abspath(self.address.path) if self.address.path else ""

    @property
    def program(self) -> str:
        """The program that a server starts.  Raises ConfigError for an application that is none."""
        if ":" in self.target or os.sep not in self.target:
            raise ConfigError(f"{self.target} is no program: name one by its path, /srv/hello/hello.py say")
        return os.path.abspath(self.target)

    @property
    def port_address(self) -> str:
        """HOST:PORT as a web server finds it."""
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address.host, self.address.host)
        return str(Address(host=here, port=self.address.port)) if here else ""

    @property
    def pattern(self) -> str:
        """The mount as a regular expression."""
        return re.escape(self.mount)

    def words(self) -> set[str]:
        """What is so, in the words of the tables."""
        words = {self.wire, "mount" if self.mount else "whole", "unix" if self.path else "tcp"}
        flags = {"stream": self.stream, "keep": self.keep, "secret": self.secret, "packets": self.packet_size}
        words |= {word for word, flag in flags.items() if flag}
        return words | {"full" if self.full else "part"}


class Configuration:
    """How one kind of server is told of an application.

    ``files`` are their names and tables.  ``values(site)`` are what ``@names@`` in them stand for.
    ``wires``: those it speaks, () for a server that starts programs.
    ``tells_mount``: the wires on which it can say where the application lives; on others ``fcgi-run`` must know it.
    ``loses``: what goes wrong on a wire, and no line mends.
    ``check`` is its own command that checks a file of it, whose path comes last.
    """

    def __init__(
        self, title: str, files: Mapping[str, str], *, values: Callable[[Site], Values], wires: Sequence[str] = (),
        tells_mount: Sequence[str] = (), loses: Mapping[str, str] | None = None, check: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.title = title
        self.files = {name: list(_rows(table)) for name, table in files.items()}
        self.values = values
        self.wires = wires
        self.tells_mount = tells_mount
        self.loses = {wire: set(matters.split()) for wire, matters in (loses or {}).items()}
        self.check = check

    def write(self, site: Site) -> dict[str, str]:
        """The files for a site: names and texts.  Raises ConfigError for what the server cannot do."""
        site = self._spoken(site)
        values = self._values(site)
        return {_fill(name, values): _text(self._lines(name, site, values), site) for name in self.files}

    def lines_for(self, matter: str, site: Site, *, mend: bool = False) -> list[str]:
        """The lines for the sake of something, each group below a comment that says where it belongs.

        ``mend``: to state also what goes without saying.
        """
        site, place = self._spoken(site), ""
        found: list[str] = []
        for name in self.files:
            outer: list[str] = []
            for line, matters in self._lines(name, site, self._values(site), *["mend"] * mend):
                if not line.strip() or line.lstrip()[0] in "#})":
                    continue
                outer = [each for each in outer if _indent(each) < _indent(line)]
                where = outer[-1].split()[0].lstrip("<") if outer else ""
                outer.append(line)
                if matter in matters:
                    if where != place:
                        found.append(f"# in {where}:")
                    place = where
                    found.append(line.strip())
        return found

    def command(self, site: Site) -> str:
        """What starts the application."""
        wire = "" if site.wire == "fastcgi" else f"{site.wire}://"
        place = f"unix:{site.path}" if site.path else Address(host=site.address.host, port=site.address.port)
        words = [f"fcgi-run {site.target} -b {wire}{place}"]
        if site.wire not in self.tells_mount:
            words.append(f"--mount {site.mount or '/'}")
        return " ".join(words)

    def _lines(self, name: str, site: Site, values: Values, *more: str) -> Iterator[tuple[str, list[str]]]:
        words = site.words().union(more)
        for when, matters, line in self.files[name]:
            if all(words.intersection(term.split("/")) for term in when):
                yield _fill(line, values), matters

    def _values(self, site: Site) -> Values:
        common = {name: getattr(site, name) for name in ("name", "wire", "mount", "pattern", "size", "host", "port")}
        return common | {"command": self.command(site), "packet_size": site.packet_size} | dict(self.values(site))

    def _spoken(self, site: Site) -> Site:
        """The site on a wire that the server speaks.  Raises ConfigError if there is none, or it cannot be written."""
        if not re.fullmatch(r"[\w.~/%+@:,=-]*", site.mount, re.ASCII):
            raise ConfigError(f"{site.mount!r} would have to be quoted in six ways: choose a mount of plain letters")
        if not self.wires:
            if site.bound:
                raise ConfigError(f"{self.title} starts the program itself: leave --bind out")
            return site
        if site.wire == "auto" and "auto" not in self.wires:
            site = copy(site)
            site.wire = self.wires[0]
        if site.wire not in self.wires:
            others = [load(name).title for name in FRONT_ENDS if site.wire in load(name).wires]
            raise ConfigError(
                f"{self.title} does not speak {site.wire}, but {_and(self.wires)}; {site.wire} goes with {_and(others)}"
            )
        if site.address.kind == "fd" or site.address.path.startswith("\0"):
            raise ConfigError(f"no web server can be told to connect to {site.address}: bind unix:PATH or HOST:PORT")
        return site


def load(server: str) -> Configuration:
    """The configuration of a server, by its name in SERVERS."""
    configuration: Configuration = import_module(SERVERS[server]).configuration
    return configuration


def snippet(address: Address, mount: str | None, wire_options: Mapping[str, Any]) -> str:
    """What ``fcgi-run`` prints: the lines for nginx, or for Apache if nginx does not speak the wire; "" if neither can.

    >>> from gateway.address import parse_bind
    >>> print(snippet(parse_bind("scgi://127.0.0.1:4000"), "/app", {}))
    location ~ ^(?<script_name>/app)(?<path_info>/.*)?$ {
        client_max_body_size 64m;
        include scgi_params;
        scgi_param SCRIPT_NAME $script_name;
        scgi_param PATH_INFO $path_info;
        scgi_param HTTP_PROXY "";
        scgi_pass 127.0.0.1:4000;
    }
    """
    site = Site(
        bind=address, mount=mount or "", keep=False, secret="secret" in wire_options,
        packet_size=wire_options.get("packet_size"),
    )  # fmt: skip
    for server in ("nginx", "apache"):
        try:
            (text,) = load(server).write(site).values()
        except ConfigError:
            continue
        head, _, lines = text.rstrip("\n").partition("\n\n")
        return lines if server == "nginx" else f"{head.partition(', in front')[0]}\n{lines}"
    return ""


# -- tables


def _rows(table: str) -> Iterator[tuple[list[str], list[str], str]]:
    for text in table.strip("\n").splitlines():
        when, matters, line = text.split("|", 2)
        yield when.split(), matters.split(), line[1:]


def _fill(line: str, values: Values) -> str:
    """The line with its values; one of several lines keeps its indentation."""
    indent = "\n" + " " * _indent(line)
    return re.sub(r"@(\w+)@", lambda name: str(values[name[1]]).replace("\n", indent), line)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _text(lines: Iterable[tuple[str, object]], site: Site) -> str:
    """The lines in paragraphs; what is part of a file begins at the margin."""
    groups = groupby((line for line, _ in lines), key=bool)
    paragraphs = ["\n".join(paragraph) for said, paragraph in groups if said]
    return "\n\n".join(paragraphs if site.full else map(dedent, paragraphs)) + "\n"


def _and(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> _and(["nginx", "apache", "lighttpd"])
    'nginx, apache and lighttpd'
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
