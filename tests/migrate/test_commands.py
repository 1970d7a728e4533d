"""``runfcgi`` and wfastcgi where no code names them: what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.migrate import CHANGE, COMPAT
from gateway.migrate.commands import in_lines, modern
from gateway.migrate.files import COMMANDS, PYTHON, WEB_CONFIG, find, kind_of
from gateway.migrate.report import examine


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ("", "fcgi-run PROJECT.wsgi:application --workers 5"),
        ("method=threaded maxchildren=9 port=3033 daemonize=false",
         "fcgi-run PROJECT.wsgi:application --threads 9 -b 127.0.0.1:3033"),
        ("method=threaded host=::1 daemonize=f socket=/run/a.sock umask=0",
         "fcgi-run PROJECT.wsgi:application --threads 50 -b unix:/run/a.sock --umask 0"),
        ("protocol=scgi host=10.0.0.1 port=4000 maxrequests=100 pidfile=/run/a.pid errlog='/var/log/a b'",
         "scgi-run PROJECT.wsgi:application --workers 5 -b 10.0.0.1:4000 --daemon "
         "--error-logfile \"/var/log/a b\" --max-requests 100 --pid /run/a.pid"),
        ("protocol=ajp --settings=a workdir=/a", "ajp-run PROJECT.wsgi:application --workers 5 --chdir /a"),
    ],
)  # fmt: skip
def test_runfcgi_is_a_command_today(options: str, command: str) -> None:
    (found,) = in_lines(f"python manage.py runfcgi {options}")
    program = "python -m gateway.compat manage.py runfcgi …"
    assert (found.line, found.verdict, found.advice) == (1, COMPAT, f"{program}, or {command}")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# manage.py runfcgi\n", []),
        ("echo runfcgi\nrunfcgi\n", []),
        ("echo 'an open\nquotation'; ./manage.py runfcgi\n", []),
        ("a\n\nExecStart=/usr/bin/python /srv/manage.py runfcgi method=prefork\n", [3]),
        ("exec \\\n  ./manage.py \\\n  runfcgi\ndjango-admin.py runfcgi\n", [1, 4]),
    ],
)
def test_it_is_found_where_it_is_run(text: str, lines: list[int]) -> None:
    assert [found.line for found in in_lines(text)] == lines


def test_a_word_that_is_no_option_is_left_out() -> None:
    assert modern(["quickly", "port=1", "daemonize=no"]) == modern(["port=1", "daemonize=no"])


def test_a_web_config_is_read_as_xml(tmp_path: Path) -> None:
    path = tmp_path / "web.config"
    path.write_text('<handlers>\n<application\n arguments="C:\\wfastcgi.py"/><add key="wfastcgi"/></handlers>')
    report = examine(str(path), WEB_CONFIG)
    assert [(found.line, found.verdict) for found in report.findings] == [(2, CHANGE)]
    path.write_text("<configuration>\n<add>")
    assert examine(str(path), WEB_CONFIG).problem == (
        "not read: it is no XML (no element found: line 2, column 5); correct it"
    )


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.py", "", PYTHON),
        ("a.wsgi", "", PYTHON),
        ("a.PYW", "", PYTHON),
        ("a.cgi", "#!/usr/bin/env python\n", PYTHON),
        ("a.fcgi", "#!/usr/bin/python2.7 -u\n", PYTHON),
        ("a", "\ufeff#!/opt/pypy3 -O\r\n", PYTHON),
        ("a.cgi", "", ""),
        ("a.cgi", "#!/usr/bin/perl\n", ""),
        ("a.py", "#!/bin/sh\n", COMMANDS),
        ("a.sh", "", COMMANDS),
        ("Procfile", "", COMMANDS),
        ("a.service", "", COMMANDS),
        ("web.config", "", WEB_CONFIG),
        ("a.html", "", ""),
    ],
)
def test_a_file_is_read_as_what_it_is(tmp_path: Path, name: str, text: str, kind: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    assert kind_of(str(tmp_path / name)) == kind


def test_a_file_that_is_not_there_is_judged_by_its_name(tmp_path: Path) -> None:
    assert kind_of(str(tmp_path / "a.py")) == PYTHON


def test_a_folder_is_searched_but_for_what_is_not_the_sites(tmp_path: Path) -> None:
    for name in ("b/a.py", "a.py", ".git/a.py", "env/a.py", "__pycache__/a.py", "b/.a.py", "c.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "linked.py").symlink_to("a.py")
    assert [path for path, _ in find(str(tmp_path))] == [f"{tmp_path}/a.py", f"{tmp_path}/b/a.py"]
