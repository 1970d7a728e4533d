#!/usr/bin/env python
# As flup's documentation has it, with what many put into theirs.
import os
import sys

from flup.server.fcgi import WSGIServer


def myapp(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/env':
        names = ['REQUEST_METHOD', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'wsgi.multithread', 'wsgi.run_once']
        return ['%s: %r\n' % (name, environ[name]) for name in names]
    if environ['PATH_INFO'] == '/pid':
        return [str(os.getpid())]
    if environ['PATH_INFO'] == '/echo':
        return [environ['wsgi.input'].read(int(environ['CONTENT_LENGTH']))]
    return ['Hello World!\n']


if __name__ == '__main__':
    WSGIServer(myapp, bindAddress=sys.argv[1] if len(sys.argv) > 1 else None).run()
