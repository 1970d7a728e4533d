#!/usr/bin/python
# -*- coding: latin-1 -*-
import cgi, os, sys
import cgitb; cgitb.enable()
from time import *

GUESTS = os.environ.get("GUESTS", "/tmp/guests.txt")

def header(title):
	print "Content-Type: text/html; charset=iso-8859-1"
	print
	print "<html><head><title>%s</title></head><body>" % title

def entries():
	try:
		guests = open(GUESTS, "r")
	except IOError, e:
		print "<p>No guests yet (%s).</p>" % cgi.escape(e.strerror)
		return []
	lines = guests.readlines()
	guests.close()
	return lines

header("Gästebuch")
form = cgi.FieldStorage()
if form.has_key("name"):
	guests = open(GUESTS, "a")
	print >>guests, form["name"].value
	guests.close()
	os.chmod(GUESTS, 0644)
for line in entries():
	print "<p>", cgi.escape(line.strip()),
	print "</p>"
print "</body></html>"
