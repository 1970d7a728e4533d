"""The program of every process that is measured: it notes its first line, then becomes gateway.measure.phases_child.

Python compiles this file anew whenever it is run, and that is time before its first line: so there is nothing in it.
"""

from __future__ import annotations

from time import monotonic_ns

FIRST_LINE = monotonic_ns()

if __name__ == "__main__":
    import sys

    del sys.path[0]  # this directory, whose files are no modules of the application
    from gateway.measure.phases_child import main

    sys.exit(main(sys.argv[1:], first_line=FIRST_LINE))
