"""Settings that are read again while a daemon runs: what may change of an index, and what is refused in words."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from lrc.server import RELOADABLE
from lrc.settings import LrcSettings
from reploc.errors import ConfigInvalid
from reploc.members import IndexSettings, Node
from reploc.partition import Rule
from reploc.reload import Reloadable
from reploc.telemetry import Metrics

NODES = [Node(name=name, url=f"http://{name}:1") for name in ("n", "m")]
LFNS = [Rule(nodes=("n",), prefix="/a"), Rule(nodes=("m",), prefix="")]
SITES = [Rule(nodes=("n",), glob="*.de"), Rule(nodes=("m",), prefix="")]
BY_LFNS = IndexSettings(lfn_partition="pattern", lfn_rules=LFNS, nodes=NODES)
BY_SITES = IndexSettings(lfn_partition="none", site_partition="pattern", site_rules=SITES, nodes=NODES)


def reloaded(before: IndexSettings, after: IndexSettings) -> tuple[IndexSettings, str]:
    """What is in force when another index was read, and why it is not the other."""
    told = LrcSettings(site="a", store="/s", index=before)
    taken = [told]
    daemon = Reloadable(told, RELOADABLE, taken.append, Metrics())
    daemon.reload(lambda: replace(told, index=after))
    assert taken[-1] == daemon.settings
    return daemon.settings.index, daemon.error


@pytest.mark.parametrize(
    "change",
    [
        lambda: (BY_LFNS, replace(BY_LFNS, lfn_rules=[replace(LFNS[0], nodes=("m",)), LFNS[1]])),
        lambda: (BY_SITES, replace(BY_SITES, site_rules=[replace(SITES[0], nodes=("m",)), SITES[1]])),
        lambda: (BY_SITES, replace(BY_SITES, site_rules=[replace(SITES[0], glob="*.fr"), *SITES])),
    ],
)
def test_rules_may_name_other_nodes_and_those_for_sites_match_others(
    change: Callable[[], tuple[IndexSettings, IndexSettings]],
) -> None:
    before, after = change()
    assert reloaded(before, after) == (after, "")


@pytest.mark.parametrize(
    "rules", [[replace(LFNS[0], prefix="/b"), LFNS[1]], [LFNS[0], LFNS[0], LFNS[1]], [LFNS[1]]], ids=len
)
def test_what_rules_for_lfns_match_cannot_change_while_a_daemon_runs(rules: list[Rule]) -> None:
    index, error = reloaded(BY_LFNS, replace(BY_LFNS, lfn_rules=rules))
    assert index == BY_LFNS
    assert "index.lfn_rules" in error
    assert "cannot change while the daemon runs; only index.lfn_rules.nodes, index.nodes" in error


def test_rules_that_make_no_sense_with_the_nodes_are_refused_and_nothing_changes() -> None:
    told = LrcSettings(site="a", store="/s", index=BY_SITES)
    daemon = Reloadable(told, RELOADABLE, lambda _: pytest.fail("nothing is to be taken"), Metrics())

    def load() -> LrcSettings:
        try:
            return replace(told, index=replace(BY_SITES, nodes=NODES[:1]))
        except ValueError as wrong:
            raise ConfigInvalid(str(wrong)) from wrong

    daemon.reload(load)
    assert "site_rules[1] names node 'm', which is none of index.nodes" in daemon.error
