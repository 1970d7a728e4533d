#!/usr/bin/env python3
"""A CGI program that tells, as JSON, all that it was told: environment, arguments, directory, input."""

from __future__ import annotations

import json
import os
import sys

print("Content-Type: application/json\n")
if os.environ["REQUEST_METHOD"] != "HEAD":
    told = {
        "environ": {name.decode("latin-1"): value.decode("latin-1") for name, value in os.environb.items()},
        "argv": sys.argv[1:],
        "cwd": os.getcwd(),
        "stdin": sys.stdin.buffer.read().decode("latin-1"),
    }
    print(json.dumps(told))
