"""Application adapters: how an exchange is put to a WSGI (later an ASGI) application."""
