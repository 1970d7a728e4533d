#!/usr/bin/env python
import web

urls = ("/(.*)", "Hello")
app = web.application(urls, globals())


class Hello:
    def GET(self, name):
        return "Hello, " + (name or "world")


if __name__ == "__main__":
    web.wsgi.runwsgi = lambda func, addr=None: web.wsgi.runfcgi(func, addr)
    app.run()
