"""Whose program is it?  The checks of Apache's suexec (httpd's docs, suexec.html): nobody else may have written it."""

from __future__ import annotations

import os
import stat

from gateway.errors import ScriptError
from gateway.script.diagnosis import Fault


def check_owner(path: str, *, root: str, owners: frozenset[int]) -> None:
    """The program and each directory from ``root`` down to it belong to one of some users, who alone may write there.

    Raises ScriptError, which says what to change.
    """
    fault = find_stranger(path, root=root, owners=owners)
    if fault is not None:
        raise ScriptError(f"{path}: check_owner refuses it: {fault}", status_hint="403 Forbidden")


def find_stranger(path: str, *, root: str, owners: frozenset[int]) -> Fault | None:
    """What allows somebody else to decide what a program does."""
    mode = os.stat(path).st_mode
    if mode & (stat.S_ISUID | stat.S_ISGID):
        return Fault("it is setuid or setgid", f"chmod u-s,g-s {path}")
    program = path
    while True:
        found = os.stat(path)
        it = "it" if path == program else path
        if found.st_uid not in owners:
            allowed = " or ".join(map(str, sorted(owners)))
            return Fault(f"{it} belongs to user {found.st_uid}, not {allowed}", f"chown {max(owners)} {path}")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return Fault(f"others than its owner may write {it}", f"chmod go-w {path}")
        if path == root or len(path) <= len(root):
            return None
        path = os.path.dirname(path)
