"""The vocabulary every wire speaks with the rest of the house.

A ``Connection`` turns bytes into these objects and these objects into bytes.  They are plain hand-written ``__slots__``
classes: on CPython 3.13 one costs 125 ns, a frozen dataclass 311 ns (docs/decisions/0002-events.md).

``request_id`` tells multiplexed requests of one connection apart (FastCGI 1.0 §3.3).  Wires that carry one request at a
time use 0.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol, TypeAlias

    Params: TypeAlias = dict[str, str]
    Pairs: TypeAlias = Sequence[tuple[str, str]]
    Headers: TypeAlias = list[tuple[str, str]]


class Side:
    """Which end of the wire we are: ``APPLICATION`` answers requests, ``WEB_SERVER`` makes them."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


APPLICATION = Side("APPLICATION")
WEB_SERVER = Side("WEB_SERVER")

# Roles of a request (FastCGI 1.0 §6).  Wires without roles always mean RESPONDER.
RESPONDER = 1
AUTHORIZER = 2
FILTER = 3


class Event:
    """What all events share: equality and a repr over their slots, for tests and for reading logs."""

    __slots__ = ("request_id",)
    request_id: int

    def _values(self) -> list[tuple[str, object]]:
        return [(name, getattr(self, name)) for cls in type(self).__mro__ for name in getattr(cls, "__slots__", ())]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values())})"


class Request(Event):
    """A request's params arrived whole, decoded as latin-1.

    Where a name came twice, ``params`` holds its last value and ``repeated`` all pairs of the request in order; else
    ``repeated`` is empty.
    """

    __slots__ = ("params", "role", "repeated")

    def __init__(self, params: Params, request_id: int = 0, role: int = RESPONDER, repeated: Pairs = ()) -> None:
        self.params = params
        self.request_id = request_id
        self.role = role
        self.repeated = repeated


class RequestBody(Event):
    """Some bytes of the request body (FastCGI STDIN), never empty."""

    __slots__ = ("data",)

    def __init__(self, data: bytes, request_id: int = 0) -> None:
        self.data = data
        self.request_id = request_id


class FilterData(Event):
    """Some bytes of the file that a Filter is to transform (FastCGI 1.0 §6.4, DATA); the body has ended."""

    __slots__ = ("data",)

    def __init__(self, data: bytes, request_id: int = 0) -> None:
        self.data = data
        self.request_id = request_id


class EndOfRequest(Event):
    """The request is complete: nothing of it follows."""

    __slots__ = ()

    def __init__(self, request_id: int = 0) -> None:
        self.request_id = request_id


class AbortRequest(Event):
    """The web server no longer wants an answer (FastCGI 1.0 §5.4, or a lost connection)."""

    __slots__ = ()

    def __init__(self, request_id: int = 0) -> None:
        self.request_id = request_id


class BodyWanted(Event):
    """The application wants up to ``size`` more bytes of the body (AJP Get Body Chunk, HTTP 100-continue).

    Push wires (CGI, FastCGI, SCGI, uwsgi) accept and ignore it.
    """

    __slots__ = ("size",)

    def __init__(self, size: int, request_id: int = 0) -> None:
        self.size = size
        self.request_id = request_id


class Repair(Event):
    """The wire mended what the web server got wrong: ``name`` says what, as :data:`gateway.environ.ADVICE` has it."""

    __slots__ = ("name",)

    def __init__(self, name: str, request_id: int = 0) -> None:
        self.name = name
        self.request_id = request_id


class Response(Event):
    """The head of the answer: ``status`` as ``"200 OK"``, headers as native strings (PEP 3333).

    ``local_redirect`` is set only on the WEB_SERVER side: the path of a local redirect response (RFC 3875 §6.2.2).
    """

    __slots__ = ("status", "headers", "local_redirect")

    def __init__(self, status: str, headers: Headers, request_id: int = 0, *, local_redirect: str = "") -> None:
        self.status = status
        self.headers = headers
        self.request_id = request_id
        self.local_redirect = local_redirect


class ResponseBody(Event):
    """Some bytes of the response body."""

    __slots__ = ("data",)

    def __init__(self, data: bytes, request_id: int = 0) -> None:
        self.data = data
        self.request_id = request_id


class ErrorOutput(Event):
    """Text for the web server's error log (FastCGI STDERR, a CGI program's stderr)."""

    __slots__ = ("data",)

    def __init__(self, data: bytes, request_id: int = 0) -> None:
        self.data = data
        self.request_id = request_id


class EndOfResponse(Event):
    """The answer is complete; ``app_status`` 0 is success (FastCGI 1.0 §5.5).

    ``refusal`` names why the request was not served at all: ``"CANT_MPX_CONN"``, ``"OVERLOADED"``, ``"UNKNOWN_ROLE"``.
    """

    __slots__ = ("app_status", "refusal")

    def __init__(self, request_id: int = 0, app_status: int = 0, refusal: str = "") -> None:
        self.request_id = request_id
        self.app_status = app_status
        self.refusal = refusal


class Ping(Event):
    """Are you there?  FastCGI GET_VALUES, AJP CPing."""

    __slots__ = ()

    def __init__(self, request_id: int = 0) -> None:
        self.request_id = request_id


class Pong(Event):
    """The answer to a Ping, with what the peer told about itself (FastCGI GET_VALUES_RESULT)."""

    __slots__ = ("values",)

    def __init__(self, values: dict[str, str], request_id: int = 0) -> None:
        self.values = values
        self.request_id = request_id


if TYPE_CHECKING:

    class Connection(Protocol):
        """One wire, one side, no I/O: the only interface that rooms outside ``protocols/`` know."""

        @property
        def side(self) -> Side: ...

        @property
        def reusable(self) -> bool:
            """Keep the transport after the last EndOfResponse?"""

        @property
        def idle(self) -> bool:
            """Is nothing begun that is not finished: no request, no part of one?"""

        @property
        def error_channel(self) -> bool:
            """Does ErrorOutput reach the web server's error log?"""

        @property
        def meta_variables(self) -> bool:
            """Does a request tell what its web server knows besides: mount, scheme, addresses (RFC 3875 §4.1)?"""

        @property
        def marks_end(self) -> bool:
            """Has a response an end of its own, so that a cut shows even without a Content-Length?"""

        @property
        def body_held(self) -> int:
            """Bytes of the request body that wait here until the application asks for them; push wires hold none."""

        @property
        def needs_length(self) -> bool:
            """Must a request with a body state its CONTENT_LENGTH?"""

        # Each of the next three raises RemoteProtocolError as soon as a rule is seen to be broken.  The connection is
        # then of no more use, but events() returns what came before, and data_to_send() may hold a last word.

        def receive_data(self, data: bytes) -> None:
            """Feed what the peer sent."""

        def receive_eof(self) -> None:
            """The peer half-closed its end."""

        def events(self) -> list[Event]:
            """What all that meant."""

        def send(self, event: Event) -> None:
            """Say something.  Raises LocalProtocolError if the wire does not allow it now."""

        def data_to_send(self) -> list[bytes]:
            """What to write now, in order, each chunk ready for ``sendmsg``; empties the outbox."""
