"""Both pollers behave alike, alone and under a worker."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.client import Client
from gateway.testing.conformance import CONFORMANCE, application
from gateway.workers import threads as threads_module
from gateway.workers.poller import EpollPoller, SelectorPoller, WakeUp, make_poller
from tests.leftovers import Leftovers
from tests.serving import PATIENCE, Serve, WebServer, hello

Poller = EpollPoller | SelectorPoller
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def poller(request: pytest.FixtureRequest, nothing_left_over: Leftovers) -> Iterator[Poller]:
    poller: Poller = request.param()
    yield poller
    poller.close()


@pytest.fixture
def pair(nothing_left_over: Leftovers) -> Iterator[Pair]:
    """Two ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_nothing_to_read_is_not_reported(poller: Poller, pair: Pair) -> None:
    poller.add(pair[0].fileno())
    assert poller.wait(0.01) == []


def test_something_to_read_is_reported_until_it_is_read(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    theirs.send(b"x")
    assert poller.wait(PATIENCE) == poller.wait(PATIENCE) == [ours.fileno()]
    ours.recv(1)
    assert poller.wait(0.01) == []


def test_the_end_of_a_connection_is_reported(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    theirs.close()
    assert poller.wait(PATIENCE) == [ours.fileno()]


def test_what_was_removed_is_not_reported(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    assert poller.wait(0.01) == []
    theirs.send(b"x")
    poller.remove(ours.fileno())
    assert poller.wait(0.01) == []


def test_what_comes_back_is_reported(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    assert poller.wait(0.01) == []
    poller.remove(ours.fileno())
    poller.add(ours.fileno())
    theirs.send(b"x")
    assert poller.wait(PATIENCE) == [ours.fileno()]


def test_a_new_descriptor_of_an_old_number_is_reported(poller: Poller) -> None:
    old = socket.socketpair()
    number = old[0].fileno()
    poller.add(number)
    assert poller.wait(0.01) == []
    poller.remove(number)
    for end in old:
        end.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert ours.fileno() == number
        poller.add(number)
        theirs.send(b"x")
        assert poller.wait(PATIENCE) == [number]


def test_a_listener_that_can_accept_is_reported(poller: Poller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        poller.add_listener(listener.fileno())
        assert poller.wait(0.01) == []
        with socket.create_connection(listener.getsockname()):
            assert poller.wait(PATIENCE) == [listener.fileno()]


def test_what_another_thread_adds_is_reported(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    adding = threading.Timer(0.02, poller.add, [ours.fileno()])
    adding.start()
    deadline = time.monotonic() + PATIENCE
    while not (ready := poller.wait(PATIENCE)):
        assert time.monotonic() < deadline
    assert ready == [ours.fileno()]
    adding.join()


def test_ringing_ends_a_wait(poller: Poller) -> None:
    wake_up = WakeUp()
    poller.add_listener(wake_up.fd)
    ringing = threading.Timer(0.02, wake_up.ring)
    ringing.start()
    assert poller.wait(PATIENCE) == [wake_up.fd]
    ringing.join()
    wake_up.close()


def test_cleared_it_rings_no_more(poller: Poller) -> None:
    wake_up = WakeUp()
    poller.add_listener(wake_up.fd)
    for _ in range(100_000):  # more than a pipe holds
        wake_up.ring()
    while poller.wait(0.01):
        wake_up.clear()
    wake_up.clear()
    wake_up.close()


def test_ringing_after_the_end_reaches_nobody(nothing_left_over: Leftovers) -> None:
    wake_up = WakeUp()
    writer = wake_up.writer
    wake_up.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert writer in (ours.fileno(), theirs.fileno())
        wake_up.ring()
        for end in (ours, theirs):
            with pytest.raises(BlockingIOError):
                end.recv(1, socket.MSG_DONTWAIT)


def test_epoll_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    poller = make_poller()
    assert isinstance(poller, EpollPoller)
    poller.close()
    monkeypatch.delattr("select.epoll")
    poller = make_poller()
    assert isinstance(poller, SelectorPoller)
    poller.close()


# A worker without epoll.


@pytest.fixture
def without_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "make_poller", SelectorPoller)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.usefixtures("without_epoll")
def test_without_epoll_a_worker_conforms(serve: Serve, threads: int) -> None:
    with Client(serve(application, threads=threads).url) as client:
        for case in CONFORMANCE:
            case.run(client)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.usefixtures("without_epoll")
def test_without_epoll_connections_come_and_go(serve: Serve, threads: int) -> None:
    server = serve(hello, threads=threads)
    for _ in range(10):
        with WebServer(server) as one, WebServer(server, keep_conn=False) as two, WebServer(server) as three:
            assert one.get().body == two.get().body == three.get().body == one.get().body == b"hello"


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.usefixtures("without_epoll")
def test_without_epoll_a_worker_stops(serve: Serve, threads: int) -> None:
    server = serve(hello, threads=threads)
    with WebServer(server) as client:
        client.get()
        assert server.worker
        server.worker.stop()
        assert client.is_hung_up()
