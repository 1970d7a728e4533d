"""``gateway doctor``: a line for each planted fault that says what mends it, and none for a healthy script."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import main
from gateway.script import CGIDirectory
from gateway.script.diagnosis import Fault, Patient
from gateway.script.diagnosis.identity import find_user
from gateway.script.diagnosis.trial import SEARCH, attempt
from gateway.script.listing import list_scripts

pytestmark = pytest.mark.usefixtures("nothing_left_over")

ME = pwd.getpwuid(os.geteuid()).pw_name
OTHER = pwd.getpwnam("daemon" if ME == "nobody" else "nobody")
SH = "#!/bin/sh\n"
PYTHON = f"#!{sys.executable} -IS\n"  # without what is installed beside the standard library
OK = f"{SH}echo Content-Type: text/plain; echo; echo fine\n"
AGAIN = f"env -i PATH={SEARCH} LANG=C REQUEST_METHOD=GET QUERY_STRING= {{path}}"
SHELL = shutil.which("sh", path=SEARCH)

Write = Callable[..., Path]
Doctor = Callable[..., Result]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that anybody may enter, unlike those of pytest."""
    path = Path(tempfile.mkdtemp(prefix="gateway-")).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def write(folder: Path) -> Write:
    def write(text: str | bytes, *, name: str = "a.cgi", mode: int = 0o755) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    return write


def doctor(*words: object, user: str = ME) -> Result:
    """The command, which judges as ourselves: the Python of these tests may be nobody else's."""
    return CliRunner().invoke(main, ["doctor", *(["--user", user] if user else []), *map(str, words)])


# The script, and the line that is said of it.
IN_THE_FILE: dict[str, tuple[str | bytes, str]] = {
    "CR LF": (
        OK.replace("\n", "\r\n"),
        r"its #! line ends in CR LF, and the CR is taken for a part of the name: sed -i 's/\r$//' {path}",
    ),
    "byte order mark": (
        b"\xef\xbb\xbf" + OK.encode(),
        "a byte order mark stands before its #!, which must be its very first bytes: "
        r"sed -i '1s/^\xef\xbb\xbf//' {path}",
    ),
    "empty line before #!": (
        "\n \n" + OK,
        r"space stands before its #!, which must be its very first bytes: sed -i '/\S/,$!d;s/^\s*#!/#!/' {path}",
    ),
    "mistyped #!": ("# !/bin/sh\n" + OK, "its first line '# !/bin/sh' is no #! line: sed -i '1s|.*|#!/bin/sh|' {path}"),
    "interpreter elsewhere": (
        OK.replace("/bin/sh", "/no/such/sh"),
        f"its interpreter /no/such/sh is missing or not executable: sed -i '1s|/no/such/sh|{SHELL}|' {{path}}",
    ),
    "another version of it": (
        OK.replace("/bin/sh", "/usr/bin/env sh5.2"),
        r"its interpreter sh5.2 is missing or not executable: sed -i '1s|\bsh5.2\b|sh|' {path}",
    ),
    "two words for env": (
        OK.replace("/bin/sh", "/usr/bin/env sh -e"),
        "env gets 'sh -e' as the name of one program: sed -i '1s|env |env -S |' {path}",
    ),
}
NOT_FOR_A_SHELL: dict[str, tuple[str, str]] = {
    "no #!": (
        "echo Content-Type: text/plain\n",
        "it neither begins with #! nor is a program of this machine: make #!/usr/bin/env python3 its very first bytes "
        "(sed -i '1i #!/usr/bin/env python3' {path}), or name an interpreter for it",
    ),
    "program of another machine": (
        "\x7fELF of another",
        "it neither begins with #! nor is a program of this machine: build it for this one, or pass interpreter=",
    ),
    "no name after #!": ("#!\n", "its first line names no interpreter after #!: write for example #!/bin/sh"),
    "no interpreter": (
        "#!/no/such/prolog -q\n",
        "its interpreter /no/such/prolog -q is missing or not executable: install it, or correct the first line",
    ),
    "no interpreter for env": (
        "#!/usr/bin/env no-such-prolog\n",
        "its interpreter no-such-prolog is missing or not executable: install it, or add its directory to PATH with "
        "environment=",
    ),
    "virtual environment gone": (
        "#!/no/such/venv/bin/python\n",
        "its virtual environment /no/such/venv is gone: python3 -m venv /no/such/venv, and install there what it needs",
    ),
}  # fmt: skip
IN_A_RUN: dict[str, tuple[str, str]] = {
    "missing module": (
        f"{PYTHON}import no_such_module.part",
        f"its Python lacks no_such_module: {sys.executable} -m pip install no_such_module",
    ),
    "package of another name": (
        f"{PYTHON}import yaml", f"its Python lacks yaml: {sys.executable} -m pip install PyYAML"
    ),
    "no cgi since 3.13": (
        f"{PYTHON}raise ModuleNotFoundError(\"No module named 'cgi'\")",
        f"its Python lacks cgi, as 3.13 does: {sys.executable} -m pip install legacy-cgi",
    ),
    "missing module of Perl": (
        f"{SH}echo \"Can't locate CGI/Fast.pm in @INC (you may need to install it)\" >&2; exit 2",
        "its Perl lacks CGI/Fast.pm: cpan CGI::Fast",
    ),
    "missing module of Ruby": (
        f"{SH}echo 'x: cannot load such file -- rack (LoadError)' >&2; exit 1",
        "its Ruby lacks rack: gem install rack",
    ),
    "missing library": (
        f"{SH}echo 'x: error while loading shared libraries: libx.so.1: cannot open' >&2; exit 127",
        "its loader lacks libx.so.1: install the package that brings libx.so.1, then ldconfig",
    ),
    "syntax": (
        f"{PYTHON}a = 1\nif a = 1:\n    pass\n",
        f"{sys.executable} cannot read its line 3 (invalid syntax. Maybe you meant '==' or ':=' instead of '='?): "
        "correct that line, or name the Python that it was written for after #!",
    ),
    "encoding": (
        f"{PYTHON}import sys\nsys.stdout.reconfigure(encoding='ascii')\nprint('A: b\\n\\nZo\xeb')\n",
        "it writes letters that ascii, the encoding of a web server's locale, does not have: "
        'sys.stdout.reconfigure(encoding="utf-8") after its imports, or PYTHONUTF8=1 around it',
    ),
    "bytes of another encoding": (
        f"{PYTHON}b'\\xff'.decode()",
        'it reads bytes that are not utf-8: name the encoding where it opens the file: open(…, encoding="…")',
    ),
    "no right to a file": (
        f"{PYTHON}raise PermissionError(13, 'Permission denied', '/srv/a b')",
        f"{ME} may not use /srv/a b: chown {ME} '/srv/a b'",
    ),
    "output before the header": (
        f"{SH}echo debugging; echo Content-Type: text/plain; echo",
        "it writes 'debugging' before its header: write that to stderr, or later; if a child wrote it, flush the "
        "header first",
    ),
    "no header": (
        f"{PYTHON}print('<html>')",
        "its output begins with '<html>', not with a header: print(\"Content-Type: text/html\\n\") first",
    ),
    "empty line first": (
        f"{SH}echo; echo Content-Type: text/plain; echo",
        "it writes an empty line before its header, which ends there: let Content-Type be the very first it writes",
    ),
    "nothing": (
        SH, r"it writes nothing to stdout: printf 'Content-Type: text/html\n\n' first, then the page"
    ),
    "no empty line": (
        f"{PYTHON}print('Content-Type: text/html')\nprint('<html>')",
        "no empty line ends its header: '<html>' follows it: print() after the last header",
    ),
    "no empty line, and no body": (
        f"{SH}echo Content-Type: text/plain",
        "no empty line ends its header: its output ends there: echo after the last header",
    ),
    "no Content-Type": (
        f"{SH}echo X-Header: x; echo; echo body",
        "its header has no Content-Type: write Content-Type: text/html, or what else it is",
    ),
    "misspelt Content-Type": (
        f"{SH}echo Content_Typ: text/html; echo; echo body",
        "its header Content_Typ is misspelt: write Content-Type",
    ),
    "no media type": (
        f"{SH}echo Content-Type: html; echo; echo body",
        "its Content-Type 'html' is no media type: write text/html, or what else it is",
    ),
    "space before the colon": (
        f"{SH}echo 'Content-Type : text/html'; echo", "in its header, a space follows the name Content-Type: write "
        "Content-Type: …",
    ),
    "bad status": (
        f"{SH}echo Content-Type: text/plain; echo Status: fine; echo",
        "a web server refuses its header, because status 'fine' does not begin with three digits: correct that line",
    ),
    "wrong Content-Length": (
        f"{SH}echo Content-Type: text/plain; echo Content-Length: 9; echo; echo body",
        "its Content-Length is 9, and its body has 5 bytes: leave Content-Length out, or count the bytes of the "
        "encoded body",
    ),
    "own status 500": (
        f"{SH}echo Status: 500 Oops; echo; echo no database >&2",
        f"it answers 500 Oops of its own accord, saying 'no database': read what it says: {AGAIN}",
    ),
    "signal": (
        f"{SH}kill -SEGV $$",
        f"it died by signal 11 (Segmentation fault): see where: {AGAIN}",
    ),
    "signal to Python": (
        f"{PYTHON}import os\nos.abort()",
        "it died by signal 6 (Aborted): see where: PYTHONFAULTHANDLER=1 in its environment",
    ),
    "signal of a limit": (
        f"{SH}kill -KILL $$",
        "it died by signal 9 (Killed): raise the limit that it met: ulimit -a shows them, dmesg the memory's end",
    ),
    "limit of memory": (
        f"{PYTHON}raise MemoryError", "it wanted more memory than the system allows: let it take less, or raise that"
    ),
    "limit of processor time, met by a child": (
        f"{SH}sh -c 'kill -XCPU $$'",
        "it wanted more processor time than the system allows: let it take less, or raise that",
    ),
    "exit status": (
        f"{SH}echo no database >&2; exit 3",
        f"it exited with status 3, saying 'no database': see for yourself: {AGAIN}",
    ),
    "exit status after the page": (f"{OK}exit 4", f"it exited with status 4: see for yourself: {AGAIN}"),
}  # fmt: skip
WAITING: dict[str, tuple[str, str]] = {
    "silence": (
        f"{SH}exec sleep 60",
        "it has said nothing within 0.3 s, and was ended: find out what it waits for, or give it longer (--timeout)",
    ),
    "no end": (
        f"{OK}exec sleep 60",
        "it has not ended within 0.3 s, and was ended: find out what it waits for, or give it longer (--timeout)",
    ),
    "reads stdin to its end": (
        f"{OK}cat",
        "it reads stdin until its end, which need not come, though the request has no body: head -c "
        '"${CONTENT_LENGTH:-0}"',
    ),
    "background": (
        f"{OK}sleep 60 & exit 0",
        "it has ended, but something that it started holds its output open, and the visitor waits: start that with "
        "</dev/null >/dev/null 2>&1 &",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"), [*IN_THE_FILE.values(), *NOT_FOR_A_SHELL.values(), *IN_A_RUN.values()],
    ids=[*IN_THE_FILE, *NOT_FOR_A_SHELL, *IN_A_RUN],
)  # fmt: skip
def test_a_fault_is_one_line_that_says_what_mends_it(write: Write, text: str | bytes, line: str) -> None:
    path = write(text)
    result = doctor(path)
    assert (result.output, result.exit_code) == (f"{path}: {line.replace('{path}', str(path))}\n", 1)


@pytest.mark.parametrize(("text", "line"), WAITING.values(), ids=WAITING)
def test_who_waits_is_told_for_what(write: Write, text: str, line: str) -> None:
    path = write(text)
    assert doctor("--timeout", 0.3, path).output == f"{path}: {line}\n"


@pytest.mark.parametrize("text", [text for text, _ in IN_THE_FILE.values()], ids=IN_THE_FILE)
def test_the_command_that_is_named_mends_it(write: Write, text: str | bytes) -> None:
    path = write(text)
    command = doctor(path).output.strip().rpartition(": ")[2]
    subprocess.run(command, shell=True, check=True)
    assert doctor(path).output == ""


def test_the_command_that_shows_more_is_one_for_a_shell(write: Write) -> None:
    path = write(f"{SH}echo oops >&2; exit 3", name="a b.cgi")
    command = doctor(path).output.strip().partition("see for yourself: ")[2]
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "oops\n")


def test_what_is_named_from_here_is_answered_so(write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(f"{SH}echo oops >&2; exit 3")
    monkeypatch.chdir(folder)
    said = doctor("a.cgi").output
    assert said.startswith("a.cgi: it exited with status 3, saying 'oops': see for yourself: env -i ")
    assert subprocess.run(said.strip().partition("yourself: ")[2], shell=True, capture_output=True).returncode == 3
    (folder / "a.cgi").chmod(0o4777)
    assert doctor("--suexec", "a.cgi").output.splitlines() == [
        "a.cgi: everybody may write it, and so have the web server run anything: chmod o-w a.cgi",
        f"a.cgi: suexec refuses it: it is setuid or setgid: chmod u-s,g-s {folder}/a.cgi",
    ]


class TestPython2:
    TEXT = f"{PYTHON}print 'Content-Type: text/plain'\n"
    SAID = (
        f"it is written for Python 2: {sys.executable} cannot read its line 2 (Missing parentheses in call to 'print'. "
        "Did you mean print(...)?): "
    )

    def test_is_converted(self, write: Write, folder: Path) -> None:
        path = write(self.TEXT)
        assert doctor("--env", f"PATH={folder}", path).output == f"{path}: {self.SAID}2to3 -w {path}\n"

    def test_is_run_by_python2_where_there_is_one(self, write: Write, folder: Path) -> None:
        write(OK, name="bin/python2")
        path = write(self.TEXT)
        fix = f"sed -i '1s|.*|#!/usr/bin/env python2|' {path}"
        assert doctor("--env", f"PATH={folder}/bin", path).output == f"{path}: {self.SAID}{fix}\n"


def test_env_python_where_there_is_only_python3(write: Write, folder: Path) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").symlink_to(sys.executable)
    path = write("#!/usr/bin/env python\nprint('Content-Type: text/plain\\n')\n")
    search = f"PATH={folder}/bin"
    line = "its interpreter python is missing or not executable: "
    command = rf"sed -i '1s|\bpython\b|python3|' {path}"
    assert doctor("--env", search, path).output == f"{path}: {line}{command}\n"
    subprocess.run(command, shell=True, check=True)
    assert doctor("--env", search, path).output == ""


class TestVirtualEnvironment:
    @pytest.fixture
    def venv(self, folder: Path) -> Path:
        (folder / "venv" / "bin").mkdir(parents=True)
        (folder / "venv" / "pyvenv.cfg").touch()
        shutil.copy("/bin/sh", folder / "venv" / "bin" / "python")
        return folder / "venv"

    @pytest.fixture
    def script(self, venv: Path, write: Write) -> Path:
        return write(OK.replace("/bin/sh", f"{venv}/bin/python"))

    def test_of_a_python_that_is_gone(self, venv: Path, script: Path) -> None:
        (venv / "bin" / "python").unlink()
        (venv / "bin" / "python").symlink_to("/no/such/python3.9")
        assert doctor(script).output == (
            f"{script}: its virtual environment {venv} is made of /no/such/python3.9, which is gone: "
            f"python3 -m venv --clear {venv}, and install there again what it had\n"
        )

    def test_that_others_may_not_enter(self, venv: Path, script: Path) -> None:
        venv.chmod(0o700)
        assert doctor(script, user="").output == (
            f"{script}: a web server may not enter {venv}, where its interpreter {venv}/bin/python is: "
            f"chmod o+x {venv}, or put an interpreter elsewhere\n"
        )

    def test_that_others_may_not_read(self, venv: Path, script: Path) -> None:
        (venv / "pyvenv.cfg").chmod(0o600)
        assert doctor(script, user="").output == (
            f"{script}: a web server may not read its virtual environment {venv}: chmod -R o+rX {venv}\n"
        )

    def test_that_all_may_use_is_healthy(self, script: Path) -> None:
        assert doctor(script, user="").output == ""


class TestRights:
    @pytest.mark.parametrize(
        ("mode", "line"),
        [
            (0o644, "it is not executable: chmod +x {path}"),
            (0o744, "it is not executable for a web server: chmod +x {path}"),
            (0o711, "a web server may not read it, and so its interpreter cannot: chmod o+r {path}"),
            (0o757, "everybody may write it, and so have the web server run anything: chmod o-w {path}"),
        ],
    )
    def test_of_the_script(self, write: Write, mode: int, line: str) -> None:
        path = write(OK, mode=mode)
        said = line.replace("{path}", str(path))
        assert doctor(path, user="").output == f"{path}: {said}\n"
        subprocess.run(said.rpartition(": ")[2], shell=True, check=True)
        assert doctor(path, user="").output == ""

    def test_of_a_directory_above(self, write: Write, folder: Path) -> None:
        path = write(OK, name="home/cgi-bin/a.cgi")
        (folder / "home").chmod(0o700)
        home = folder / "home"
        assert doctor(path, user="").output == f"{path}: a web server may not enter {home}: chmod o+x {home}\n"

    def test_are_those_of_the_user_that_is_named(self, write: Write) -> None:
        path = write(OK, mode=0o700)
        assert doctor(path).output == ""
        assert doctor(path, user=OTHER.pw_name).output == (
            f"{path}: it is not executable for {OTHER.pw_name}: chmod +x {path}\n"
            f"{path}: {OTHER.pw_name} may not read it, and so its interpreter cannot: chmod o+r {path}\n"
        )

    def test_are_those_of_the_group_for_its_members(self, write: Write, folder: Path) -> None:
        if os.geteuid():
            pytest.skip("only root may give a file to another group")
        path = write(OK, name="home/a.cgi")
        os.chown(folder / "home", -1, OTHER.pw_gid)
        (folder / "home").chmod(0o705)
        assert f"chmod g+x {folder}/home" in doctor(path, user=OTHER.pw_name).output

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a script as another user")
    @pytest.mark.parametrize("user", ["", OTHER.pw_name])
    def test_are_the_ones_that_root_runs_it_with(self, write: Write, user: str) -> None:
        path = write(f"{OK}test $(id -u) = {OTHER.pw_uid} || exit 5")
        assert doctor(path, user=user).output == ""

    @pytest.mark.parametrize(("mode", "word"), [(0o775, "go-w"), (0o4755, "u-s,g-s")])
    def test_under_suexec(self, write: Write, mode: int, word: str) -> None:
        path = write(OK, mode=mode)
        said = {0o775: "others than its owner may write it", 0o4755: "it is setuid or setgid"}[mode]
        assert doctor("--suexec", path).output == f"{path}: suexec refuses it: {said}: chmod {word} {path}\n"
        assert doctor(path).output == ""

    def test_of_another_owner_under_suexec(self, write: Write) -> None:
        path = write(OK)
        if os.geteuid() == 0:
            os.chown(path, 2, -1)
        owner = path.stat().st_uid
        assert doctor("--suexec", path, user=OTHER.pw_name).output == (
            f"{path}: suexec refuses it: it belongs to user {owner}, not 0 or {OTHER.pw_uid}: "
            f"chown {OTHER.pw_uid} {path}\n"
        )


class TestMount:
    """A file system of which nothing may be executed."""

    @pytest.fixture
    def mounted(self, folder: Path) -> Iterator[Path]:
        """A real one."""
        place = folder / "noexec"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "tmpfs", place], capture_output=True)
        if done.returncode:
            pytest.skip(f"this user may not mount: {done.stderr.decode().strip()}")
        yield place
        subprocess.run(["umount", place], check=True)

    def test_of_the_script_is_named_with_what_mends_it(self, mounted: Path, write: Write) -> None:
        path = write(OK, name="noexec/sub/a.cgi")
        command = f"mount -o remount,exec {mounted}"
        said = f"it lies on {mounted}, which is mounted noexec: {command}, and without noexec in /etc/fstab"
        assert doctor(path).output == f"{path}: {said}\n"
        assert f"PROBLEM: {said}" in "\n".join(list_scripts(CGIDirectory(mounted)))
        subprocess.run(command, shell=True, check=True)
        assert doctor(path).output == ""

    def test_of_the_interpreter_is_one_too(self, mounted: Path, write: Write) -> None:
        shutil.copy("/bin/sh", mounted)
        path = write(OK.replace("/bin/sh", f"{mounted}/sh"))
        assert f"its interpreter {mounted}/sh lies on {mounted}, which is mounted noexec" in doctor(path).output

    def test_matters_to_nobody_who_names_an_interpreter(self, mounted: Path, write: Write) -> None:
        path = write(OK, name="noexec/a.php", mode=0o644)
        assert doctor("--interpreter", ".php=sh", path).output == ""

    @pytest.mark.parametrize("user", ["", ME])
    def test_is_told_by_the_system(
        self, write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch, user: str
    ) -> None:
        """As above, where nobody may mount."""

        class Forbidding:
            f_flag = os.ST_NOEXEC

        monkeypatch.setattr("os.statvfs", lambda path: Forbidding)
        monkeypatch.setattr("os.path.ismount", lambda path: path in (str(folder), "/"))
        path = write(OK, name="sub/a.cgi")
        assert doctor(path, user=user).output == (
            f"{path}: it lies on {folder}, which is mounted noexec: mount -o remount,exec {folder}, and without noexec "
            "in /etc/fstab\n"
        )


HEALTHY = {
    "shell": OK,
    "stderr": f"{OK}echo was here >&2",
    "redirect": f"{SH}echo Location: /elsewhere; echo",
    "no content": f"{SH}echo Status: 204 No Content; echo",
    "not found": f"{SH}echo Status: 404 Not Found; echo Content-Type: text/plain; echo",
    "status line": f"{SH}echo HTTP/1.1 200 OK; echo Content-Type: text/plain; echo; echo fine",
    "CR LF in the head": rf"{SH}printf 'Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nfine'",
    "Python": f"{PYTHON}print('content-type:text/html;charset=utf-8\\n')\nprint('\xeb')",
    "much": f"{SH}echo Content-Type: text/plain; echo Content-Length: 3000000; echo; head -c 3000000 /dev/zero",
    "reads its body": f'{SH}head -c "${{CONTENT_LENGTH:-0}}"; echo Content-Type: text/plain; echo',
    "import that is tried": f"{PYTHON}try:\n import no_such\nexcept ImportError as e:\n import sys; print(repr(e), "
    "file=sys.stderr)\nprint('Content-Type: text/plain\\n')",
    "bare environment": f'{OK}test "$HOME$DISPLAY$TERM" = "" && test $LANG = C && ! test -t 0 || exit 7',
    "its own directory": f"{OK}test -f a.cgi || exit 8",
}  # fmt: skip


@pytest.mark.parametrize("text", HEALTHY.values(), ids=HEALTHY)
def test_nothing_is_said_of_a_healthy_script(write: Write, text: str) -> None:
    result = doctor(write(text))
    assert (result.output, result.exit_code) == ("", 0)


def test_a_file_with_an_interpreter_needs_no_mode(write: Write) -> None:
    path = write(OK, name="a.PHP", mode=0o644)
    assert doctor("--interpreter", ".php=sh", path).output == ""
    gone = doctor("--interpreter", ".php=no-such-php", path).output
    assert gone == f"{path}: its interpreter no-such-php is missing or not executable: install it, or pass another\n"


class TestFix:
    def test_mends_all_that_is_safe_and_says_so(self, write: Write) -> None:
        path = write(b"\xef\xbb\xbf" + OK.replace("\n", "\r\n").encode(), mode=0o640)
        result = doctor("--fix", path)
        assert (result.output, result.exit_code) == (
            f"{path}: it is not executable: mended, its mode was 640, and is 751\n"
            f"{path}: a byte order mark stands before its #!, which must be its very first bytes: mended, the byte "
            "order mark is gone\n"
            f"{path}: its #! line ends in CR LF, and the CR is taken for a part of the name: mended, its lines end in "
            "LF now\n",
            0,
        )
        assert (path.read_text(), path.stat().st_mode & 0o7777) == (OK, 0o751)
        assert doctor(path).output == ""

    def test_goes_on_to_what_the_mended_script_does(self, write: Write) -> None:
        path = write(f"{SH}echo oops", mode=0o644)
        result = doctor("--fix", path)
        assert result.output.splitlines()[1:] == [
            rf"{path}: its output begins with 'oops', not with a header: printf 'Content-Type: text/html\n\n' first"
        ]
        assert result.exit_code == 1

    def test_leaves_the_rest_alone(self, write: Write) -> None:
        text = "#!/no/such/sh\r\nexit\r\n"
        path = write(text, mode=0o757)
        doctor("--fix", path)
        assert (path.read_text(), path.stat().st_mode & 0o777) == ("#!/no/such/sh\nexit\n", 0o757)

    def test_keeps_a_link_a_link(self, write: Write, folder: Path) -> None:
        path = write(OK.replace("\n", "\r\n"))
        (folder / "link.cgi").symlink_to("a.cgi")
        assert doctor("--fix", folder / "link.cgi").exit_code == 0
        assert ((folder / "link.cgi").is_symlink(), path.read_text()) == (True, OK)


    def test_says_why_it_could_not(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: str, mode: int) -> None:
            raise PermissionError(1, "Operation not permitted", path)

        path = write(OK, mode=0o644)
        monkeypatch.setattr("os.chmod", refuse)
        result = doctor("--fix", path)
        said = f"{path}: it is not executable: chmod +x {path} (it could not be done: Operation not permitted)\n"
        assert (result.output, result.exit_code) == (said, 1)


class TestDirectory:
    @pytest.fixture
    def cgi_bin(self, write: Write, folder: Path) -> Path:
        write(OK, name="good.cgi")
        write(f"{SH}exit 3\r\n".replace("\n", "\r\n"), name="sub/bad.cgi", mode=0o644)
        write("print('a module')", name="module.py", mode=0o644)
        write("a note", name="notes.txt", mode=0o644)
        return folder

    def test_is_a_table_with_a_line_for_each_finding(self, cgi_bin: Path) -> None:
        result = doctor(cgi_bin)
        bad = cgi_bin / "sub" / "bad.cgi"
        assert [line.split(maxsplit=2) for line in result.output.splitlines()] == [
            ["Script", "Interpreter", "Finding"],
            ["good.cgi", "/bin/sh", "healthy"],
            ["sub/bad.cgi", "/bin/sh", f"it is not executable: chmod +x {bad}"],
            ["its", "#!", f"line ends in CR LF, and the CR is taken for a part of the name: sed -i 's/\\r$//' {bad}"],
        ]
        assert result.exit_code == 1

    def test_is_healthy_if_all_scripts_are(self, write: Write, folder: Path) -> None:
        write(OK)
        assert doctor(folder).exit_code == 0

    def test_mends_scripts_and_no_modules(self, cgi_bin: Path) -> None:
        assert "mended, its mode was 644, and is 755" in doctor("--fix", cgi_bin).output
        assert (cgi_bin / "module.py").stat().st_mode & 0o777 == 0o644

    def test_without_scripts_says_what_one_is(self, folder: Path) -> None:
        assert doctor(folder).output == (
            f"There is no script in {folder}: one is a file with chmod +x, or with an --interpreter.\n"
        )


def test_a_repr_tells_what_it_is_about(write: Write) -> None:
    patient = Patient(str(write(OK)), identity=find_user("root"))
    trial = attempt(patient, timeout=10, environment={})
    assert repr(patient) == f"<Patient '{patient.path}' b'#!/bin/sh\\n'>"
    assert repr(patient.identity) == "<Identity 'root' uid=0>"
    assert repr(trial) == r"<Trial returncode=0 stdout=b'Content-Type: text/plain\n\nfine\n' stderr=b''>"
    assert repr(Fault("It is late", "hurry")) == "<Fault 'It is late: hurry'>"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["no-such-file"], "no-such-file: there is no such file, directory or URL: correct it"),
        (["--user", "no-such-user", "."], "there is no user 'no-such-user': name the one that the web server runs as"),
        (["--interpreter", "php", "."], "such as .php=php-cgi"),
        (["--env", "PATH", "."], "'PATH' is not NAME=VALUE"),
        ([], "Missing argument 'SCRIPT|DIR|URL|APP'"),
    ],
)
def test_wrong_usage_exits_with_2(words: list[Any], complaint: str) -> None:
    result = doctor(*words, user="")
    assert (result.exit_code, complaint in result.output) == (2, True), result.output
