#!/usr/bin/python
# "Running Django on a shared-hosting provider with Apache", Django 1.8.
import sys, os

# Add a custom Python path.
sys.path.insert(0, os.environ['PROJECT'])

# Set the DJANGO_SETTINGS_MODULE environment variable.
os.environ['DJANGO_SETTINGS_MODULE'] = "mysite.settings"

from django.core.servers.fastcgi import runfastcgi
runfastcgi(method="threaded", daemonize="false")
