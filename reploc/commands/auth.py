"""`reploc auth`: what rules decide and which of them, and rules from what a Globus installation has."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import click

from reploc import config
from reploc.actions import Action
from reploc.commands import terminal
from reploc.commands.options import CommandGroup, json_option
from reploc.commands.terminal import Exit
from reploc.security import foreign
from reploc.security.identity import NOBODY, Identity
from reploc.security.rules import Rules
from reploc.wire import Answer

EXPLAIN_STATUSES = """\b
Exit status:
  0  it is allowed
  1  it is refused
  2  the command line or the rules are wrong
"""
IMPORT_STATUSES = """\b
Exit status:
  0  the rules were printed
  2  the command line or a file is wrong
"""


class Explained(Answer, frozen=True):
    """What rules decide, as `--json` prints it."""

    identity: str
    action: Action
    name: str
    allowed: bool
    because: str
    matched: list[str]


@click.group(cls=CommandGroup)
def auth() -> None:
    """Rules of who may do what."""


@auth.command(epilog=EXPLAIN_STATUSES)
@click.argument("identity")
@click.argument("action", type=click.Choice([str(action) for action in Action]))
@click.argument("name", default="")
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="The file that authorization.rules names.",
)
@click.option("--issuer", default="", help="The authority, or the token's issuer.")
@click.option("--group", "groups", multiple=True, help="A group of the token; may be given several times.")
@json_option
def explain(
    identity: str, action: str, name: str, rules: Path, issuer: str, groups: tuple[str, ...], as_json: bool
) -> None:
    """Says whether IDENTITY may do ACTION on NAME, and which rule decides.

    IDENTITY is a distinguished name that begins with a slash, the subject of a token, or `nobody`. NAME is an LFN or a
    collection; for send-soft-state it is the site. Without one the question is about the action on any name.
    """
    decided = config.load(Rules, rules).rights(_identity(identity, issuer, groups))
    decision = decided.decide(Action(action), [name] if name else None)
    if as_json:
        said = Explained(identity, Action(action), name, decision.allowed, decision.because, decided.matched)
        terminal.say_json(said)
    else:
        terminal.say(f"{'allowed' if decision.allowed else 'refused'}: {decision.because}")
        for rule in decided.matched:
            terminal.say(f"  matches: {rule}")
    click.get_current_context().exit(Exit.DONE if decision.allowed else Exit.REFUSED)


def _identity(text: str, issuer: str, groups: tuple[str, ...]) -> Identity:
    if text == NOBODY.kind:
        return NOBODY
    return Identity("certificate" if text.startswith("/") else "token", text, issuer, groups)


@auth.command("import", epilog=IMPORT_STATUSES)
@click.option("--gridmap", type=click.File("r", encoding="utf-8"), metavar="FILE", help="A grid-mapfile.")
@click.option("--acl", type=click.File("r", encoding="utf-8"), metavar="FILE", help="An RLS server's configuration.")
def import_(gridmap: TextIO | None, acl: TextIO | None) -> None:
    """Prints the rules that a grid-mapfile and the access list of a Globus RLS server come to.

    With an access list the map only says which accounts its patterns are about. Without one, whom the map names may
    read.
    """
    if gridmap is None and acl is None:
        raise click.UsageError("nothing to import; expected --gridmap FILE, --acl FILE or both")
    mapped = list(foreign.mapfile(gridmap)) if gridmap else []
    terminal.say_text(foreign.toml(foreign.rules(mapped, list(foreign.access_list(acl)) if acl else [])))
