#!/usr/bin/env python3
print("Content-Type: text/plain\nContent-Length: 14\n\nHello, world!")
