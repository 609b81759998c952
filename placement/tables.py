"""The tables of placement's database, and the steps that brought them to what they are.

What is durable is definitions, intent and history; of observations there is a copy, so that a restart need not ask for
all of them again, and losing it loses nothing. A dataset's blocks are one row: `placement/packs.py` draws what is in
it, and says why. A block is therefore named by its dataset's id and its ordinal among the dataset's blocks, which
it keeps.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

#: 64 bits everywhere; on SQLite only INTEGER counts up by itself.
ID = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

#: Counts that only rise: a write of definitions, of orders or of intent takes the next `change` of its kind.
counters = Table(
    "placement_counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

sites = Table(
    "placement_sites",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("definition", LargeBinary, nullable=False),  # `reploc/sites.py` as JSON
    Column("bandwidth", Float, nullable=False),
    Column("cores", BigInteger, nullable=False),
)
groups = Table(
    "placement_groups",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("level", String, nullable=False),
)
partitions = Table(
    "placement_partitions",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("condition", Text),
    Column("parts", Text),  # names with commas between, where it is made of others
)
quotas = Table(
    "placement_quotas",
    metadata,
    Column("site_id", ForeignKey(sites.c.id), primary_key=True),
    Column("partition_id", ForeignKey(partitions.c.id), primary_key=True),
    Column("quota", BigInteger, nullable=False),
)
datasets = Table(
    "placement_datasets",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("status", String, nullable=False),
    Column("data_type", String, nullable=False),
    Column("software_version", String, nullable=False),
    Column("is_open", Boolean, nullable=False),
    Column("last_update", BigInteger, nullable=False),
    Column("numbers", LargeBinary, nullable=False),
    Column("names", LargeBinary, nullable=False),
    Column("change", BigInteger, nullable=False, index=True),
)
files = Table(
    "placement_files",
    metadata,
    Column("dataset_id", ForeignKey(datasets.c.id), primary_key=True),
    Column("ordinal", BigInteger, primary_key=True),
    Column("lfn", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("checksum", String),
    UniqueConstraint("lfn"),
)
#: What is intended for a dataset replica as a whole, and for the blocks whose owner is another.
dataset_intents = Table(
    "placement_dataset_intents",
    metadata,
    Column("dataset_id", ForeignKey(datasets.c.id), primary_key=True),
    Column("site_id", ForeignKey(sites.c.id), primary_key=True),
    Column("group_id", ForeignKey(groups.c.id), nullable=False),
    Column("growing", Boolean, nullable=False),
    Column("custodial", Boolean, nullable=False),
)
block_intents = Table(
    "placement_block_intents",
    metadata,
    Column("dataset_id", ForeignKey(datasets.c.id), primary_key=True),
    Column("ordinal", BigInteger, primary_key=True),
    Column("site_id", ForeignKey(sites.c.id), primary_key=True),
    Column("group_id", ForeignKey(groups.c.id), nullable=False),
    Column("custodial", Boolean, nullable=False),
)
locks = Table(
    "placement_locks",
    metadata,
    Column("id", ID, primary_key=True),
    Column("item", Text, nullable=False),
    Column("site", String, nullable=False),
    Column("group", String, nullable=False),
    Column("placed_by", String, nullable=False),
    Column("comment", Text, nullable=False),
    Column("placed_s", Float, nullable=False),
    Column("expires_s", Float),
    Column("released_s", Float),
    Column("released_by", String),
)
cycles = Table(
    "placement_cycles",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String, nullable=False),
    Column("policy", Text, nullable=False),
    Column("inventory", String, nullable=False),
    Column("seed", BigInteger),
    Column("started_s", Float, nullable=False),
    Column("ended_s", Float, nullable=False),
    Column("outcome", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("totals", LargeBinary, nullable=False),
    Column("decisions", LargeBinary, nullable=False),
)
orders = Table(
    "placement_orders",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String, nullable=False),
    Column("item", Text, nullable=False),
    Column("site", String, nullable=False),
    Column("group", String, nullable=False),
    Column("blocks", LargeBinary, nullable=False),  # of `reploc/orders.py` as JSON
    Column("asked_by", String, nullable=False),
    Column("cycle_id", ForeignKey(cycles.c.id)),
    Column("created_s", Float, nullable=False),
    Column("state", String, nullable=False),
    Column("ended_s", Float),
    Column("change", BigInteger, nullable=False, unique=True),
    Column("files", BigInteger, nullable=False),
    Column("files_done", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("bytes_done", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("pending", Boolean, nullable=False, index=True),  # open, or its end is not observed yet
)
requests = Table(
    "placement_requests",
    metadata,
    Column("id", ID, primary_key=True),
    Column("kind", String, nullable=False),
    Column("item", Text, nullable=False),
    Column("sites", Text, nullable=False),
    Column("group", String, nullable=False),
    Column("copies", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_by", String, nullable=False),
    Column("created_s", Float, nullable=False),
    Column("updated_s", Float, nullable=False),
)
#: The orders that requests led to; `written` for it, or there already when it was looked at.
request_orders = Table(
    "placement_request_orders",
    metadata,
    Column("request_id", ForeignKey(requests.c.id), primary_key=True),
    Column("order_id", ForeignKey(orders.c.id), primary_key=True),
    Column("written", Boolean, nullable=False),
)
observations = Table(
    "placement_observations",
    metadata,
    Column("site_id", ForeignKey(sites.c.id), primary_key=True),
    Column("versions", LargeBinary, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("news_at", Float),
    Column("complete", Boolean, nullable=False),
    Column("replicas", LargeBinary, nullable=False),
)
Index("placement_orders_site", orders.c.site, orders.c.pending)
_requests_state = Index("placement_requests_state", requests.c.state)


def first(connection: Connection) -> None:
    """Version 1: everything there is."""
    metadata.create_all(connection)


def second(connection: Connection) -> None:
    """Version 2: the orders of requests, where version 1 did not have them."""
    request_orders.create(connection, checkfirst=True)
    _requests_state.create(connection, checkfirst=True)


MIGRATIONS = (first, second)
