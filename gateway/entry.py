"""``run`` and ``serve``: the worker that fits where the process finds itself.

``run`` is what a script calls that does not know who starts it: as CGI it is on the path of every request, so it looks
at the environment first and imports what it needs after.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from typing import Any

    from gateway.apps import Application
    from gateway.exchange import Log
    from gateway.limits import Limits
    from gateway.workers.threads import ThreadsWorker


def run(
    app: Application, *, interface: str = "auto", mount: str | None = None, threads: int = 1,
    limits: Limits | None = None,
) -> None:  # fmt: skip
    """Serve ``app``, of WSGI or ASGI, to whoever started this process.

    A CGI environment (RFC 3875 §4.1): one request.  A listening socket on fd 0 (FastCGI 1.0 §2.2) or from systemd
    (LISTEN_FDS): FastCGI, until SIGTERM.  A terminal: a development server on http://127.0.0.1:8000.

    ``interface`` is ``"wsgi"`` or ``"asgi"`` where the application does not look like what it is.
    """
    if "GATEWAY_INTERFACE" in os.environ or "REQUEST_METHOD" in os.environ:
        from gateway.workers.once import run_once

        run_once(app, interface=interface, mount=mount, limits=limits)
        return
    from gateway.address import inherited_sockets

    sockets = inherited_sockets()
    if sockets:
        try:
            _run_worker(
                build_worker(app, sockets, interface=interface, threads=threads, mount=mount, limits=limits)
            )
        finally:
            for sock in sockets:
                sock.close()
    else:
        _develop(app, interface=interface)


def serve(
    app: Application, bind: str | Sequence[str] = "127.0.0.1", *, protocol: str = "fastcgi", threads: int = 1,
    interface: str = "auto", worker_model: str = "auto", mount: str | None = None, limits: Limits | None = None,
    wire_options: Mapping[str, Any] | None = None, socket_mode: int | None = None,
) -> None:  # fmt: skip
    """Serve ``app`` on ``bind``, or several (see :mod:`gateway.address`), in this process until SIGTERM or SIGINT.

    ``protocol`` is the wire where a bind names none, as in ``"scgi://127.0.0.1:4000"``; a bind without a port has the
    usual one of its wire: 9000 for FastCGI.  ``worker_model`` is ``"threads"``, ``"fork"`` or ``"aio"``, which is the
    usual one of ASGI applications; ``interface`` as in :func:`run`.  ``wire_options``, those of a wire's
    ``Connection``, go to the wires that take them: a secret, a size of packets.
    For several processes use ``fcgi-run``.  Raises ConfigError.
    """
    from gateway.address import listen, remove
    from gateway.workers.listener import parse_listen

    places = [parse_listen(one, protocol=protocol) for one in ([bind] if isinstance(bind, str) else bind)]
    sockets: list[socket.socket] = []
    try:
        for address, _ in places:
            sockets.append(listen(address, mode=socket_mode))
        worker = build_worker(
            app, sockets, protocol=[wire for _, wire in places], threads=threads, interface=interface,
            worker_model=worker_model, mount=mount, limits=limits, wire_options=wire_options,
        )  # fmt: skip
        _run_worker(worker)
    finally:
        for address, _ in places:
            remove(address)
        for sock in sockets:
            sock.close()


def build_worker(
    app: Application, sockets: Sequence[socket.socket], *, protocol: str | Sequence[str] = "fastcgi",
    worker_model: str = "auto", limits: Limits | None = None, wire_options: Mapping[str, Any] | None = None,
    log: Log | None = None, **options: Any,
) -> ThreadsWorker:  # fmt: skip
    """A worker for this process on sockets that listen already: it serves from ``run()`` to ``stop()``.

    ``protocol`` is the wire of them all, or a list with one for each.
    ``options`` are those of :func:`gateway.workers.build_worker`.  Raises ConfigError.
    """
    import logging

    from gateway import workers
    from gateway.address import allowed_peers
    from gateway.limits import Limits
    from gateway.workers.listener import check_taken

    wires = [protocol] * len(sockets) if isinstance(protocol, str) else protocol
    check_taken(wire_options or (), wires=wires)
    return workers.build_worker(
        app, zip(sockets, wires, strict=True), limits=limits or Limits(), log=log or logging.getLogger("gateway"),
        model=worker_model, allowed=allowed_peers(os.environ), wire_options=wire_options, **options,
    )  # fmt: skip


def _run_worker(worker: ThreadsWorker) -> None:
    """Serve until SIGTERM or SIGINT if this is the main thread, else until :meth:`stop`."""
    import logging
    import signal
    import threading

    if not logging.getLogger().handlers and not logging.getLogger("gateway").handlers:
        logging.basicConfig(format="%(asctime)s [%(process)d] [%(levelname)s] %(message)s", level=logging.INFO)
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            handlers[number] = signal.signal(number, lambda *_: worker.stop())
    try:
        worker.run()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _develop(app: Any, *, interface: str) -> None:
    """Somebody tries the script at a terminal: show it to their browser."""
    from gateway.apps import interface_of
    from gateway.errors import ConfigError

    develop = _develop_asgi if interface_of(app, named=interface) == "asgi" else _develop_wsgi
    port = os.environ.get("PORT", "8000")
    try:
        develop(app, int(port))
    except (ConfigError, OSError, OverflowError, ValueError) as error:
        raise ConfigError(f"no development server on port {port}: {error}; choose another one with PORT=…") from error


def _develop_wsgi(app: Any, port: int) -> None:
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIServer, make_server

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    with make_server("127.0.0.1", port, app, server_class=Server) as server:
        _announce(server.server_port)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def _develop_asgi(app: Any, port: int) -> None:
    from gateway.address import Address, listen

    with listen(Address(host="127.0.0.1", port=port)) as listener:
        _announce(listener.getsockname()[1])
        _run_worker(build_worker(app, [listener], protocol="http", interface="asgi"))


def _announce(port: int) -> None:
    print(
        "gateway: no CGI environment and no listening socket, so this is a development server: "
        f"http://127.0.0.1:{port}/ (Ctrl-C stops it; PORT=… moves it)",
        flush=True,
    )
