#!/usr/bin/env python
import sys
import wsgiref.handlers


def app(environ, start_response):
    if environ['PATH_INFO'] == '/fail':
        raise ValueError('on purpose')
    body = environ['wsgi.input'].read(int(environ.get('CONTENT_LENGTH') or 0))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = ['REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'wsgi.run_once', 'wsgi.multiprocess', 'wsgi.multithread']
    return [('%s=%s\n' % (name, environ[name])).encode() for name in names] + [body]


getattr(wsgiref.handlers, sys.argv[1])().run(app)
