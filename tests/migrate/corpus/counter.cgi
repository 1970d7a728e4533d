#!/usr/local/bin/python
import os, string, sys

COUNT = "count.txt"

def bump():
    if not os.path.exists(COUNT):
        raise "no counter", COUNT
    number = string.atoi(open(COUNT).read()) + 1L
    open(COUNT, "w").write(`number`)
    return number

def usage():
    raise "never reached"

print "Content-type: text/plain\n"
print "You are visitor", bump()
