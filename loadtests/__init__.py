"""Load tests: programs that each measure one promise (`loadtests/promises.py`) on real processes over loopback."""
