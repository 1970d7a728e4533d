"""A Quart application: what a visitor asked, an upload, and a clock that sends events.

    fcgi-run notes:app -b unix:/run/hello.sock            a worker: behind nginx and the like
    cp notes.cgi /usr/lib/cgi-bin/                        a CGI program: the same application, a process per request
"""

import asyncio
import hashlib
import itertools
import sys
import time

from quart import Quart, request, url_for

app = Quart(__name__)
app.config["RESPONSE_TIMEOUT"] = None  # the clock goes on for ever
app.config["MAX_CONTENT_LENGTH"] = 64 << 20


@app.while_serving
async def lifespan():
    """Around all requests of a worker, or around the one of a CGI program."""
    yield
    print("notes: the end", file=sys.stderr)


@app.get("/note/<path:name>")
async def note(name):
    url = url_for("note", name=name, _external=True)
    return {"name": name, "query": request.args.to_dict(flat=False), "url": url}


@app.post("/upload")
async def upload():
    file = (await request.files)["file"]
    return {"name": file.filename, "sha256": hashlib.sha256(file.read()).hexdigest()}


@app.get("/clock")
async def clock():
    async def ticks():
        for number in itertools.count(1):
            yield f"id: {number}\ndata: {time.time()}\n\n".encode()
            await asyncio.sleep(0.1)

    return ticks(), {"Content-Type": "text/event-stream"}
