"""What tests of applications, wires and servers need: a connected pair, a server for one test, WebTest over a wire.

``gateway.testing.conformance`` holds the suite that any server of WSGI applications must pass.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import time
import traceback
from contextlib import contextmanager

from gateway.address import Address, bound_address, listen
from gateway.client import Client
from gateway.entry import build_worker
from gateway.events import APPLICATION, WEB_SERVER
from gateway.protocols import connection_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from gateway.apps import Application
    from gateway.events import Connection, Event, Params
    from gateway.limits import Limits
    from gateway.workers.threads import ThreadsWorker


class ConnectionPair:
    """The two sides of one wire, joined without a network.

    ``params`` are those of the request on a wire that carries them out of band (CGI: the environment).

    >>> from gateway.events import EndOfRequest, Request
    >>> pair = ConnectionPair("fastcgi")
    >>> pair.ask(Request({"REQUEST_METHOD": "GET"}, 1), EndOfRequest(1))
    [Request(params={'REQUEST_METHOD': 'GET'}, role=1, repeated=(), request_id=1), EndOfRequest(request_id=1)]
    """

    def __init__(self, wire: str, *, params: Params | None = None, limits: Limits | None = None) -> None:
        connection = connection_class(wire)
        out_of_band = {} if params is None else {"params": params}
        self.application: Connection = connection(APPLICATION, limits=limits, **out_of_band)
        self.web_server: Connection = connection(WEB_SERVER, limits=limits)

    def ask(self, *events: Event) -> list[Event]:
        """The web server says this; what the application hears."""
        for event in events:
            self.web_server.send(event)
        return self.pump()[0]

    def answer(self, *events: Event) -> list[Event]:
        """The application says this; what the web server hears."""
        for event in events:
            self.application.send(event)
        return self.pump()[1]

    def pump(self) -> tuple[list[Event], list[Event]]:
        """Carry what either side has to say to the other until both are silent.

        What it meant, first to the application, then to the web server.  Raises RemoteProtocolError.
        """
        to_application, to_web_server = self.application.events(), self.web_server.events()
        while (requests := self.web_server.data_to_send()) or (responses := self.application.data_to_send()):
            if requests:
                self.application.receive_data(b"".join(requests))
                to_application += self.application.events()
            else:
                self.web_server.receive_data(b"".join(responses))
                to_web_server += self.web_server.events()
        return to_application, to_web_server


class Server:
    """A server that a test started: where it listens, and who it is."""

    def __init__(self, url: str, *, worker: ThreadsWorker | None = None, pid: int = 0) -> None:
        self.url = url
        self.address = url.partition("://")[2].removeprefix("unix:")
        """The path of its socket, or HOST:PORT."""
        self.worker = worker
        """If it runs in a thread of this process."""
        self.pid = pid
        """If it is a process of its own."""

    def __repr__(self) -> str:
        return f"<Server {self.url}{f' pid={self.pid}' if self.pid else ''}>"


@contextmanager
def serve_in_thread(
    app: Application, *, protocol: str = "fastcgi", tcp: bool = False, **options: Any
) -> Iterator[Server]:
    """Serve ``app``, WSGI or ASGI, from a thread of this process, on a socket of its own, until the block ends.

    ``tcp`` listens on a free port of 127.0.0.1 instead of a unix socket; ``options`` are those of
    :func:`gateway.entry.build_worker`: threads, mount, limits, log.  The fork model needs :func:`serve_in_process`.
    """
    with _listening(protocol, tcp=tcp) as (listener, url):
        worker = build_worker(app, [listener], protocol=protocol, **options)
        thread = threading.Thread(target=worker.run, name=f"server of {url}")
        thread.start()
        try:
            yield Server(url, worker=worker)
        finally:
            worker.stop()
            thread.join()


@contextmanager
def serve_in_process(
    app: Application, *, protocol: str = "fastcgi", tcp: bool = False, **options: Any
) -> Iterator[Server]:
    """As :func:`serve_in_thread`, from a child process: for the fork model, and for tests that kill or measure it.

    A child that fails raises RuntimeError here; what it failed of is on stderr.
    """
    with _listening(protocol, tcp=tcp) as (listener, url):
        print(end="", flush=True)  # what is buffered is not the child's to write
        pid = os.fork()
        if not pid:
            _serve_as_child(app, listener, protocol=protocol, **options)
        try:
            yield Server(url, pid=pid)
        finally:
            _end(pid)


def _serve_as_child(app: Application, listener: socket.socket, **options: Any) -> None:
    """Serve until SIGTERM; does not return."""
    status = 1
    try:
        worker = build_worker(app, [listener], **options)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        worker.run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _end(pid: int, *, patience: float = 40.0) -> None:
    """End a child by SIGTERM, or by force after ``patience`` seconds; RuntimeError unless it ended well."""
    deadline = time.monotonic() + patience
    number = signal.SIGTERM
    try:
        os.kill(pid, number)
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline and number != signal.SIGKILL:
                number = signal.SIGKILL
                os.kill(pid, number)
            time.sleep(0.005)
    except ChildProcessError:
        return  # the test has waited for it
    status = os.waitstatus_to_exitcode(ended[1])
    if status not in (0, -signal.SIGTERM):
        raise RuntimeError(f"the server process {pid} ended with {status}; what it printed says why")


@contextmanager
def _listening(protocol: str, *, tcp: bool) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens, and its URL."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        local = not tcp and hasattr(socket, "AF_UNIX")
        listener = listen(Address(path=os.path.join(folder, "socket")) if local else Address(host="127.0.0.1"))
        with listener:
            yield listener, str(bound_address(listener, protocol=protocol))


@contextmanager
def wire_app(app: Application, *, worker: str = "auto", **options: Any) -> Iterator[Any]:
    """``app`` as a ``webtest.TestApp`` whose requests travel over a real socket, to a real worker and back.

    ``worker`` is a process model of :mod:`gateway.workers`; ``options`` are those of :func:`serve_in_thread`.

        with wire_app(my_application, threads=4) as web:
            assert web.get("/").status == "200 OK"
    """
    import webtest  # not everybody who tests has it

    serve = serve_in_process if worker == "fork" else serve_in_thread
    with serve(app, worker_model=worker, **options) as server, Client(server.url) as client:
        yield webtest.TestApp(client)
