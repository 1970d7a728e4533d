"""A Starlette application: what a visitor asked, an upload, and a clock that sends events.

    fcgi-run notes:app -b unix:/run/hello.sock            a worker: behind nginx and the like
    cp notes.cgi /usr/lib/cgi-bin/                        a CGI program: the same application, a process per request
"""

import asyncio
import hashlib
import itertools
import sys
import time
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


@asynccontextmanager
async def lifespan(app):
    """Around all requests of a worker, or around the one of a CGI program."""
    yield
    print("notes: the end", file=sys.stderr)


async def note(request):
    name, query = request.path_params["name"], request.query_params
    url = str(request.url_for("note", name=name))
    return JSONResponse({"name": name, "query": {key: query.getlist(key) for key in query}, "url": url})


async def upload(request):
    async with request.form() as form:
        digest = hashlib.sha256()
        while block := await form["file"].read(1 << 20):
            digest.update(block)
        return JSONResponse({"name": form["file"].filename, "sha256": digest.hexdigest()})


async def clock(request):
    async def ticks():
        for number in itertools.count(1):
            yield f"id: {number}\ndata: {time.time()}\n\n"
            await asyncio.sleep(0.1)

    # So that nginx passes each on as it comes; fastcgi_buffering off in its configuration has the same effect.
    return StreamingResponse(ticks(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/note/{name:path}", note, name="note"),
        Route("/upload", upload, methods=["POST"]),
        Route("/clock", clock),
    ],
)
