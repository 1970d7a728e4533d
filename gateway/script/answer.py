"""What a program says, judged as it comes: the head, the body, the end, stderr (RFC 3875 §6).  No I/O.

Who moves the pipes, blocking or in an event loop, feeds this and asks it; what is at fault is said in its words.
"""

from __future__ import annotations

import os

from gateway.errors import LimitExceeded, ProtocolError, RemoteProtocolError, ScriptError
from gateway.events import WEB_SERVER, Request, Response, ResponseBody
from gateway.head import HOP_BY_HOP, inspect_headers, with_reason
from gateway.protocols import connection_class
from gateway.script.diagnosis import Patient
from gateway.script.diagnosis.crash import find_shortage
from gateway.script.faults import NOT_STARTED, describe_exit, diagnose, explain_import, explain_line_ends, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from gateway.limits import Limits
    from gateway.script.program import Program

STDERR_TAIL = 4096
"""Bytes of stderr kept for ScriptError; a longer line is reported in pieces."""

_Connection = connection_class("cgi")


class Answer:
    """The answer of one run to a request with ``params``; what it writes to stderr goes to ``errors``."""

    def __init__(self, program: Program, params: dict[str, str], *, errors: IO[str], limits: Limits) -> None:
        self._program = program
        self.path = program.path
        self.stderr = Stderr(errors, os.path.basename(program.path))
        self.head: Response | None = None
        """Fit for a WSGI server, once it is there."""
        self.blocks: list[bytes] = []
        """The body, as far as it came and is wanted; for the reader to take."""
        self.ended = False
        """Whether stdout is closed."""
        self.wanted = params["REQUEST_METHOD"] != "HEAD"
        """Whether anybody reads the body, or the rest of it."""
        self._left: int | None = None  # bytes of the body that Content-Length still promises
        self._size = 0
        self._limits = limits
        self._connection = _Connection(WEB_SERVER, limits=limits)
        self._connection.send(Request(params))

    def receive(self, data: bytes) -> None:
        """Some bytes from stdout, b"" for its end.  Raises ProtocolError on a bad head, ScriptError past the limit."""
        connection = self._connection
        if data:
            connection.receive_data(data)
        else:
            connection.receive_eof()
        for event in connection.events():
            if isinstance(event, ResponseBody):
                self._receive_body(event.data)
            elif isinstance(event, Response):
                self._receive_head(event)
            else:
                self.ended = True

    def _receive_head(self, response: Response) -> None:
        self._left, hop_by_hop = inspect_headers(response.headers)
        if hop_by_hop:
            # A non-parsed-header script (RFC 3875 §5) talks to the visitor's connection, which is the server's now.
            if any(name.lower() == "transfer-encoding" for name, _ in response.headers):
                raise RemoteProtocolError("its head has a Transfer-Encoding: let it write the body as it is instead")
            response.headers = [pair for pair in response.headers if pair[0].lower() not in HOP_BY_HOP]
        code, _, reason = response.status.partition(" ")
        if code < "200":
            raise RemoteProtocolError(f"its status {response.status!r} is no final answer: let it begin with that")
        if not reason.strip():  # legal in RFC 3875 §6.3.3, not in PEP 3333
            response.status = with_reason(int(code))
        if code in ("204", "304"):
            self.wanted = False
        self.head = response

    def _receive_body(self, data: bytes) -> None:
        self._size += len(data)
        limit = self._limits.output_size
        if limit and self._size > limit:
            raise self.fault(f"its response is longer than limit output_size={limit}: raise that, or shorten it")
        if not self.wanted:
            return
        if self._left is not None:
            if len(data) > self._left:
                log().warning("%s: wrote more than its Content-Length; the rest was cut off", self.path)
                data = data[: self._left]
                self.wanted = False
            self._left -= len(data)
        if data:
            self.blocks.append(data)

    # Judgements, for when more is known of the process.

    def check_end(self, returncode: int | None) -> None:
        """stdout is closed: is that the end of the response, or of a program that failed?  Raises ScriptError."""
        code = returncode or 0
        if self.wanted and self._left != 0:
            if code < 0:
                raise self.fault(self._describe_end(code, "in the middle of its response"), returncode=code)
            if self._left:
                raise self.fault(
                    f"its response ended {self._left} bytes short of its Content-Length", returncode=returncode
                )
        if code:
            ended = self._describe_end(code, "after its response")
            log().warning("%s: %s%s", self.path, ended, self.stderr.last_words())

    def explain_head(self, error: ProtocolError, returncode: int | None) -> str:
        """Why there is no usable head; ``returncode`` is None if the program had not ended."""
        if isinstance(error, LimitExceeded):
            return f"{error} by its head: let it write a blank line after the headers, or pass Limits(head_size=…)"
        if not returncode:
            return f"{error}"
        path = self._program.env.get(b"PATH")
        search = None if path is None else os.fsdecode(path)
        patient = Patient(self.path, interpreter=self._program.interpreter, search=search)
        why = explain_line_ends(self.path) or explain_import(self.stderr.tail, python=patient.python)
        if not why and returncode in NOT_STARTED:
            why = diagnose(self.path, interpreter=patient.interpreter, search=search)
        return self._describe_end(returncode, "before its head was whole", why)

    def _describe_end(self, returncode: int, when: str, why: str = "") -> str:
        why = why or str(find_shortage(self.stderr.tail, returncode, self._limits) or "")
        return f"{describe_exit(returncode)} {when}" + (f"; {why}" if why else "")

    def fault(
        self, message: str, *, returncode: int | None = None, status_hint: str = "502 Bad Gateway"
    ) -> ScriptError:  # fmt: skip
        """The error to raise once the program is gone and its last words are known."""
        return ScriptError(
            f"{self.path}: {message}{self.stderr.last_words()}",
            stderr=self.stderr.tail, returncode=returncode, status_hint=status_hint,
        )  # fmt: skip


class Stderr:
    """What a program writes to stderr: line by line to ``wsgi.errors``, under the program's name."""

    def __init__(self, errors: IO[str], name: str) -> None:
        self._errors = errors
        self._name = name
        self._line = b""
        self.tail = b""

    def write(self, data: bytes) -> None:
        """Report the lines that are complete."""
        self.tail = (self.tail + data)[-STDERR_TAIL:]
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > STDERR_TAIL:
            lines.append(self._line)
            self._line = b""
        for line in lines:
            self._errors.write(f"{self._name}: {line.rstrip().decode('utf-8', 'backslashreplace')}\n")

    def end(self) -> None:
        """Report a last line that nothing ends."""
        if self._line:
            self.write(b"\n")

    def last_words(self) -> str:
        """The last line, for a message."""
        line = self.tail.rstrip().rpartition(b"\n")[2][-200:].decode("utf-8", "backslashreplace")
        return f"; its last words were {line!r}" if line else ""
