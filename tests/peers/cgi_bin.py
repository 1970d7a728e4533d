"""A directory of CGI programs that others wrote, and of some in tests/programs, with all that they need to work."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

from tests.house import ROOT

PROGRAMS = ROOT / "tests" / "programs"
OURS = ["form.pl", "guestbook.php", "square.map", "told.sh", "upload.pl"]
PYTHON = ["family", "fields"]
EXECUTION = {"*-fork.py": "fork", "*-inprocess.py": "inprocess", "*": "spawn"}
"""How programs are run: of each in Python there is a copy for each strategy, ``fields-fork.py`` say."""
DEBIAN = {
    "awstats.pl": "/usr/lib/cgi-bin/awstats.pl",
    "cgit.cgi": "/usr/lib/cgit/cgit.cgi",
    "git-http-backend": "/usr/lib/git-core/git-http-backend",
    "gitweb.cgi": "/usr/lib/cgi-bin/gitweb.cgi",
    "mapserv": "/usr/lib/cgi-bin/mapserv",
}
"""Where Debian has the programs of others; what is not there is left out."""
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {"NAME": "A", "EMAIL": "a@example.org", "DATE": "2020-02-20T20:20:20Z"}.items()
}

ACCESS_LOG = """\
192.0.2.7 - - [14/Jun/2020:10:00:00 +0000] "GET /index.html HTTP/1.1" 200 512 "-" "Mozilla/5.0 Firefox/78.0"
192.0.2.8 - - [15/Jun/2020:10:00:00 +0000] "GET /prices.html HTTP/1.1" 200 1024 "-" "Mozilla/5.0 Firefox/78.0"
"""
SETTINGS = {
    "awstats.shop.conf": """\
LogFile="{folder}/access.log"
LogFormat=1
SiteDomain="shop.example"
HostAliases="shop.example"
DNSLookup=0
DirData="{folder}"
""",
    "cgitrc": "css=/cgit.css\nlogo=\nfooter=/dev/null\nsnapshots=tar.gz\nscan-path={folder}/projects\n",
    "gitconfig": "[safe]\n\tdirectory = *\n[http]\n\treceivepack = true\n[gc]\n\tauto = 0\n",
    "gitweb.conf": '$projectroot = "{folder}/projects";\n$git_temp = "{folder}";\n$site_name = "Projects";\n',
    "mapserver.conf": 'CONFIG\n  ENV\n    MS_MAPFILE "{folder}/cgi-bin/square.map"\n  END\nEND\n',
}


class CGIBin:
    """The directory ``root`` and the variables that its programs expect; ``projects`` holds the repository a.git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "cgi-bin"
        self.projects = folder / "projects"
        self.environment = {
            "CGIT_CONFIG": str(folder / "cgitrc"),
            "GITWEB_CONFIG": str(folder / "gitweb.conf"),
            "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": str(folder),
            "GREETING": "hello",
            "MAPSERVER_CONFIG_FILE": str(folder / "mapserver.conf"),
            "PERL_HASH_SEED": "0",  # the same order each time
            "SESSIONS": str(folder),
        }
        self.root.mkdir()
        for name, text in SETTINGS.items():
            (folder / name).write_text(text.replace("{folder}", str(folder)))
        for name in OURS:
            shutil.copy(PROGRAMS / name, self.root)
        for name in PYTHON:
            for strategy in EXECUTION.values():
                shutil.copy(PROGRAMS / f"{name}.py", self.root / f"{name}-{strategy}.py")
        for name, path in DEBIAN.items():
            if os.path.exists(path):
                shutil.copy(path, self.root / name)
        if shutil.which("gcc"):
            subprocess.run(["gcc", "-o", self.root / "sum", PROGRAMS / "sum.c"], check=True)
        if "awstats.pl" in os.listdir(self.root):
            self._count_visits()
        if "git-http-backend" in os.listdir(self.root):
            self._make_repository()

    def _count_visits(self) -> None:
        """What cron does for AWStats."""
        (self.folder / "access.log").write_text(ACCESS_LOG)
        shutil.copy(self.folder / "awstats.shop.conf", self.root)
        subprocess.run(
            ["perl", "awstats.pl", "-config=shop", "-update"], cwd=self.root, check=True, stdout=subprocess.DEVNULL
        )

    def _make_repository(self) -> None:
        self.git("init", "-q", "--bare", "-b", "main", str(self.projects / "a.git"))
        work = self.folder / "work"
        self.git("clone", "-q", str(self.projects / "a.git"), str(work))
        for text in (b"one\n", b"two\n"):
            self.commit(work, text)
        self.git("push", "-q", "origin", "HEAD:main", folder=work)

    def git(self, *words: str, folder: Path | None = None) -> str:
        """Run git, away from the configuration of whoever runs the tests; what it says."""
        env = IDENTITY | {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig"), "GIT_TERMINAL_PROMPT": "0",
        }  # fmt: skip
        done = subprocess.run(
            ["git", *words], cwd=folder or self.folder, env=env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, work: Path, data: bytes) -> None:
        """Put ``data`` into the one file of a working copy."""
        (work / "file").write_bytes(data)
        self.git("add", "file", folder=work)
        self.git("commit", "-q", "-m", "A change", folder=work)


def noise(size: int) -> bytes:
    """Bytes that nothing makes smaller, the same each time."""
    return random.Random(1).randbytes(size)
