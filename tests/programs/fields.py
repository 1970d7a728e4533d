#!/usr/bin/env python3
# A form with a file, as scripts from the time of Python 2 read it.
import cgi
import cgitb
import os
import sys

cgitb.enable()
form = cgi.FieldStorage()

print("Content-Type: text/plain; charset=utf-8")
print("X-Method: " + os.environ["REQUEST_METHOD"])
print("")
print("in " + os.path.basename(os.getcwd()))
for name in sorted(form.keys()):
    if name == "fail":
        sys.exit(3)
    if name == "file":
        content = form["file"].file.read()
        print("file %s %d %d" % (form["file"].filename, len(content), sum(content)))
    else:
        print("%s %s" % (name, ", ".join(form.getlist(name))))
