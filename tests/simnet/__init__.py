"""A simulated grid: catalogs and index nodes on a network with a seed and a virtual clock."""
