"""Ports for daemons: no connection gets one of them between its being drawn and its being listened on."""

import socket
from pathlib import Path

import pytest

from reploc.demo import ports
from reploc.demo.ports import free_port


def test_a_port_is_none_of_those_that_connections_get(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = tmp_path / "range"
    given.write_text("13000\t60999\n")
    monkeypatch.setattr(ports, "GIVEN", given)
    drawn = [free_port() for _ in range(300)]
    assert len(set(drawn)) == 300
    assert all(ports.FIRST <= port < 13_000 for port in drawn)


@pytest.mark.parametrize("text", ["1024 65535", "", None])
def test_where_connections_get_nearly_all_the_kernel_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    given = tmp_path / "range"
    if text is not None:
        given.write_text(text)
    monkeypatch.setattr(ports, "GIVEN", given)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free_port()))
        listening.listen()


def test_a_port_that_is_listened_on_is_not_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free_port()))
        listening.listen()
        port = listening.getsockname()[1]
        given = tmp_path / "range"
        given.write_text(f"{port + 1} 60999")
        monkeypatch.setattr(ports, "GIVEN", given)
        monkeypatch.setattr(ports, "FIRST", port)
        monkeypatch.setattr(ports, "COUNT_MIN", 1)
        assert free_port() != port
