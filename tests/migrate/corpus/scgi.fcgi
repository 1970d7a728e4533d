#!/usr/bin/env python
import optparse
from flup.server.scgi import WSGIServer

parser = optparse.OptionParser()
parser.add_option("--port", type="int", default=4000)
parser.add_option("--daemon", action="store_true")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield environ["PATH_INFO"].encode()


if __name__ == "__main__":
    options, args = parser.parse_args()
    WSGIServer(app, bindAddress=("127.0.0.1", options.port)).run()
