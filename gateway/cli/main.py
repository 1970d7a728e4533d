"""The console script ``gateway``: which commands there are, and what each is for."""

from __future__ import annotations

import click

from gateway import __version__

COMMANDS = {
    "demo": ("gateway.cli.demo.command", "Show a process per request and persistent workers side by side."),
    "compare": ("gateway.cli.compare", "Measure one application under every process model, and its answers."),
    "serve": ("gateway.cli.serve", "Serve a cgi-bin, a script or an application on HTTP, for development."),
    "doctor": ("gateway.cli.doctor", "Say what is wrong with CGI scripts or a server, and what mends it."),
    "new": ("gateway.cli.new", "Write the script by which a web server runs your application."),
    "migrate": ("gateway.cli.migrate", "Tell what old code uses, what of it runs, and edit what is safe."),
    "config": ("gateway.cli.config", "Print what nginx, Apache, systemd or another has to be told."),
    "call": ("gateway.cli.call", "Ask a server by its wire, as curl does by HTTP."),
    "ping": ("gateway.cli.ping", "Tell whether a server answers, for health checks."),
    "trace": ("gateway.cli.trace", "Show what happens to one request, under each process model."),
    "replay": ("gateway.cli.replay", "Send recorded requests to another server or version: what differs?"),
    "decode": ("gateway.cli.decode", "Annotate every byte of a captured stream."),
}
"""A command's name, the module whose ``command`` it is, and its line in the help, for which nothing is loaded."""

EPILOG = """\
\b
Which command to use when:
  gateway demo  You want to see what CGI and FastCGI are; needs no web server.
  gateway trace You want to know where the time of a request goes; gateway
                compare, what each way to serve it costs.
  gateway serve You write scripts or an application, and want to try them:
                gateway serve ./cgi-bin
  fcgi-run      The web server speaks FastCGI to workers that stay (nginx,
                Apache, lighttpd, HAProxy, Caddy): fcgi-run app:application
  scgi-run      The same for a web server that speaks SCGI; and so uwsgi-run
                and ajp-run. fcgi-run --protocol auto speaks all of them.
  cgi-run       The web server starts a program for each request (a cgi-bin):
                cgi-run app:application

A script that calls gateway.run(application) fits both, and a terminal too.
"""


class Commands(click.Group):
    """A group that loads a command when it is run, or asked for its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, in the order of a first acquaintance."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = __import__(COMMANDS[cmd_name][0], fromlist=["command"]).command
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Their part of the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gateway")
def main() -> None:
    """Web servers and Python applications meet here, by every wire between them, in both directions."""


if __name__ == "__main__":
    main()
