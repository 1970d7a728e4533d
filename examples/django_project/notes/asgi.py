"""The ASGI application, for asynchronous views: ``fcgi-run notes.asgi:application -b unix:/run/hello.sock``."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notes.settings")
application = get_asgi_application()
