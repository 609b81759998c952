"""The placement service: what is where, what should be, and the orders that make the one the other."""
