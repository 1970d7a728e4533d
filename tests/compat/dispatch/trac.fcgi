#!/usr/bin/env python
# In the manner of Trac's wiki, "TracFastCgi", for lighttpd and nginx.
import os
import sys

os.environ['TRAC_ENV'] = '/srv/trac/env'

try:
    from trac.web.main import dispatch_request
    from flup.server.fcgi import WSGIServer

    def application(environ, start_request):
        if not 'trac.env_parent_dir' in environ:
            environ.setdefault('trac.env_path', os.environ['TRAC_ENV'])
        return dispatch_request(environ, start_request)

    WSGIServer(application, bindAddress=sys.argv[1], umask=0o007).run()

except SystemExit:
    raise
except Exception as e:
    print('Content-Type: text/plain\r\n\r\n')
    print('Oops...')
    print()
    print(e)
