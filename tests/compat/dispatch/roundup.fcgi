#!/usr/bin/env python
# In the manner of Roundup's installation guide, for web servers that start FastCGI programs.
import os

from flup.server.fcgi import WSGIServer
from roundup.cgi.wsgi_handler import RequestDispatcher

tracker_home = os.environ['TRACKER_HOME']

app = RequestDispatcher(tracker_home)
WSGIServer(app).run()
