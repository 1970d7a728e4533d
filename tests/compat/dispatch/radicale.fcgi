#!/usr/bin/env python
# -*- coding: utf-8 -*-
# In the manner of Radicale 1.1, radicale.fcgi.
from flup.server.fcgi import WSGIServer
import radicale

radicale.log.start()
radicale.log.LOGGER.info("Starting Radicale FastCGI server")

WSGIServer(radicale.Application()).run()

radicale.log.LOGGER.info("Stopping Radicale FastCGI server")
