"""`reploc ca`: a certificate authority for development and small installations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from reploc import names, pki
from reploc.commands import terminal
from reploc.commands.options import CommandGroup, F
from reploc.pki import Authority

EXIT_STATUSES = """\b
Exit status:
  0  done
  2  the command line is wrong, or the directory holds no authority, or holds one already
"""

directory_argument = click.argument("directory", type=click.Path(file_okay=False, path_type=Path))


def days_option(default: int) -> Callable[[F], F]:
    """How long something is valid."""
    return click.option(
        "--days", type=click.IntRange(1, 36_500), default=default, show_default=True, help="Valid for so long."
    )


@click.group(cls=CommandGroup)
def ca() -> None:
    """A certificate authority for development: its key lies unencrypted in its directory.

    Whoever can read that can be anybody. A production grid has a real authority (configs/production).
    """


@ca.command(epilog=EXIT_STATUSES)
@directory_argument
@click.option("--name", default="development authority", show_default=True, help="What it is called.")
@days_option(pki.CA_DAYS)
def init(directory: Path, name: str, days: int) -> None:
    """Makes an authority in a new DIRECTORY."""
    Authority.init(directory, name, days)
    terminal.say(f"{directory / 'ca.pem'} is what others must believe; keep {directory / 'ca.key'} to yourself")


@ca.group(cls=CommandGroup)
def issue() -> None:
    """Issues certificates, each with a key of its own."""


@issue.command("host", epilog=EXIT_STATUSES)
@directory_argument
@click.argument("name")
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="A name or address it is for.  [default: NAME]")
@click.option("--node", default="", help="The index node that it speaks for.")
@days_option(pki.CERTIFICATE_DAYS)
def issue_host(directory: Path, name: str, hosts: tuple[str, ...], node: str, days: int) -> None:
    """Issues NAME, a certificate for services on one or more hosts."""
    if node:
        names.require_site(node)
    _told(Authority(directory).issue_host(name, hosts or (name,), node=node, days=days))


@issue.command("site", epilog=EXIT_STATUSES)
@directory_argument
@click.argument("site")
@click.option("--host", "hosts", multiple=True, required=True, metavar="HOST", help="Where its catalog is.")
@days_option(pki.CERTIFICATE_DAYS)
def issue_site(directory: Path, site: str, hosts: tuple[str, ...], days: int) -> None:
    """Issues a certificate for the catalog of SITE, which names the site."""
    _told(Authority(directory).issue_site(names.require_site(site), hosts, days=days))


@issue.command("person", epilog=EXIT_STATUSES)
@directory_argument
@click.argument("name")
@days_option(pki.CERTIFICATE_DAYS)
def issue_person(directory: Path, name: str, days: int) -> None:
    """Issues a certificate for a person, or for a program that only asks."""
    _told(Authority(directory).issue_person(name, days=days))


@ca.command(epilog=EXIT_STATUSES)
@directory_argument
@click.argument("name")
def revoke(directory: Path, name: str) -> None:
    """Takes back every certificate of NAME, and writes the list of those taken back anew.

    Daemons that have the list as tls.crls notice within seconds.
    """
    serials = Authority(directory).revoke(name)
    terminal.say(f"{len(serials)} certificates of {name} are in {directory / 'crl.pem'} now")


@ca.command(epilog=EXIT_STATUSES)
@directory_argument
@days_option(pki.CRL_DAYS)
def crl(directory: Path, days: int) -> None:
    """Writes the list of what was taken back anew: it must be, before it ends, or nobody is believed any more."""
    terminal.say(f"{Authority(directory).crl(days)} is valid for {days} days")


def _told(path: Path) -> None:
    terminal.say(f"{path} and {path.stem}.key are new")
