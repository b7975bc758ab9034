"""What computes: one file per runtime, imported when it is chosen."""
