"""The option that the LRC's tools share, and what they say about the ways to a catalog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: For the exit statuses in each command's help.
STORE_USED = "the catalog could not be reached, or its store cannot be used"

store_option: Callable[[F], F] = click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The catalog's store itself, instead of its daemon.",
)
