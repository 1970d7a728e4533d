#!/usr/bin/env python
# In the manner of Bottle's documentation, "Deployment"; the adapter is Bottle's own.
import sys

from bottle import default_app, request, route, run


@route('/hello/<name>')
def hello(name):
    return 'Hello %s!' % name


@route('/echo', method='POST')
def echo():
    return request.body.read()


if sys.argv[1] == 'flup':
    run(default_app(), server='flup', bindAddress=None)
else:
    run(default_app(), server=sys.argv[1])
