"""How long an inventory takes to load, from Parquet, from SQL and from the index, and the memory that it takes.

    python -m loadtests.inventory_load [--quick] [--names BLOCK_REPLICAS]

The collaboration is synthetic (`collaboration.py`). Each way is taken by a process of its own that has nothing else to
do; memory is the most that the process ever held. The index is a server that follows `reploc/holdings.py` and answers
from files, so that what is measured is the reader. It is read twice: with the definitions in the database and all
observations lost, and with an empty database, where everything is derived from what is read.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import polars as pl

from loadtests.collaboration import Collaboration
from loadtests.figure import Figure, Result, shown
from loadtests.program import Scale, run, said, workspace
from placement import bulk, injection, parquet
from placement.database import Database
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.messages import InjectBody, SiteItem
from placement.observations import News, Part
from placement.pull import Pull
from reploc.client.transport import JSON, HttpTransport
from reploc.holdings import ARROW, Holdings, SiteHoldings
from reploc.sites import Site

AT = "10,000,000 block replicas"
PARQUET = Figure("inventory, loaded from Parquet", "s", "less", 1.0, AT)
SQL = Figure("inventory, loaded from SQL", "s", "less", 10.0, AT)
INDEX = Figure("inventory, observations lost, pulled from the index", "s", "less", 30.0, AT)
DERIVED = Figure("inventory, all of it derived from the index into an empty database", "s", "less", None, AT)
MEMORY = Figure("inventory, the most memory of a process that loaded it from SQL", "GB", "less", 2.0, AT)
CHANGE = Figure("inventory, one site changed: pulled, and a new inventory made", "s", "less", None, AT)

REPLICAS, QUICK_REPLICAS, TOY_REPLICAS = 10_000_000, 1_000_000, 20_000
#: Block replicas for each dataset of a collaboration.
REPLICAS_PER_DATASET = 20


def measure(scale: Scale) -> Iterator[Result]:
    with workspace() as folder:
        made = Collaboration(scale.names // REPLICAS_PER_DATASET, scale.seed).inventory()
        parquet.export(made, folder / "parquet")
        what = f"{made.block_replicas.height:,} block replicas"
        database = f"sqlite:///{folder / 'placement.db'}"
        said(f"drew {what}; defining them in SQL")
        note = f"defined and saved in {_filled(made, database):.0f} s; database of {_size(folder):.2g} GB"
        _tell(made, folder)
        del made
        yield Result(PARQUET, what, tuple(_apart(_from_parquet, folder / "parquet")[0] for _ in range(scale.runs)))
        loads = [_apart(_from_sql, database) for _ in range(scale.runs)]
        yield Result(SQL, what, tuple(seconds for seconds, _ in loads), note=note)
        yield Result(MEMORY, what, tuple(memory for _, memory in loads))
        with _index(folder) as url:
            seconds, memory = _apart(_from_index, database, url)
            yield Result(INDEX, what, (seconds,), note=f"at most {shown(memory)} GB")
            _change(folder)
            yield Result(CHANGE, what, (_apart(_one_change, database, url)[0],))
            seconds, memory = _apart(_from_index, f"sqlite:///{folder / 'empty.db'}", url)
            yield Result(DERIVED, what, (seconds,), note=f"at most {shown(memory)} GB")


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("placement.db*")) / 1e9


def _apart(work: Callable[..., float], *told: object) -> tuple[float, float]:
    """The seconds that a new process says, and the gigabytes that it held at most."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, told))


def _measured(work: Callable[..., float], told: tuple[object, ...]) -> tuple[float, float]:
    seconds = work(*told)
    # Not the system's accounting of resources, which counts what the process was forked from too.
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return seconds, int(peak.split()[1]) / 1e6


# ---- the ways --------------------------------------------------------------------------------------------------------


def _from_parquet(folder: Path) -> float:
    began = time.monotonic()
    made = parquet.read(folder)
    assert made.block_replicas.height
    return time.monotonic() - began


def _from_sql(url: str) -> float:
    began = time.monotonic()
    store = Database(url)
    made = Keeper(store).inventory()
    took = time.monotonic() - began
    assert made.block_replicas.height and made.dataset_replicas["group"].max()
    store.close()
    return took


def _from_index(url: str, index: str) -> float:
    store = Database(url)
    keeper = Keeper(store)
    keeper.forget_observations()
    began = time.monotonic()
    _pull(keeper, index)
    made = keeper.inventory()
    took = time.monotonic() - began
    assert made.block_replicas.height
    keeper.save()
    store.close()
    return took


def _one_change(url: str, index: str) -> float:
    store = Database(url)
    keeper = Keeper(store)
    before = keeper.inventory()
    began = time.monotonic()
    assert len(_pull(keeper, index)) == 1
    assert keeper.inventory() is not before
    took = time.monotonic() - began
    store.close()
    return took


def _pull(keeper: Keeper, url: str) -> list[str]:
    async def pulling() -> list[str]:
        transport = HttpTransport()
        try:
            return (await Pull(keeper, {"n0": url}, transport).run_once()).changed
        finally:
            await transport.close()

    return asyncio.run(pulling())


# ---- what they read --------------------------------------------------------------------------------------------------


def _filled(made: Inventory, url: str) -> float:
    """Defines and saves everything; the seconds that it took."""
    began = time.monotonic()
    store = Database(url)
    keeper = Keeper(store)
    sites = [
        SiteItem(site=Site(name=name, lrc=f"http://{name.replace('_', '-')}:39280")) for name in made.sites["name"]
    ]
    with keeper.writing() as connection:
        injection.inject(connection, InjectBody(sites=sites), 0)
    bulk.define(keeper, made, bool)
    for name, rows in holdings(made):
        told = told_of(name, len(rows))
        keeper.observe(News(name, told.lrc, (Part("n0", told, None),), 1, 0.0, True, 1), rows)
    keeper.save()
    store.close()
    return time.monotonic() - began


def holdings(made: Inventory) -> Iterator[tuple[str, pl.DataFrame]]:
    """What each site holds, as the index tells it."""
    for key, name in enumerate(made.sites["name"]):
        rows = made.block_replicas.filter(pl.col("site") == key)
        told = rows.select(pl.col("files").cast(pl.Int64), "bytes")
        yield name, told.insert_column(0, made.block_names(rows["block"].to_numpy()).alias("collection"))


def told_of(name: str, rows: int) -> SiteHoldings:
    return SiteHoldings(name, f"http://{name.replace('_', '-')}:39280", "1", 1, 0.0, True, rows)


def _tell(made: Inventory, folder: Path) -> None:
    """Leaves the answers of an index in files."""
    sites = []
    for name, rows in holdings(made):
        rows.with_columns(pl.lit(0, pl.Int64).alias("files_of_unknown_size")).write_ipc_stream(folder / f"{name}.arrow")
        sites.append(told_of(name, len(rows)))
    told = Holdings("n0", True, [], [(0, 0)], 1, sites)
    (folder / "sites.json").write_bytes(msgspec.json.encode(told))


def _change(folder: Path) -> None:
    """Lets the index say that one site changed."""
    told = msgspec.json.decode((folder / "sites.json").read_bytes(), type=Holdings)
    first = msgspec.structs.replace(told.sites[0], version="2", position=2)
    changed = msgspec.structs.replace(told, sites=[first, *told.sites[1:]])
    (folder / "sites.json").write_bytes(msgspec.json.encode(changed))


@contextmanager
def _index(folder: Path) -> Iterator[str]:
    """A server that answers from these files; its address."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body leave together

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            site = parse_qs(asked.query).get("site")
            path, media = (folder / f"{site[0]}.arrow", ARROW) if site else (folder / "sites.json", JSON)
            body = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            """Requests are counted elsewhere."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    run("Loading an inventory.", measure, REPLICAS, QUICK_REPLICAS, TOY_REPLICAS)
