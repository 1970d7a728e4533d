"""One file, from its first look to its last: what it uses, and its text with all edits, which Python 3 can read."""

from __future__ import annotations

import libcst as cst

from gateway.errors import ConfigError
from gateway.migrate import AS_IS, CHANGE, COMPAT, VERDICTS, Finding, commands
from gateway.migrate.edits import ByHand, Editor
from gateway.migrate.files import COMMANDS, PYTHON, WEB_CONFIG
from gateway.migrate.python2 import left_over, refusal, translate
from gateway.migrate.servers import EDITS
from gateway.migrate.source import compare, diff, read
from gateway.migrate.survey import Survey, may_concern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gateway.migrate.source import Source


class Report:
    """What one file uses, and what would become of it; ``problem`` if that is not to be known."""

    __slots__ = ("path", "kind", "python", "findings", "problem", "source", "text")

    def __init__(self, path: str, *, kind: str) -> None:
        self.path = path
        self.kind = kind
        self.python = 3
        self.findings: list[Finding] = []
        self.problem = ""
        self.source: Source | None = None
        self.text = ""
        """What an edit makes of it."""

    def __repr__(self) -> str:
        return f"<Report {self.path!r} {self.problem or self.verdict}>"

    @property
    def verdict(self) -> str:
        """The worst of what its findings say."""
        return max((finding.verdict for finding in self.findings), key=VERDICTS.index, default=AS_IS)

    @property
    def diff(self) -> str:
        """What the edits are; "" if there is none."""
        return diff(self.path, self.source.text, self.text) if self.source else ""

    def write(self, *, backup: bool = False) -> None:
        """Make the edits in the file.  Raises ConfigError."""
        assert self.source is not None  # it was read, or there is a problem
        self.source.write(self.text, backup=backup)


def examine(path: str, kind: str = PYTHON) -> Report:
    """Look at a file, which is read as one of the kinds of ``files``."""
    report = Report(path, kind=kind)
    try:
        report.source = source = read(path)
        report.text = source.text
        if kind == COMMANDS:
            report.findings = list(commands.in_lines(source.text))
        elif kind == WEB_CONFIG:
            report.findings = commands.in_web_config(source.text)
        else:
            _look_at_code(report, source)
    except ConfigError as error:
        report.problem = str(error)
    return report


def _look_at_code(report: Report, source: Source) -> None:
    text, report.findings = translate(source.text, source.path)
    report.python = 2 if report.findings else 3
    error = refusal(text)
    if error:
        _give_up(report, error)
    else:
        edited, findings = _edit(text, source.path) if may_concern(text) else (text, [])
        findings += left_over(text)
        if refusal(edited):
            raise ConfigError(f"its edits would give what Python cannot read ({refusal(edited)}); edit it by hand")
        _place(findings, source.text, text)
        report.text = edited
        told = {(finding.line, finding.what) for finding in report.findings}
        report.findings += [finding for finding in findings if (finding.line, finding.what) not in told]
        report.findings.sort(key=lambda finding: finding.line)


def _edit(text: str, path: str) -> tuple[str, list[Finding]]:
    """Code of Python 3 with all edits, and what it uses."""
    try:
        survey = Survey(text)
    except (cst.ParserSyntaxError, RecursionError) as error:
        what = str(error).splitlines()[0]
        raise ConfigError(f"LibCST cannot read what Python can ({what}); edit it by hand") from error
    editor = Editor(survey, path)
    findings = survey.findings
    accepted = any(use.name.startswith(("flup.", "flipflop.")) for use in survey.uses)
    for node, done in editor.encode_answers():
        advice = 'bytes, as PEP 3333 has it: b"…", or .encode("utf-8")'
        findings.append(
            Finding(survey.line(node), "text in a response", COMPAT if accepted else CHANGE, advice, edited=done)
        )
    for use in survey.uses:
        verdict, advice = use.rule
        edited = False
        if use.name in EDITS:
            try:
                editor.decide(use, *EDITS[use.name])
                edited = True
            except ByHand as reason:
                advice += f" (by hand, because {reason})"
        findings.append(Finding(use.line, use.name, verdict, advice, edited=edited))
    return editor.write(), findings


def _give_up(report: Report, error: SyntaxError) -> None:
    """What Python 2 can read is no more than that where Python 3 cannot in the end: mixed tabs and spaces."""
    line = error.lineno or 1
    if all(finding.line != line or finding.edited for finding in report.findings):
        advice = f"Python 3 says: {error.msg}; correct that line, and repeat"
        report.findings.append(Finding(line, "what stands here", CHANGE, advice))
    for finding in report.findings:
        finding.edited = False


def _place(findings: list[Finding], old: str, new: str) -> None:
    """Tell the lines of findings in a new text as those of the old one."""
    lines = [0]
    for _, before, after in compare(old, new):
        last = max(before.stop, before.start + 1)
        lines += [min(before.start + number, last) for number in range(1, after.stop - after.start + 1)]
    for finding in findings:
        finding.line = lines[finding.line]
