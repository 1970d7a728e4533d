"""What ``gateway doctor --persistent`` says: whether an application may be served by a process that stays."""

from __future__ import annotations

from pathlib import Path

from gateway.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.measure.requests import Request


def judge_persistence(name: str, *, requests: str, say: Callable[[str], object]) -> bool:
    """Say what is wrong with serving it so, and whether anything is.  Raises ConfigError."""
    from gateway.measure.load import quiet
    from gateway.measure.persistence import ROUNDS, examine
    from gateway.measure.target import recognize

    target = recognize(name)
    with quiet():
        findings = examine(target, read(Path(requests)) if requests else ())
    for fault in findings.faults:
        say(f"{name}: {fault}")
    for line in (*findings.diff, *(f"(note: {note})" for note in findings.notes)):
        say(f"    {line}")
    if findings.safe:
        say(f"{name}: safe to make persistent, as far as {findings.requests} requests tell, {ROUNDS} times in one "
            "process: answered as by fresh ones, and nothing is left behind")  # fmt: skip
    else:
        instead = "fcgi-run --worker-model fork" if target.is_application else "gateway serve --execution fork"
        say(f"{name}: not safe to make persistent; until that is mended: {instead} {name}")
    return not findings.safe


def read(path: Path) -> list[Request]:
    """The requests of recordings, a HAR file or a list of URLs.  Raises ConfigError."""
    from gateway.measure.replay import read_recordings
    from gateway.measure.requests import read_urls

    if path.suffix == ".har" or path.is_dir():
        return [recording.request for recording in read_recordings(path)]
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file; name a list of URLs, a HAR file, or recordings")
    return read_urls(path)
