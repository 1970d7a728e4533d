#!/usr/bin/env python3
"""Show what the web server tells a CGI script (RFC 3875 §4.1). Secrets are masked; still, take it away after use."""

import html
import os
import re
import sys

SECRET = re.compile("AUTHORIZATION|COOKIE|CREDENTIAL|KEY|PASSW|SECRET|TOKEN", re.IGNORECASE)
URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]+(?=@)")

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>CGI environment</title>
<style>
body {{ max-width: 70rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
th, td {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }}
th {{ font-weight: 600; }}
</style>
<h1>CGI environment</h1>
<table>
{rows}
</table>
"""


def masked(name, value):
    """The value as anybody may see it."""
    if value and SECRET.search(name):
        return f"({len(value)} characters, hidden)"
    return URL_PASSWORD.sub("(hidden)", value)


rows = "\n".join(
    f"<tr><th>{html.escape(name)}<td>{html.escape(masked(name, value))}" for name, value in sorted(os.environ.items())
)
page = PAGE.format(rows=rows).encode("utf-8", "backslashreplace")
head = "Content-Type: text/html; charset=utf-8\nCache-Control: no-store\n\n"
sys.stdout.buffer.write(head.encode() + page)
