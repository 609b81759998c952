"""Acting on confirmed findings: new copies ordered, mappings gone, orphans in the trash, and what is not touched."""

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from planted import DAY, NOW, OLD, Planted, planted

from consistency.actions import Actions
from consistency.catalog import Paths
from consistency.doors import opened
from consistency.history import History
from consistency.limits import KindLimits, Limits
from consistency.report import ActionReport
from consistency.settings import ActionSettings
from reploc.storage import shelf
from reploc.wire import LfnReplica

WIDE = KindLimits(files=10_000, fraction=1.0, files_per_week=10_000)
LIMITS = Limits(missing=WIDE, orphan=WIDE, damaged=WIDE, empty_directories=WIDE)
EVERYTHING = ActionSettings(missing=True, orphans=True, empty_directories=True)


class Others:
    """Other sites that hold some files, or of which nobody knows; orders are written down, and `on_order` happens."""

    def __init__(self, held: dict[str, list[str] | None]) -> None:
        self.held = held
        self.ordered: list[str] = []
        self.on_order = lambda lfn: None

    async def sites(self, lfn: str) -> list[str] | None:
        return self.held.get(lfn, [])

    async def order(self, file: LfnReplica, sources: Sequence[str]) -> None:
        self.ordered.append(f"{file.lfn} from {','.join(sources)}")
        self.on_order(file.lfn)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Planted]:
    async with planted(tmp_path, limits=LIMITS, actions=EVERYTHING) as made:
        yield made


async def acted(site: Planted, others: Others, runs: int = 3, meanwhile=lambda: None) -> ActionReport:
    """So many runs a day apart, and what is done after the last; `meanwhile` happens just before."""
    for day in range(runs):
        outcome = await site.check(NOW + day * DAY)
        assert outcome.report.state == "done", outcome.report.reasons
    meanwhile()
    movers, history = shelf.made(), History(site.settings.database)
    try:
        door = opened(site.site, movers)[0]
        actions = Actions(site.settings, history, site.client, Paths(site.site), door, others, lambda: NOW + runs * DAY)
        return await actions.act(outcome)
    finally:
        history.close()
        await shelf.closed(movers)


async def holds(site: Planted, lfn: str) -> bool:
    return await site.client.find(lfn) is not None


async def test_a_missing_file_that_another_site_has_is_ordered_and_then_unregistered(site: Planted):
    await site.hold({"/a/f": b"1"})
    await site.lose({"/a/lost": b"1"})
    others = Others({"/a/lost": ["there"]})
    report = await acted(site, others)
    assert (report.recopied, report.unregistered, others.ordered) == (1, 1, ["/a/lost from there"])
    assert not await holds(site, "/a/lost")
    assert await holds(site, "/a/f")


async def test_a_file_that_no_site_has_is_listed_as_lost_and_keeps_its_mapping(site: Planted):
    await site.hold({"/a/f": b"1"})
    await site.lose({"/a/lost": b"1"})
    report = await acted(site, Others({}))
    assert (report.lost, report.unregistered) == (1, 0)
    assert await holds(site, "/a/lost")
    history = History(site.settings.database)
    assert [(each.lfn, each.size) for each in history.lost("site")] == [("/a/lost", 1)]
    history.close()


async def test_where_nobody_can_say_who_else_has_it_nothing_is_done(site: Planted):
    await site.hold({"/a/f": b"1"})
    await site.lose({"/a/lost": b"1"})
    report = await acted(site, Others({"/a/lost": None}))
    assert (report.recopied, report.lost, report.spared) == (0, 0, 1)
    assert "nobody could say" in report.failures[0]
    assert await holds(site, "/a/lost")


async def test_a_file_that_came_back_just_before_is_spared(site: Planted):
    await site.hold({"/a/f": b"1"})
    await site.lose({"/a/lost": b"1"})
    others = Others({"/a/lost": ["there"]})
    report = await acted(site, others, meanwhile=lambda: site.write(b"/a/lost", b"1"))
    assert (report.recopied, report.spared, others.ordered) == (0, 1, [])
    assert await holds(site, "/a/lost")


async def test_a_copy_that_lands_while_its_mapping_goes_has_a_mapping_again(site: Planted):
    await site.hold({"/a/f": b"1"})
    await site.lose({"/a/lost": b"1"})
    others = Others({"/a/lost": ["there"]})
    others.on_order = lambda lfn: site.write(lfn.encode(), b"1")
    await acted(site, others)
    assert await holds(site, "/a/lost")


async def test_a_damaged_file_is_ordered_anew(site: Planted):
    await site.hold({"/a/f": b"1"})
    await site.damage("/a/bad")
    report = await acted(site, Others({"/a/bad": ["there"]}))
    assert (report.recopied, await holds(site, "/a/bad")) == (1, False)


async def test_orphans_move_to_the_trash_whatever_their_names_and_leave_it_later(site: Planted):
    await site.hold({"/a/f": b"1"})
    names = [b"/a/orphan", b"/a/with blank", b"/a/\xff\xfe", b"/b/deep/er%20"]
    for name in names:
        site.orphan(name)
    report = await acted(site, Others({}))
    assert (report.quarantined, report.failures) == (4, [])
    trash = os.fsencode(site.root) + b"/.reploc-trash"
    (folder,) = os.listdir(trash)
    for name in names:
        assert not os.path.exists(os.fsencode(site.root) + name)
        assert os.path.exists(trash + b"/" + folder + name)
    assert (await site.check(NOW + 9 * DAY)).report.tally.kinds["orphan"].files == 0


async def test_an_orphan_that_was_registered_or_changed_meanwhile_stays(site: Planted):
    await site.hold({"/a/f": b"1"})
    for name in (b"/a/registered", b"/a/changed", b"/a/written-again"):
        site.orphan(name)
    for day in range(3):
        outcome = await site.check(NOW + day * DAY)
    await site.register({"/a/registered": b"orphan"})
    site.write(b"/a/changed", b"grown larger")
    site.write(b"/a/written-again", b"orphan", mtime=int(NOW))
    movers, history = shelf.made(), History(site.settings.database)
    actions = Actions(
        site.settings, history, site.client, Paths(site.site), opened(site.site, movers)[0], None, lambda: NOW
    )
    report = await actions.act(outcome)
    history.close()
    assert (report.quarantined, report.spared) == (0, 3)


async def test_old_empty_directories_go_and_one_that_was_filled_meanwhile_stays(site: Planted):
    await site.hold({"/a/f": b"1"})
    for path in ("/void/deep", "/filled"):
        os.makedirs(f"{site.root}{path}")
        os.utime(f"{site.root}{path}", (OLD, OLD))
    os.utime(f"{site.root}/void", (OLD, OLD))
    report = await acted(site, Others({}), 1, lambda: site.write(b"/filled/f", b"1"))
    assert (report.removed_directories, report.spared) == (2, 1)
    assert sorted(os.listdir(site.root)) == ["a", "filled"]


async def test_nothing_is_done_unless_it_was_asked_for(site: Planted):
    site.settings = type(site.settings)(
        **{name: getattr(site.settings, name) for name in site.settings.__struct_fields__}
        | {"actions": ActionSettings()}
    )
    await site.hold({"/a/f": b"1"})
    await site.lose({"/a/lost": b"1"})
    site.orphan(b"/a/orphan")
    assert await acted(site, Others({"/a/lost": ["there"]})) == ActionReport()
