"""``python -m gateway.compat SCRIPT``: run an old script as it is, with the names it imports served by gateway."""

from __future__ import annotations

import sys

from gateway.compat import install
from gateway.script.execution.forker import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USAGE = """\
usage: python -m gateway.compat [-q] [--keep NAME]... SCRIPT [ARGUMENT]...

Run SCRIPT, which imports flup, flipflop, wfastcgi, wsgiref.handlers, http.server or Django's runfcgi, without an edit.

  -q           do not say what one writes today
  --keep NAME  leave this name to the package that is really installed
"""
PYTHON_2 = frozenset(
    "BaseHTTPServer CGIHTTPServer ConfigParser Cookie HTMLParser Queue SimpleHTTPServer StringIO __builtin__ cPickle "
    "cStringIO commands cookielib httplib md5 sets sha thread urllib2 urlparse xmlrpclib".split()
)
"""Modules of Python 2 that dispatch files imported."""


def main() -> None:
    """Run the script of the command line; does not return."""
    words, keep, quiet = sys.argv[1:], [], False
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-h", "--help"):
            sys.exit(print(USAGE, end=""))
        if option == "-q":
            quiet = True
        elif option == "--keep" and words:
            keep.append(words.pop(0))
        else:
            sys.exit(f"{USAGE}\n{option}: there is no such option, or it lacks its NAME")
    if not words:
        sys.exit(USAGE)
    sys.exit(run_script(words[0], words[1:], keep=keep, quiet=quiet))


def run_script(path: str, arguments: list[str], *, keep: list[str], quiet: bool) -> int:
    """Run a script as ``python SCRIPT`` does, after :func:`gateway.compat.install`; its exit status."""
    sys.excepthook = _explain
    try:
        script = Script(path)
    except OSError as error:
        sys.exit(f"gateway: cannot read {path}: {error.strerror}")
    except SyntaxError as error:
        sys.excepthook(type(error), error, None)
        return 1
    sys.argv[:] = [path, *arguments]
    sys.path[0] = script.directory  # in the place of this package's, as the interpreter does
    install(keep=keep, quiet=quiet)
    status = script.run(script.new_module())
    return status if status >= 0 else 128 - status  # as a shell tells of a signal


def _explain(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    """Show an error, and what to do if it is because the script was written for Python 2."""
    sys.__excepthook__(kind, error, traceback)
    if isinstance(error, SyntaxError):
        file, what = error.filename or "", f"line {error.lineno}, {(error.text or '').strip()!r},"
    elif isinstance(error, ModuleNotFoundError) and error.name in PYTHON_2:
        file, what = sys.argv[0], f"the module {error.name}"
    else:
        return
    print(f"gateway: {file}: {what} is Python 2: `gateway migrate {file}` says what to change", file=sys.stderr)


if __name__ == "__main__":
    main()
