"""Rules made from what a Globus installation has: a grid-mapfile, and the access list of a Globus RLS server.

A grid-mapfile maps distinguished names to local accounts, `"/DC=org/CN=Jane Doe" jdoe`. A line `acl PATTERN:
PRIVILEGE …` of an RLS configuration gives privileges to whose distinguished name or account a regular expression is
found in; the first that fits decides alone, which is what a final rule does.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from reploc.actions import Action
from reploc.errors import InputInvalid
from reploc.security.rules import Grant, Role, Rule, Rules

#: What each privilege of an RLS server allows here.
PRIVILEGES = {
    "lrc_read": (Action.READ_CATALOG,),
    "lrc_update": (Action.WRITE_CATALOG,),
    "rli_read": (Action.READ_INDEX,),
    "rli_update": (Action.SEND_SOFT_STATE,),
    "admin": (Action.ADMINISTER,),
    "stats": (Action.MONITOR,),
}
ALL = "all"
#: What those get whom a grid-mapfile names, where no access list says more.
MAPPED_ROLE = Role(name="mapped", grants=[Grant(actions=[Action.READ_CATALOG, Action.READ_INDEX])])

_MAPPED = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]\S*))\s+(\S+)\s*')
_ESCAPED = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)")
_ACL = re.compile(r"\s*acl\s+(.+?)\s*:\s*([a-z_ \t,]+?)\s*")


@dataclass(frozen=True)
class Mapped:
    """A line of a grid-mapfile."""

    subject: str
    accounts: tuple[str, ...]


@dataclass(frozen=True)
class Acl:
    """A line of an access list: a regular expression, and privileges."""

    pattern: str
    privileges: tuple[str, ...]


def mapfile(lines: Iterable[str]) -> Iterator[Mapped]:
    """The lines of a grid-mapfile. Raises InputInvalid with the number of the line that is none."""
    for number, line in _told(lines):
        found = _MAPPED.fullmatch(line)
        if not found:
            raise InputInvalid(f'grid-mapfile, line {number}: {line[:80]!r} is not "DISTINGUISHED NAME" account')
        yield Mapped(_ESCAPED.sub(_unescaped, found[1] or found[2]), tuple(found[3].split(",")))


def access_list(lines: Iterable[str]) -> Iterator[Acl]:
    """The `acl` lines of an RLS configuration; others are passed over. Raises InputInvalid."""
    for number, line in _told(lines):
        if not re.match(r"\s*acl\b", line):
            continue
        found = _ACL.fullmatch(line)
        privileges = tuple(re.split(r"[\s,]+", found[2])) if found else ()
        unknown = [one for one in privileges if one not in PRIVILEGES and one != ALL]
        if not found or unknown:
            wanted = ", ".join([*PRIVILEGES, ALL])
            raise InputInvalid(
                f"access list, line {number}: {line[:80]!r} is not `acl PATTERN: PRIVILEGE …`, of {wanted}"
            )
        try:
            re.compile(found[1])
        except re.error as wrong:
            raise InputInvalid(f"access list, line {number}: {found[1][:80]!r} is no pattern: {wrong}") from wrong
        yield Acl(found[1], privileges)


def rules(mapped: Sequence[Mapped], acls: Sequence[Acl]) -> Rules:
    """The rules that allow what the two allowed together."""
    roles: dict[str, Role] = {}
    made: list[Rule] = []
    for acl in acls:
        role = _role(acl.privileges)
        roles[role.name] = role
        given = _given(acl, role)
        made.append(replace(given, subject_regex=f"(?s:.*(?:{acl.pattern}).*)"))
        meant = [one for one in mapped if any(re.search(acl.pattern, account) for account in one.accounts)]
        made += [replace(given, subject=glob.escape(one.subject)) for one in meant]
    if not acls:
        roles[MAPPED_ROLE.name] = MAPPED_ROLE
        made = [Rule(kind="certificate", subject=glob.escape(one.subject), roles=[MAPPED_ROLE.name]) for one in mapped]
    return Rules(roles=list(roles.values()), rules=made)


def toml(made: Rules) -> str:
    """The rules as the file that `authorization.rules` names (JSON's texts, lists and truths are TOML's)."""
    return "\n".join([*_roles(made), *_rules(made)])


def _given(acl: Acl, role: Role) -> Rule:
    """The rule of one line, not yet about anybody. An RLS server takes updates for whatever site."""
    anything = ["*"] if {"rli_update", ALL} & set(acl.privileges) else []
    return Rule(kind="certificate", roles=[role.name], sites=anything, addresses=anything, final=True)


def _role(privileges: tuple[str, ...]) -> Role:
    names = sorted(PRIVILEGES) if ALL in privileges else sorted(set(privileges))
    actions = [action for name in names for action in PRIVILEGES[name]]
    return Role(name=ALL if ALL in privileges else "-".join(names), grants=[Grant(actions=actions)])


def _roles(made: Rules) -> Iterator[str]:
    for role in made.roles:
        grants = ", ".join(f"{{ actions = {json.dumps(grant.actions)} }}" for grant in role.grants)
        yield f"[[roles]]\nname = {json.dumps(role.name)}\ngrants = [{grants}]\n"


def _rules(made: Rules) -> Iterator[str]:
    plain = Rule()
    for rule in made.rules:
        yield "[[rules]]"
        for key in rule.__struct_fields__:
            if (value := getattr(rule, key)) != getattr(plain, key):
                yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
        yield ""


def _told(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.rstrip("\r\n")


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1][1:], 16)) if len(found[1]) == 3 else found[1]
