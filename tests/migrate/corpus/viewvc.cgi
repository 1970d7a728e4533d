#!/usr/bin/python
#
# Browse a repository.
#

import sys
import os

LIBRARY_DIR = r"/usr/lib/viewvc/lib"
CONF_PATHNAME = r"/etc/viewvc/viewvc.conf"

if LIBRARY_DIR:
  sys.path.insert(0, LIBRARY_DIR)
else:
  sys.path.insert(0, os.path.abspath(os.path.join(sys.argv[0], "../../../lib")))

import sapi
import viewvc

server = sapi.CgiServer()
cfg = viewvc.load_config(CONF_PATHNAME, server)
viewvc.main(server, cfg)
