from wsgiref.handlers import CGIHandler

from hello import application

CGIHandler().run(application)
