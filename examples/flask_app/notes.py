"""A Flask application: notes kept in the visitor's session, and an upload.

    fcgi-run notes:app -b unix:/run/hello.sock            a worker: behind nginx and the like
    cp notes.cgi /usr/lib/cgi-bin/                        a CGI program: the same application, a process per request
"""

import hashlib
import os

from flask import Flask, redirect, request, session, url_for
from markupsafe import escape

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "for the example only")


@app.get("/")
def index():
    notes = "".join(f"<li>{escape(note)}</li>" for note in session.get("notes", []))
    return f'<form method="post" action="{url_for("add")}"><input name="note"></form><ul>{notes}</ul>'


@app.post("/add")
def add():
    session["notes"] = [*session.get("notes", []), request.form["note"]]
    return redirect(url_for("index"))


@app.get("/note/<path:name>")
def note(name):
    return {"name": name, "query": request.args.to_dict(flat=False), "url": request.url}


@app.post("/upload")
def upload():
    file = request.files["file"]
    return {"name": file.filename, "sha256": hashlib.sha256(file.read()).hexdigest()}
