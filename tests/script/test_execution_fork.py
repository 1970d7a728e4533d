"""``fork``: a script cannot tell that its interpreter was warm, and nothing of it is left for the next one."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError, ScriptError
from gateway.script import CGIScript
from gateway.script.execution import fork as fork_module
from gateway.script.execution.fork import Fork
from gateway.script.execution.spawn import Spawn
from gateway.workers import choose
from tests.requirements import require_module
from tests.script.execute import ENV, Ended, communicate, execute, is_gone, program, wait
from tests.serving import until
from tests.wsgi_calls import ask

pytestmark = pytest.mark.usefixtures("nothing_left_over")

MIB = 1024 * 1024

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fork]:
    """A strategy whose interpreter has started."""
    fork = Fork(preload=("json",))
    path = tmp_path_factory.mktemp("warm") / "pass.py"
    path.write_text("pass")
    assert execute(fork, program(path)) == Ended(0, b"", b"")
    yield fork
    fork.close()


@pytest.fixture
def cold() -> Iterator[Fork]:
    """A strategy of which nothing has started yet."""
    fork = Fork()
    yield fork
    fork.close()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a script."""

    def write(text: str, *, name: str = "script.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        path.chmod(0o755)
        return path

    return write


ORDINARY = {
    "what is defined": "print({name: repr(value) for name, value in sorted(globals().items())})",
    "its module": "import sys; print(sys.modules['__main__'].__dict__ is globals())",
    "its arguments": "import sys; print(sys.argv, sys.orig_argv)",
    "its interpreter": "import sys; print(sys.executable, sys.prefix, sys.path, sys.flags)",
    "its environment": "import os; print(sorted(os.environb.items()))",
    "the environment of its children": """
        import subprocess
        print(sorted(subprocess.run(["/usr/bin/env"], capture_output=True).stdout.split()))
        """,
    "its process": """
        import os
        print(os.getcwd(), os.umask(0), os.getuid(), os.getgid(), os.getgroups(), os.getpriority(os.PRIO_PROCESS, 0))
        print(os.getsid(0) == os.getpgrp() == os.getpid(), sorted(os.listdir("/proc/self/fd")))
        """,
    "its signals": """
        import signal
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            print(number, handler if isinstance(handler, signal.Handlers) else type(handler))
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1))
        """,
    "its streams": """
        import sys
        for stream in sys.stdin, sys.stdout, sys.stderr:
            raw = getattr(stream.buffer, "raw", stream.buffer)
            print(stream, stream.errors, stream.newlines, stream.line_buffering, stream.write_through, stream.isatty())
            print(stream.buffer, raw, raw.closefd, stream.fileno(), stream.writable() and stream.seekable())
        print(sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__)
        """,
    "its collector": "import gc; print(gc.isenabled(), gc.get_threshold(), gc.callbacks, gc.get_debug())",
    "its threads": "import threading; print([t.name for t in threading.enumerate()], threading.active_count())",
    "its time and language": """
        import faulthandler, locale, sys, time
        print(time.tzname, locale.setlocale(locale.LC_CTYPE), sys.getfilesystemencoding(), faulthandler.is_enabled())
        """,
    "its own source": "import inspect\ndef f(): pass\nprint(inspect.getsource(f), __loader__.get_source('__main__'))",
    "pickled objects": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
    "other processes": """
        import multiprocessing
        def double(number):
            return 2 * number
        if __name__ == "__main__":
            for method in "fork", "spawn":
                pool = multiprocessing.get_context(method).Pool(1)
                print(method, pool.map(double, [1, 2]))
                pool.close()  # and not terminate: a signal may find the child where it writes down its coverage
                pool.join()
        """,
    "output that is buffered": "print('é', end='')",
    "output in three ways": """
        import os, sys
        print("text", flush=True)
        sys.stdout.buffer.write(b"\\xffbytes")
        sys.stdout.flush()
        os.write(1, b"direct")
        """,
    "output of a stream of its own": """
        import codecs, sys
        sys.stdout = codecs.getwriter("latin-1")(sys.stdout.detach())
        print("é")
        """,
    "output of another stream of its own": """
        import io, sys
        sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="latin-1")
        print("é")
        """,
    "output that cannot be written": "import os; print('lost'); os.close(1)",
    "input": "import sys; print(sys.stdin.read())",
}

ENDS = {
    "an exception": "def f(): raise ValueError('é')\ntry: f()\nexcept ValueError as e: raise KeyError(1) from e",
    "a syntax error": "print('not run')\nif:\n",
    "a wrong indentation": "if 1:\nprint()",
    "a null byte": "print()\0",
    "a strange letter": "print(1)\nprint(€)",
    "a missing module": "import no_such_module",
    "a status": "import sys; print(1); sys.exit(3)",
    "a negative status": "import sys; sys.exit(-1)",
    "a large status": "raise SystemExit(300)",
    "no status": "raise SystemExit",
    "a message": "import sys; sys.exit('é')",
    "exit": "exit()",
    "a status at once": "import os; print('not flushed'); os._exit(7)",
    "a signal": "import os; os.kill(os.getpid(), 9)",
    "an interrupt": "import atexit\natexit.register(print, 'end')\nraise KeyboardInterrupt",
    "exit handlers": "import atexit\natexit.register(print, 1)\natexit.register(lambda: print(0, flush=True))",
    "an excepthook": "import sys\nsys.excepthook = lambda *args: print(args)\n1/0",
    "an excepthook that fails": "import sys\ndef hook(t, v, tb): 1/0\nsys.excepthook = hook\nraise KeyError(1)",
    "an excepthook that exits": "import sys\nsys.excepthook = lambda *args: sys.exit(4)\n1/0",
    "a thread that still works": """
        import threading, time
        def work():
            time.sleep(0.05)
            print("done")
        threading.Thread(target=work).start()
        """,
    "a thread that nobody waits for": """
        import threading, time
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        """,
    "a file": """
        def use():
            print(open("left_open").read())
        import atexit, os
        left_open = open("left_open", "w")
        left_open.write("written at the end")
        """,
}  # fmt: skip


def alike(fork: Fork, path: Path, *args: str, **options: Any) -> Ended:
    """How a script ends by fork, which is how it ends by spawn."""
    stdin = options.pop("stdin", None)
    forked = execute(fork, program(path, *args, **options), stdin=stdin)
    spawned = execute(Spawn(), program(path, *args, **options), stdin=stdin)
    assert _comparable(forked.stderr) == _comparable(spawned.stderr)
    assert _comparable(forked.stdout) == _comparable(spawned.stdout)
    assert forked.returncode == spawned.returncode
    return forked


def _comparable(output: bytes) -> str:
    """Without addresses, and without what Pythons say in different words."""
    text = re.sub(r" at 0x[0-9a-f]+", "", output.decode("utf-8", "replace"))
    return re.sub(r"Exception ignored (in|on flushing).*", "Exception ignored", text)


class TestLikeANewInterpreter:
    @pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY)
    def test_it_gives(self, warm: Fork, write: Write, text: str) -> None:
        alike(warm, write(text), "one", "zwö", stdin=b"r\xc3\xa9ad\r\n")

    @pytest.mark.parametrize("text", ENDS.values(), ids=ENDS)
    def test_it_ends_by(self, warm: Fork, write: Write, text: str) -> None:
        alike(warm, write(text))

    def test_what_is_left_open_is_written(self, warm: Fork, write: Write, tmp_path: Path) -> None:
        execute(warm, program(write(ENDS["a file"])))
        assert (tmp_path / "left_open").read_text() == "written at the end"

    def test_what_is_left_over_is_deleted(self, warm: Fork, write: Write) -> None:
        text = "class A:\n    def __del__(self): print(A.__name__)\na = A()\na.itself = a"
        assert execute(warm, program(write(text))).stdout == b"A\n"

    @pytest.mark.parametrize(
        "env",
        [{"LANG": "C"}, {"LC_ALL": "C"}, {"PYTHONUTF8": "1"}, {"PYTHONIOENCODING": "latin-1:replace"},
         {"TZ": "Asia/Tokyo"}, {"PYTHONUNBUFFERED": "1"}],
    )  # fmt: skip
    def test_it_heeds(self, cold: Fork, write: Write, env: dict[str, str]) -> None:
        text = "\n".join(map(textwrap.dedent, (ORDINARY[name] for name in (
            "its streams", "its time and language", "its environment", "output that is buffered",
        ))))  # fmt: skip
        alike(cold, write(text), env=env, stdin=b"")

    @pytest.mark.parametrize("option", ["-u", "-I", "-s", "-B", "-Es"])
    def test_it_takes_the_options_of_the_first_line(self, cold: Fork, write: Write, option: str) -> None:
        text = f"#!{sys.executable} {option}\n" + ORDINARY["its interpreter"] + textwrap.dedent(ORDINARY["its streams"])
        alike(cold, write(text), interpreter=(), stdin=b"")
        assert len(cold._warm) == 1

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_cgitb_reports(self, warm: Fork, write: Write) -> None:
        require_module("cgitb", package="legacy-cgi")
        ended = execute(warm, program(write("import cgitb; cgitb.enable(format='text')\n1/0")))
        assert ended.returncode == 1
        assert b"ZeroDivisionError: division by zero" in ended.stdout and b"forker" not in ended.stdout

    def test_a_form_is_read(self, cold: Fork, write: Write) -> None:
        require_module("cgi", package="legacy-cgi")
        path = write("import cgi; print(cgi.FieldStorage().getvalue('é'))")
        env = {**ENV, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "8", "PYTHONWARNINGS": "ignore"}
        assert alike(cold, path, env=env, stdin=b"%C3%A9=1").stdout == b"1\n"

    def test_chance_differs(self, warm: Fork, write: Write) -> None:
        path = write("import random, uuid; print(random.random(), uuid.uuid4())")
        assert len({execute(warm, program(path)).stdout for _ in range(3)}) == 3


class TestBetweenRuns:
    @pytest.mark.parametrize("what", ["its environment", "its process", "its signals", "its streams"])
    def test_nothing_is_passed_on(self, warm: Fork, write: Write, what: str) -> None:
        look = write(ORDINARY[what], name="look.py")
        before = execute(warm, program(look))
        execute(warm, program(write("""
            import builtins, json, os, signal, sys
            os.environ["LEAK"] = builtins.leak = json.leak = "leak"
            os.environ.pop("PATH")
            os.chdir("/"); os.umask(0o77); os.open("/", os.O_RDONLY)
            sys.path.insert(0, "leak")
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            sys.stdout.reconfigure(encoding="latin-1")
            """)))  # fmt: skip
        assert execute(warm, program(look)) == before

    def test_modules_are_as_they_were_preloaded(self, warm: Fork, write: Write) -> None:
        path = write("import json, sys; print(hasattr(json, 'x'), 'wave' in sys.modules); import wave; json.x = 1")
        assert [execute(warm, program(path)).stdout for _ in range(2)] == [b"False False\n"] * 2

    def test_a_script_is_compiled_once(self, warm: Fork, write: Write) -> None:
        path = write("import gc; print(gc.get_freeze_count() > 0, (lambda: 0).__code__.co_filename == __file__)")
        assert execute(warm, program(path)).stdout == b"True True\n"

    def test_a_script_that_has_changed_is_read_again(self, warm: Fork, write: Write) -> None:
        path = write("print(1)")
        stat = path.stat()
        assert execute(warm, program(path)).stdout == b"1\n"
        write("print(2)")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert execute(warm, program(path)).stdout == b"2\n"

    def test_a_script_that_was_mended_runs(self, warm: Fork, write: Write) -> None:
        assert execute(warm, program(write("if"))).returncode == 1
        assert execute(warm, program(write("print(1)"))).stdout == b"1\n"

    def test_scripts_are_forgotten_when_there_are_many(self, warm: Fork, write: Write, tmp_path: Path) -> None:
        for number in range(300):
            path = write(f"print({number})", name=f"{number}.py")
            process = warm.start(program(path), stdin=False)
            assert communicate(process).stdout == b"%d\n" % number


class TestStreams:
    def test_large_bodies_both_ways(self, warm: Fork, write: Write) -> None:
        path = write("import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)")
        body = os.urandom(MIB) * 8
        assert execute(warm, program(path), stdin=body).stdout == body

    def test_input_that_is_not_read(self, warm: Fork, write: Write) -> None:
        assert execute(warm, program(write("print(1)")), stdin=bytes(MIB)) == Ended(0, b"1\n", b"")

    def test_no_input(self, warm: Fork, write: Write) -> None:
        path = write("import os, sys; print(sys.stdin.read() == '', os.readlink('/proc/self/fd/0'))")
        assert execute(warm, program(path)).stdout == b"True /dev/null\n"

    def test_much_stderr(self, warm: Fork, write: Write) -> None:
        assert len(execute(warm, program(write("import sys; sys.stderr.write('e' * 2**20)"))).stderr) == MIB

    def test_output_comes_when_it_is_written(self, warm: Fork, write: Write) -> None:
        process = warm.start(program(write("print(input(), flush=True); print(input())")), stdin=True)
        assert process.stdin is not None and process.stdout is not None
        os.write(process.stdin.fileno(), b"one\n")
        assert os.read(process.stdout.fileno(), 100) == b"one\n"
        assert communicate(process, b"two\n").stdout == b"two\n"


class TestWhatIsDecided:
    def test_arguments_that_are_no_text(self, warm: Fork, write: Write) -> None:
        path = write("import os, sys; print(os.fsencode(sys.argv[1]))")
        wanted = program(path)
        wanted.args = [b"\xff"]
        assert execute(warm, wanted).stdout == rb"b'\xff'" + b"\n"

    def test_a_large_environment(self, warm: Fork, write: Write) -> None:
        path = write("import os; print(len(os.environ['HTTP_COOKIE']))")
        assert execute(warm, program(path, env={**ENV, "HTTP_COOKIE": "x" * MIB})).stdout == b"1048576\n"

    def test_umask_and_limits(self, warm: Fork, write: Write) -> None:
        import resource

        path = write("import os, resource; print(os.umask(0), resource.getrlimit(resource.RLIMIT_CPU))")
        wanted = program(path, umask=0o27, rlimits={resource.RLIMIT_CPU: (7, 9)})
        assert execute(warm, wanted).stdout == b"23 (7, 9)\n"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
    def test_another_user(self, cold: Fork) -> None:
        with tempfile.TemporaryDirectory() as folder:  # pytest's are closed to other users
            os.chmod(folder, 0o755)
            path = Path(folder, "script.py")
            path.write_text("import os; print(os.getresuid(), os.getresgid(), sorted(os.getgroups()), os.getppid())")
            wanted = program(path, interpreter=["/usr/bin/python3"], user=65534, group=65534, groups=[65534, 33])
            *said, parent = execute(cold, wanted).stdout.rsplit(maxsplit=1)
            assert said == [b"(65534, 65534, 65534) (65534, 65534, 65534) [33, 65534]"]
            assert os.stat(f"/proc/{int(parent)}").st_uid == 65534
            path.chmod(0o700)
            assert execute(cold, wanted).returncode == 2  # as the interpreter says that it cannot open the file

    def test_each_user_has_an_interpreter(self, cold: Fork, write: Write) -> None:
        path = write("import os; print(os.getppid())")
        parents = {execute(cold, program(path, env={**ENV, "TZ": zone})).stdout for zone in ("UTC", "UTC", "CET")}
        assert len(parents) == 2

    def test_only_so_many_are_kept(self, write: Write) -> None:
        fork = Fork(interpreters=1)
        path = write("import os; print(os.getppid())")
        parents = {execute(fork, program(path, env={**ENV, "TZ": zone})).stdout for zone in ("UTC", "CET", "UTC")}
        assert (len(parents), len(fork._warm)) == (3, 1)
        fork.close()


class TestInterpreter:
    def test_modules_are_preloaded(self, write: Write) -> None:
        path = write("import sys; print('wave' in sys.modules, 'zipapp' in sys.modules)")
        fork = Fork(preload=("zipapp",))
        assert execute(fork, program(path)).stdout == b"False True\n"
        fork.close()

    def test_a_module_that_cannot_be_preloaded_is_logged(
        self, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write("1/0", name="broken.py")
        fork = Fork(preload=("no_such_module", "broken"))
        wanted = program(write("print(1)"), env={**ENV, "PYTHONPATH": str(tmp_path)})
        assert execute(fork, wanted) == Ended(0, b"1\n", b"")
        assert "cannot preload no_such_module: import error: its Python lacks no_such_module" in caplog.text
        assert "cannot preload broken: ZeroDivisionError: division by zero" in caplog.text
        fork.close()

    def test_one_name_to_preload_is_no_sequence_of_names(self) -> None:
        with pytest.raises(ConfigError, match=r"write preload=\('cgi',\)"):
            Fork(preload="cgi")

    @pytest.mark.parametrize("line", [f"#!{sys.executable}", "#!/usr/bin/env python3", f"#!  {sys.executable}  -B "])
    def test_is_what_the_first_line_names(self, cold: Fork, write: Write, line: str) -> None:
        path = write(f"{line}\nprint(1)")
        assert execute(cold, program(path, interpreter=())).stdout == b"1\n"
        assert None not in cold._warm.values() and cold._warm

    @pytest.mark.parametrize("line", ["#!/bin/sh", "#!/usr/bin/env sh", "#!/usr/bin/env -S sh -e"])
    def test_is_not_there_for_another_language(self, cold: Fork, write: Write, line: str) -> None:
        assert execute(cold, program(write(f"{line}\necho 1"), interpreter=())) == Ended(0, b"1\n", b"")
        assert not cold._warm

    def test_is_not_there_for_a_zip_archive(self, cold: Fork, write: Write, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
            archive.writestr("__main__.py", "print(1)")
        assert execute(cold, program(tmp_path / "app.pyz")) == Ended(0, b"1\n", b"")

    @pytest.mark.parametrize("option", ["-m", "-c"])
    def test_is_not_there_for_what_is_no_script(self, cold: Fork, write: Write, option: str) -> None:
        execute(cold, program(write(f"#!{sys.executable} {option}\n"), interpreter=()))
        assert not cold._warm

    def test_that_cannot_be_kept_warm_is_started_each_time(
        self, cold: Fork, write: Write, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = write("print(1)")
        old = write(f'#!/bin/sh\n[ "$1" = -c ] && exit 1\nexec {sys.executable} "$@"', name="python3")
        for _ in range(2):
            assert execute(cold, program(path, interpreter=[str(old)])).stdout == b"1\n"
        assert caplog.text.count("cannot be kept warm") == 1 and "exited with status 1" in caplog.text

    @pytest.mark.parametrize(
        ("text", "mode", "message"),
        [
            ("print(1)", 0o755, "neither begins with #!"),
            (f"#!{sys.executable}\nprint(1)", 0o644, "chmod"),
            ("#!/no/such/python3\n", 0o755, "/no/such/python3"),
            (f"#!{sys.executable}\r\nprint(1)", 0o755, "CR LF"),
        ],
    )
    def test_cannot_run_what_the_system_would_not_start(
        self, cold: Fork, write: Write, text: str, mode: int, message: str
    ) -> None:
        path = write(text)
        path.chmod(mode)
        with pytest.raises(ScriptError, match=message):
            cold.start(program(path, interpreter=()), stdin=False)

    def test_a_directory_that_is_not_there_is_named(self, warm: Fork, write: Write, tmp_path: Path) -> None:
        with pytest.raises(ScriptError, match="cwd="):
            warm.start(program(write("print(1)"), cwd=tmp_path / "none"), stdin=False)

    def test_that_died_is_replaced(self, cold: Fork, write: Write, caplog: pytest.LogCaptureFixture) -> None:
        path = write("import os; print(os.getppid())")
        first = execute(cold, program(path)).stdout
        os.kill(int(first), signal.SIGKILL)
        second = execute(cold, program(path))
        assert (second.returncode, second.stdout != first) == (0, True)
        assert "died by signal 9 (Killed); a new one is started" in caplog.text

    def test_takes_its_scripts_along_when_it_dies(self, cold: Fork, write: Write) -> None:
        path = write("import os, time; print(os.getppid(), flush=True); time.sleep(60)")
        process = cold.start(program(path), stdin=False)
        assert process.stdout is not None
        os.kill(int(os.read(process.stdout.fileno(), 100)), signal.SIGKILL)
        assert wait(process) == -signal.SIGKILL
        assert communicate(process).stdout == b""

    def test_takes_a_script_along_once_it_is_dead_itself(self, cold: Fork, write: Write) -> None:
        path = write("import os; os.kill(os.getppid(), 9); print(1)")
        assert execute(cold, program(path)).stdout == b"1\n"

    def test_that_is_short_of_descriptors_lets_others_start_it(self, cold: Fork, write: Write) -> None:
        import resource

        path = write("import os, sys; print(os.getppid(), sys.stdin.read())")
        parent = int(execute(cold, program(path)).stdout)
        taken = set(map(int, os.listdir(f"/proc/{parent}/fd")))
        limit = next(limit for limit in range(1000) if len(set(range(limit)) - taken) == 2)
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (limit, limit))
        assert execute(cold, program(path), stdin=b"x").stdout == b"%d x\n" % os.getpid()
        assert execute(cold, program(path), stdin=b"x").stdout == b"%d x\n" % os.getpid()

    def test_ends_when_it_is_closed(self, cold: Fork, write: Write) -> None:
        parent = int(execute(cold, program(write("import os; print(os.getppid())"))).stdout)
        cold.close()
        with pytest.raises(ProcessLookupError):
            os.kill(parent, 0)

    def test_stays_for_its_scripts_when_it_is_closed(self, cold: Fork, write: Write) -> None:
        process = cold.start(program(write("print(input())")), stdin=True)
        cold.close()
        assert communicate(process, b"still\n") == Ended(0, b"still\n", b"")

    def test_starts_again_after_it_was_closed(self, cold: Fork, write: Write) -> None:
        for _ in range(2):
            assert execute(cold, program(write("print(1)"))).stdout == b"1\n"
            cold.close()

    def test_that_does_not_answer_is_ended(
        self, cold: Fork, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write("import os; print(os.getppid())")
        os.kill(int(execute(cold, program(path)).stdout), signal.SIGSTOP)
        monkeypatch.setattr(fork_module, "START_WITHIN", 0.1)
        with pytest.raises(ScriptError, match="did not begin to run it within") as caught:
            cold.start(program(path), stdin=False)
        assert caught.value.status_hint == "503 Service Unavailable"
        monkeypatch.undo()
        parent = int(execute(cold, program(path)).stdout)
        assert parent != os.getpid() and len(cold._warm) == 1


class TestProcess:
    def test_is_its_own_session_and_can_be_killed_with_its_children(self, warm: Fork, write: Write) -> None:
        text = "import os, subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
        process = warm.start(program(write(text)), stdin=False)
        assert process.stdout is not None
        child = int(os.read(process.stdout.fileno(), 100))
        os.killpg(process.pid, signal.SIGKILL)
        assert communicate(process).returncode == -signal.SIGKILL
        until(lambda: is_gone(child))

    def test_keeps_its_number_until_its_end_is_known(self, warm: Fork, write: Write) -> None:
        process = warm.start(program(write("pass")), stdin=False)
        assert process.stdout is not None and os.read(process.stdout.fileno(), 1) == b""
        until(lambda: is_gone(process.pid))
        os.killpg(process.pid, signal.SIGKILL)  # the group is still its own
        assert communicate(process).returncode == 0
        until(lambda: not os.path.exists(f"/proc/{process.pid}"))

    def test_tells_by_a_descriptor_that_it_has_ended(self, warm: Fork, write: Write) -> None:
        process = warm.start(program(write("input()")), stdin=True)
        assert isinstance(process, fork_module.Child)
        assert "returncode=None" in repr(process)
        poll = select.poll()
        poll.register(process, select.POLLIN)
        assert poll.poll(20) == []
        assert process.stdin is not None
        os.write(process.stdin.fileno(), b"\n")
        assert len(poll.poll(10000)) == 1
        assert communicate(process).returncode == 0

    def test_that_nobody_holds_any_more_is_ended(self, warm: Fork, write: Write) -> None:
        process: Any = warm.start(program(write("import time; time.sleep(60)")), stdin=False)
        for held in (process._lease, process.stdout, process.stderr):
            held.close()
        until(lambda: not os.path.exists(f"/proc/{process.pid}"))

    def test_that_nobody_holds_any_more_is_killed_if_it_does_not_end(self, warm: Fork, write: Write) -> None:
        text = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
        process: Any = warm.start(program(write(text)), stdin=False)
        os.read(process.stdout.fileno(), 100)
        for held in (process._lease, process.stdout, process.stderr):
            held.close()
        until(lambda: not os.path.exists(f"/proc/{process.pid}"))

    def test_many_at_once(self, warm: Fork, write: Write) -> None:
        path = write("import sys; print(sys.argv[1], sys.stdin.read())")
        wanted = [program(path, str(number)) for number in range(50)]
        processes = [warm.start(each, stdin=True) for each in wanted]
        said = [communicate(process, b"x") for process in processes]
        assert said == [Ended(0, b"%d x\n" % number, b"") for number in range(50)]

    def test_from_many_threads(self, cold: Fork, write: Write) -> None:
        path = write("import sys; print(sys.argv[1])")
        with ThreadPoolExecutor(8) as pool:
            said = list(pool.map(lambda number: execute(cold, program(path, str(number))).stdout, range(50)))
        assert said == [b"%d\n" % number for number in range(50)]
        assert len(cold._warm) == 1


class TestOurOwnProcess:
    def test_ends_its_scripts_when_it_dies(self, write: Write, tmp_path: Path) -> None:
        server = write(f"""
            import os, sys, time
            sys.path[:0] = {sys.path!r}
            from pathlib import Path
            from gateway.script.execution.fork import Fork
            from tests.script.execute import program
            process = Fork().start(program(Path("sleeps.py").absolute()), stdin=False)
            print(process.pid, os.read(process.stdout.fileno(), 100).decode(), flush=True)
            os.kill(os.getpid(), 9)
            """, name="server.py")  # fmt: skip
        write("import os, time; print(os.getppid(), flush=True); time.sleep(60)", name="sleeps.py")
        said = subprocess.run([sys.executable, server], cwd=tmp_path, stdout=subprocess.PIPE).stdout
        for pid in map(int, said.split()):
            until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]

    def test_does_not_share_its_interpreter_with_a_fork_of_itself(self, warm: Fork, write: Write) -> None:
        path = write("import os; print(os.getppid())")
        ours = execute(warm, program(path)).stdout
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, execute(warm, program(path)).stdout)
                warm.close()
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader, "rb") as theirs:
            assert theirs.read() not in (ours, b"")
        os.waitpid(pid, 0)
        assert execute(warm, program(path)).stdout == ours

    def test_does_not_hang_when_forked_while_a_thread_starts_a_script(self, warm: Fork, write: Write) -> None:
        path = write("pass")
        with warm._lock:
            pid = os.fork()
            if pid == 0:
                try:
                    execute(warm, program(path))
                    warm.close()
                finally:
                    os._exit(0)
        until(lambda: os.waitpid(pid, os.WNOHANG)[0])


class TestCGIScript:
    def test_answers(self, write: Write) -> None:
        app = CGIScript(write(f"#!{sys.executable}\nprint('Content-Type: text/x\\n\\n', input())"), execution="fork")
        for number in b"1", b"2":
            assert ask(app, REQUEST_METHOD="POST", body=number).body.split() == [number]
        app.close()

    def test_is_ended_with_its_children_when_it_takes_too_long(self, write: Write) -> None:
        path = write("import subprocess, sys; p = subprocess.Popen(['sleep', '60']); sys.exit(p.wait())")
        app = CGIScript(path, interpreter=[sys.executable], execution="fork", timeout=0.3)
        assert ask(app).status == "504 Gateway Timeout"
        app.close()

    def test_names_what_it_lacks(self, write: Write, caplog: pytest.LogCaptureFixture) -> None:
        app = CGIScript(write("import no_such_module"), interpreter=[sys.executable], execution="fork")
        assert ask(app).status == "502 Bad Gateway"
        assert "its Python lacks no_such_module" in caplog.text
        app.close()


class TestWorkerModel:
    """A worker that forks for each request would start an interpreter for each request."""

    @pytest.mark.parametrize("execution", ["fork", {"*.py": "fork", "*": "spawn"}])
    @pytest.mark.parametrize("interface", ["wsgi", "asgi"])
    def test_that_ends_with_each_request_is_refused(self, execution: Any, interface: str) -> None:
        host = CGIScript("/bin/true", execution=execution)
        with pytest.raises(ConfigError, match="keeps warm: use worker model threads"):
            choose(host if interface == "wsgi" else host.asgi, model="fork")

    def test_that_stays_is_welcome(self) -> None:
        assert choose(CGIScript("/bin/true", execution="fork"), model="threads") == ("wsgi", "threads")

    def test_may_be_any_for_other_strategies(self) -> None:
        assert choose(CGIScript("/bin/true", execution="inprocess"), model="fork") == ("wsgi", "fork")
