"""Attribute producers: what policies ask that an inventory alone does not tell, each behind one small interface."""
