"""A FastAPI application: notes in a database that its lifespan opens, an upload, and a clock that sends events.

    fcgi-run notes:app -b unix:/run/hello.sock            a worker: behind nginx and the like
    cp notes.cgi /usr/lib/cgi-bin/                        a CGI program: the same application, a process per request
"""

import asyncio
import hashlib
import itertools
import os
import sqlite3
import sys
import time
from contextlib import asynccontextmanager, closing
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Form, Request, UploadFile
from fastapi.responses import StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Around all requests of a worker, or around the one of a CGI program."""
    path = os.environ.get("NOTES", "notes.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as database:
        database.execute("CREATE TABLE IF NOT EXISTS notes (note TEXT)")
        yield {"database": database}
    print("notes: the end", file=sys.stderr)


def database(request: Request):
    """The dependency: what the lifespan opened."""
    return request.state.database


app = FastAPI(lifespan=lifespan)
Database = Annotated[sqlite3.Connection, Depends(database)]


@app.get("/")
def index(database: Database):
    return [note for (note,) in database.execute("SELECT note FROM notes")]


@app.post("/add", status_code=202)
def add(note: Annotated[str, Form()], database: Database, tasks: BackgroundTasks):
    tasks.add_task(database.execute, "INSERT INTO notes VALUES (?)", [note])  # once the visitor has been answered
    return {"accepted": note}


@app.get("/export")
def export(database: Database):
    notes = database.execute("SELECT note FROM notes")
    return StreamingResponse((f"* {note}\n" for (note,) in notes), media_type="text/markdown")


@app.get("/note/{name:path}")
def note(name: str, request: Request):
    query = {key: request.query_params.getlist(key) for key in request.query_params}
    return {"name": name, "query": query, "url": str(request.url_for("note", name=name))}


@app.post("/upload")
async def upload(file: UploadFile):
    digest = hashlib.sha256()
    while block := await file.read(1 << 20):
        digest.update(block)
    return {"name": file.filename, "sha256": digest.hexdigest()}


@app.get("/clock")
async def clock():
    async def ticks():
        for number in itertools.count(1):
            yield f"id: {number}\ndata: {time.time()}\n\n"
            await asyncio.sleep(0.1)

    # So that nginx passes each on as it comes; fastcgi_buffering off in its configuration has the same effect.
    return StreamingResponse(ticks(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
