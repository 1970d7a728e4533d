"""The sample application of ``gateway demo``, for a WSGI server.

It tells which process answers, and how many requests that has served.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gateway.environ import Environ

served = 0


def application(environ: Environ, start_response: Any) -> list[bytes]:
    """Answer any request, and count it (PEP 3333)."""
    global served
    served += 1
    if environ["QUERY_STRING"] == "wait":
        time.sleep(0.02)  # for a database, say
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"pid": %d, "served": %d}\n' % (os.getpid(), served)]
