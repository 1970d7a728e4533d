"""``python -m gateway`` is the console script ``gateway``."""

from __future__ import annotations

from gateway.cli.main import main

if __name__ == "__main__":
    main()
