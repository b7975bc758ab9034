"""Labelled data sets: reading, splits, groups and leakage."""
