"""The clients of the location service, under one name.

`LrcClient` is for one catalog, `RliClient` for the whole index, `RliNodeClient` for one node of it.
"""

from reploc.client.index import RliClient
from reploc.client.lrc import LrcClient
from reploc.client.node import RliNodeClient

__all__ = ["LrcClient", "RliClient", "RliNodeClient"]
