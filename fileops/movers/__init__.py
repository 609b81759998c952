"""Movers: what performs operations, one for each way of speaking to storage."""
