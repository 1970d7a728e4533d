"""The settings of the example: no database, sessions in signed cookies."""

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "for the example only")
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "notes.urls"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
