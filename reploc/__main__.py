"""`python -m reploc`: the `reploc` command of this very interpreter."""

from reploc.entry import main

main()
