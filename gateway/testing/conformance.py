"""What any server of WSGI applications must do (PEP 3333; RFC 3875 for the variables), as cases to run against yours.

1. Let the server under test serve ``gateway.testing.conformance:application``.
2. Call ``run_conformance(server)`` with a WSGI callable that passes requests on to it, ``gateway.Client(url)`` say; or
   parametrize a test with ``CONFORMANCE`` and call ``case.run(server)``.

Not every wire can show every case: HTTP does not say where an application is mounted.  ``cases_for("http")`` gives
those that a wire can show, for ``run_conformance(server, cases_for("http"))``.

The application takes each case by the name in the request's X-Case header, and wraps it in ``wsgiref.validate``.
Server and suite share a file system: an application reports its ``close()`` in a file that the request names.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from wsgiref.validate import validator

from gateway.environ import decode_path
from gateway.protocols import connection_class
from gateway.testing import applications as app
from gateway.testing.applications import BIG, PLAIN, gives, raises, reads, returns, shows, variable
from gateway.testing.asgi_applications import as_asgi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any, TypeAlias

    from gateway.apps.wsgi import WSGIApplication
    from gateway.environ import Environ
    from gateway.events import Headers

    Check: TypeAlias = "Callable[[Answer], None]"

PATIENCE = 10.0
"""Seconds until a report that an application should have made is taken to be missing."""


class Answer:
    """What came back for one request.

    ``cut`` is set if the response broke off, and the client could see it; ``errors`` is the text that came for the web
    server's error log.
    """

    __slots__ = ("status", "headers", "body", "cut", "errors", "_report")

    def __init__(self, report: str) -> None:
        self.status = ""
        self.headers: Headers = []
        self.body = b""
        self.cut: Exception | None = None
        self.errors = ""
        self._report = report

    def values(self, name: str) -> list[str]:
        """The values of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def report(self) -> str:
        """What the application reported besides its response: wait for the first line of it, which may come after."""
        deadline = time.monotonic() + PATIENCE
        while "\n" not in self._reported():
            if time.monotonic() > deadline:
                raise AssertionError(f"the application reported nothing in {PATIENCE:g} seconds")
            time.sleep(0.002)
        time.sleep(0.01)  # a second line would follow at once
        return self._reported()

    def _reported(self) -> str:
        try:
            with open(self._report, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""


class Case:
    """One application, one request to it, and the check of the answer.

    ``faulty`` applications break PEP 3333 on purpose.  ``needs`` is the property that a wire's ``Connection`` must have
    for the case to show: ``"meta_variables"``, ``"marks_end"``, ``"error_channel"``.  Those that are
    ``wsgi_only`` show what ASGI cannot say.  ``request`` has ``method``, ``path`` as in a URL, ``mount``, ``scheme``,
    ``body``, ``chunked`` (the body comes without a length), and variables.
    """

    def __init__(
        self, name: str, app: WSGIApplication, check: Check, *, faulty: bool = False, needs: str = "",
        wsgi_only: bool = False, **request: Any,
    ) -> None:  # fmt: skip
        self.name = name
        self.app = app
        self.check = check
        self.faulty = faulty
        self.needs = needs
        self.wsgi_only = wsgi_only
        self._request = request

    def __repr__(self) -> str:
        return self.name

    def run(self, server: WSGIApplication) -> None:
        """Ask and check; AssertionError tells what was wrong."""
        with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
            report = os.path.join(folder, "report")
            environ = _environ(**self._request) | {"HTTP_X_CASE": self.name, "HTTP_X_REPORT": report}
            self.check(_ask(server, environ, answer=Answer(report)))


def _environ(
    *, method: str = "GET", path: str = "/", mount: str = "", scheme: str = "http", body: bytes = b"",
    chunked: bool = False, **others: str,
) -> Environ:  # fmt: skip
    environ: Environ = {
        "REQUEST_METHOD": method, "SCRIPT_NAME": mount, "PATH_INFO": decode_path(path), "REQUEST_URI": mount + path,
        "QUERY_STRING": path.partition("?")[2], "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0), "wsgi.url_scheme": scheme, "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }  # fmt: skip
    if chunked:
        environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    elif body or method in ("POST", "PUT"):
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ | others


def _ask(server: WSGIApplication, environ: Environ, *, answer: Answer) -> Answer:
    blocks: list[bytes] = []

    def start_response(status: str, headers: Headers, exc_info: object = None) -> Callable[[bytes], None]:
        answer.status, answer.headers = status, headers
        return blocks.append

    result = server(environ, start_response)
    try:
        blocks.extend(result)
    except Exception as error:
        answer.cut = error
    finally:
        if hasattr(result, "close"):
            result.close()
    answer.body = b"".join(blocks)
    answer.errors = environ["wsgi.errors"].getvalue()
    return answer


def answers(
    status: str = "200 OK", *, body: bytes | None = None, cut: bool = False, report: str = "", **headers: list[str]
) -> Check:
    """The check that an answer has this status, this body, all of these values of a header, and is whole unless cut."""

    def check(answer: Answer) -> None:
        _same("status", answer.status, status)
        for name, values in headers.items():
            _same(f"values of {name}", answer.values(name.replace("_", "-")), values)
        if body is not None:
            _same("body", answer.body, body)
        if (answer.cut is not None) != cut:
            raise AssertionError(f"the response was {'whole' if cut else f'cut: {answer.cut!r}'}")
        if report:
            _same("report", answer.report(), report)

    return check


def reports(answer: Answer) -> None:
    """The check that what ``app.complains`` wrote reached the web server's error log."""
    _same("error output", answer.errors, "a line of a test\ntwo of a test: ü\n")


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r:.300}, wanted {wanted!r:.300}")


def says(value: object) -> Check:
    """The check that an application made by ``shows()`` showed this."""
    return answers(body=repr(value).encode())


def fails(answer: Answer) -> None:
    """The check of an application that failed: a clean page tells the visitor nothing of the inside."""
    answers("500 Internal Server Error")(answer)
    for inside in (b"Traceback", b"Error:", b"secret"):
        if inside in answer.body:
            raise AssertionError(f"the visitor is told {inside!r}: {answer.body!r:.300}")


_LINES = b"one\ntwo\n\nthree"
_POST: dict[str, Any] = {"method": "POST", "body": _LINES}
_BYTES = bytes(range(256))
_SECRET = LookupError("a secret")
_INJECTION = ("X-Header", "one\r\nSet-Cookie: stolen=1")


def _length(size: int) -> list[tuple[str, str]]:
    return [PLAIN, ("Content-Length", str(size))]


CONFORMANCE: list[Case] = [
    # What the application is told.
    Case("the environ is a dict", shows(type), says(dict)),
    Case("the environ may be changed", shows(app.spoils_it), says(["my.own"])),
    Case("what PEP 3333 demands is there", shows(app.missing), says([])),
    Case("every CGI variable is a native string", shows(app.wrong_types), says([]), **_POST),
    Case("wsgi.version is a pair", variable("wsgi.version"), says((1, 0))),
    Case("the flags are booleans", shows(app.flags), says([bool, bool, bool])),
    *(
        Case(f"the method {method} arrives", variable("REQUEST_METHOD"), says(method), method=method)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    ),
    Case("an unknown method arrives", variable("REQUEST_METHOD"), says("PURGE"), method="PURGE", faulty=True),
    Case("the query stays as it was sent", variable("QUERY_STRING"), says("a=%2F%26&b=+%C3%A9&&c"),
         path="/?a=%2F%26&b=+%C3%A9&&c"),
    Case("without a query QUERY_STRING is empty", variable("QUERY_STRING"), says("")),
    Case("the path is decoded", variable("PATH_INFO"), says("/a b/c;d"), path="/a%20b/c%3bd"),
    Case("the path is decoded once", variable("PATH_INFO"), says("/100%25"), path="/100%2525"),
    Case("a path in UTF-8 is bytes as latin-1", variable("PATH_INFO"), says("/caf\xc3\xa9"), path="/caf%C3%A9"),
    Case("a path in latin-1 is bytes as latin-1", variable("PATH_INFO"), says("/caf\xe9"), wsgi_only=True,
         path="/caf%E9"),
    Case("the path ends as it was sent", variable("PATH_INFO"), says("/folder/"), path="/folder/"),
    Case("the mount is SCRIPT_NAME", variable("SCRIPT_NAME"), says("/app"), mount="/app", path="/page",
         needs="meta_variables"),
    Case("the path begins after the mount", variable("PATH_INFO"), says("/page"), mount="/app", path="/page",
         needs="meta_variables"),
    Case("a header is a variable", variable("HTTP_X_TWO_WORDS"), says("a; b"), HTTP_X_TWO_WORDS="a; b"),
    Case("a header in UTF-8 is bytes as latin-1", variable("HTTP_X_NAME"), says("J\xc3\xb6"), HTTP_X_NAME="J\xc3\xb6"),
    Case("a header may be empty", variable("HTTP_X_EMPTY"), says(""), HTTP_X_EMPTY=""),
    Case("cookies arrive", variable("HTTP_COOKIE"), says("a=1; b=2"), HTTP_COOKIE="a=1; b=2"),
    Case("credentials arrive", variable("HTTP_AUTHORIZATION"), says("Basic eDp5"), HTTP_AUTHORIZATION="Basic eDp5"),
    Case("a Proxy header does not arrive", variable("HTTP_PROXY"), says(None), HTTP_PROXY="evil:80"),
    Case("CONTENT_TYPE arrives", variable("CONTENT_TYPE"), says("text/csv"), CONTENT_TYPE="text/csv", **_POST),
    Case("CONTENT_TYPE is no header", variable("HTTP_CONTENT_TYPE"), says(None), CONTENT_TYPE="text/csv", **_POST),
    Case("CONTENT_LENGTH is the body's", variable("CONTENT_LENGTH"), says(str(len(_LINES))), **_POST),
    Case("https shows", variable("wsgi.url_scheme"), says("https"), scheme="https", needs="meta_variables"),
    Case("who asks is told", variable("REMOTE_ADDR"), says("192.0.2.7"), REMOTE_ADDR="192.0.2.7",
         needs="meta_variables"),
    Case("wsgi.errors takes text", app.complains, answers(body=b"complained")),
    Case("wsgi.errors reaches the web server", app.complains, reports, needs="error_channel"),
    # The body it reads.
    Case("read(-1) gives all of the body", reads("read", -1), says(_LINES), **_POST),
    Case("read() gives all of the body", reads("read"), says(_LINES), faulty=True, **_POST),  # to wsgiref.validate
    Case("read(n) gives no more than n", reads("read", 5), says(_LINES[:5]), **_POST),
    Case("read(n) gives less at the end", reads("read", 100), says(_LINES), **_POST),
    Case("readline() gives a line", reads("readline"), says(b"one\n"), **_POST),
    Case("readline(n) gives no more than n", reads("readline", 2), says(b"on"), **_POST),
    Case("readlines() gives all lines", reads("readlines"), says([b"one\n", b"two\n", b"\n", b"three"]), **_POST),
    Case("iteration gives lines", shows(lambda environ: list(environ["wsgi.input"])),
         says([b"one\n", b"two\n", b"\n", b"three"]), **_POST),
    Case("after its end a body is empty", shows(app.reads_past_the_end), says((b"one", _LINES[3:], b"", b"", [])),
         **_POST),
    Case("a GET has an empty body", reads("read", 10), says(b"")),
    Case("an empty POST has an empty body", reads("read", 10), says(b""), method="POST"),
    Case("every byte arrives", app.echoes, answers(body=_BYTES), method="POST", body=_BYTES),
    Case("a big body arrives", reads("read", -1), says(BIG), method="POST", body=BIG),
    Case("a big body comes back while it is read", app.echoes, answers(body=BIG), method="POST", body=BIG),
    Case("a body without a length arrives", app.echoes, answers(body=_LINES), chunked=True, **_POST),
    Case("a big body without a length arrives", app.echoes, answers(body=BIG), method="POST", body=BIG, chunked=True),
    Case("a body need not be read", gives(b"not read"), answers(body=b"not read"), method="POST", body=BIG),
    # What it answers.
    Case("a list is a body", gives(b"one, ", b"", b"two"), answers(body=b"one, two")),
    Case("a tuple is a body", returns((b"one, ", b"two")), answers(body=b"one, two")),
    Case("an empty list is an empty body", gives(), answers(body=b"")),
    Case("a generator is a body", app.starts_late, answers(body=b"late, and whole")),
    Case("write() comes before the body", app.writes, answers(body=b"written, written again, returned")),
    Case("every byte comes back", gives(_BYTES), answers(body=_BYTES)),
    Case("a big block comes back", gives(BIG), answers(body=BIG)),
    Case("many small blocks come back", gives(*[b"16 bytes of text"] * 9999), answers(body=b"16 bytes of text" * 9999)),
    Case("a file comes back", app.wraps_a_file, answers(body=BIG)),
    Case("Content-Length stays", gives(b"four", headers=_length(4)), answers(body=b"four", content_length=["4"])),
    Case("the status stays", gives(status="418 I'm a teapot"), answers("418 I'm a teapot"), wsgi_only=True),
    Case("a header comes back", gives(headers=(PLAIN, ("X-Header", 'a; b="c", d'))), answers(x_header=['a; b="c", d'])),
    Case("two cookies come back in order", gives(headers=(PLAIN, ("Set-Cookie", "b=2"), ("Set-Cookie", "a=1"))),
         answers(set_cookie=["b=2", "a=1"])),
    Case("a header in latin-1 comes back", gives(headers=(PLAIN, ("X-Name", "J\xf6"))), answers(x_name=["J\xf6"])),
    Case("an empty header comes back", gives(headers=(PLAIN, ("X-Empty", ""))), answers(x_empty=[""])),
    Case("a redirect is left to the visitor", gives(status="302 Found", headers=(PLAIN, ("Location", "/there"))),
         answers("302 Found", location=["/there"])),
    Case("HEAD has the headers of GET, and no body", gives(b"four", headers=_length(4)),
         answers(body=b"", content_length=["4"]), method="HEAD"),
    Case("a big answer to HEAD is dropped", gives(BIG), answers(body=b""), method="HEAD"),
    Case("204 has no body", gives(status="204 No Content", headers=()), answers("204 No Content", body=b"")),
    Case("304 has no body", gives(status="304 Not Modified", headers=[("ETag", '"x"')]),
         answers("304 Not Modified", body=b"", etag=['"x"'])),
    Case("a head may be replaced before it is sent", app.changes_its_mind,
         answers("404 Not Found", body=b"nothing there", x_mind=["second"])),
    Case("close() is called once", app.closes, answers(body=b"body", report="closed\n")),
    Case("close() is called once after HEAD", app.closes, answers(body=b"", report="closed\n"), method="HEAD"),
    Case("close() is called once after an error", app.breaks_off_and_closes, answers(cut=True, report="closed\n")),
    # What becomes of an application that fails, or is at fault.
    Case("an error before the head", raises(_SECRET), fails),
    Case("an error after start_response()", raises(_SECRET, started=True), fails),
    Case("an error before the first block", app.fails_at_first, fails),
    Case("an error in the body cuts it visibly", app.breaks_off, answers(body=b"the beginning", cut=True)),
    Case("an error in a body without a length cuts it visibly", app.breaks_off_without_a_length,
         answers(body=b"the beginning", cut=True), needs="marks_end"),
    Case("a late change of mind cuts the body", app.changes_its_mind_too_late, answers(body=b"first", cut=True)),
    Case("sys.exit() ends one request", raises(SystemExit(3)), fails),
    Case("no start_response()", app.never_starts, fails, faulty=True),
    Case("start_response() twice", app.starts_twice, fails, faulty=True),
    Case("a body of text", returns("text"), fails, faulty=True),
    Case("a block of text", returns(["text"]), fails, faulty=True),
    Case("a body of bytes", returns(b"bytes"), fails, faulty=True),
    Case("no body at all", returns(None), fails, faulty=True),
    Case("a status that is a number", gives(status=200), fails, faulty=True),
    Case("a status without a number", gives(status="OK"), fails, faulty=True),
    Case("a header that is a number", gives(headers=[("Age", 3)]), fails, faulty=True),
    Case("a header that smuggles another", gives(headers=[PLAIN, _INJECTION]), fails, faulty=True),
    Case("a header name that smuggles another", gives(headers=[PLAIN, _INJECTION[::-1]]), fails, faulty=True),
    Case("a status that smuggles a header", gives(status="200 OK\r\nSet-Cookie: stolen=1"), fails, faulty=True),
    Case("a header beyond latin-1", gives(headers=[PLAIN, ("X-Price", "5 €")]), fails, faulty=True),
    Case("a body with 204 is dropped", gives(b"body", status="204 No Content", headers=()),
         answers("204 No Content", body=b""), faulty=True),
    Case("a body longer than its Content-Length is cut to it", gives(b"12345", headers=_length(3)),
         answers(body=b"123", content_length=["3"]), faulty=True),
    Case("a body shorter than its Content-Length is cut visibly", gives(b"123", headers=_length(5)),
         answers(body=b"123", cut=True), faulty=True),
]  # fmt: skip
"""Every case."""


def make_application(*middleware: Callable[[Any], Any]) -> WSGIApplication:
    """The application that all cases ask, the well-behaved ones wrapped in ``wsgiref.validate`` and the middleware."""
    apps: dict[str, Any] = {}
    for case in CONFORMANCE:
        apps[case.name] = case.app
        for wrap in () if case.faulty else (*middleware, validator):
            apps[case.name] = wrap(apps[case.name])
    return lambda environ, start_response: apps[environ["HTTP_X_CASE"]](environ, start_response)


application = make_application()
"""What the server under test serves."""

asgi_application = as_asgi(application)
"""What the server of ASGI applications under test serves."""


def cases_for(wire: str, *, interface: str = "wsgi") -> list[Case]:
    """The cases that show on a wire: those that need nothing of it that its ``Connection`` does not have.

    Applications that break PEP 3333 say nothing of a server of ``"asgi"`` ones.
    """
    connection = connection_class(wire)
    cases = [case for case in CONFORMANCE if not case.needs or getattr(connection, case.needs)]
    if interface == "asgi":
        cases = [case for case in cases if not (case.faulty or case.needs == "error_channel" or case.wsgi_only)]
    return cases


def run_conformance(server: WSGIApplication, cases: Collection[Case] = CONFORMANCE) -> None:
    """Run the cases against ``server``; AssertionError names those that it does not pass."""
    faults = []
    for case in cases:
        try:
            case.run(server)
        except Exception as error:
            faults.append(f"{case}: {str(error) or repr(error)}")
    if faults:
        raise AssertionError("\n".join([f"{len(faults)} of {len(cases)} cases failed:", *faults]))
