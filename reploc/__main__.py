"""`python -m reploc`: the `reploc` command of this very interpreter."""

from reploc.cli import main

main()
