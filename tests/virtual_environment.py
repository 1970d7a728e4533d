"""A virtual environment with this checkout in it, for programs that get nothing else by their environment."""

from __future__ import annotations

import sysconfig
import venv
from pathlib import Path

from tests.house import ROOT


def make(folder: Path) -> str:
    """Make it; the path of its Python, which has all packages of ours, too."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "here.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    return str(folder / "bin" / "python")
