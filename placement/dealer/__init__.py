"""The dealer: which copies should be made and where, proposed by plugins, weighed against the room that sites have."""
