"""The CGI section: wall time of one process per request, on each Python found, beside that of a forked worker."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from operator import sub, truediv
from pathlib import Path
from statistics import median

from .contenders import GATEWAY, OURS_FORK, OURS_KEPT, Contender
from .hello import BODY
from .measure import Result
from .report import Column, Section
from .servers import SOURCE, answers_hello, behind_nginx

PROCESSES_PER_ROUND = 10
REQUESTS_PER_ROUND = 100
OLDEST_MINOR = 10

PASS, OURS, WSGIREF = "python -c pass", "gateway.run", "wsgiref.CGIHandler"
ARGUMENTS = {PASS: ["-c", "pass"], OURS: ["gateway_run.py"], WSGIREF: ["wsgiref_handler.py"]}
WORKERS = {"a request to a fork worker": OURS_FORK, "a request to a thread worker": OURS_KEPT}
NAMES = [*ARGUMENTS, *WORKERS]

TITLE = "A process per request: wall time of the whole process"
COLUMNS = [
    Column("median ms", "median", "{:.2f}"),
    Column("fastest ms", "fastest", "{:.2f}"),
    Column(f"ms over {PASS}", "over_pass", "{:+.2f}"),
    Column(f"× {WSGIREF}", "vs_wsgiref", "{:.2f}"),
]
NOTE = (
    "The scripts, the application and the package are compiled beforehand, and a process of each kind runs in turn: "
    "the last two columns are medians over the turns. "
    "A Python whose site-packages holds .pth files that run code starts later, whatever it runs. "
    "The two workers stay: theirs is the time of one request through nginx, one after the other."
)

CGI_ENVIRONMENT = {
    "PATH": os.defpath,
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_SOFTWARE": "benchmarks",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "REMOTE_ADDR": "127.0.0.1",
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/hello",
    "SCRIPT_NAME": "/hello",
    "PATH_INFO": "",
    "QUERY_STRING": "",
}


def run(names: Collection[str], *, seconds: float, rounds: int, progress: Callable[[str], None]) -> Section:
    """Measure the programs and workers called `names`; `seconds` has no meaning here."""
    available = GATEWAY.version() is not None
    skipped = [name for name in names if name in {OURS, *WORKERS} and not available]
    results = [Result(name, "skipped", f"needs {GATEWAY.name}: {GATEWAY.install}") for name in skipped]
    programs = [name for name in ARGUMENTS if name in names and name not in skipped]
    if programs:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as place:
            for version, python in interpreters().items():
                progress(f"cgi: Python {version}")
                results += measure_processes(programs, python=python, version=version, place=Path(place), rounds=rounds)
    workers = {name: WORKERS[name] for name in WORKERS if name in names and name not in skipped}
    if workers:
        progress("cgi: workers")
        results += measure_workers(workers, rounds=rounds)
    return Section("cgi", TITLE, COLUMNS, results, NOTE)


def interpreters() -> dict[str, Path]:
    """Find each Python that `gateway` supports, on PATH and among pyenv's; return version: executable, ascending.

    Whatever is found says itself where it really is: a pyenv shim or a virtual environment would add to the time.
    """
    ask = "import os, sys; print('%d.%d.%d' % sys.version_info[:3], os.path.realpath(sys.executable))"
    found: dict[str, Path] = {}
    for candidate in candidates():
        told = subprocess.run([candidate, "-c", ask], capture_output=True, text=True)
        if told.returncode == 0:
            version, _, executable = told.stdout.strip().partition(" ")
            found.setdefault(version, Path(executable))
    return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]))


def candidates() -> Iterator[Path]:
    """Yield every file called python3.N with a supported N."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    directories = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep)]
    directories += [Path(sys.base_prefix, "bin"), *sorted(pyenv.glob("versions/*/bin"))]
    for directory in directories:
        for path in directory.glob("python3.*"):
            minor = re.fullmatch(r"python3\.(\d+)", path.name)
            if minor and int(minor[1]) >= OLDEST_MINOR:
                yield path


def measure_processes(names: list[str], *, python: Path, version: str, place: Path, rounds: int) -> list[Result]:
    """Time the programs called `names` on one interpreter."""
    results = {name: Result(f"{version}: {name}") for name in names}
    install(place, python=python)
    for name in names:
        if problem := check(name, python=python, place=place):
            results[name].status, results[name].remark = "failed", problem
    times: dict[str, list[float]] = {name: [] for name in names if results[name].status == "measured"}
    for _ in range(rounds * PROCESSES_PER_ROUND):
        for name in times:
            start = time.perf_counter()
            spawn(name, python=python, place=place)
            times[name].append(time.perf_counter() - start)
    for name, taken in times.items():
        figures = results[name].figures
        figures |= {"median": median(taken) * 1000, "fastest": min(taken) * 1000}
        if PASS in times and name != PASS:
            figures["over_pass"] = median(map(sub, taken, times[PASS])) * 1000
        if WSGIREF in times and name != PASS:
            figures["vs_wsgiref"] = median(map(truediv, taken, times[WSGIREF]))
    return list(results.values())


def install(place: Path, *, python: Path) -> None:
    """Put the scripts, the application and the package into `place`, compiled for `python`."""
    for script in [SOURCE / "hello.py", *(SOURCE / "cgi_scripts").glob("*.py")]:
        shutil.copy(script, place)
    if GATEWAY.version() is not None:
        import gateway

        package = Path(gateway.__file__).parent
        shutil.copytree(package, place / "gateway", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([python, "-m", "compileall", "-q", place], env={"PATH": os.defpath}, check=True)


def spawn(
    name: str, *, python: Path, place: Path, stderr: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[bytes]:
    """Run one program to its end, as a web server would."""
    command = [str(python), *ARGUMENTS[name]]
    return subprocess.run(
        command, cwd=place, env=CGI_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr
    )


def check(name: str, *, python: Path, place: Path) -> str:
    """Return what is wrong with one program's answer, nothing if it is right."""
    done = spawn(name, python=python, place=place, stderr=subprocess.PIPE)
    expected = b"" if name == PASS else BODY
    if done.returncode == 0 and done.stdout.endswith(expected):
        return ""
    complaint = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return f"status {done.returncode}, wrote {done.stdout[-60:]!r}; {complaint}"


def measure_workers(workers: dict[str, Contender], *, rounds: int) -> list[Result]:
    """Time requests to persistent processes, one at a time."""
    results = []
    with behind_nginx(list(workers.values()), application="benchmarks.hello:application") as stage:
        for name, contender in workers.items():
            if contender in stage.failures or not answers_hello(stage, contender):
                results.append(Result(name, "failed", stage.failures[contender]))
                continue
            taken = list(time_requests(stage.port, path=f"/{contender.slug}", number=rounds * REQUESTS_PER_ROUND))
            results.append(Result(name, figures={"median": median(taken) * 1000, "fastest": min(taken) * 1000}))
    return results


def time_requests(port: int, *, path: str, number: int) -> Iterator[float]:
    """Yield the time of each of `number` requests on one kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for _ in range(number):
            start = time.perf_counter()
            connection.request("GET", path)
            connection.getresponse().read()
            yield time.perf_counter() - start
    finally:
        connection.close()
