#!/usr/bin/env python
"""Runs under Python 2 and 3."""
from __future__ import print_function

import os
import sys

try:
    from urllib.parse import unquote
except ImportError:
    from urllib import unquote
try:
    text = unicode
except NameError:
    text = str
if sys.version_info[0] < 3:
    range = xrange

print("Content-Type: text/plain\n")
print(unquote(os.environ.get("QUERY_STRING", "")), len(text("abc")), list(range(2)))
