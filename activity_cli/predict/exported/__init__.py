"""Exported models read back: their metadata, and the runtimes that compute them."""
