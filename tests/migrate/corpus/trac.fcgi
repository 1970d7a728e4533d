#!/usr/bin/env python
# -*- coding: utf-8 -*-
# Trac behind nginx: the server is here, and nginx connects to its socket.

import os
import sys

os.environ['TRAC_ENV'] = '/srv/trac/project'
os.environ['PYTHON_EGG_CACHE'] = '/srv/trac/eggs'

sockaddr = '/run/trac/project.sock'

try:
    import trac.web.main
    from flup.server.fcgi import WSGIServer

    if os.path.exists('/run/trac/project.sock'):
        os.chmod('/run/trac/project.sock', 0660)
    WSGIServer(trac.web.main.dispatch_request, bindAddress='/run/trac/project.sock', umask=0007).run()
except SystemExit:
    raise
except Exception, e:
    print >>sys.stderr, 'trac: %s' % e
    sys.exit(1)
