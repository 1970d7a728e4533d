#!/usr/bin/python
import sys, os

# A custom Python path.
sys.path.insert(0, "/home/user/python")

# Switch to the directory of the project.
os.chdir("/home/user/myproject")

os.environ['DJANGO_SETTINGS_MODULE'] = "myproject.settings"

from django.core.servers.fastcgi import runfastcgi
runfastcgi(method="threaded", daemonize="false")
