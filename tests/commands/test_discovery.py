"""How a client finds services: options before variables before the file, and words for what is wrong."""

from pathlib import Path

import pytest

from reploc import config
from reploc.commands import discovery
from reploc.commands.discovery import ClientSettings
from reploc.errors import ConfigInvalid


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "reploc.toml"
    file.write_text('lrc = ["http://file:1"]\nrli = ["http://file:2", "http://file:3"]\n')
    return file


def test_an_option_goes_before_a_variable_and_a_variable_before_the_file(path: Path) -> None:
    environ = {"REPLOC_LRC": "http://variable:1"}
    found = discovery.find(["http://option:1/"], environ=environ, path=path)
    assert found.lrcs == ("http://option:1",)
    assert found.rlis == ("http://file:2", "http://file:3")
    assert discovery.find(environ=environ, path=path).lrc == "http://variable:1"
    assert discovery.find(environ={}, path=path).lrc == "http://file:1"


def test_a_variable_may_name_several() -> None:
    found = discovery.find(environ={"REPLOC_RLI": "http://a:1, http://b:1,"}, path=Path("/nowhere"))
    assert found.index == ("http://a:1", "http://b:1")


def test_where_nothing_is_known_the_error_says_how_to_name_it(tmp_path: Path) -> None:
    found = discovery.find(environ={}, path=tmp_path / "none.toml")
    with pytest.raises(ConfigInvalid, match="no catalog is known") as lrc:
        _ = found.lrc
    assert "--lrc URL or REPLOC_LRC" in lrc.value.advice
    with pytest.raises(ConfigInvalid, match="no index node is known"):
        _ = found.index


def test_a_command_for_one_catalog_does_not_choose_among_several() -> None:
    with pytest.raises(ConfigInvalid, match=r"2 catalogs are known \(http://a:1, http://b:1\); expected one"):
        _ = discovery.find(["http://a:1", "http://b:1"]).lrc


def test_the_example_file_is_the_settings_with_their_defaults() -> None:
    text = (Path(__file__).parents[2] / "configs" / "client.toml").read_text(encoding="utf-8")
    assert text == config.example(ClientSettings)


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ConfigInvalid, match="rli 'b:1' is not http://HOST"):
        discovery.find(rlis=["b:1"], environ={}, path=Path("/nowhere"))


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "reploc.toml"
    file.write_text("rlis = []\n")
    with pytest.raises(ConfigInvalid, match="unknown key 'rlis'; did you mean 'rli'"):
        discovery.find(environ={}, path=file)
