"""Benchmarks of `gateway` against its peers, behind one nginx: ``python -m benchmarks``."""
