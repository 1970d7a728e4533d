#!/usr/bin/env python3
import bottle


@bottle.get("/")
def index():
    return "what is to do"


bottle.run(server="cgi")
