"""A WSGI application that is the web server's end of a wire: it forwards requests to an upstream such as php-fpm."""

from __future__ import annotations

import os
from functools import cached_property

from gateway.address import connect, parse_connect
from gateway.client.forwarding import Body, Forwarding
from gateway.client.upstream import BAD_GATEWAY, TIMED_OUT, Pool, Upstream
from gateway.client.visit import visit
from gateway.environ import build_params, decode_path, encode_path, is_under, redirected
from gateway.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from gateway.events import WEB_SERVER, Ping, Pong
from gateway.head import HOP_BY_HOP, with_reason
from gateway.limits import Limits
from gateway.protocols import connection_factory

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeAlias

    from gateway.client.aio import ClientDoor
    from gateway.client.forwarding import Extent
    from gateway.client.upstream import Tap
    from gateway.environ import Environ
    from gateway.events import Headers, Params, Response

    StartResponse: TypeAlias = Callable[..., object]

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
"""Methods that may be repeated when a connection breaks (RFC 9110 §9.2.2)."""


class Client:
    """A WSGI application that forwards each request to the upstream at ``url``, say ``fastcgi://127.0.0.1:9000``.

    ``timeout``: seconds in which the upstream neither takes nor gives anything.  ``connect_timeout``: seconds to
    connect.  0 is no limit for either.

    ``pool_size``: idle connections to keep.  An upstream with one process for each connection, as php-fpm is, needs as
    many processes as all its clients together may keep connections.

    ``root``: the folder of the scripts as the upstream sees it.  SCRIPT_FILENAME and its kin are then set as php-fpm
    and php-cgi want them: the path is split after the first ``.php``, and ``index`` completes one that ends in a slash.

    ``params_from(environ)`` makes the params of a request; ``params`` are added to them and win.

    ``wire_options`` are those of the wire's ``Connection``: a secret, a size of packets.

    ``tap(side, data)`` is shown all that moves: which side says it, and the bytes, ``b""`` once that side has hung up.
    Raises ConfigError if the URL names no address or no wire, or the wire has no such option.
    """

    def __init__(
        self, url: str, *, timeout: float = 60.0, connect_timeout: float = 5.0, pool_size: int = 8,
        root: str | os.PathLike[str] | None = None, index: str = "index.php", params: Mapping[str, str] | None = None,
        params_from: Callable[[Environ], Params] = build_params, limits: Limits | None = None,
        wire_options: Mapping[str, Any] | None = None, tap: Tap | None = None,
    ) -> None:  # fmt: skip
        self.address = parse_connect(url)
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.limits = limits or Limits()
        wire = self.address.protocol
        self._speak = connection_factory(wire, WEB_SERVER, limits=self.limits, options=wire_options)
        self.needs_length = self._speak().needs_length
        """Must a request state the length of its body on this wire?"""
        self.pool_size = pool_size
        self._pool = Pool(pool_size)
        self._root = None if root is None else os.fsencode(root).decode("latin-1").rstrip("/")
        self._index = index
        self._params = dict(params or {})
        self._params_from = params_from
        self.tap = tap

    def __repr__(self) -> str:
        pool = self._current_pool()
        return f"<Client {self.address} idle={len(pool.idle)}/{pool.size}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections, and from now on each other one after its response."""
        self.pool_size = 0
        if "asgi" in vars(self):
            self.asgi.close()
        pool = self._current_pool()
        pool.size = 0
        pool.clear()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Forward one request (PEP 3333).

        An upstream that fails before its head is whole gives a 502, 503 or 504 and one line in the log
        ``gateway.client``, headers too large for the wire a 431.  One that fails later has the iterable raise, so that
        the server cuts the response visibly.
        """
        try:
            forwarding = self._forward(environ)
        except ProtocolError as error:
            status, headers, page = self.refuse(environ, error)
            start_response(status, headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [page]
        try:
            start_response(*self.head(forwarding.response))
        except BaseException:
            forwarding.close()
            raise
        return forwarding

    def _forward(self, environ: Environ) -> Forwarding:
        """Ask, and ask again while the answer is a local redirect (RFC 3875 §6.2.2)."""
        for _ in range(self.limits.local_redirects + 1):
            forwarding = self.ask(environ)
            location = forwarding.response.local_redirect
            if not location:
                return forwarding
            for _ in forwarding:
                pass  # it has no body; at its end the connection is free
            environ = self.redirect(environ, location)
        raise self.explain_circle(location)

    def ask(self, environ: Environ) -> Forwarding:
        """Send one request, over a kept connection if it may, and wait for the head of the response, whatever it is.

        For those who want to know what failed: raises ProtocolError where a call makes an error page of it.
        """
        params = self.make_params(environ)
        body = Body(environ)
        try:
            if self.needs_length and body.left is None:
                params["CONTENT_LENGTH"] = str(body.measure(self.limits))
            return self._send(params, body, environ)
        except BaseException:
            body.close()
            raise

    def _send(self, params: Params, body: Body, environ: Environ) -> Forwarding:
        pool = self._current_pool()
        kept = pool.take()
        if kept is not None:
            # Else it makes room, at an upstream with one process for each connection, for the new one.
            if self.may_repeat(environ, body):
                try:
                    return Forwarding(kept, params, body=body, environ=environ, pool=pool)
                except RemoteProtocolError as error:
                    if not kept.was_stale(error):
                        raise
            kept.close()
        return Forwarding(self._connect(), params, body=body, environ=environ, pool=pool)

    def _connect(self) -> Upstream:
        try:
            sock = connect(self.address, timeout=self.connect_timeout or None)
        except OSError as error:
            raise self.explain_unreachable(error) from error
        return self.attach(sock)

    def _current_pool(self) -> Pool:
        """This process's pool: what a child inherits by fork belongs to its parent."""
        if self._pool.pid != os.getpid():
            inherited, self._pool = self._pool.idle, Pool(self._pool.size)
            for upstream in inherited:
                upstream.close()  # this process's descriptor only; the parent speaks on
        return self._pool

    # What :mod:`gateway.client.aio` decides in the same way.

    @cached_property
    def asgi(self) -> ClientDoor:
        """The same as an ASGI application, for uvicorn, hypercorn, daphne, and to be mounted in Starlette or FastAPI.

        It forwards in the event loop that calls it, with connections of its own, on the same terms.  A visitor who goes
        away, or a task that is cancelled, takes its connection to the upstream with it.  The idle ones are closed by
        the server's lifespan, or by :meth:`close`.
        """
        from gateway.client.aio import ClientDoor

        return ClientDoor(self)

    def make_params(self, environ: Environ) -> Params:
        """What the upstream is told of a request, but for a CONTENT_LENGTH that has to be measured."""
        params = self._params_from(environ)
        if self._root is not None:
            _name_script(params, environ.get("PATH_INFO", ""), root=self._root, index=self._index)
        params.update(self._params)
        return params

    def may_repeat(self, environ: Environ, body: Extent) -> bool:
        """May a request be sent again if the connection breaks (RFC 9110 §9.2.2)?  A kept one may be about to close."""
        return body.ended and environ["REQUEST_METHOD"] in IDEMPOTENT

    def redirect(self, environ: Environ, location: str) -> Environ:
        """The request that a local redirect stands for."""
        mount = environ.get("SCRIPT_NAME", "")
        return redirected(environ, location, mount if is_under(decode_path(location), mount) else "")

    def explain_circle(self, location: str) -> RemoteProtocolError:
        """The error of one local redirect too many."""
        return RemoteProtocolError(
            f"{self.address}: more than {self.limits.local_redirects} local redirects (limit local_redirects), the "
            f"last one to {location!r}: the Location of one of them leads back",
            status_hint=BAD_GATEWAY,
        )

    def attach(self, sock: socket.socket) -> Upstream:
        """A new connection speaks the wire."""
        return Upstream(sock, self._speak(), name=str(self.address), timeout=self.timeout, tap=self.tap)

    def explain_unreachable(self, error: OSError) -> RemoteProtocolError:
        """The error of a connection that there is not."""
        status = TIMED_OUT if isinstance(error, TimeoutError) else BAD_GATEWAY
        return RemoteProtocolError(error.strerror or str(error), status_hint=status)

    def head(self, response: Response) -> tuple[str, Headers]:
        """Status and headers of a response, as a WSGI server wants them."""
        status = response.status if response.status[4:] else with_reason(int(response.status[:3]))
        return status, [pair for pair in response.headers if pair[0].lower() not in HOP_BY_HOP]

    def refuse(self, environ: Environ, error: ProtocolError) -> tuple[str, Headers, bytes]:
        """There will be no response: one log line, and a clean answer.  Raises what is the caller's mistake."""
        if isinstance(error, LocalProtocolError) and error.status_hint[0] == "5":
            raise error  # and not the visitor's
        import logging  # only a failure pays for this import

        method, path = environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        logging.getLogger("gateway.client").error("%s %s: %s: %s", method, encode_path(path), error.status_hint, error)
        page = f"{error.status_hint}\n".encode("latin-1")
        return error.status_hint, [("Content-Type", "text/plain"), ("Content-Length", str(len(page)))], page

    # For scripts, tests and health checks.

    def ping(self, path: str = "") -> dict[str, str]:
        """Ask the upstream, over a new connection, what it tells about itself.

        Where the wire has no word for that, or for a ``path``, it is asked by HEAD, and its status is all that it
        tells.  Raises RemoteProtocolError, also for a status from 500 on, and from 400 on for a path that was named.
        """
        if path or not self._has_ping():
            return self._ask_head(path or "/", fails="400" if path else "500")
        upstream = self._connect()
        try:
            upstream.connection.send(Ping())
            while True:
                upstream.push()
                for event in upstream.events():
                    if isinstance(event, Pong):
                        return event.values
        finally:
            upstream.close()

    def _has_ping(self) -> bool:
        """Does the wire have a word for it?"""
        try:
            self._speak().send(Ping())
        except LocalProtocolError:
            return False
        return True

    def _ask_head(self, path: str, *, fails: str) -> dict[str, str]:
        forwarding = self.ask(visit("HEAD", path))
        for _ in forwarding:
            pass
        status = forwarding.response.status
        if status >= fails:
            raise RemoteProtocolError(f"{self.address}: HEAD {path}: {status}", status_hint=BAD_GATEWAY)
        return {"status": status}

    def request(
        self, method: str, path: str, *, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> tuple[str, Headers, bytes]:
        """One request for scripts and tests: status, headers and body of its response; error output goes to stderr.

        ``path`` is as in a URL, with its query.
        """
        head: list[tuple[str, Headers]] = []
        environ = visit(method, path, headers=headers, body=body)
        result = self(environ, lambda *status_and_headers: head.append(status_and_headers))
        content = b"".join(result)  # all of it is read, or it has raised: there is nothing left to close
        return (*head[0], content)


def _name_script(params: Params, path: str, *, root: str, index: str) -> None:
    """Name the script below ``root`` that a path asks for, as nginx does for php-fpm."""
    path = decode_path(encode_path(path))  # no ".." is left to climb out of the root
    if "\0" in path:
        raise RemoteProtocolError(f"the path {path[:200]!r} holds NUL")
    script, mark, info = path.partition(".php/")
    if mark:
        script, info = script + ".php", "/" + info
    elif script.endswith("/"):
        script += index
    params |= {"DOCUMENT_ROOT": root or "/", "SCRIPT_FILENAME": root + script, "PATH_INFO": info}
    params["SCRIPT_NAME"] = params.get("SCRIPT_NAME", "") + script
    params["PATH_TRANSLATED"] = info and root + info
    params["REDIRECT_STATUS"] = "200"  # php-cgi runs nothing without: a web server sent this (cgi.force_redirect)
