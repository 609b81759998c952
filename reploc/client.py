"""The clients of the location service, under one name.

`LrcClient` is for one catalog, `RliClient` for the whole index, `RliNodeClient` for one node of it.
"""

from reploc.lrc_client import LrcClient
from reploc.node_client import RliNodeClient
from reploc.rli_client import RliClient

__all__ = ["LrcClient", "RliClient", "RliNodeClient"]
