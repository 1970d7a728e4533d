"""``fcgi-run app:application``: gunicorn's command line, our worker and our sockets."""

from __future__ import annotations

import os
import re
import sys

from gateway.address import Address


def main() -> None:
    """The console script; does not return."""
    from gateway.prefork.application import Application

    try:
        Application("fcgi-run", snippet=nginx_snippet).run()
    except KeyboardInterrupt:  # while the application was being loaded
        sys.exit(130)


def nginx_snippet(address: Address, mount: str | None) -> str:
    """The lines that nginx needs to pass requests on to FastCGI at ``address``.

    >>> from gateway.address import parse_bind
    >>> print(nginx_snippet(parse_bind("127.0.0.1:9000"), "/app"))
    location /app {
        include fastcgi_params;
        fastcgi_split_path_info ^(/app)(/.*)$;
        fastcgi_param PATH_INFO $fastcgi_path_info;
        fastcgi_param HTTP_PROXY "";
        fastcgi_pass 127.0.0.1:9000;
    }
    """
    if mount:
        split = [f"fastcgi_split_path_info ^({re.escape(mount)})(/.*)$", "fastcgi_param PATH_INFO $fastcgi_path_info"]
    else:
        split = ['fastcgi_param SCRIPT_NAME ""', "fastcgi_param PATH_INFO $fastcgi_script_name"]
    if address.path:
        place = f"unix:{os.path.abspath(address.path)}"
        place = f'"{place}"' if re.search(r"[\s;{}#]", place) else place
    else:
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
        place = str(Address(host=here, port=address.port))
    lines = ["include fastcgi_params", *split, 'fastcgi_param HTTP_PROXY ""', f"fastcgi_pass {place}"]
    return "\n".join([f"location {mount or '/'} {{", *(f"    {line};" for line in lines), "}"])


if __name__ == "__main__":
    main()
