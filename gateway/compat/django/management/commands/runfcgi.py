"""``manage.py runfcgi [name=value]…``."""

from __future__ import annotations

import argparse
import sys

from django.core.management.base import BaseCommand

from gateway.compat.django.fastcgi import FASTCGI_HELP, runfastcgi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Command(BaseCommand):  # type: ignore[misc]
    """Serve the project by FastCGI, SCGI or AJP."""

    help = FASTCGI_HELP
    requires_system_checks: tuple[str, ...] = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """As Django's, with the lines of the help as they are."""
        return super().create_parser(
            prog_name, subcommand, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: Any) -> None:
        """What old start scripts say."""
        parser.add_argument("args", nargs="*", metavar="name=value")

    def handle(self, *args: str, **options: Any) -> None:
        """Run it; the exit status is 1 if the options are wrong."""
        if runfastcgi(args) is False:
            sys.exit(1)
