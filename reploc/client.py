"""The clients of the location service, under one name: `LrcClient` of a catalog, `RliClient` of the index."""

from reploc.lrc_client import LrcClient

__all__ = ["LrcClient"]
