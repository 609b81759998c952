"""Tools of who runs a catalog: scan, dump and load, over HTTP or on a store that no daemon has open."""
