"""The local replica catalog: one daemon per site, the truth about that site."""
