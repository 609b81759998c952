"""What each method of the RLS port does, for the rules of who may do what.

Many methods name PFNs, which may stand under any LFN, and none of the original's privileges was about names: so each
method acts on all names there are, and who may something on some of them alone must use HTTP.
"""

from __future__ import annotations

from reploc.actions import Action

_EXACT = {
    b"lrc_clear": Action.ADMINISTER,
    b"admin": Action.ADMINISTER,
    b"set_configuration": Action.ADMINISTER,
    b"lrc_rli_add": Action.ADMINISTER,
    b"lrc_rli_delete": Action.ADMINISTER,
    b"get_configuration": Action.MONITOR,
    b"stats": Action.MONITOR,
    b"rli_rli_list": Action.MONITOR,
    b"rli_update": Action.SEND_SOFT_STATE,
    b"rli_updatebf": Action.SEND_SOFT_STATE,
}
_BEGINNINGS = (
    (b"lrc_rli_", Action.MONITOR),
    (b"lrc_get_", Action.READ_CATALOG),
    (b"lrc_exists", Action.READ_CATALOG),
    (b"lrc_mapping_exists", Action.READ_CATALOG),
    (b"lrc_attr_get", Action.READ_CATALOG),
    (b"lrc_attr_value_get", Action.READ_CATALOG),
    (b"lrc_attr_search", Action.READ_CATALOG),
    (b"lrc_", Action.WRITE_CATALOG),
    (b"rli_", Action.READ_INDEX),
)


def action_of(method: bytes) -> Action:
    """What a method does; to ask for one that nobody knows is to administer."""
    exact = _EXACT.get(method)
    if exact is not None:
        return exact
    return next((action for beginning, action in _BEGINNINGS if method.startswith(beginning)), Action.ADMINISTER)
