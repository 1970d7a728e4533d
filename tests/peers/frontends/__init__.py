"""Real web servers in front of a real worker, and what every one of them must get right.

``servers`` starts them with the configurations of ``examples/``, ``app`` is the application behind, ``visitor`` the
HTTP client before, and ``checks`` the behaviour that they share: a front end is a test class that picks from it.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.peers.frontends.checks")
