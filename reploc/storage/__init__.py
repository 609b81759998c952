"""Storage: movers, one for each way of speaking to it, for whoever moves files and whoever looks after them."""
