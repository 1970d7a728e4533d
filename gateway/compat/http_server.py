"""``http.server.CGIHTTPRequestHandler``, which Python 3.15 has no more: its CGI programs run by ``CGIDirectory``.

What changes: programs get all request headers, and no REMOTE_USER that nobody has verified; their ``Status`` is the
status of the response; a program that hangs is ended.
"""

from __future__ import annotations

import os
import sys
from http.server import SimpleHTTPRequestHandler

from gateway.environ import base_environ, build_environ, decode_path, encode_path, is_under
from gateway.errors import ConfigError, ProtocolError, ScriptError
from gateway.script import CGIDirectory
from gateway.script.resolve import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gateway.environ import Environ
    from gateway.script.resolve import Found

__all__ = ["CGIHTTPRequestHandler"]


class CGIHTTPRequestHandler(SimpleHTTPRequestHandler):
    """Serves files, and runs the programs below ``cgi_directories``; for ``http.server.HTTPServer`` and its kin.

    ``cgi_options`` are those of :class:`gateway.CGIDirectory`: ``execution``, ``timeout``, ``interpreters``, ``user``.
    Started by root, programs run as nobody unless it says otherwise.
    """

    cgi_directories = ["/cgi-bin", "/htbin"]
    cgi_options: dict[str, Any] = {}
    cgi_info = "", ""

    def do_POST(self) -> None:
        """Only for programs."""
        if self.is_cgi():
            self.run_cgi()
        else:
            self.send_error(501, "Can only POST to CGI scripts")

    def send_head(self) -> Any:
        """Of a file; a program answers all by itself."""
        return self.run_cgi() if self.is_cgi() else super().send_head()

    def is_cgi(self) -> bool:
        """Is the path below one of ``cgi_directories``?  Then ``cgi_info`` is that, and what follows."""
        path, query = decode_path(self.path), self.path.partition("?")[1:]
        for directory in self.cgi_directories:
            directory = directory.rstrip("/")
            if is_under(path, directory) and path != directory:
                self.cgi_info = directory, encode_path(path[len(directory) + 1 :]) + "".join(query)
                return True
        return False

    def run_cgi(self) -> None:
        """Run the program that ``cgi_info`` names, and send what it says."""
        directory, rest = self.cgi_info
        self.close_connection = True
        try:
            app = self._programs(self.translate_path(directory + "/"))
            blocks = app(self._environ(directory, rest), self._start)
        except (ConfigError, ProtocolError) as error:
            self.log_error("%s", error)
            self.send_error(404 if isinstance(error, ConfigError) else 400)
            return
        try:
            for block in blocks:
                if self.command != "HEAD":
                    self.wfile.write(block)
        except ScriptError as error:
            self.log_error("%s", error)
        finally:
            if hasattr(blocks, "close"):
                blocks.close()

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], Any]:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in [*headers, ("Connection", "close")]:
            self.send_header(name, value)
        self.end_headers()
        return self.wfile.write

    def _programs(self, root: str) -> CGIDirectory:
        """The programs in a directory.  Raises ConfigError if there is none."""
        found = _directories.get((type(self), root))
        if found is None:
            options = {"pass_environment": [name for name in os.environ if not name.startswith("HTTP_")], "index": ()}
            if os.geteuid() == 0:
                options["user"] = "nobody"
            found = _directories[type(self), root] = _Programs(root, **options | self.cgi_options)
        return found

    def _environ(self, directory: str, rest: str) -> Environ:
        """The request.  Raises ProtocolError if it is at fault."""
        path, _, query = rest.partition("?")
        server: Any = self.server
        params = {
            "REQUEST_METHOD": self.command, "SCRIPT_NAME": directory, "PATH_INFO": decode_path("/" + path),
            "QUERY_STRING": query, "REQUEST_URI": self.path, "REMOTE_ADDR": str(self.client_address[0]),
            "SERVER_NAME": server.server_name, "SERVER_PORT": str(server.server_port),
            "SERVER_PROTOCOL": self.request_version, "SERVER_SOFTWARE": self.version_string(),
        }  # fmt: skip
        for name in {name.lower() for name in self.headers if "_" not in name}:
            value = ("; " if name == "cookie" else ", ").join(self.headers.get_all(name, ()))
            variable = name.upper().replace("-", "_")
            params[variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"] = value
        environ = build_environ(params, base_environ(multithread=True, multiprocess=False, run_once=False))
        return environ | {"wsgi.input": self.rfile, "wsgi.errors": sys.stderr, "wsgi.input_terminated": False}


class _Programs(CGIDirectory):
    """Programs that run where the server was started, and know its environment, as http.server has it."""

    def find(self, environ: Environ) -> Found:
        """The program, in our own directory."""
        found = super().find(environ)
        if isinstance(found, Script):
            found.cwd = os.getcwd()
        return found


_directories: dict[tuple[object, str], CGIDirectory] = {}
