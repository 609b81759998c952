"""`reploc lrc`: the daemon of a local replica catalog, and the tools of who runs it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
from msgspec import Struct

from lrc import check, server
from lrc.catalog import Catalog
from lrc.settings import LrcSettings
from lrc.tools.attribute_commands import attribute
from lrc.tools.backup_command import backup
from lrc.tools.dump_commands import dump, load
from lrc.tools.rls_commands import rls
from lrc.tools.scan_command import scan
from lrc.tools.upgrade_command import upgrade_command
from reploc import config, service
from reploc.commands import terminal
from reploc.commands.options import CommandGroup, json_option
from reploc.commands.terminal import Exit

SERVE_STATUSES = """\b
Exit status:
  0  told to stop
  2  the command line or the settings are wrong, or the address cannot be listened on
  4  the store cannot be used
"""
CHECK_STATUSES = """\b
Exit status:
  0  the store is sound
  1  something was found
  2  the command line is wrong
  4  the store cannot be opened or read
"""


class CheckReport(Struct, frozen=True):
    """What a check found, as `--json` prints it: `found` counts, `findings` tells at most 100."""

    site: str
    position: int
    sound: bool
    lfns: int
    mappings: int
    collections: int
    found: int
    findings: list[str]


@click.group(cls=CommandGroup)
def lrc() -> None:
    """A site's local replica catalog: the daemon, and its tools."""


for command in (attribute, rls, scan, dump, load, backup, upgrade_command):
    lrc.add_command(command)


@lrc.command(epilog=SERVE_STATUSES)
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Settings.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
@click.option("--site", metavar="NAME", help="The site; needed when the store is made.")
@click.option("--store", metavar="DIR", help="The store; made on the first start.")
def serve(path: Path | None, listen: str | None, site: str | None, store: str | None) -> None:
    """Serves a site's catalog, and feeds the index with what it holds, until SIGTERM or SIGINT.

    Options stand above the settings file. A store that is not there yet is made; one of another site is refused.
    """
    service.run(server.compose, partial(config.load, LrcSettings, path, listen=listen, site=site, store=store))


@lrc.command("check", epilog=CHECK_STATUSES)
@click.option(
    "--store", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR", help="The store."
)
@json_option
def check_command(store: Path, as_json: bool) -> None:
    """Verifies a store: every index against the others, in both directions, and every total against its sum.

    The store is only read, also beside a running daemon; it may grow for as long as that takes.
    """
    with Catalog.open(store, read_only=True) as catalog:
        report = _checked(catalog)
    if as_json:
        terminal.say_json(report)
    else:
        _show(report)
    click.get_current_context().exit(Exit.DONE if report.sound else Exit.REFUSED)


def _checked(catalog: Catalog) -> CheckReport:
    position = catalog.position
    with terminal.progress("checked rows", 0) as bar:
        found = check.check(catalog, bar.reach)
    return CheckReport(
        site=catalog.site,
        position=position,
        sound=found.sound,
        lfns=found.lfns,
        mappings=found.mappings,
        collections=found.collections,
        found=found.found,
        findings=found.findings,
    )


def _show(report: CheckReport) -> None:
    for finding in report.findings:
        terminal.say(finding)
    if report.found > len(report.findings):
        terminal.say(f"{report.found - len(report.findings):,} more findings are only counted")
    held = f"{report.lfns:,} LFNs, {report.mappings:,} mappings, {report.collections:,} collections"
    said = "sound" if report.sound else f"NOT sound, {report.found:,} findings"
    terminal.say(f"the catalog of {report.site} is {said}: {held}")
