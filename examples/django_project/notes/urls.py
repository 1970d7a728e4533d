"""Which path is whose."""

from django.urls import path

from notes import views

urlpatterns = [
    path("", views.index, name="index"),
    path("add", views.add, name="add"),
    path("note/<path:name>", views.note, name="note"),
    path("upload", views.upload, name="upload"),
    path("clock", views.clock, name="clock"),
]
