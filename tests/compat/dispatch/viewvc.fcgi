#!/usr/bin/python
# -*-python-*-
# In the manner of ViewVC 1.2, bin/wsgi/viewvc.fcgi.
import sys, os

LIBRARY_DIR = os.environ.get('LIBRARY_DIR')
CONF_PATHNAME = None

if LIBRARY_DIR:
  sys.path.insert(0, LIBRARY_DIR)

import sapi
import viewvc
from flup.server import fcgi

def application(environ, start_response):
  server = sapi.WsgiServer(environ, start_response)
  cfg = viewvc.load_config(CONF_PATHNAME, server)
  viewvc.main(server, cfg)
  return []

fcgi.WSGIServer(application).run()
