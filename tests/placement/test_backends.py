"""Who carries orders: file operations read the feed; others are handed every order once, and the log carries none."""

from __future__ import annotations

from typing import Any

import pytest
from stores import Told, wish

from placement import orders
from placement.backends import Backends, Delivery
from placement.settings import BackendSettings
from reploc.client.transport import HttpTransport, Request
from reploc.errors import ConfigInvalid, Unreachable
from reploc.wire import Answer


class Tool(HttpTransport):
    """A site's own tool, which can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[str, int, str]] = []
        self.away = False

    async def ask(self, request: Request[Any], until: float) -> Any:
        if self.away:
            raise Unreachable("the tool is away")
        order = request.body
        self.taken.append((request.url + request.path, order.id, order.state))  # type: ignore[union-attr]
        return Answer()


TABLES = [BackendSettings(sites="T1", backend="http", url="http://tool:80"), BackendSettings(sites="T2", backend="log")]


@pytest.fixture
def tool(told: Told) -> Tool:
    told.define()
    return Tool()


def fed(told: Told, backends: Backends) -> list[str]:
    with told.keeper.database.reading() as connection:
        return [order.site for order in orders.feed(connection, 0, 1, backends.reads_itself).orders]


async def test_a_tool_is_handed_each_order_once_and_told_of_cancellations(told: Told, tool: Tool) -> None:
    backends = Backends(TABLES, tool)
    delivery = Delivery(told.keeper, backends)
    (first,) = told.write(wish("copy", "T1", "1")).written
    tool.away = True
    await delivery.run_once()
    assert tool.taken == []
    tool.away = False
    for _ in range(2):
        await delivery.run_once()
    assert tool.taken == [("http://tool:80/v1/orders", first, "new")]
    told.cancel(first)
    await delivery.run_once()
    assert [(number, state) for _, number, state in tool.taken] == [(first, "new"), (first, "cancelled")]


async def test_the_log_ends_orders_and_file_operations_see_only_their_own(told: Told, tool: Tool) -> None:
    backends = Backends(TABLES, tool)
    told.write(wish("copy", "T1", "1"), wish("copy", "T2", "1"), wish("copy", "T3", "1"))
    assert fed(told, backends) == ["T3"]
    for _ in range(2):
        await Delivery(told.keeper, backends).run_once()
    with told.keeper.database.reading() as connection:
        states = {order.site: (order.state, order.reason) for order in orders.feed(connection, 0, 10).orders}
    assert states["T2"] == ("cancelled", "the back-end of this site only writes a log")
    assert states["T3"] == ("new", "")
    assert len(tool.taken) == 1


def test_a_back_end_that_is_not_installed_is_refused(tool: Tool) -> None:
    with pytest.raises(ConfigInvalid, match="'fts' is not installed; known: fileops, http, log"):
        Backends([BackendSettings(backend="fts")], tool)
    with pytest.raises(Exception, match=r"backends\.url"):
        Backends([BackendSettings(backend="http")], tool)
