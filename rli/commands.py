"""`reploc rli`: the commands of an index node."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from reploc import config, service
from rli import server
from rli.settings import RliSettings


@click.group()
def rli() -> None:
    """The replica location index: which sites may hold a name."""


@rli.command()
@click.option("--config", "path", type=click.Path(path_type=Path, dir_okay=False), help="TOML file of settings.")
@click.option("--listen", help="HOST:PORT to listen on, instead of the file's.")
@click.option("--node", help="Which of index.nodes this is, instead of the file's.")
def serve(path: Path | None, listen: str | None, node: str | None) -> None:
    """Serves an index node until it is told to stop.

    Exit status: 0 stopped as told; 2 wrong settings or usage, or a port that cannot be had; 4 internal error.
    """
    service.run(server.compose, partial(config.load, RliSettings, path, listen=listen, node=node))
