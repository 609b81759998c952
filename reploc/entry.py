"""The entry point of the `reploc` command: a daemon holds SIGHUP back before anything else of it is loaded.

The signal ends a process that has no handler for it, and reloading is a daemon's for who sends it: one that comes while
the modules are read or the store is opened waits, and is heard once the daemon can heed it (`reploc/service.py`). Every
other command ends when its terminal hangs up.
"""

import signal
import sys
from collections.abc import Sequence


def serves(words: Sequence[str]) -> bool:
    """Whether the words of a command line, without its name, start a daemon: `SERVICE serve`, options aside.

    A question about a file named `serve` is taken for one too, and then outlives its terminal by as long as it takes.
    """
    return [word for word in words if not word.startswith("-")][1:2] == ["serve"]


if serves(sys.argv[1:]):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})

from reploc.cli import main  # noqa: E402 - what takes time to load comes after

__all__ = ["main"]
