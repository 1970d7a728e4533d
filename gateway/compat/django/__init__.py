"""Django's ``runfcgi`` (gone since 1.9): ``"gateway.compat.django"`` in INSTALLED_APPS brings it back.

``python -m gateway.compat manage.py runfcgi …`` needs no line in the settings.
"""
