#!/usr/bin/env python
import sys
from flup.server.fcgi_fork import WSGIServer
from shop.wsgi import application


class Server(WSGIServer):
    def error(self, req):
        req.stdout.write("Content-Type: text/html\r\n\r\n<h1>The shop is closed</h1>")


if __name__ == "__main__":
    again = Server(application, bindAddress=("127.0.0.1", 9000), maxChildren=8, maxRequests=500).run()
    sys.exit(3 if again else 0)
