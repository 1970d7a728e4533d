"""The recordings of ``tests/corpus`` as values: what real web servers sent for requests that are known.

``tests/corpus/README.md`` says how they were made.
"""

from __future__ import annotations

import json
from pathlib import Path

_PATHS = {"get": "/a b/c/d", "get-https": "/a b/c/d", "get-bare": "", "get-dotslash": "/z;p=1"}
"""What follows the mount in each variant's path, decoded; the others upload to ``/up``."""


class Recording:
    """One request on its way from one web server: a file of the corpus."""

    def __init__(self, path: Path) -> None:
        record = json.loads(path.read_text("utf-8"))
        self.name = path.stem
        self.configuration, self.variant = path.stem.split(".")
        self.protocol: str = record["protocol"]
        self.params: list[tuple[str, str]] = [(name, value) for name, value in record.get("params", ())]
        self.stdin: bytes = record["stdin"].encode("latin-1")
        self.raw = bytes.fromhex(record.get("raw_hex", ""))
        self.keep_conn: bool = record.get("keep_conn", False)
        self.request: bytes = record["request"].replace("<pause>", "").encode("latin-1")
        self.method, self.uri, _ = record["request"].partition("\r\n")[0].split()
        # The rewritten script is reached below /shared, every other one below the path that ends with /app.
        self.mount = "/shared" if "htaccess" in self.configuration else self.uri[: self.uri.index("/app") + 4]

    def __repr__(self) -> str:
        return self.name

    @property
    def path_info(self) -> str:
        """PATH_INFO of an application that lives at ``mount``."""
        path = _PATHS.get(self.variant, "/up")
        if self.configuration == "haproxy-fastcgi" and self.variant == "get-dotslash":
            path = "//x/../y/./../z;p=1"  # HAProxy decodes, but resolves nothing
        return "/app" + path if self.mount == "/shared" else path


RECORDINGS = [Recording(path) for path in sorted(Path(__file__).with_name("corpus").glob("*.json"))]


def recordings(*protocols: str) -> list[Recording]:
    """The recordings of some protocols: ``cgi``, ``fastcgi``, ``scgi``, ``uwsgi``, ``ajp13``."""
    return [recording for recording in RECORDINGS if recording.protocol in protocols]
