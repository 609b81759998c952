"""The policy language: what detox, partitions and rules are written in, from text to columns of bits."""
