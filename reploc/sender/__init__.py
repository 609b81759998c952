"""Whoever tells index nodes what it holds, as soft state: a catalog, or an index node towards its parents."""
