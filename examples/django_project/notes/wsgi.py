"""The WSGI application: ``fcgi-run notes.wsgi:application -b unix:/run/hello.sock``; notes.cgi runs the same as CGI."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notes.settings")
application = get_wsgi_application()
