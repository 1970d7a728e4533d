#!/usr/bin/python
# -*- coding: utf-8 -*-
# In the manner of MoinMoin 1.9, wiki/server/moin.fcgi.
import sys, os

from MoinMoin import log
logging = log.getLogger(__name__)

from MoinMoin.web.serving import make_application
app = make_application(shared=True)

# '/mywiki' if you use rewriting to run at http://domain/mywiki/
fix_script_name = '/mywiki'

if fix_script_name is None:
    application = app
else:
    def script_name_fixer(env, start):
        env['SCRIPT_NAME'] = fix_script_name
        return app(env, start)
    application = script_name_fixer

## Choose your server mode (threaded, forking or single-thread)
try:
#    from flup.server.fcgi import WSGIServer
    from flup.server.fcgi_fork import WSGIServer
#    from flup.server.fcgi_single import WSGIServer
except ImportError:
    logging.warning("No flup-package installed, only basic CGI support is available.")
    from MoinMoin.web._fallback_cgi import WSGIServer

WSGIServer(application).run()
