#!/usr/bin/env python3
# A CGI program: name the Python of your virtual environment above, and the folder of the application below.
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import gateway
from notes import app

gateway.run(app)
