"""A file keeps what no edit is about: its line ends, its encoding, its mode; and what cannot be read is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.migrate.source import BACKUP, diff, read

COOKIE = b"# -*- coding: latin-1 -*-\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.cgi"


def rewritten(path: Path, data: bytes, old: str, new: str) -> bytes:
    """A file after an edit."""
    path.write_bytes(data)
    source = read(str(path))
    assert old in source.text
    source.write(source.text.replace(old, new))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\nb\nc\n", b"a\nB\nc\n"),
        (b"a\r\nb\r\nc\r\n", b"a\r\nB\r\nc\r\n"),
        (b"a\rb\rc\r", b"a\rB\rc\r"),
        (b"a\r\nb\nc\r", b"a\r\nB\nc\r"),
        (b"a\nb", b"a\nB"),
        (b"\xef\xbb\xbfa\nb\n", b"\xef\xbb\xbfa\nB\n"),
        (COOKIE + b"# \xe9\nb\n# \xe9\n", COOKIE + b"# \xe9\nB\n# \xe9\n"),
        ("# \u2028 \x0c é\nb\n\x0c\n".encode(), "# \u2028 \x0c é\nB\n\x0c\n".encode()),
    ],
)
def test_what_surrounds_an_edit_stays(path: Path, before: bytes, after: bytes) -> None:
    assert rewritten(path, before, "\nb", "\nB") == after


@pytest.mark.parametrize(
    ("data", "old", "new", "after"),
    [
        (b"a\r\nb\nc\n", "a\n", "a1\na2\n", b"a1\r\na2\nb\nc\n"),
        (b"a\r\nb\r\n", "b\n", "b\nc\nd\n", b"a\r\nb\r\nc\r\nd\r\n"),
        (b"a\r\nb\r\n", "a\nb\n", "", b""),
        (b"a", "a", "b\n", b"b\n"),
    ],
)
def test_a_new_line_ends_as_the_one_it_replaces(path: Path, data: bytes, old: str, new: str, after: bytes) -> None:
    assert rewritten(path, data, old, new) == after


def test_an_empty_file_is_read_and_written(path: Path) -> None:
    path.touch()
    read(str(path)).write("a\nb\n")
    assert path.read_bytes() == b"a\nb\n"


def test_a_shorter_text_leaves_nothing_of_the_longer_one(path: Path) -> None:
    assert rewritten(path, b"first\nsecond\n", "second\n", "") == b"first\n"


def test_mode_and_links_stay(path: Path, tmp_path: Path) -> None:
    path.touch()
    path.chmod(0o750)
    os.link(path, tmp_path / "linked.cgi")
    rewritten(path, b"a\n", "a", "b")
    assert (path.stat().st_mode & 0o777, (tmp_path / "linked.cgi").read_bytes()) == (0o750, b"b\n")


def test_a_backup_is_left_if_asked(path: Path) -> None:
    path.write_bytes(b"a\r\n")
    path.chmod(0o700)
    source = read(str(path))
    source.write("b\n")
    assert sorted(os.listdir(path.parent)) == ["a.cgi"]
    source.write("c\n", backup=True)
    kept = Path(f"{path}{BACKUP}")
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777, path.read_bytes()) == (b"b\r\n", 0o700, b"c\r\n")


def test_what_is_read_only_stays_so_for_root_as_well(path: Path) -> None:
    path.write_bytes(b"a\n")
    path.chmod(0o444)
    with pytest.raises(ConfigError, match=r"^not written: it is read-only; have it writable, chmod u\+w say"):
        read(str(path)).write("b\n")
    assert path.read_bytes() == b"a\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"# caf\xe9\n", "invalid or missing encoding declaration; name its encoding in a comment in line 1 or 2"),
        (b"import os\n" * 3 + b"# \xe9\n", "line 4 is not in utf-8; name its encoding in a comment in line 1 or 2"),
        (b"# coding: klingon\n", "unknown encoding: klingon; name its encoding"),
        (b"\x7fELF\0\0", "it has NUL bytes, and so is no source code; leave it out"),
    ],
)
def test_what_cannot_be_read_says_why(path: Path, data: bytes, said: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=f"^not read: {said}"):
        read(str(path))


def test_a_file_that_is_not_there_says_so(path: Path) -> None:
    with pytest.raises(ConfigError, match="not read: No such file or directory"):
        read(str(path))


def test_a_repr_tells_the_encoding(path: Path) -> None:
    path.write_bytes(COOKIE)
    assert repr(read(str(path))) == f"<Source {str(path)!r} iso-8859-1, 1 lines>"


def test_a_diff_is_a_patch_whether_the_last_line_ends_or_not() -> None:
    assert diff("a", "x\ny", "x\nz") == "--- a\n+++ a\n@@ -1,2 +1,2 @@\n x\n-y\n+z\n"
    assert diff("a", "x", "x") == ""
