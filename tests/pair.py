"""The two sides of one wire, connected: what one says, the other hears, and nothing is sent anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.events import Connection, Event


class Pair:
    """An APPLICATION and a WEB_SERVER connection, each the other's transport."""

    def __init__(self, application: Connection, web_server: Connection) -> None:
        self.application = application
        self.web_server = web_server

    def ask(self, *events: Event) -> list[Event]:
        """The web server says some events; what the application hears."""
        return _carry(events, self.web_server, self.application)

    def answer(self, *events: Event) -> list[Event]:
        """The application says some events; what the web server hears."""
        return _carry(events, self.application, self.web_server)


def _carry(events: tuple[Event, ...], source: Connection, target: Connection) -> list[Event]:
    for event in events:
        source.send(event)
    target.receive_data(b"".join(source.data_to_send()))
    return target.events()
