"""A pool of worker processes that survives a crash or a hang of any of them."""
