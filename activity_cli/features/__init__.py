"""Clips -> CNN features, through an engine, with a cache on disk."""
