"""Items, which are datasets or single blocks by name, as the blocks that they are and what sites hold of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from placement.detox.runs import Bits, expanded
from placement.inventory import UNKNOWN, Array, Inventory
from reploc import names


@dataclass(frozen=True)
class Items:
    """The blocks of some items: those of item `n` are `block[first[n] : first[n] + count[n]]`, keys that rise.

    An item that is not defined, or is a dataset without blocks, has none.
    """

    first: Array
    count: Array
    block: Array

    @classmethod
    def of(cls, inventory: Inventory, items: Sequence[str]) -> Items:
        """The blocks of items by their names, all of them looked up at once."""
        single = [number for number, item in enumerate(items) if names.split_block(item)[1] is not None]
        whole = [number for number, item in enumerate(items) if names.split_block(item)[1] is None]
        datasets = pl.DataFrame(
            {"item": whole, "dataset": inventory.dataset_keys([items[number] for number in whole])},
            schema={"item": pl.Int64, "dataset": pl.Int64},
        )
        wanted = datasets.filter(pl.col("dataset") != UNKNOWN).with_columns(pl.col("dataset").cast(pl.UInt32))
        near = inventory.blocks.lazy().select("dataset").with_row_index("block")
        of_datasets = near.join(wanted.lazy(), on="dataset", how="inner").select("item", "block").collect()
        keys = inventory.block_keys([items[number] for number in single])
        item = np.concatenate([of_datasets["item"].to_numpy(), np.array(single, dtype=np.int64)[keys != UNKNOWN]])
        block = np.concatenate([of_datasets["block"].to_numpy().astype(np.int64), keys[keys != UNKNOWN]])
        order = np.lexsort((block, item))
        count = np.bincount(item, minlength=len(items))
        return cls(np.cumsum(count) - count, count, block[order])

    def blocks(self, item: int) -> Array:
        """The keys of the blocks of one item."""
        return self.block[self.first[item] : self.first[item] + self.count[item]]

    def held(self, inventory: Inventory, item: Array, site: Array, group: Array) -> Holdings:
        """What sites hold of items: of `item[n]` at the site with key `site[n]`, all pairs at once.

        `group[n]` is the key of the group whose it should be, UNKNOWN where it may be anybody's.
        """
        member, pair = expanded(self.first[item], self.count[item])
        block = self.block[member]
        row = inventory.rows(block, site[pair])
        replicas = inventory.block_replicas
        rows = np.maximum(row, 0)

        def flag(name: str) -> Bits:
            found = replicas[name].gather(rows).to_numpy() if replicas.height else np.zeros(len(rows), dtype=np.bool_)
            held: Bits = found.astype(np.bool_) & (row != UNKNOWN)
            return held

        # A block without files can be nowhere, so that nobody waits for it.
        counts = (inventory.blocks["files"].gather(block) > 0).to_numpy()
        there, complete, copying, deleting = (flag(name) for name in ("files", "complete", "copying", "deleting"))

        def every(bits: Bits) -> Bits:
            wanted = np.bincount(pair[counts], minlength=len(item))
            held: Bits = (np.bincount(pair[counts & bits], minlength=len(item)) == wanted) & (wanted > 0)
            return held

        def some(bits: Bits) -> Bits:
            held: Bits = np.bincount(pair[bits], minlength=len(item)) > 0
            return held

        owner = replicas["group"].gather(rows).to_numpy() if replicas.height else np.zeros(len(rows), dtype=np.uint16)
        foreign = (group[pair] != UNKNOWN) & (owner != group[pair])
        kept = complete & ~deleting
        return Holdings(
            whole=every(kept),
            coming=every(kept | (copying & ~deleting)),
            any=some(there | copying),
            leaving=some(deleting),
            owned=~some((there | copying) & foreign),
        )


@dataclass(frozen=True)
class Holdings:
    """What a site holds of an item, for each pair of the two.

    `whole`: all of it, and nothing of that is under deletion. `coming`: the same once the copies under way are done.
    `any`: something is there or on its way. `leaving`: something is under deletion. `owned`: nothing of what is there
    or on its way is another group's than it should be.
    """

    whole: Bits
    coming: Bits
    any: Bits
    leaving: Bits
    owned: Bits
