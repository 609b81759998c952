"""Rules: who gets which role, what that allows, and what is said about it."""

import pytest

from reploc import config
from reploc.actions import Action, Beginning
from reploc.errors import ConfigInvalid, InputInvalid
from reploc.security import foreign
from reploc.security.identity import NOBODY, DnAmbiguous, Identity, capabilities, climbs, dn
from reploc.security.rules import Grant, Role, Rule, Rules

JANE = Identity("certificate", "/DC=org/CN=Jane Doe", "/DC=org/CN=CA", hosts=frozenset({"lrc.a.example.org", "::1"}))
JOE = Identity("token", "joe", "https://issuer/", groups=("/cms", "/cms/production"))

READER = Role(name="reader", grants=[Grant(actions=[Action.READ_CATALOG], names=["/store/", "/pub"])])
WRITER = Role(name="writer", grants=[Grant(actions=[Action.READ_CATALOG, Action.WRITE_CATALOG])])
SENDER = Role(name="sender", grants=[Grant(actions=[Action.SEND_SOFT_STATE])])


def rules(*made: Rule) -> Rules:
    return Rules(roles=[READER, WRITER, SENDER], rules=list(made))


def may(made: Rules, who: Identity, action: Action, *names: str) -> bool:
    return made.rights(who).decide(action, names).allowed


@pytest.mark.parametrize("who", [JANE, JOE, NOBODY])
def test_what_no_rule_allows_is_refused(who: Identity) -> None:
    for action in Action:
        assert may(rules(), who, action) == (action is Action.PUBLIC)


@pytest.mark.parametrize(
    ("rule", "whom"),
    [
        (Rule(subject="/DC=org/CN=Jane Doe"), [JANE]),
        (Rule(subject="/DC=org/*"), [JANE]),
        (Rule(subject_regex="/DC=(org|net)/CN=J.*"), [JANE]),
        (Rule(subject_regex="CN=J.*"), []),
        (Rule(issuer="/DC=org/CN=CA"), [JANE]),
        (Rule(issuer="https://issuer/", subject="j*"), [JOE]),
        (Rule(group="/cms/prod*"), [JOE]),
        (Rule(group="/atlas"), []),
        (Rule(), [JANE, JOE]),
        (Rule(kind="certificate"), [JANE]),
        (Rule(kind="token"), [JOE]),
        (Rule(kind="nobody"), [NOBODY]),
        (Rule(kind="nobody", subject="/DC=org/*"), []),
    ],
)
def test_a_rule_is_about_whom_all_of_it_fits(rule: Rule, whom: list[Identity]) -> None:
    assert [who for who in (JANE, JOE, NOBODY) if rule.matches(who)] == whom


def test_rules_add_up_until_a_final_one() -> None:
    made = rules(Rule(subject="/DC=org/*", roles=["reader"]), Rule(subject="*Jane*", roles=["writer"]))
    assert may(made, JANE, Action.WRITE_CATALOG, "/user/a")
    banned = rules(Rule(subject="*Jane*", final=True), Rule(subject="/DC=org/*", roles=["writer"]))
    assert not may(banned, JANE, Action.READ_CATALOG, "/store/a")


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("/store/a", True), ("/store/", True), ("/store", False), ("/public/a", True), ("/user/a", False),
        ("/store/../user/a", False), ("/store/..", False), ("/store/..a", True), ("", False), ("store/a", False),
        (Beginning("/store/mc"), True), (Beginning("/stor"), False), (Beginning(""), False),
    ],
)  # fmt: skip
def test_a_right_covers_what_begins_with_its_names(name: str, allowed: bool) -> None:
    made = rules(Rule(roles=["reader"]))
    assert may(made, JANE, Action.READ_CATALOG, name) == allowed
    assert may(made, JANE, Action.READ_CATALOG, "/store/a", name, "/store/b") == allowed
    assert may(rules(Rule(roles=["writer"])), JANE, Action.READ_CATALOG, name)


def test_soft_state_is_allowed_for_the_own_sites_alone() -> None:
    own = Identity("certificate", "/CN=a", sites=frozenset({"site-a"}), nodes=frozenset({"rli-child"}))
    made = rules(Rule(roles=["sender"]), Rule(subject="*Jane*", sites=["t2-*"]))
    assert may(made, own, Action.SEND_SOFT_STATE, "site-a")
    assert may(made, own, Action.SEND_SOFT_STATE, "rli-child")
    assert not may(made, own, Action.SEND_SOFT_STATE, "site-b")
    assert may(made, JANE, Action.SEND_SOFT_STATE, "t2-de")
    assert not may(made, JANE, Action.SEND_SOFT_STATE, "t1-de")
    assert not may(rules(Rule(sites=["*"])), JANE, Action.SEND_SOFT_STATE, "site-a")


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://lrc.a.example.org:39280", True), ("https://LRC.a.example.org", True), ("https://[::1]:1", True),
        ("https://[0:0:0:0:0:0:0:1]", True), ("https://lrc.b.example.org", False), ("https://c.a.test:1", True),
        ("https://lrc.a.example.org@evil.example.org", False), ("https://", False),
    ],
)  # fmt: skip
def test_an_address_is_the_own_by_the_certificate_or_a_rule(url: str, own: bool) -> None:
    assert rules(Rule(addresses=["*.a.test"])).rights(JANE).owns(url) == own


def test_a_decision_says_which_rule_it_comes_from() -> None:
    made = rules(Rule(subject="/DC=org/*", roles=["reader"]), Rule(group="/cms", roles=["writer"]))
    assert made.rights(JANE).decide(Action.READ_CATALOG, ["/pub"]).because == "rule 1 gives role 'reader'"
    assert made.rights(JOE).decide(Action.WRITE_CATALOG, ["/a"]).because == "rule 2 gives role 'writer'"
    refused = made.rights(JANE).decide(Action.READ_CATALOG, ["/user/a"]).because
    assert refused == "certificate /DC=org/CN=Jane Doe may read-catalog on '/pub', '/store/', and not on '/user/a'"
    assert "no role that allows write-catalog (rule 1" in made.rights(JANE).decide(Action.WRITE_CATALOG, ["/a"]).because
    assert "no rule matches" in made.rights(NOBODY).decide(Action.WRITE_CATALOG, ["/a"]).because


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"rules": [{"roles": ["x"]}]}, "rule 1 gives role 'x'; expected one of none"),
        ({"rules": [{"subjct": "x"}]}, "did you mean 'rules[0].subject'"),
        ({"rules": [{"subject_regex": "("}]}, "is no regular expression"),
        ({"rules": [{"kind": "anybody"}]}, "kind"),
        ({"roles": [{"name": "x", "grants": [{"actions": ["read"]}]}]}, "actions"),
        ({"roles": [{"name": "x", "grants": [{"actions": []}]}]}, "actions"),
        ({"roles": [{"name": "x"}, {"name": "x"}]}, "role 'x' is there twice"),
    ],
)
def test_rules_that_cannot_be_right_are_refused_whole(table: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigInvalid) as wrong:
        config.parse(Rules, table, "rules.toml")
    assert said in wrong.value.detail


# ---- identities --------------------------------------------------------------------------------------------------


def test_a_name_that_could_be_read_in_two_ways_is_nobodys() -> None:
    assert dn([("DC", "org"), ("CN", "host/lrc.example.org")]) == "/DC=org/CN=host/lrc.example.org"
    for value in ("x/CN=admin", "x/1.2.3=a", "a\nb", "a" * 1_100):
        with pytest.raises(DnAmbiguous):
            dn([("O", value), ("CN", "joe")])


@pytest.mark.parametrize("scope", ["storage.read:", "read", "storage.read:/"])
def test_a_scope_without_a_path_is_about_all(scope: str) -> None:
    found = capabilities(scope, "/cms")
    assert found is not None
    assert {one.path for one in found} == {"/cms/"}


@pytest.mark.parametrize("scope", ["", "openid profile", "compute.read", "wlcg.groups"])
def test_a_token_without_paths_says_nothing_about_names(scope: str) -> None:
    assert capabilities(scope, "/") is None


@pytest.mark.parametrize("scope", ["storage.read:store", "read:/a/../b", "write:/.."])
def test_a_path_that_is_none_is_refused(scope: str) -> None:
    with pytest.raises(ValueError, match="not absolute and normal"):
        capabilities(scope, "/")


def test_a_scope_on_a_file_is_on_that_file_and_not_on_those_that_begin_like_it() -> None:
    who = Identity("token", "job", capabilities=capabilities("storage.read:/store/a storage.modify:/out", "/"))
    for name, allowed in {"/store/a": True, "/store/a/b": True, "/store/ab": False, "/": False}.items():
        assert may(rules(), who, Action.READ_CATALOG, name) == allowed
    assert not may(rules(), who, Action.READ_CATALOG, Beginning("/store/a"))
    assert may(rules(), who, Action.READ_CATALOG, Beginning("/store/a/"))
    assert not may(rules(Rule(roles=["writer"])), who, Action.WRITE_CATALOG, "/store/a")
    assert climbs("/a/../b")
    assert not climbs("/a/..b/c..")


# ---- what a Globus installation has ----------------------------------------------------------------------------------

MAPFILE = r"""
# people
"/DC=org/DC=grid/CN=Jane Doe" jdoe
"/DC=org/CN=Joe \"J\" \x5b1\x5d" joe,cms
/O=Grid/CN=host/lrc.example.org rls
"""
ACL = """
db_name lrc1000
acl /O=Grid/CN=host/.*: lrc_read rli_update
acl ^cms$: all
acl /DC=org/: lrc_read rli_read
"""


def test_a_map_and_an_access_list_become_the_rules_that_they_are() -> None:
    """The first line that fits the name or its account decides alone, as it does in an RLS server."""
    mapped, acls = list(foreign.mapfile(MAPFILE.splitlines())), list(foreign.access_list(ACL.splitlines()))
    assert [one.subject for one in mapped][1] == '/DC=org/CN=Joe "J" [1]'
    made = foreign.rules(mapped, acls)
    joe, host = Identity("certificate", mapped[1].subject), Identity("certificate", mapped[2].subject)
    jane, other = Identity("certificate", mapped[0].subject), Identity("certificate", "/O=Other/CN=x")
    assert may(made, joe, Action.ADMINISTER)
    assert may(made, jane, Action.READ_INDEX, "/a")
    assert not may(made, jane, Action.WRITE_CATALOG, "/a")
    assert may(made, host, Action.SEND_SOFT_STATE, "any-site")
    assert not may(made, host, Action.READ_INDEX, "/a")
    assert not any(may(made, other, action) for action in Action if action is not Action.PUBLIC)


def test_a_map_alone_lets_those_read_whom_it_names() -> None:
    made = foreign.rules(list(foreign.mapfile(MAPFILE.splitlines())), [])
    assert may(made, Identity("certificate", '/DC=org/CN=Joe "J" [1]'), Action.READ_CATALOG, "/a")
    assert not may(made, Identity("certificate", '/DC=org/CN=Joe "J" 1'), Action.READ_CATALOG, "/a")


def test_imported_rules_are_a_file_that_is_read_as_it_was_meant(tmp_path: object) -> None:
    made = foreign.rules(list(foreign.mapfile(MAPFILE.splitlines())), list(foreign.access_list(ACL.splitlines())))
    path = tmp_path / "rules.toml"  # type: ignore[operator]
    path.write_text(foreign.toml(made), encoding="utf-8")
    assert config.load(Rules, path) == made


@pytest.mark.parametrize(
    ("lines", "read", "said"),
    [
        (['"/CN=open jdoe'], foreign.mapfile, "line 1: '\"/CN=open jdoe'"),
        (["# x", "/CN=alone"], foreign.mapfile, "line 2"),
        (["acl x: fly"], foreign.access_list, "lrc_read"),
        (["acl (: all"], foreign.access_list, "is no pattern"),
        (["acl x all"], foreign.access_list, "line 1"),
    ],
)
def test_lines_that_are_none_are_named(lines: list[str], read: object, said: str) -> None:
    with pytest.raises(InputInvalid) as wrong:
        list(read(lines))  # type: ignore[operator]
    assert said in wrong.value.detail
