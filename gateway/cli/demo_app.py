"""The sample application of ``gateway demo``: it tells which process answers, and how many requests that has served.

Every model runs this file: CGI as a script, the workers as a module.
"""

from __future__ import annotations

import os

from gateway import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

served = 0


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer any request, and count it (PEP 3333)."""
    global served
    served += 1
    start_response("200 OK", [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
    return [b'{"pid": %d, "served": %d}\n' % (os.getpid(), served)]


if __name__ == "__main__":
    run(application)
