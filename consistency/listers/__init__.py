"""Listers: what says what a directory of a site's storage holds, one for each way of asking."""
