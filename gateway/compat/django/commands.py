"""``django.core.management`` with the command ``runfcgi`` of :mod:`gateway.compat.django` in every project."""

from __future__ import annotations

from django.core import management

__all__ = ["get_commands"]

_get_commands = management.get_commands


def get_commands() -> dict[str, str]:
    """The name of each command, and the application that has it."""
    known: dict[str, str] = _get_commands()
    return {"runfcgi": "gateway.compat.django"} | known
