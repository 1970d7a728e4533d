"""Apache httpd with mod_proxy: FastCGI, SCGI, uwsgi, AJP and HTTP."""

from __future__ import annotations

from gateway.cli.configurations import Configuration, Site

MODULES = "/usr/lib/apache2/modules"
"""Where Debian has them; in /usr/lib64/httpd/modules others do."""

SCHEMES = {"fastcgi": "fcgi"}
"""mod_proxy's names for wires, where they are not ours."""

TABLE = """
part                    |             | # Apache with mod_proxy_@scheme@@more@, in front of `@command@`
full                    |             | # httpd -f FILE, in front of `@command@`
                        |             |
full                    |             | ServerRoot "${PWD}"
full                    |             | User www-data
full                    |             | Group www-data
full                    |             | ServerName @host@
full                    |             | Listen @port@
full                    |             | PidFile @name@.pid
full                    |             | ErrorLog /dev/stderr
full                    |             | Define modules @modules@
full                    |             | LoadModule mpm_event_module ${modules}/mod_mpm_event.so
full                    |             | LoadModule authz_core_module ${modules}/mod_authz_core.so
full                    |             | LoadModule env_module ${modules}/mod_env.so
full                    |             | LoadModule proxy_module ${modules}/mod_proxy.so
full                    |             | LoadModule proxy_@scheme@_module ${modules}/mod_proxy_@scheme@.so
full ajp/http           |             | LoadModule headers_module ${modules}/mod_headers.so
                        |             |
                        | slashes     | AllowEncodedSlashes NoDecode
fastcgi/scgi/uwsgi/ajp  | length      | SetEnv ap_trust_cgilike_cl 1
ajp/http                | httpoxy     | RequestHeader unset Proxy early
mend                    | errors      | ProxyErrorOverride Off
packets                 |             | ProxyIOBufferSize @packet_size@
scgi/uwsgi/ajp          |             | ProxyPass "@path@" "@place@@path@"@secret@
http                    | slashes     | ProxyPass "@path@" "@place@@path@" nocanon
                        |             |
fastcgi                 |             | <Proxy "@worker@">
fastcgi keep            | keep        |     ProxySet enablereuse=on
fastcgi stream          | stream      |     ProxySet flushpackets=on
fastcgi                 |             | </Proxy>
                        |             |
fastcgi/scgi/uwsgi/http |             | <Location "@path@">
fastcgi                 |             |     SetHandler "proxy:@place@"
fastcgi/scgi/uwsgi      | credentials |     CGIPassAuth On
fastcgi                 | path        |     ProxyFCGIBackendType GENERIC
fastcgi                 | path        |     ProxyFCGISetEnvIf "%{REQUEST_URI} =~ m#^(@pattern@)(.*)$#" SCRIPT_NAME "$1"
fastcgi                 | path        |     ProxyFCGISetEnvIf "%{REQUEST_URI} =~ m#^(@pattern@)(.*)$#" PATH_INFO "$2"
http                    | host        |     ProxyPreserveHost On
http                    | scheme      |     RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}
fastcgi/scgi/uwsgi/http |             | </Location>
"""


def values(site: Site) -> dict[str, object]:
    """Places in the words of mod_proxy."""
    scheme = SCHEMES.get(site.wire, site.wire)
    worker = f"{scheme}://{site.name if site.path else site.port_address}"
    return {
        "scheme": scheme, "worker": worker, "place": f"unix:{site.path}|{worker}" if site.path else worker,
        "path": site.mount or "/", "modules": MODULES, "more": " and mod_headers" * (site.wire in ("ajp", "http")),
        "secret": ' "secret=${GATEWAY_SECRET}"' if site.secret else "",
    }  # fmt: skip


configuration = Configuration(
    "Apache", {"apache.conf": TABLE}, values=values, wires=["fastcgi", "scgi", "uwsgi", "ajp", "http"],
    tells_mount=["fastcgi"], loses={"scgi": "chunked keep", "uwsgi": "chunked keep"}, check=["apache2", "-t", "-f"],
)  # fmt: skip
