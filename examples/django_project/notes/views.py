"""The pages."""

import asyncio
import hashlib
import itertools
import time

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST


def index(request):
    notes = format_html_join("", "<li>{}</li>", ([note] for note in request.session.get("notes", [])))
    return HttpResponse(
        format_html(
            '<form method="post" action="{}"><input type="hidden" name="csrfmiddlewaretoken" value="{}">'
            '<input name="note"></form><ul>{}</ul>',
            reverse("add"), get_token(request), notes,
        )
    )  # fmt: skip


@require_POST
def add(request):
    request.session["notes"] = [*request.session.get("notes", []), request.POST["note"]]
    return redirect("index")


def note(request, name):
    return JsonResponse({"name": name, "query": dict(request.GET), "url": request.build_absolute_uri()})


@csrf_exempt  # a program uploads here, not a form
@require_POST
def upload(request):
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "sha256": hashlib.sha256(file.read()).hexdigest()})


async def clock(request):
    if not isinstance(request, ASGIRequest):  # Django would wait for the end, which never comes
        return HttpResponse("Only notes.asgi:application can do this.\n", status=501, content_type="text/plain")

    async def ticks():
        for number in itertools.count(1):
            yield f"id: {number}\ndata: {time.time()}\n\n"
            await asyncio.sleep(0.1)

    return StreamingHttpResponse(ticks(), content_type="text/event-stream")
