#!/usr/bin/env python
import os, urllib, urllib2
from StringIO import StringIO
from urlparse import urlparse

query = dict(pair.split("=", 1) for pair in os.environ.get("QUERY_STRING", "").split("&") if pair)
out = StringIO()
for name, value in sorted(query.iteritems()):
    out.write("%s: %s\n" % (name, urllib.unquote(value)))
print("Content-Type: text/plain\n")
print(out.getvalue() + urlparse(query.get("url", "http://nobody/")).netloc)
