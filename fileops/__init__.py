"""File operations: orders of placement become files on real storage, and the catalogs are told."""
