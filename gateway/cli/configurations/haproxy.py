"""HAProxy: FastCGI and HTTP."""

from __future__ import annotations

from gateway.cli.configurations import Configuration, Site

TABLE = """
part         |             | # HAProxy in front of `@command@`
full         |             | # haproxy -f FILE, in front of `@command@`
             |             |
full         |             | defaults
full         |             |     mode http
full         |             |     timeout connect 5s
full         |             |     timeout client 60s
full         |             |     timeout server 60s
             |             |
full         |             | frontend web
full         |             |     bind :@port@
full mount   |             |     use_backend @name@ if { path @mount@ } or { path_beg @mount@/ }
full whole   |             |     default_backend @name@
             |             |
part mount   |             | # in the frontend: use_backend @name@ if { path @mount@ } or { path_beg @mount@/ }
part whole   |             | # in the frontend: default_backend @name@
             |             | backend @name@
fastcgi      |             |     use-fcgi-app @name@
keep         | keep        |     http-reuse always
stream       | stream      |     option http-no-delay
http         |             |     http-request set-header X-Forwarded-For %[src]
http         | scheme      |     http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
http         | httpoxy     |     http-request del-header Proxy
fastcgi      |             |     server worker @place@ proto fcgi
http         |             |     server worker @place@
             |             |
fastcgi      |             | fcgi-app @name@
fastcgi      |             |     docroot /srv/@name@
fastcgi      | path        |     path-info ^(@pattern@)(/.*)?$
fastcgi      | credentials |     pass-header authorization
fastcgi keep | keep        |     option keep-conn
fastcgi      |             |     log-stderr stderr format raw daemon
"""


def values(site: Site) -> dict[str, object]:
    """The place in the words of HAProxy."""
    return {"place": f"unix@{site.path}" if site.path else site.port_address}


configuration = Configuration(
    "HAProxy", {"haproxy.cfg": TABLE}, values=values, wires=["fastcgi", "http"], tells_mount=["fastcgi"],
    check=["haproxy", "-c", "-f"],
)  # fmt: skip
