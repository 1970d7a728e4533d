#!/usr/bin/env python3
import cgi
import os
import sys
from cgi import escape, parse_qsl

words = cgi.parse_qs(os.environ.get("QUERY_STRING", ""), keep_blank_values=True)
print("Content-Type: text/html; charset=utf-8")
print()
html = "<p>%s</p>"
for name in sorted(words):
    print(html % escape(name))
    for value in words[name]:
        print('<a title="%s">%s</a>' % (cgi.escape(value, True), cgi.escape(cgi.escape(value))))
print(parse_qsl("a=1&b=2"))
