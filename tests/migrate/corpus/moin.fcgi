#!/usr/bin/env python
# The wiki by FastCGI: mod_fcgid starts as many of these as it wants.

import sys, os
sys.path.insert(0, '/etc/moin')

from MoinMoin import log
log.load_config('/etc/moin/logging.conf')

from MoinMoin.web.flup_frontend import FCGIFrontEnd

FCGIFrontEnd().run()
