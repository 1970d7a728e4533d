"""Keeps real requests and responses: each one in a file of its own, as HAR 1.2, which browsers read.

``gateway replay`` sends them to another server, model or version, and tells what it answers otherwise.
"""

from __future__ import annotations

import itertools
import json
import logging
import os

from gateway.errors import ConfigError
from gateway.limits import Limits
from gateway.recorder.entry import Entry
from gateway.recorder.secrets import Secrets
from gateway.recorder.tee import Tee

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.environ import Environ


class Recorder(Tee):
    """Keeps what passes in a directory, which is made, and which only its owner can read.

    ``limits.record_body`` bytes of each body are kept, of ``limits.record_requests`` requests in each process.
    ``secrets`` are names of headers and fields whose values are secret beside those whose names show it
    (:data:`gateway.recorder.secrets.SECRET`).  That a request cannot be written is logged, and harms no one.
    Raises ConfigError.

        application = gateway.Recorder("recordings").wrap(application)
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, limits: Limits | None = None, secrets: Iterable[str] = ()
    ) -> None:  # fmt: skip
        self.directory = os.path.abspath(directory)
        self._limits = limits or Limits()
        self._secrets = Secrets(secrets)
        self._numbers = itertools.count(1)
        self._log = logging.getLogger("gateway.recorder")
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.directory}: {error.strerror}; record into a directory of your own") from error
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise ConfigError(f"{self.directory} is not writable for user {os.geteuid()}: chown it, or name another")

    def __repr__(self) -> str:
        return f"<Recorder {self.directory!r}>"

    def open(self, environ: Environ) -> Entry:
        """A request begins."""
        return Entry(environ, limit=self._limits.record_body)

    def keep(self, entry: Entry) -> None:
        """Write it down."""
        number = next(self._numbers)
        most = self._limits.record_requests
        if 0 < most < number:
            if number == most + 1:
                self._log.warning("%d requests are recorded, no more will be: limit record_requests", most)
            return
        name = f"{int(entry.started * 1e6):017d}-{os.getpid()}-{number}"
        path = os.path.join(self.directory, name)
        try:
            # First under a name that replay does not look at: nobody reads half of it.
            fd = os.open(f"{path}.part", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(entry.as_har(self._secrets), file, indent=1)
            os.rename(f"{path}.part", f"{path}.har")
        except OSError as error:
            self._log.error("%r is not recorded: %s", entry, error)
