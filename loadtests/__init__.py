"""Load tests: programs that each measure one promise of `design.md` section 12 on real processes over loopback."""
