"""Workers as processes: behind one port, killed and started again, counted together, and gone with the main process."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from daemon import all_listen, failed, process, settings_file, workers_of
from grid import PATIENCE_S, index_settings, until
from plain_http import ask

from lrc.settings import LrcSettings
from reploc.client import LrcClient
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.members import IndexSettings
from reploc.wire import MappingItem
from rli.settings import RliSettings

#: Connections until each process has had some: with three processes all but one in a million runs needs fewer.
CONNECTIONS = 40


def lrc_settings(path: Path, workers: int = 3, port: int = 0) -> LrcSettings:
    listen = f"127.0.0.1:{port or free_port()}"
    nobody = IndexSettings(nodes=[])
    return LrcSettings(site="A", store=str(path / "store"), listen=listen, workers=workers, index=nobody)


@pytest.fixture
def lrc(tmp_path: Path) -> Iterator[Process]:
    told = lrc_settings(tmp_path)
    found = process("lrc", settings_file(tmp_path / "lrc.toml", told), f"http://{told.listen}")
    found.start()
    yield found
    found.stop()


def main_pid(found: Process) -> int:
    assert found.running is not None
    return found.running.pid


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def ready(found: Process, workers: int = 2) -> set[int]:
    """The workers of a daemon, once all of them listen."""
    await found.answering()
    await all_listen(found, workers + 1)
    return workers_of(main_pid(found))


async def counted(found: Process, route: str, answered: int = 200) -> int:
    _, said = await ask(f"{found.url}/metrics")
    line = f'reploc_request_seconds_count{{route="{route}",status="{answered}"}} '
    return sum(int(float(one.removeprefix(line))) for one in said.decode().splitlines() if one.startswith(line))


async def asked(found: Process, times: int = CONNECTIONS) -> None:
    """Looks one name up over so many connections, and sees it each time."""
    for _ in range(times):
        status, said = await ask(f"{found.url}/v1/replicas?lfn=/a")
        assert (status, said["pfns"]) == (200, ["a:1"])


async def asked_in_vain(found: Process) -> None:
    """Looks a name up that is not there, over so many connections."""
    for _ in range(CONNECTIONS):
        assert (await ask(f"{found.url}/v1/replicas?lfn=/gone"))[0] == 404


async def come(condition: Callable[[], bool], what: str) -> None:
    """Waits until something is so."""

    async def look() -> bool:
        return condition()

    await until(look, bool, what)


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    """A catalog and the index node that it feeds, which has two workers."""
    index = index_settings(1, redundancy=1, expiry_s=6.0)
    node = RliSettings(
        node="n0", listen=index.urls["n0"].removeprefix("http://"), matrix_bytes_max=1 << 30, index=index, workers=3
    )
    told = LrcSettings(site="A", store=str(tmp_path / "store"), listen=f"127.0.0.1:{free_port()}", index=index)
    rli = process("rli", settings_file(tmp_path / "rli.toml", node), index.urls["n0"])
    lrc = process("lrc", settings_file(tmp_path / "lrc.toml", told), f"http://{told.listen}")
    for each in (rli, lrc):
        each.start()
    yield lrc, rli
    for each in (lrc, rli):
        each.stop()


async def test_writes_reach_the_writer_and_every_process_sees_them_at_once(lrc: Process) -> None:
    await ready(lrc)
    for number in range(CONNECTIONS):
        async with LrcClient(lrc.url) as writing:
            await writing.put([MappingItem(f"/{number}", "a:1", 7)])
        async with LrcClient(lrc.url) as reading:
            assert (await reading.lookup(f"/{number}")).size == 7
            assert (await reading.status()).lfns == number + 1
    _, listed = await ask(f"{lrc.url}/v1/dump")
    assert len(listed) == CONNECTIONS


async def test_what_is_wrong_is_said_alike_by_all(lrc: Process) -> None:
    await ready(lrc)
    for path, status in (("replicas?lfn=/gone", 404), ("replicas?lfm=/a", 400), ("nothing", 404), ("mappings", 405)):
        said = [await ask(f"{lrc.url}/v1/{path}") for _ in range(CONNECTIONS // 2)]
        assert {found for found, _ in said} == {status}
        assert len({problem["detail"] for _, problem in said}) == 1


async def test_counts_are_those_of_all_processes(lrc: Process) -> None:
    await ready(lrc)
    async with LrcClient(lrc.url) as client:
        await client.put([MappingItem("/a", "a:1")])
    await asked(lrc)
    for _ in range(CONNECTIONS // 4):
        await until(partial(counted, lrc, "/v1/replicas"), lambda count: count == CONNECTIONS, "all are counted")


async def test_a_worker_that_dies_is_started_again_and_its_counts_stay(lrc: Process) -> None:
    workers = await ready(lrc)
    async with LrcClient(lrc.url) as client:
        await client.put([MappingItem("/a", "a:1")])
    await asked(lrc)
    look = partial(counted, lrc, "/v1/replicas")
    await until(look, lambda count: count == CONNECTIONS, "all are counted")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    await come(lambda: len(workers_of(main_pid(lrc)) - workers) == 2, "two new workers")
    await asked(lrc)
    await until(look, lambda count: count == 2 * CONNECTIONS, "all are counted, and none is lost")


async def test_no_worker_outlives_the_main_process(lrc: Process) -> None:
    workers = await ready(lrc)
    assert len(workers) == 2
    lrc.kill()
    await come(lambda: not any(map(is_alive, workers)), "no worker is left")


async def test_told_to_stop_all_finish_what_they_are_doing(lrc: Process) -> None:
    workers = await ready(lrc)
    assert lrc.running is not None
    async with LrcClient(lrc.url) as client:
        writing = [asyncio.create_task(client.put([MappingItem(f"/{n}", "a:1")])) for n in range(50)]
        await asyncio.gather(*writing)
    lrc.running.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(lrc.running.wait, PATIENCE_S) == 0
    assert not any(map(is_alive, workers))


async def test_changed_settings_reach_the_workers(lrc: Process, tmp_path: Path) -> None:
    await ready(lrc)
    assert lrc.running is not None
    settings = tmp_path / "lrc.toml"
    settings.write_text(settings.read_text().replace('log_format = "text"', 'log_format = "json"'))
    lrc.running.send_signal(signal.SIGHUP)
    await come(lambda: lrc.log.read_text().count('"event": "daemon.reloaded"') == 3, "three processes log as JSON")


async def test_what_is_told_a_worker_that_is_still_starting_reaches_it_in_the_end(lrc: Process, tmp_path: Path) -> None:
    """Stopped before it has read its brief, it finds that and what changed in one piece in its pipe."""
    await lrc.answering()
    await come(lambda: len(workers_of(main_pid(lrc))) == 2, "both workers have begun")
    workers = workers_of(main_pid(lrc))
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    settings = tmp_path / "lrc.toml"
    settings.write_text(settings.read_text().replace('log_format = "text"', 'log_format = "json"'))
    os.kill(main_pid(lrc), signal.SIGHUP)
    await come(lambda: '"event": "daemon.reloaded"' in lrc.log.read_text(), "the main process has read them")
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    await come(lambda: lrc.log.read_text().count('"event": "daemon.reloaded"') == 3, "and so have the workers")


async def test_a_signal_that_was_meant_for_the_main_process_ends_no_worker(lrc: Process) -> None:
    workers = await ready(lrc)
    for pid in (main_pid(lrc), *workers):
        os.kill(pid, signal.SIGHUP)
    await come(lambda: "daemon.reloaded" in lrc.log.read_text(), "the main process has looked")
    await asked_in_vain(lrc)
    assert workers_of(main_pid(lrc)) == workers


async def test_a_port_that_another_daemon_shares_among_its_workers_is_taken(lrc: Process, tmp_path: Path) -> None:
    await ready(lrc)
    (tmp_path / "other").mkdir()
    told = lrc_settings(tmp_path / "other", port=int(lrc.url.rpartition(":")[2]))
    status, said = failed("lrc", settings_file(tmp_path / "other.toml", told))
    assert status == 2
    assert "cannot listen" in said[0]


async def test_every_process_of_a_node_answers_what_senders_tell_the_main_one(grid: tuple[Process, Process]) -> None:
    lrc, rli = grid
    await lrc.answering()
    await ready(rli)
    async with LrcClient(lrc.url) as client:
        await client.put([MappingItem(f"/{number}", "a:1") for number in range(200)])
    lfns = [f"/{number}" for number in range(200)]

    async def located() -> int:
        _, said = await ask(f"{rli.url}/v1/locations", body={"lfns": lfns})
        return sum(sites == ["A"] for sites in said["locations"].values()) - len(said["incomplete"])

    await until(located, lambda found: found == 200, "the node is complete and knows the site")
    for number in range(CONNECTIONS):
        status, said = await ask(f"{rli.url}/v1/locations?lfn=/{number}")
        assert (status, said["complete"], [site["site"] for site in said["sites"]]) == (200, True, ["A"])
        assert await located() == 200
        _, said = await ask(f"{rli.url}/v1/exists", body={"lfns": ["/0", "/nowhere"]})
        assert (said["may_hold"], said["nowhere"], said["unknown"]) == (["/0"], ["/nowhere"], [])


async def test_what_a_worker_cannot_answer_the_main_process_answers(grid: tuple[Process, Process]) -> None:
    lrc, rli = grid
    await lrc.answering()
    await ready(rli)
    async with LrcClient(lrc.url) as client:
        await client.put([MappingItem("/a", "a:1")])

    async def verified() -> object:
        _, said = await ask(f"{rli.url}/v1/locations", body={"lfns": ["/a"], "verify": True})
        return said["locations"].get("/a")

    await until(verified, lambda sites: sites == ["A"], "the site is asked whether it has the file")
    for _ in range(CONNECTIONS // 2):
        assert await verified() == ["A"]
        _, said = await ask(f"{rli.url}/v1/replicas?lfn=/a")
        assert [(one["site"], one["pfns"]) for one in said["replicas"]] == [("A", ["a:1"])]
        status, said = await ask(f"{rli.url}/v1/status")
        assert (status, said["node"], said["sites_live"]) == (200, "n0", 1)
