"""ASGI applications below gunicorn's arbiter: the usual worker, its lifespan, hooks, log, and time-outs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Client
from tests.house import ROOT
from tests.masters import Master, environment, run_to_end, wait_for

APP = """\
import asyncio, json, os, time

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if os.environ.get("NO_DATABASE"):
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shut down", os.getpid(), flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    query = scope["query_string"]
    if query == b"block":
        time.sleep(30)
    await asyncio.sleep(float(query or 0))
    told = {"pid": os.getpid(), "path": scope["path"], "root": scope["root_path"], "method": scope["method"]}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})

def disguised(*messages):
    return application(*messages)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def bind(folder: Path) -> tuple[str, str]:
    return "-b", f"unix:{folder}/s"


def test_an_asgi_application_is_served_by_the_asyncio_worker(folder: Path) -> None:
    with Master(folder, *bind(folder), "--mount", "/shop") as master:
        told = master.ready().ask("/shop/cart")
        assert (told["path"], told["root"], told["method"]) == ("/shop/cart", "/shop", "GET")
        worker = master.workers()[0]
        assert told["pid"] == worker
        assert master.stop() == 0
        assert f"shut down {worker}" in master.log()


def test_gunicorn_itself_runs_it_with_our_worker(folder: Path) -> None:
    gunicorn = ("-m", "gunicorn", "-k", "gateway.Worker")
    with Master(folder, *bind(folder), app="app:application", program=gunicorn) as master:
        assert master.ready().ask()["path"] == "/"


def test_a_stated_interface_wins(folder: Path) -> None:
    with Master(folder, *bind(folder), "--interface", "asgi", app="app:disguised") as master:
        assert master.ready().ask()["path"] == "/"


@pytest.mark.parametrize(("model", "in_worker"), [("aio", True), ("fork", False)])
def test_each_of_its_models_serves_it(folder: Path, model: str, in_worker: bool) -> None:  # noqa: FBT001
    with Master(folder, *bind(folder), "--worker-model", model) as master:
        assert (master.ready().ask()["pid"] in master.workers()) == in_worker


def test_a_startup_that_fails_ends_the_server_with_the_reason(folder: Path) -> None:
    status, _, log = run_to_end(folder, *bind(folder), "app", env={"NO_DATABASE": "1"})
    assert status == 3
    assert "the application failed to start: no database" in log
    assert "Traceback" not in log


def test_a_model_that_does_not_serve_it_is_told_before_anything_is_bound(folder: Path) -> None:
    status, _, log = run_to_end(folder, *bind(folder), "--worker-model", "threads", "app")
    assert (status, log) == (2, "Error: worker model threads serves no ASGI applications; use fork or aio\n")


def test_requests_are_logged_and_hooks_are_called(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "def pre_request(worker, request):\n    worker.log.info('before %s', request.path)\n"
        "def post_request(worker, request, environ, response):\n    worker.log.info('after %s', response.status_code)\n"
    )
    with Master(folder, *bind(folder), "--access-logfile", "-") as master:
        master.ready().ask("/page")
        master.wait_log("before /page")
        master.wait_log("after 200")
        master.wait_log(r'"GET /page HTTP/1.[01]" 200 \d+')


def test_a_long_request_does_not_offend_the_arbiter(folder: Path) -> None:
    with Master(folder, *bind(folder), "--timeout", "1") as master:
        assert master.ready().ask("/?2.5")["path"] == "/"
        assert len(re.findall("Booting", master.log())) == 1


def test_a_loop_that_is_blocked_does(folder: Path) -> None:
    with Master(folder, *bind(folder), "--timeout", "1", "--graceful-timeout", "1") as master:
        master.ready()
        with Client(master.url) as client:
            assert client.request("GET", "/?block")[0] == "500 Internal Server Error"
        master.wait_log("request took longer than --timeout 1")
        assert master.ready(workers=2).ask()["path"] == "/"


def test_a_reload_shuts_the_old_worker_down_and_starts_a_new_one(folder: Path) -> None:
    with Master(folder, *bind(folder)) as master:
        before = master.ready().ask()["pid"]
        master.send(signal.SIGHUP)
        master.ready(workers=2)
        master.wait_log(f"shut down {before}")
        assert master.ask()["pid"] != before


def test_after_max_requests_a_fresh_worker_takes_over(folder: Path) -> None:
    with Master(folder, *bind(folder), "--max-requests", "2") as master:
        pids = [master.ready().ask()["pid"] for _ in range(2)]
        master.ready(workers=2)
        assert master.ask()["pid"] != pids[0] == pids[1]


def test_quit_ends_it_at_once(folder: Path) -> None:
    with Master(folder, *bind(folder)) as master:
        master.ready().ask()
        assert master.stop(signal.SIGQUIT) == 0


def test_at_a_terminal_it_is_a_development_server(folder: Path) -> None:
    (folder / "script.py").write_text("import gateway, app\ngateway.run(app.application)\n")
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=folder, env=environment(folder) | {"PORT": "0", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        url = re.findall(r"http://127.0.0.1:\d+/", process.stdout.readline())[0]

        def told() -> Any:
            with urllib.request.urlopen(f"{url}page", timeout=10) as answer:
                return json.load(answer)

        assert wait_for(told, otherwise=lambda: "no answer")["path"] == "/page"
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)
    assert "Traceback" not in errors
