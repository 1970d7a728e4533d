#!/usr/bin/env python3
# Tells the numbers of its process and of that one's parent.
import os

print("Content-Type: text/plain\n\n%d %d" % (os.getpid(), os.getppid()))
