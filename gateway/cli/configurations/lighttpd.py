"""lighttpd: FastCGI, SCGI, uwsgi, AJP and HTTP, each request on a connection of its own."""

from __future__ import annotations

from gateway.cli.configurations import Configuration, Site

MODULES = {"fastcgi": "fastcgi", "scgi": "scgi", "uwsgi": "scgi", "ajp": "ajp13", "http": "proxy"}

TABLE = """
part                     |         | # lighttpd in front of `@command@`
full                     |         | # lighttpd -D -f FILE, in front of `@command@`
                         |         |
full                     |         | server.port = @port@
full                     |         | server.document-root = "/var/empty"
full http                | slashes | server.http-parseopts = ( "url-path-2f-decode" => "disable" )
fastcgi/scgi/uwsgi/http  |         | server.modules += ( "mod_@module@" )
ajp                      | httpoxy | server.modules += ( "mod_@module@", "mod_setenv" )
                         |         |
                         |         | $HTTP["url"] =~ "^@pattern@(/|$)" {
uwsgi                    |         |     scgi.protocol = "uwsgi"
                         |         |     @module@.server = ( "@prefix@" => ((
unix                     |         |         "socket" => "@path@",
tcp                      |         |         "host" => "@ip@", "port" => @number@,
fastcgi/scgi/uwsgi whole | path    |         "fix-root-scriptname" => "enable",
                         | local   |         "check-local" => "disable"
                         |         |     )))
ajp                      | httpoxy |     setenv.set-request-header = ( "Proxy" => "" )
stream                   | stream  |     server.stream-response-body = 1
                         |         | }
"""


def values(site: Site) -> dict[str, object]:
    """Places, and the prefix that is SCRIPT_NAME; on AJP no path would be told behind one."""
    return {
        "module": MODULES[site.wire], "prefix": "" if site.wire == "ajp" else site.mount or "/", "path": site.path,
        "ip": site.port_address.rpartition(":")[0].strip("[]"), "number": site.address.port,
    }  # fmt: skip


configuration = Configuration(
    "lighttpd", {"lighttpd.conf": TABLE}, values=values, wires=[*MODULES], tells_mount=["fastcgi", "scgi", "uwsgi"],
    loses={wire: "keep underscores" for wire in MODULES} | {"ajp": "keep underscores slashes"},
    check=["lighttpd", "-tt", "-f"],
)  # fmt: skip
