#!/usr/bin/env python3

"""
Calendars, by FastCGI.

The web server starts this file and hands it a listening socket.
"""

import os

os.environ.setdefault("RADICALE_CONFIG", "/etc/radicale/config")

from flup.server.fcgi import WSGIServer
from radicale import application


WSGIServer(application).run()
