"""Detox: what may go, what must stay, and in which order, so that sites stay below their watermarks."""
