"""What a test needs from the machine: skipped with advice on a newcomer's, a failure in CI.

    NGINX = require("nginx", package="nginx-light")                                     # a program: its path
    require("/usr/lib/apache2/modules/mod_fcgid.so", package="libapache2-mod-fcgid")    # a file
    FPM = require("php-fpm*", package="php-fpm")                                        # a pattern: the newest match
    flup = require_module("flup", package="flup")                                       # a Python package

Call them from a fixture or a test.  Each package named here stands in ``.ci/apt-packages.txt`` or in the ``test`` extra
of ``setup.cfg``; ``tests/test_house.py`` compares them.
"""

from __future__ import annotations

import glob
import importlib
import os
from types import ModuleType
from typing import NoReturn

import pytest

# Debian keeps servers in sbin, which is not on every user's PATH.
FOLDERS = [*os.get_exec_path(), "/usr/local/sbin", "/usr/sbin", "/sbin"]


def require(program: str, *, package: str) -> str:
    """The path of ``program`` (a name, an absolute path, or a glob pattern of either), else skip or fail."""
    for folder in FOLDERS:
        for path in sorted(glob.glob(os.path.join(folder, program)), reverse=True):
            if os.path.isabs(program) or os.access(path, os.X_OK):
                return path
    _missing(program, advice=f"apt-get install {package}")


def require_module(module: str, *, package: str) -> ModuleType:
    """The imported ``module``, else skip or fail."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # it is there, and something that it needs is not
        _missing(module, advice=f"pip install {package}")


def _missing(what: str, *, advice: str) -> NoReturn:
    message = f"{what} is not on this machine; to run this test: {advice}"
    if os.environ.get("GATEWAY_REQUIRE_PEERS") == "1":
        pytest.fail(f"{message} (GATEWAY_REQUIRE_PEERS=1: nothing may be missing here)", pytrace=False)
    pytest.skip(message)
