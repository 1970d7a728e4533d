"""``python -m gateway.compat SCRIPT``: run an old script as it is, with the names it imports served by gateway."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from gateway.compat import install

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
    if not os.path.isfile(words[0]):
        sys.exit(f"gateway: there is no file {words[0]}; name the script to run")
    sys.exit(run_script(words[0], words[1:], keep=keep, quiet=quiet))


def run_script(path: str, arguments: list[str], *, keep: list[str], quiet: bool) -> int:
    """Run a script as ``python SCRIPT`` does, after :func:`gateway.compat.install`; its exit status."""
    sys.argv[:] = [path, *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(path))  # in the place of our directory
    sys.excepthook = _explain
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = path
    install(keep=keep, quiet=quiet)
    try:
        with open(path, "rb") as file:
            source = file.read()
        exec(compile(source, path, "exec", dont_inherit=True), vars(main))
    except SystemExit:
        raise
    except BaseException as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # without our frame
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1  # as shells have it
    return 0


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
