#!/usr/bin/env python
# In the manner of web.py's documentation, "Webpy + lighttpd/nginx with FastCGI".
import web

urls = ("/.*", "hello")
app = web.application(urls, globals())


class hello:
    def GET(self):
        web.header('Content-Type', 'text/html; charset=utf-8')
        return 'Hello, world! ' + web.input(name='nobody').name

    def POST(self):
        return web.data()


if __name__ == "__main__":
    web.wsgi.runwsgi = lambda func, addr=None: web.wsgi.runfcgi(func, addr)
    app.run()
