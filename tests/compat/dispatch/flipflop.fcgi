#!/usr/bin/env python
def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/fail':
        raise ValueError('on purpose')
    return ['%s %s\n' % (environ['REQUEST_METHOD'], environ['PATH_INFO']), environ['wsgi.input'].read()]


from flipflop import WSGIServer
WSGIServer(app).run()
