"""The options that several commands share, and the group that turns errors into one line and an exit status."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from reploc.commands import terminal
from reploc.errors import Internal, ReplocError
from reploc.wire import AGE_S_MAX, DEADLINE_S, DEADLINE_S_MAX

F = TypeVar("F", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """A number of seconds within bounds. What is no number at all is within none of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


lrc_option: Callable[[F], F] = click.option(
    "--lrc", "lrcs", multiple=True, metavar="URL", help="The catalog to ask: http://HOST:PORT."
)
rli_option: Callable[[F], F] = click.option(
    "--rli", "rlis", multiple=True, metavar="URL", help="An index node, http://HOST:PORT; may be given several times."
)
json_option: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
file_option: Callable[[F], F] = click.option(
    "--file", "file", type=click.File("rb"), metavar="FILE", help="Read them from a file, or - for standard input."
)
format_option: Callable[[F], F] = click.option(
    "--format",
    "form",
    type=click.Choice(["tsv", "ndjson"]),
    help="What the file holds; by default ndjson where its name ends in .ndjson or .jsonl, else tsv.",
)
deadline_option: Callable[[F], F] = click.option(
    "--deadline",
    "deadline_s",
    type=Seconds(0, DEADLINE_S_MAX, min_open=True),
    default=DEADLINE_S,
    show_default=True,
    metavar="SECONDS",
    help="How long the answer to each batch of names may take.",
)
collection_option: Callable[[F], F] = click.option(
    "--collection",
    metavar="NAME",
    help="The collection of all of them, for an index that is parted by collections or told of them alone.",
)
max_age_option: Callable[[F], F] = click.option(
    "--max-age",
    "max_age_s",
    type=Seconds(0, AGE_S_MAX),
    metavar="SECONDS",
    help="Judge no site by older news: ask its catalog instead, or name it.",
)


class CommandGroup(click.Group):
    """A group whose commands may raise errors of the tree: each becomes a line on standard error and a status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ReplocError as wrong:
            terminal.complain(wrong)
            ctx.exit(terminal.exit_status(wrong))
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as wrong:
            if ctx.find_root().params.get("traceback"):
                raise
            said = f"{type(wrong).__name__}: {wrong}"
            terminal.complain(Internal(said, hint="`reploc --traceback …` shows where; please report it"))
            ctx.exit(terminal.Exit.FAILED)
