"""A Django project: notes kept in the visitor's session, a form with CSRF protection, and an upload."""
