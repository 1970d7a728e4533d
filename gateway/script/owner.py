"""Whose program is it?  The checks of Apache's suexec (httpd's docs, suexec.html): nobody else may have written it."""

from __future__ import annotations

import os
import stat

from gateway.errors import ScriptError


def check_owner(path: str, *, root: str, owners: frozenset[int]) -> None:
    """The program and each directory from ``root`` down to it belong to one of some users, who alone may write there.

    Raises ScriptError, which says what to change.
    """
    mode = os.stat(path).st_mode
    if mode & (stat.S_ISUID | stat.S_ISGID):
        raise _refuse(path, f"it is setuid or setgid: chmod u-s,g-s {path}")
    while True:
        found = os.stat(path)
        if found.st_uid not in owners:
            allowed = " or ".join(map(str, sorted(owners)))
            raise _refuse(path, f"it belongs to user {found.st_uid}, not {allowed}: chown {max(owners)} {path}")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _refuse(path, f"others than its owner may write it: chmod go-w {path}")
        if path == root or len(path) <= len(root):
            return
        path = os.path.dirname(path)


def _refuse(path: str, what: str) -> ScriptError:
    return ScriptError(f"{path}: check_owner refuses it: {what}", status_hint="403 Forbidden")
