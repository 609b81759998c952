"""Settings: what is wrong is named by its key, with what was expected."""

from pathlib import Path

import pytest

from reploc import config
from reploc.errors import ConfigInvalid
from reploc.members import IndexSettings, Node


def read(tmp_path: Path, text: str) -> IndexSettings:
    path = tmp_path / "index.toml"
    path.write_text(text, encoding="utf-8")
    return config.load(IndexSettings, path)


def test_no_file_means_the_defaults() -> None:
    assert config.load(IndexSettings, None) == IndexSettings()


def test_nodes_are_tables(tmp_path: Path) -> None:
    settings = read(
        tmp_path, '[[nodes]]\nname = "a"\nurl = "http://127.0.0.1:1/"\n[[nodes]]\nname="b"\nurl="http://[::1]:2"'
    )
    assert settings.urls == {"a": "http://127.0.0.1:1", "b": "http://[::1]:2"}
    assert settings.ring.nodes == ("a", "b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slotz = 4", "unknown key 'slotz'; did you mean 'slots'?"),
        ("slots = 5", "slots is 5; expected a power of two"),
        ("slots = 0", "slots: Expected `int` >= 1"),
        ("slots = 131072", "slots: Expected `int` <= 65536"),
        ('slots = "many"', "slots: Expected `int`, got `str`"),
        ("error_rate = 0.5", "error_rate: Expected `float` <= 0.1"),
        ("error_rate = 1e-300", "error_rate: Expected `float` >= 1e-12"),
        ("full_interval_s = inf", "full_interval_s: Expected `float` <= "),
        ("full_interval_s = 1e-300", "full_interval_s: Expected `float` >= 0.001"),
        ("increment_interval_s = nan", "increment_interval_s: Expected `float` >= 0.001"),
        ("renewal_interval_s = 0.0", "renewal_interval_s: Expected `float` >= 0.001"),
        ("expiry_s = inf", "expiry_s: Expected `float` <= "),
        ("forget_after_s = inf", "forget_after_s: Expected `float` <= "),
        ("expiry_s = 1.0", "expiry_s is shorter than renewal_interval_s"),
        ('[[nodes]]\nname = "a"', "Object missing required field `url`"),
        ('[[nodes]]\nname = "a"\nurl = "x"', "is not http://HOST"),
        ('[[nodes]]\nname = "a b"\nurl = "http://a"', "is not a site name"),
        ('[[nodes]]\nname = "a"\nurll = "http://a"', "unknown key 'nodes[0].urll'; did you mean 'nodes[0].url'?"),
        (
            'redundancy = 1\n[[nodes]]\nname="a"\nurl="http://a"\n[[nodes]]\nname="a"\nurl="http://b"',
            "'a' stands twice",
        ),
        ('redundancy = 2\n[[nodes]]\nname = "a"\nurl = "http://a"', "redundancy is 2, but there are 1 nodes"),
        ("slots = ", "is not TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(tmp_path, text)
    assert said in caught.value.detail
    assert str(tmp_path / "index.toml") in caught.value.detail


def test_a_file_that_is_not_there_or_not_text_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="No such file"):
        config.load(IndexSettings, tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigInvalid, match="is not UTF-8 at byte 5"):
        config.load(IndexSettings, tmp_path / "bytes.toml")


def test_overrides_stand_above_the_file(tmp_path: Path) -> None:
    path = tmp_path / "index.toml"
    path.write_text("slots = 4\nredundancy = 1")
    settings = config.load(IndexSettings, path, slots=8, redundancy=None)
    assert (settings.slots, settings.redundancy) == (8, 1)


def test_the_example_reads_back_as_the_defaults(tmp_path: Path) -> None:
    text = config.example(IndexSettings)
    assert read(tmp_path, text) == IndexSettings()
    assert "# R: how many index nodes hold each slot" in text


def test_a_node_is_checked_as_it_is_made() -> None:
    with pytest.raises(Exception, match="is not http://HOST"):
        Node(name="a", url="nowhere")
