"""An error of a choice lists what may be chosen, wherever in a message it stands."""

import msgspec
import pytest

from placement.messages import InjectBody
from reploc import config, expected
from reploc.errors import ConfigInvalid
from reploc.service import DaemonSettings
from reploc.wire import MappingsBody, Members


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (MappingsBody, '{"mode": "upsert"}', "'upsert'; expected 'add' or 'create' or 'put' - at `$.mode`"),
        (
            Members,
            '{"node": "a", "slots": 1, "redundancy": 1, "error_rate": 0.1, "ring": "", "listed": [], "members": '
            '[{"kind": "x"}]}',
            "'x'; expected 'child' or 'lrc' or 'rli' - at `$.members[0].kind`",
        ),
        (MappingsBody, '{"mode": 1}', "Expected `str`, got `int` - at `$.mode`"),
        (MappingsBody, "{", "truncated"),
        (MappingsBody, '{"mod": "add"}', "unknown field `mod`; did you mean 'mode'?"),
        (MappingsBody, '{"nonsense": 1}', "unknown field `nonsense`"),
        (InjectBody, '{"datasets": [{"nam": "/x"}]}', "`nam`; did you mean 'name'? - at `$.datasets[0]`"),
        (
            InjectBody,
            '{"datasets": [{"name": "/x", "status": "vaild"}]}',
            "'vaild'; expected 'deleted' or 'depr",
        ),
    ],
)
def test_what_was_expected_is_said(kind: type, text: str, said: str) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(text, type=kind)
    words = expected.in_words(caught.value, kind)
    assert said in words


def test_a_setting_says_what_may_be_chosen() -> None:
    with pytest.raises(ConfigInvalid, match=r"log_level: Invalid enum value 'loud'; expected .*'warning'"):
        config.parse(DaemonSettings, {"log_level": "loud"}, "here")
