#!/usr/bin/env python
# Serves by the module of flup.server and with the options that the command line names.
import importlib
import os
import sys
import time

BIG = 'x' * 100000


def app(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/fail':
        raise ValueError('on purpose')
    if path == '/fail-late':
        return fail_late(start_response)
    if path == '/write':
        write = start_response('200 OK', [('Content-Type', 'text/plain')])
        write('written, ')
        return [b'and returned']
    if path == '/bytes':
        start_response(b'404 Not Found', [(b'Content-Type', b'text/plain'), [b'X-List', 'yes']])
        return (part for part in ('some text, ', b'some bytes'))
    if path == '/text':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return 'plain text'
    if path == '/big':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [BIG, BIG]
    if path == '/empty':
        start_response('204 No Content', [('X-Empty', 'yes')])
        return []
    if path == '/echo':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [environ['wsgi.input'].read(int(environ['CONTENT_LENGTH']))]
    if path == '/sleep':
        time.sleep(float(environ['QUERY_STRING']))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = ['SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'REQUEST_METHOD', 'HTTP_X_TOLD', 'extra']
    told = ['%s=%s' % (name, environ.get(name)) for name in names]
    return ['%d\n' % os.getpid(), '\n'.join(told)]


def fail_late(start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield 'begun'
    raise ValueError('late, and on purpose')


if __name__ == '__main__':
    module = importlib.import_module('flup.server.' + sys.argv[1])
    hup = module.WSGIServer(app, **eval(sys.argv[2])).run()
    print('run() gave %s' % hup)
