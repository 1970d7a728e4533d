"""The walk from a path to a file: how it divides, and all that must not be reached by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ProtocolError, ScriptError
from gateway.script.directory import INDEX
from gateway.script.resolve import BACKUPS, SOURCES, Folder, Script, StaticFile, Tree

Find = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a script, a directory with an index in it, a file, and things that are none of a visitor's."""
    root = tmp_path / "cgi-bin"
    for name in ("hello.cgi", "app/index.cgi", ".git/hook.cgi", "app/.secret.cgi", "h\u00e9.cgi", "a b+c%20.cgi"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    (root / "empty").mkdir()
    (root / "page.txt").write_text("text")
    (root / "form.pl").write_text("print 1")
    (tmp_path / "outside.cgi").write_text("#!/bin/sh\n")
    (tmp_path / "outside.cgi").chmod(0o755)
    return root


@pytest.fixture
def find(root: Path) -> Find:
    def find(path: str, *, mount: str = "", **options: Any) -> Any:
        defaults: dict[str, Any] = {
            "index": INDEX, "interpreters": {}, "static": False, "follow_symlinks": False, "owners": None,
        }  # fmt: skip
        return Tree(str(root), **defaults | options).find(path, mount=mount)

    return find


def refusal(find: Find, path: str, **options: Any) -> str:
    """The status and the reason that go with a path."""
    with pytest.raises((ProtocolError, ScriptError)) as caught:
        find(path, **options)
    return f"{caught.value.status_hint[:3]} {caught.value}"


class TestScript:
    @pytest.mark.parametrize(
        ("path", "mount", "script_name", "path_info"),
        [
            ("/hello.cgi", "", "/hello.cgi", ""),
            ("/hello.cgi", "/cgi-bin", "/cgi-bin/hello.cgi", ""),
            ("/hello.cgi/", "", "/hello.cgi", "/"),
            ("/hello.cgi/a/b", "", "/hello.cgi", "/a/b"),
            ("/hello.cgi//a/./.b//", "", "/hello.cgi", "//a/./.b//"),
            ("//hello.cgi", "", "/hello.cgi", ""),
            ("/app/index.cgi/x", "", "/app/index.cgi", "/x"),
            ("/app//index.cgi", "/m", "/m/app/index.cgi", ""),
            ("/h\xc3\xa9.cgi", "", "/h\xc3\xa9.cgi", ""),
            ("/a b+c%20.cgi", "", "/a b+c%20.cgi", ""),
        ],
    )
    def test_divides_the_path(
        self, find: Find, root: Path, path: str, mount: str, script_name: str, path_info: str
    ) -> None:
        found = find(path, mount=mount)
        assert (found.script_name, found.path_info, found.mount) == (script_name, path_info, mount)
        assert os.path.samefile(found.path, root / os.fsdecode(script_name.removeprefix(mount).encode("latin-1"))[1:])

    def test_runs_where_it_lies(self, find: Find, root: Path) -> None:
        assert find("/app/index.cgi").cwd == str(root / "app")

    def test_knows_the_document_root_only_at_the_root_of_the_site(self, find: Find, root: Path) -> None:
        assert (find("/hello.cgi").root, find("/hello.cgi", mount="/cgi-bin").root) == (str(root), "")

    def test_with_a_known_extension_need_not_be_executable(self, find: Find) -> None:
        assert find("/form.pl/x", interpreters={".pl": ["perl", "-T"]}).interpreter == ["perl", "-T"]

    def test_has_its_interpreter_whatever_the_case_of_its_extension(self, find: Find, root: Path) -> None:
        (root / "form.PL").touch()
        assert find("/form.PL", interpreters={".pl": ["perl"]}).interpreter == ["perl"]

    def test_that_is_not_executable_is_the_operators_mistake(self, find: Find, root: Path) -> None:
        assert refusal(find, "/form.pl") == f"403 {root}/form.pl: it is not executable: chmod +x {root}/form.pl"

    def test_its_repr_tells_how_the_path_divides(self, find: Find) -> None:
        assert repr(find("/hello.cgi/x")).endswith("/hello.cgi' SCRIPT_NAME='/hello.cgi' PATH_INFO='/x'>")


class TestDirectory:
    @pytest.mark.parametrize("path", ["/app/", "/app//"])
    def test_answers_with_its_index(self, find: Find, path: str) -> None:
        found = find(path, mount="/m")
        assert (found.script_name, found.path_info) == ("/m/app/index.cgi", "")

    @pytest.mark.parametrize("path", ["/app", "//app"])
    def test_without_a_closing_slash_is_elsewhere(self, find: Find, path: str) -> None:
        found = find(path, mount="/m")
        assert isinstance(found, Folder)
        assert found.url == "/m/app/"

    def test_takes_the_first_index_there_is(self, find: Find) -> None:
        assert find("/", index=("index.php", "hello.cgi")).script_name == "/hello.cgi"

    @pytest.mark.parametrize("path", ["", "/"])
    def test_at_the_root_of_the_site_has_a_slash(self, find: Find, path: str) -> None:
        assert isinstance(find(path, index=("hello.cgi",)), Script)

    @pytest.mark.parametrize("path", ["/empty/", "/empty"])
    def test_without_an_index_is_not_found(self, find: Find, path: str) -> None:
        assert refusal(find, path).startswith("404 ")

    def test_index_gets_no_path_info(self, find: Find) -> None:
        assert refusal(find, "/app/nothing/here").startswith("404 ")


class TestStaticFile:
    def test_is_found_only_if_asked_for(self, find: Find, root: Path) -> None:
        found = find("/page.txt", static=True)
        assert isinstance(found, StaticFile)
        assert found.path == str(root / "page.txt")
        assert refusal(find, "/page.txt").endswith("is no program; to serve such files pass static=True")

    def test_has_nothing_below_it(self, find: Find) -> None:
        assert "cannot be below it" in refusal(find, "/page.txt/x", static=True)

    @pytest.mark.parametrize("name", [f"x{suffix}" for suffix in SOURCES] + ["x.PHP", "with-a-first-line"])
    def test_is_never_the_source_of_a_program(self, find: Find, root: Path, name: str) -> None:
        (root / name).write_text("#!/bin/sh\n" if name.startswith("with") else "password = 1\n")
        assert refusal(find, f"/{name}", static=True).startswith("403 ")


class TestWhatVisitorsMustNotReach:
    @pytest.mark.parametrize(
        "path",
        [
            "/../outside.cgi", "/app/../../outside.cgi", "/app/../hello.cgi", "/hello.cgi/../x", "/..", "..",
            "/hello.cgi\0", "/hello.cgi\0.txt", "/hello.cgi/x\0",
        ],
    )  # fmt: skip
    def test_dots_and_nul_are_refused_wherever_they_stand(self, find: Find, path: str) -> None:
        assert refusal(find, path).endswith("holds '..' or NUL")

    @pytest.mark.parametrize("path", ["/.git/hook.cgi", "/app/.secret.cgi", "/./hello.cgi", "/.htaccess"])
    def test_hidden_files_do_not_exist(self, find: Find, path: str) -> None:
        assert refusal(find, path).endswith("is hidden: it begins with a dot")

    def test_well_known_is_not_hidden(self, find: Find, root: Path) -> None:
        (root / ".well-known").mkdir()
        (root / ".well-known" / "security.txt").touch()
        assert isinstance(find("/.well-known/security.txt", static=True), StaticFile)

    @pytest.mark.parametrize("suffix", BACKUPS)
    def test_backups_do_not_exist(self, find: Find, root: Path, suffix: str) -> None:
        (root / f"hello.cgi{suffix}").write_text("#!/bin/sh\n")
        (root / f"hello.cgi{suffix}").chmod(0o755)
        assert refusal(find, f"/hello.cgi{suffix}", static=True).startswith("404 ")

    @pytest.mark.parametrize("path", ["/nothing", "/nothing/x", "/" + "x" * 300, "/x" * 3000, "/\u20ac", "/ "])
    def test_what_is_not_there_is_not_found(self, find: Find, path: str) -> None:
        assert refusal(find, path).startswith("404 ")

    @pytest.mark.parametrize("path", ["/hello.CGI", "/HELLO.cgi"])
    def test_names_are_compared_exactly(self, find: Find, path: str) -> None:
        assert refusal(find, path).startswith("404 ")

    def test_pipes_and_sockets_are_no_files(self, find: Find, root: Path) -> None:
        os.mkfifo(root / "pipe", 0o755)
        assert refusal(find, "/pipe").endswith("is neither a file nor a directory")

    def test_a_link_out_of_the_root_is_refused(self, find: Find, root: Path) -> None:
        (root / "link.cgi").symlink_to("../outside.cgi")
        assert refusal(find, "/link.cgi").startswith(f"403 {root}/link.cgi: it leads out of {root}, to ")

    def test_a_directory_that_links_out_of_the_root_is_refused(self, find: Find, root: Path) -> None:
        (root / "up").symlink_to("..")
        assert refusal(find, "/up/outside.cgi").startswith("403 ")

    def test_a_link_to_a_sibling_that_only_begins_like_the_root_is_refused(self, find: Find, root: Path) -> None:
        sibling = root.with_name("cgi-bin-old")
        sibling.mkdir()
        (root / "old").symlink_to(sibling)
        assert refusal(find, "/old/").startswith("403 ")

    def test_a_link_may_lead_out_if_the_operator_says_so(self, find: Find, root: Path) -> None:
        (root / "link.cgi").symlink_to("../outside.cgi")
        assert find("/link.cgi/x", follow_symlinks=True).path_info == "/x"

    def test_a_link_within_the_root_is_followed(self, find: Find, root: Path) -> None:
        (root / "link.cgi").symlink_to("app/index.cgi")
        assert find("/link.cgi").script_name == "/link.cgi"

    def test_a_root_that_is_a_link_itself_is_a_root(self, root: Path) -> None:
        (root / "link.cgi").symlink_to("hello.cgi")
        current = root.with_name("current")
        current.symlink_to(root)
        tree = Tree(str(current), index=(), interpreters={}, static=False, follow_symlinks=False, owners=None)
        found = tree.find("/link.cgi", mount="")
        assert isinstance(found, Script)
        assert found.path == f"{current}/link.cgi"

    @pytest.mark.parametrize("target", ["loop.cgi", "nowhere"])
    def test_a_link_to_nowhere_is_not_found(self, find: Find, root: Path, target: str) -> None:
        (root / "loop.cgi").symlink_to(target)
        assert refusal(find, "/loop.cgi").startswith("404 ")


class TestOwner:
    @pytest.fixture
    def me(self, root: Path) -> frozenset[int]:
        """The users whose programs run: the one who made the root, and nobody else."""
        for path in (root, root / "app"):
            path.chmod(0o755)
        return frozenset((os.getuid(),))

    def test_that_nobody_else_could_write_is_fine(self, find: Find, me: frozenset[int]) -> None:
        assert isinstance(find("/app/index.cgi", owners=me), Script)

    @pytest.mark.parametrize(
        ("name", "mode", "advice"),
        [
            ("app/index.cgi", 0o775, "others than its owner may write it: chmod go-w"),
            ("app/index.cgi", 0o757, "others than its owner may write it: chmod go-w"),
            ("app", 0o775, "others than its owner may write {path}: chmod go-w"),
            (".", 0o777, "others than its owner may write {path}: chmod go-w"),
            ("app/index.cgi", 0o4755, "it is setuid or setgid: chmod u-s,g-s"),
            ("app/index.cgi", 0o2755, "it is setuid or setgid: chmod u-s,g-s"),
        ],
    )
    def test_that_another_could_write_or_misuse_is_refused(
        self, find: Find, root: Path, me: frozenset[int], name: str, mode: int, advice: str
    ) -> None:
        (root / name).chmod(mode)
        said = refusal(find, "/app/index.cgi", owners=me)
        assert said.startswith("403 ")
        assert f"{advice.replace('{path}', str(root / name))} {root / name}" in said

    def test_that_is_somebody_else_is_refused(self, find: Find, root: Path) -> None:
        stranger = os.getuid() + 1
        assert f"it belongs to user {os.getuid()}, not {stranger}: chown {stranger} {root}/hello.cgi" in refusal(
            find, "/hello.cgi", owners=frozenset((stranger,))
        )


def test_a_directory_that_we_may_not_enter_is_the_operators_mistake(
    find: Find, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lstat(path: str) -> Any:  # root may enter any directory
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "lstat", lstat)
    assert refusal(find, "/app/index.cgi").endswith(f"this user may not enter its directory: chmod +x {root}")
