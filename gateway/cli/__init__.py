"""The command line: ``fcgi-run``, ``cgi-run``, ``gateway``."""
