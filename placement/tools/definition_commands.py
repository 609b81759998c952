"""`reploc placement sites`, `groups`, `partitions`, `quotas`, `datasets`, `owners` and `inject`: what is defined."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, TextIO

import click
from msgspec import Struct
from msgspec.structs import replace

from placement.client import PlacementClient
from placement.messages import (
    DatasetItem,
    Definitions,
    GroupItem,
    InjectBody,
    Injected,
    OwnerItem,
    PartitionItem,
    QuotaItem,
    SiteItem,
)
from placement.policy.partitions import parse_partitions
from placement.tools.asking import asked, decoded, moment, show, url_option
from reploc import config
from reploc.commands import terminal
from reploc.commands.options import json_option
from reploc.commands.terminal import EXIT_STATUSES, shown_bytes
from reploc.config import Settings
from reploc.errors import InputInvalid
from reploc.sites import Site
from reploc.wire import BATCH_ITEMS_MAX

#: Datasets, blocks and files of one body: half of what the service takes, so that bytes too stay below its bound.
ITEMS_AT_ONCE = BATCH_ITEMS_MAX // 2
#: How a size is written: a number, and what it is counted in.
UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}


class SitesFile(Settings, frozen=True):
    """A file of [[sites]], as file operations have them."""

    sites: list[Site] = []


# ---- sites, groups, partitions, quotas -------------------------------------------------------------------------------


@click.group()
def sites() -> None:
    """Sites: where their catalogs answer, what their storage is, and whether they may be given work."""


@sites.command("list", epilog=EXIT_STATUSES)
@url_option
@json_option
def list_sites(url: str | None, as_json: bool) -> None:
    """Lists the sites that are defined."""
    told = asked(url, PlacementClient.definitions)
    rows = [
        [each.site.name, each.site.status, each.site.storage, shown_bytes(int(each.bandwidth)), each.site.lrc]
        for each in told.sites
    ]
    show(
        _only(told, "sites"),
        ("SITE", "STATUS", "STORAGE", ">BANDWIDTH/s", "CATALOG"),
        rows,
        as_json=as_json,
        empty="no sites",
    )


@sites.command("set", epilog=EXIT_STATUSES)
@click.argument("name")
@click.option("--lrc", metavar="URL", help="The site's catalog; needed where the site is new.")
@click.option("--status", type=click.Choice(["ready", "waitroom", "morgue", "unknown"]), help="May it be given work?")
@click.option("--storage", type=click.Choice(["disk", "mss", "buffer", "unknown"]), help="What its storage is made of.")
@click.option("--bandwidth", type=float, metavar="BYTES/S", help="The line to it.")
@url_option
@json_option
def set_site(
    name: str,
    lrc: str | None,
    status: str | None,
    storage: str | None,
    bandwidth: float | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Defines a site, or changes what is said of one; doors and rules come by `import`."""

    async def work(client: PlacementClient) -> Injected:
        known = {item.site.name: item for item in (await client.definitions()).sites}
        if name not in known and lrc is None:
            raise InputInvalid(f"site {name!r} is new; say --lrc, the address of its catalog")
        told = {"name": name, "lrc": lrc, "status": status, "storage": storage}
        given = {key: value for key, value in told.items() if value is not None}
        item = known.get(name) or SiteItem(site=config.parse(Site, given, "the command line"))
        item = replace(item, site=replace(item.site, **given))
        return await client.inject(
            InjectBody(sites=[item if bandwidth is None else replace(item, bandwidth=bandwidth)])
        )

    _say(asked(url, work), as_json)


@sites.command("import", epilog=EXIT_STATUSES)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@url_option
@json_option
def import_sites(file: Path, url: str | None, as_json: bool) -> None:
    """Defines the [[sites]] of a TOML file, with their doors and rules, as file operations read it."""
    body = InjectBody(sites=[SiteItem(site=site) for site in _sites(file)])
    _say(asked(url, lambda client: client.inject(body)), as_json)


def _sites(file: Path) -> list[Site]:
    """The sites of a TOML file, whatever else it holds. Raises InputInvalid and ConfigInvalid."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as wrong:
        raise InputInvalid(f"{file}: {wrong.strerror or wrong}") from wrong
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        raise InputInvalid(f"{file}: is not TOML: {wrong}") from wrong
    return config.parse(SitesFile, {"sites": table.get("sites", [])}, str(file)).sites


@click.group()
def groups() -> None:
    """Groups, who own data."""


@groups.command("list", epilog=EXIT_STATUSES)
@url_option
@json_option
def list_groups(url: str | None, as_json: bool) -> None:
    """Lists the groups."""
    told = asked(url, PlacementClient.definitions)
    rows = [[each.name, each.level] for each in told.groups]
    show(_only(told, "groups"), ("GROUP", "OWNS BY"), rows, as_json=as_json, empty="no groups")


@groups.command("set", epilog=EXIT_STATUSES)
@click.argument("name")
@click.option("--level", type=click.Choice(["block", "dataset"]), default="block", show_default=True)
@url_option
@json_option
def set_group(name: str, level: str, url: str | None, as_json: bool) -> None:
    """Defines a group that owns data block by block, or whole dataset replicas."""
    item = GroupItem(name, "dataset" if level == "dataset" else "block")
    _say(asked(url, lambda client: client.inject(InjectBody(groups=[item]))), as_json)


@click.group()
def partitions() -> None:
    """Partitions: block replicas under one policy and quota."""


@partitions.command("list", epilog=EXIT_STATUSES)
@url_option
@json_option
def list_partitions(url: str | None, as_json: bool) -> None:
    """Lists the partitions."""
    told = asked(url, PlacementClient.definitions)
    rows = [[each.name, each.condition or f"[{', '.join(each.parts or ())}]"] for each in told.partitions]
    show(_only(told, "partitions"), ("PARTITION", "HOLDS"), rows, as_json=as_json, empty="no partitions")


@partitions.command("import", epilog=EXIT_STATUSES)
@click.argument("file", type=click.File("r", encoding="utf-8"))
@url_option
@json_option
def import_partitions(file: TextIO, url: str | None, as_json: bool) -> None:
    """Defines the partitions of a file of `Name: condition` and `Name: [Part, Part]` lines."""
    items = [
        PartitionItem(
            each.name,
            None if each.condition is None else str(each.condition),
            list(each.parts) if each.condition is None else None,
        )
        for each in parse_partitions(file.read(), file.name)
    ]
    _say(asked(url, lambda client: client.inject(InjectBody(partitions=items))), as_json)


@click.group()
def quotas() -> None:
    """Quotas: bytes that a site has for a partition."""


@quotas.command("list", epilog=EXIT_STATUSES)
@url_option
@json_option
def list_quotas(url: str | None, as_json: bool) -> None:
    """Lists the quotas."""
    told = asked(url, PlacementClient.definitions)
    rows = [
        [each.site, each.partition, "unlimited" if (each.quota or 0) < 0 else shown_bytes(each.quota)]
        for each in told.quotas
    ]
    show(_only(told, "quotas"), ("SITE", "PARTITION", ">QUOTA"), rows, as_json=as_json, empty="no quotas")


@quotas.command("set", epilog=EXIT_STATUSES)
@click.argument("site")
@click.argument("partition")
@click.argument("quota")
@url_option
@json_option
def set_quota(site: str, partition: str, quota: str, url: str | None, as_json: bool) -> None:
    """Gives a site a QUOTA for a partition: bytes (`500`, `1.5TB`), `unlimited`, or `none`."""
    item = QuotaItem(site, partition, _quota(quota))
    _say(asked(url, lambda client: client.inject(InjectBody(quotas=[item]))), as_json)


def _quota(told: str) -> int | None:
    if told in ("none", "unlimited"):
        return None if told == "none" else -1
    number = told.rstrip("BkMGTP")
    try:
        return round(float(number) * UNITS[told[len(number) :].strip()])
    except (ValueError, KeyError, OverflowError) as wrong:
        raise InputInvalid(f"quota {told!r}; expected bytes as in 500 or 1.5TB, unlimited, or none") from wrong


# ---- datasets and owners ---------------------------------------------------------------------------------------------


@click.group()
def datasets() -> None:
    """Datasets and their blocks."""


@datasets.command("list", epilog=EXIT_STATUSES)
@click.argument("pattern", default="*")
@url_option
@json_option
def list_datasets(pattern: str, url: str | None, as_json: bool) -> None:
    """Lists datasets whose names match a glob PATTERN, a page for each line of JSON."""
    after: str | None = None
    while True:
        page = asked(url, partial(PlacementClient.datasets, pattern=pattern, after=after))
        rows = [
            [
                each.name,
                each.status,
                shown_bytes(each.size),
                str(each.num_files),
                str(each.num_blocks),
                f"{each.full_replicas}/{each.replicas}",
            ]
            for each in page.datasets
        ]
        columns = ("DATASET", "STATUS", ">SIZE", ">FILES", ">BLOCKS", ">FULL/REPLICAS")
        show(page, columns, rows, as_json=as_json, empty=f"no dataset matches {pattern!r}")
        if (after := page.next) is None:
            return


@datasets.command("show", epilog=EXIT_STATUSES)
@click.argument("name")
@url_option
@json_option
def show_dataset(name: str, url: str | None, as_json: bool) -> None:
    """Shows the block replicas of one dataset: who owns them, and what is ordered."""
    told = asked(url, lambda client: client.dataset(name))
    rows = [
        [
            each.block,
            each.site,
            each.group,
            str(each.files),
            shown_bytes(each.bytes),
            " ".join(flag for flag in _FLAGS if getattr(each, flag)) or "-",
            moment(each.last_update),
        ]
        for each in told.replicas
    ]
    columns = ("BLOCK", "SITE", "OWNER", ">FILES", ">SIZE", "STATE", "SINCE")
    show(told, columns, rows, as_json=as_json, empty=f"nothing of {name} is anywhere")


_FLAGS = ("complete", "custodial", "copying", "deleting", "locked")


@click.command(epilog=EXIT_STATUSES)
@click.argument("item")
@click.argument("site")
@click.argument("group")
@click.option("--growing", is_flag=True, help="The replica follows its open dataset.")
@click.option("--custodial", is_flag=True, help="The replica is the one that must be kept.")
@url_option
@json_option
def owners(item: str, site: str, group: str, growing: bool, custodial: bool, url: str | None, as_json: bool) -> None:
    """Gives a dataset or block (`/dataset#block`) at a SITE to a GROUP."""
    told = OwnerItem(item, site, group, growing, custodial)
    _say(asked(url, lambda client: client.inject(InjectBody(owners=[told]))), as_json)


@click.command(epilog=EXIT_STATUSES)
@click.argument("file", type=click.File("rb"))
@url_option
@json_option
def inject(file: BinaryIO, url: str | None, as_json: bool) -> None:
    """Defines what a JSON FILE (or -) holds: sites, groups, partitions, quotas, datasets with blocks and files, owners.

    A large file goes in several bodies, each of which is taken whole or not at all; injecting the file again goes on.
    """
    body = decoded(file, InjectBody)

    async def work(client: PlacementClient) -> Injected:
        done: list[Injected] = []
        with terminal.progress("datasets injected", len(body.datasets)) as bar:
            for part in _parts(body):
                done.append(await client.inject(part))
                bar.advance(len(part.datasets))
        return Injected(*(sum(getattr(each, name) for each in done) for name in Injected.__struct_fields__))

    _say(asked(url, work), as_json)


def _parts(body: InjectBody) -> Iterator[InjectBody]:
    """Bodies of a size that the service takes: what datasets need before them, what needs datasets behind."""
    yield replace(body, datasets=[], owners=[])
    batch: list[DatasetItem] = []
    items = 0
    for dataset in body.datasets:
        count = 1 + sum(1 + len(block.files or ()) for block in dataset.blocks)
        if batch and items + count > ITEMS_AT_ONCE:
            yield InjectBody(datasets=batch)
            batch, items = [], 0
        batch.append(dataset)
        items += count
    if batch:
        yield InjectBody(datasets=batch)
    for begin in range(0, len(body.owners), ITEMS_AT_ONCE):
        yield InjectBody(owners=body.owners[begin : begin + ITEMS_AT_ONCE])


def _only(told: Definitions, field: str) -> Struct:
    """Definitions of one kind."""
    empty = Definitions([], [], [], [])
    return replace(empty, **{field: getattr(told, field)})


def _say(told: Injected, as_json: bool) -> None:
    if as_json:
        terminal.say_json(told)
        return
    changed = [f"{getattr(told, name):,} {name}" for name in Injected.__struct_fields__ if getattr(told, name)]
    terminal.say(f"changed: {', '.join(changed)}" if changed else "nothing changed: all of it was there already")
