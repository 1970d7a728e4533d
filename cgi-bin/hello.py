#!/usr/bin/env python3
"""A CGI script in its simplest form: headers, an empty line, a body (RFC 3875 §6). It needs nothing but Python."""

import os

print("Content-Type: text/plain")
print()
print(f"Hello from process {os.getpid()}, which ends now.")
