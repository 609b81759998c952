"""Clocks that are set forward and back by a day under running daemons: nothing expires, and nothing looks younger.

All rules are given monotonic seconds, which no clock step touches; that daemons saw another day, their logs say.
"""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clock import Clock
from daemon import process, settings_file
from grid import index_settings, pfns, until

from lrc.settings import LrcSettings
from reploc.client import LrcClient, RliClient
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.wire import MappingItem
from rli.settings import RliSettings

LFNS = [f"/lfn/{number}" for number in range(40)]
#: Seconds in which a site's word expires: more than a busy machine keeps it waiting, and nothing beside a day.
EXPIRY_S = 20.0


async def test_clocks_that_are_set_forward_and_back_change_no_answer(tmp_path: Path) -> None:
    index = index_settings(1, redundancy=1, expiry_s=EXPIRY_S)
    clocks = [Clock(tmp_path / "clock-of-node"), Clock(tmp_path / "clock-of-lrc")]
    listen = f"127.0.0.1:{free_port()}"
    (url,) = index.urls.values()
    node_told = RliSettings(node="n0", listen=url.removeprefix("http://"), matrix_bytes_max=1 << 30, index=index)
    lrc_told = LrcSettings(site="A", store=str(tmp_path / "store"), listen=listen, index=index)
    node = clocks[0].shown_to(process("rli", settings_file(tmp_path / "n0.toml", node_told), url))
    lrc = clocks[1].shown_to(process("lrc", settings_file(tmp_path / "lrc.toml", lrc_told), f"http://{listen}"))
    right = {lfn: {f"file://{lfn}"} for lfn in LFNS} | {"/nowhere": set()}
    try:
        for each in (node, lrc):
            each.start()
            await each.answering()
        async with LrcClient(lrc.url) as catalog, RliClient([url]) as client:
            await catalog.put([MappingItem(lfn, f"file://{lfn}") for lfn in LFNS])
            asked = list(right)
            await until(lambda: client.lookup(asked), lambda said: said.complete and pfns(said) == right, "settled")
            for days, who in ((1, node), (-1, node), (1, lrc), (-1, lrc), (0, lrc)):
                clocks[who is lrc].step(days)
                await until(
                    lambda days=days, who=who: _logged(who, days), bool, "the daemon sees the other time of day"
                )
                for _ in range(10):
                    said = await client.lookup(asked)
                    assert said.complete
                    assert pfns(said) == right
                    located = await client.locate(asked, max_age_s=60)
                    assert located.said.sites["A"].age_s < 60
                    await asyncio.sleep(0.05)
                new = f"/new/{who.name}/{days}"
                await catalog.put([MappingItem(new, f"file://{new}")])
                right[new] = {f"file://{new}"}
                asked.append(new)
                await until(lambda: client.lookup(asked), lambda said: pfns(said) == right, "what is new is found")
    finally:
        lrc.kill()
        node.kill()


async def _logged(daemon: Process, days: int) -> bool:
    """Whether a line of its log is of the day that it was shown."""
    assert daemon.running is not None
    daemon.running.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.2)
    day = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")
    return daemon.log.read_text().splitlines()[-1].startswith(day)
