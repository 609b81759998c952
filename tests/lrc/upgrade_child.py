"""A process that takes a store of version 1 through a long step, and waits to be killed before the step is done.

python upgrade_child.py STORE
"""

import os
import sys
import time
from pathlib import Path

import lmdb

from lrc.layout import Table
from lrc.store import Store
from lrc.upgrade import STEPS, upgrade

ROWS = 5_000


def long_step(store: Store, txn: "lmdb.Transaction[memoryview]") -> None:
    """All that the step does, and much more, most of which has gone to the disk before it waits."""
    STEPS[1](store, txn)
    store.open_table(Table("strange"), txn)
    for number in range(ROWS):
        txn.put(number.to_bytes(8, "big"), bytes(4000), db=store.tables["strange"])
    os.write(sys.stdout.fileno(), b"written\n")
    time.sleep(600)


if __name__ == "__main__":
    upgrade(Path(sys.argv[1]), steps={1: long_step}, to=2)
