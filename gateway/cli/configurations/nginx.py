"""nginx: FastCGI, SCGI, uwsgi and HTTP, of which it keeps connections over the first and the last."""

from __future__ import annotations

import re

from gateway.cli.configurations import Configuration, Site

TABLE = """
part                     |             | # nginx in front of `@command@`
full                     |             | # nginx -c FILE, in front of `@command@`
                         |             |
full                     |             | worker_processes auto;
full                     |             | events { }
                         |             |
full                     |             | http {
fastcgi/http keep        |             |     upstream @name@ {
fastcgi/http keep        |             |         server @place@;
fastcgi/http keep        | keep        |         keepalive 8;
fastcgi/http keep        |             |     }
                         |             |
full                     |             |     server {
full                     |             |         listen @port@;
full                     | server-name |         server_name @host@;
mend                     | underscores |         underscores_in_headers off;
                         |             |
                         |             |         location @location@ {
                         | size        |             client_max_body_size @size@m;
fastcgi mount            | path        |             fastcgi_split_path_info ^(@pattern@)(/.*)$;
fastcgi/scgi/uwsgi       | params      |             include @folder@@wire@_params;
fastcgi mount            | path        |             fastcgi_param PATH_INFO $fastcgi_path_info;
scgi/uwsgi mount         | path        |             @wire@_param SCRIPT_NAME $script_name;
scgi/uwsgi mount         | path        |             @wire@_param PATH_INFO $path_info;
fastcgi/scgi/uwsgi whole | path        |             @wire@_param SCRIPT_NAME "";
fastcgi/scgi/uwsgi whole | path        |             @wire@_param PATH_INFO $document_uri;
fastcgi/scgi/uwsgi       | httpoxy     |             @wire@_param HTTP_PROXY "";
fastcgi keep             | keep        |             fastcgi_keep_conn on;
http                     | keep        |             proxy_http_version 1.1;
http                     | keep        |             proxy_set_header Connection "";
http                     | host        |             proxy_set_header Host $http_host;
http                     |             |             proxy_set_header X-Forwarded-For $remote_addr;
http                     | scheme      |             proxy_set_header X-Forwarded-Proto $scheme;
http                     | httpoxy     |             proxy_set_header Proxy "";
mend fastcgi             | scheme      |             fastcgi_param HTTPS $https if_not_empty;
mend                     | errors      |             @module@_intercept_errors off;
stream                   | stream      |             @module@_buffering off;
stream fastcgi/http      |             |             @module@_request_buffering off;
                         |             |             @module@_pass @upstream@;
                         |             |         }
full                     |             |     }
full                     |             | }
"""


def values(site: Site) -> dict[str, object]:
    """Places, and the location, in the words of nginx."""
    place = f"unix:{site.path}" if site.path else site.port_address
    location = "/"
    if site.mount:
        named = site.wire in ("scgi", "uwsgi")
        location = f"~ ^(?<script_name>{site.pattern})(?<path_info>/.*)?$" if named else f"~ ^{site.pattern}(/|$)"
    shared = site.keep and site.wire in ("fastcgi", "http")
    scheme = "http://" if site.wire == "http" else ""
    return {
        "place": _quoted(place), "upstream": _quoted(scheme + (site.name if shared else place)), "location": location,
        "module": "proxy" if site.wire == "http" else site.wire, "folder": "/etc/nginx/" if site.full else "",
    }  # fmt: skip


def _quoted(word: str) -> str:
    return f'"{word}"' if re.search(r"[\s;{}#]", word) else word


configuration = Configuration(
    "nginx", {"nginx.conf": TABLE}, values=values, wires=["fastcgi", "scgi", "uwsgi", "http"],
    tells_mount=["fastcgi", "scgi", "uwsgi"], loses={"scgi": "keep", "uwsgi": "keep"},
    check=["nginx", "-t", "-e", "stderr", "-g", "pid /dev/null;", "-c"],
)  # fmt: skip
