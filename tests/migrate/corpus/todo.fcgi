#!/usr/bin/env python3
import bottle


@bottle.route("/")
def index():
    return "what is to do"


bottle.run(server="flup", options={"bindAddress": ("127.0.0.1", 9001)})
