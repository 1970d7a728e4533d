#!/usr/bin/env python3
import cgi
import cgitb

cgitb.enable(display=0, logdir="/tmp")

form = cgi.FieldStorage()
item = form["file"]
print("Content-Type: text/plain\n")
print("%s: %d bytes" % (item.filename, len(item.file.read())))
