"""The grid on one machine: three sites and four index nodes as real processes over real files, told as a story."""
