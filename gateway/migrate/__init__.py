"""What old CGI and FastCGI code uses, line by line: what of it still runs, and what takes its place.

``files`` finds the code, ``source`` reads and writes it without a change to what nobody asked to change, ``python2``
reads what Python 3 cannot, ``survey`` finds the old names of ``rules``, ``edits`` replaces what can be replaced without
a doubt, and ``report`` goes through all of it for one file.
"""

from __future__ import annotations

AS_IS, COMPAT, CHANGE = "runs as it is", "runs through gateway.compat", "must change"
VERDICTS = (AS_IS, COMPAT, CHANGE)
"""From the best to the worst."""


class Finding:
    """One thing that a file uses: in which line, whether that runs, and what to do or to write instead.

    ``edited`` tells that the edit of the file takes care of it.
    """

    __slots__ = ("line", "what", "verdict", "advice", "edited")

    def __init__(self, line: int, what: str, verdict: str, advice: str, *, edited: bool = False) -> None:
        self.line = line
        self.what = what
        self.verdict = verdict
        self.advice = advice
        self.edited = edited

    def __repr__(self) -> str:
        return f"<Finding {str(self)!r}{' edited' if self.edited else ''}>"

    def __str__(self) -> str:
        return f"{self.line}: {self.what} {self.verdict}: {self.advice}"
