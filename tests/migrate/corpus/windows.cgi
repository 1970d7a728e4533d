#!/usr/bin/env python3
import cgi

print("Content-Type: text/html\n")
print(cgi.escape("<b>"))
