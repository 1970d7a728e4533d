from hello import application

from gateway import run

run(application)
